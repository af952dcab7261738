"""Pages and REST routes of messaging. One line a route; a slice owns the view behind it."""

from __future__ import annotations

from django.urls import URLPattern, path

from messages.dead_letters import ingest as dead_letter_ingest
from messages.ingest import api as ingest

# pages -------------------------------------------------------------------------------------------------------------
urlpatterns: list[URLPattern] = []

# ingest: raw views, no slash, no CSRF, keys of agents ----------------------------------------------------------------
urlpatterns += [
    path("v1/traces", ingest.traces, name="otlp-traces"),
    path("ingest/v1/events", ingest.events, name="ingest-events"),
    path("ingest/v1/dead-letters", dead_letter_ingest.dead_letters, name="ingest-dead-letters"),
    path("ingest/v1/heartbeat", dead_letter_ingest.heartbeat, name="ingest-heartbeat"),
]

# REST: /api/v1/…, no slash -------------------------------------------------------------------------------------------
urlpatterns += []
