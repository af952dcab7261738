"""Routes of alerts below /api/v1/, without a slash at the end."""

from __future__ import annotations

from django.urls import URLPattern, path

from alerts.api import exclusions, objectives

urlpatterns: list[URLPattern] = [
    path("objectives", objectives.Objectives.as_view()),
    path("objectives/openslo", objectives.OpenSlo.as_view()),
    path("objectives/<str:pk>", objectives.OneObjective.as_view()),
    path("objectives/<str:pk>/budget", objectives.ObjectiveBudget.as_view()),
    path("objectives/<str:pk>/minutes", objectives.ObjectiveMinutesView.as_view()),
    path("objectives/<str:pk>/what-if", objectives.ObjectiveWhatIf.as_view()),
    path("exclusions", exclusions.Exclusions.as_view()),
    path("exclusions/<str:pk>", exclusions.OneExclusion.as_view()),
    path("exclusions/<str:pk>/withdraw", exclusions.WithdrawExclusion.as_view()),
]
