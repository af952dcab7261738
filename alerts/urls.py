"""Pages and REST routes of alerts. One line a route; a slice owns the view behind it."""

from __future__ import annotations

from django.urls import URLPattern, URLResolver, include, path

# pages -------------------------------------------------------------------------------------------------------------
urlpatterns: list[URLPattern | URLResolver] = []

# REST: /api/v1/…, no slash -------------------------------------------------------------------------------------------
urlpatterns += [path("api/v1/", include("alerts.api.urls"))]
