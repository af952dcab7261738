"""Routes of alerts below /api/v1/, without a slash at the end."""

from __future__ import annotations

from django.urls import URLPattern, path

from alerts.api import breaches, policies, silences

urlpatterns: list[URLPattern] = [
    path("breaches", breaches.Breaches.as_view()),
    path("breaches/<str:reference>", breaches.OneBreach.as_view()),
    path("breaches/<str:reference>/acknowledge", breaches.AcknowledgeBreach.as_view()),
    path("breaches/<str:reference>/assign", breaches.AssignBreach.as_view()),
    path("breaches/<str:reference>/notes", breaches.BreachNotes.as_view()),
    path("breaches/<str:reference>/silence", breaches.SilenceBreach.as_view()),
    path("breaches/<str:reference>/close", breaches.CloseBreach.as_view()),
    path("silences", silences.Silences.as_view()),
    path("silences/<str:pk>", silences.OneSilence.as_view()),
    path("alerting/policies", policies.AlertPolicies.as_view()),
    path("alerting/policies/<str:pk>", policies.OneAlertPolicy.as_view()),
    path("alerting/groups", policies.GroupWatches.as_view()),
]
