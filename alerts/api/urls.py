"""Routes of alerts below /api/v1/, without a slash at the end."""

from __future__ import annotations

from django.urls import URLPattern, path

from alerts.api import breaches, delivery, exclusions, external, objectives, policies, reports, silences

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
    path("external-alerts", external.ExternalAlerts.as_view()),
    path("channels", delivery.Channels.as_view()),
    path("channels/kinds", delivery.ChannelKinds.as_view()),
    path("channels/preview", delivery.PreviewWords.as_view()),
    path("channels/<str:pk>", delivery.OneChannel.as_view()),
    path("channels/<str:pk>/test", delivery.TestChannel.as_view()),
    path("deliveries", delivery.Deliveries.as_view()),
    path("deliveries/<str:pk>", delivery.OneDelivery.as_view()),
    path("deliveries/<str:pk>/send-again", delivery.SendDeliveryAgain.as_view()),
    path("reports", reports.Reports.as_view()),
    path("reports/schedules", reports.ReportSchedules.as_view()),
    path("reports/schedules/<str:pk>", reports.OneReportSchedule.as_view()),
    path("reports/schedules/<str:pk>/render", reports.RenderReport.as_view()),
    path("reports/schedules/<str:pk>/send", reports.SendReport.as_view()),
    path("reports/schedules/<str:pk>/links", reports.ReportLinks.as_view()),
    path("reports/<str:pk>", reports.OneReport.as_view()),
    path("reports/<str:pk>/files/<str:name>", reports.ReportFileView.as_view()),
    path("reports/<str:pk>/revise", reports.ReviseReport.as_view()),
    path("reports/<str:pk>/retry", reports.RetryReport.as_view()),
    path("reports/<str:pk>/send-again", reports.SendReportAgain.as_view()),
    path("approved-hosts", delivery.ApprovedHosts.as_view()),
    path("approved-hosts/<str:pk>", delivery.OneApprovedHost.as_view()),
]
