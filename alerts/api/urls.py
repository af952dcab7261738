"""Routes of alerts below /api/v1/, without a slash at the end."""

from __future__ import annotations

from django.urls import URLPattern, path

from alerts.api import delivery

urlpatterns: list[URLPattern] = [
    path("channels", delivery.Channels.as_view()),
    path("channels/kinds", delivery.ChannelKinds.as_view()),
    path("channels/preview", delivery.PreviewWords.as_view()),
    path("channels/<str:pk>", delivery.OneChannel.as_view()),
    path("channels/<str:pk>/test", delivery.TestChannel.as_view()),
    path("deliveries", delivery.Deliveries.as_view()),
    path("deliveries/<str:pk>", delivery.OneDelivery.as_view()),
    path("deliveries/<str:pk>/send-again", delivery.SendDeliveryAgain.as_view()),
    path("approved-hosts", delivery.ApprovedHosts.as_view()),
    path("approved-hosts/<str:pk>", delivery.OneApprovedHost.as_view()),
]
