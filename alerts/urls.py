"""Pages and REST routes of alerts. One line a route; a slice owns the view behind it."""

from __future__ import annotations

from django.urls import URLPattern, URLResolver, include, path

from alerts.breaches import views as breaches
from alerts.breaches import views_policies as policies
from alerts.breaches import views_silences as silences
from alerts.delivery import views as delivery
from alerts.delivery.inbound import alertmanager
from alerts.objectives import views as objectives
from alerts.reports import views as reports
from alerts.reports import views_public as links
from alerts.reports import views_reports as report

# pages -------------------------------------------------------------------------------------------------------------
urlpatterns: list[URLPattern | URLResolver] = [
    path("objectives/", objectives.objectives, name="objectives"),
    path("objectives/new/", objectives.new, name="objective-new"),
    path("objectives/import/", objectives.take_openslo, name="objectives-import"),
    path("objectives/openslo.yaml", objectives.give_openslo, name="objectives-openslo"),
    path("objectives/<int:pk>/", objectives.objective, name="objective"),
    path("objectives/<int:pk>/what-if/", objectives.what_if, name="objective-what-if"),
    path("objectives/<int:pk>/edit/", objectives.edit, name="objective-edit"),
    path("objectives/<int:pk>/remove/", objectives.remove, name="objective-remove"),
    path("objectives/<int:pk>/exclude/", objectives.exclude, name="objective-exclude"),
    path("objectives/exclusions/<uuid:pk>/withdraw/", objectives.withdraw, name="exclusion-withdraw"),
    path("breaches/", breaches.breaches, name="breaches"),
    path("breaches/silences/", silences.silences, name="silences"),
    path("breaches/silences/<int:pk>/end/", silences.end, name="silence-end"),
    path("breaches/<str:reference>/", breaches.breach, name="breach"),
    *(
        path(f"breaches/<str:reference>/{action}/", breaches.act, {"action": action}, name=f"breach-{action}")
        for action in breaches.ACTIONS
    ),
    path("reports/", reports.reports, name="reports"),
    path("reports/new/", reports.new, name="report-schedule-new"),
    path("reports/<int:pk>/", reports.schedule, name="report-schedule"),
    path("reports/<int:pk>/edit/", reports.edit, name="report-schedule-edit"),
    path("reports/<int:pk>/remove/", reports.remove, name="report-schedule-remove"),
    path("reports/<int:pk>/preview/", reports.preview, name="report-schedule-preview"),
    path("reports/<int:pk>/send/", reports.send, name="report-schedule-send"),
    path("reports/<int:pk>/links/", reports.links, name="report-schedule-links"),
    path("reports/sent/<int:pk>/", report.report, name="report"),
    path("reports/sent/<int:pk>/mail/", report.mail, name="report-mail"),
    path("reports/sent/<int:pk>/files/<str:name>", report.file, name="report-file"),
    path("reports/sent/<int:pk>/revise/", report.revise, name="report-revise"),
    path("reports/sent/<int:pk>/again/", report.again, name="report-again"),
    path("reports/sent/<int:pk>/retry/", report.retry, name="report-retry"),
    path("reports/r/<str:token>", links.opened, name="report-link"),
    path("reports/r/<str:token>/<str:name>", links.opened_file, name="report-link-file"),
    path("reports/stop/<str:token>", links.stop, name="report-stop"),
    path("settings/alerting/", policies.alerting, name="alerting"),
    path("settings/alerting/groups/", policies.groups, name="alerting-groups"),
    path("settings/alerting/new/", policies.new, name="alert-policy-new"),
    path("settings/alerting/<int:pk>/", policies.one, name="alert-policy"),
    path("settings/alerting/<int:pk>/remove/", policies.remove, name="alert-policy-remove"),
    path("settings/channels/", delivery.channels, name="channels"),
    path("settings/channels/new/", delivery.new, name="channel-new"),
    path("settings/channels/dead/", delivery.dead, name="channels-dead"),
    path("settings/channels/hosts/", delivery.approve, name="host-approve"),
    path("settings/channels/hosts/<int:pk>/withdraw/", delivery.withdraw, name="host-withdraw"),
    path("settings/channels/<int:pk>/", delivery.one, name="channel"),
    path("settings/channels/<int:pk>/test/", delivery.test, name="channel-test"),
    path("settings/channels/<int:pk>/remove/", delivery.remove, name="channel-remove"),
    path("settings/deliveries/<int:pk>/", delivery.delivery, name="delivery"),
    path("settings/deliveries/<int:pk>/again/", delivery.again, name="delivery-again"),
]

# ingest: a raw view, no slash, no CSRF, keys of agents -------------------------------------------------------------------
urlpatterns += [path("ingest/v1/alertmanager", alertmanager, name="ingest-alertmanager")]

# REST: /api/v1/…, no slash -------------------------------------------------------------------------------------------
urlpatterns += [path("api/v1/", include("alerts.api.urls"))]
