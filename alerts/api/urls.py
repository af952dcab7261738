"""Routes of alerts below /api/v1/, without a slash at the end."""

from __future__ import annotations

from django.urls import URLPattern

urlpatterns: list[URLPattern] = []
