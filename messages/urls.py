"""Pages and REST routes of messaging. One line a route; a slice owns the view behind it."""

from __future__ import annotations

from django.urls import URLPattern

# pages -------------------------------------------------------------------------------------------------------------
urlpatterns: list[URLPattern] = []

# ingest: raw views, no slash, no CSRF, keys of agents ----------------------------------------------------------------
urlpatterns += []

# REST: /api/v1/…, no slash -------------------------------------------------------------------------------------------
urlpatterns += []
