"""Pages and REST routes of alerts. One line a route; a slice owns the view behind it."""

from __future__ import annotations

from django.urls import URLPattern, URLResolver, include, path

from alerts.delivery import views as delivery
from alerts.delivery.inbound import alertmanager

# pages -------------------------------------------------------------------------------------------------------------
urlpatterns: list[URLPattern | URLResolver] = [
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
