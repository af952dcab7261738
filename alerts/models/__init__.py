"""What alerts stores, by topic."""

from alerts.models.delivery import ApprovedHost, Channel, DeliveryAttempt, ExternalAlert, NoticeDelivery

__all__ = ["ApprovedHost", "Channel", "DeliveryAttempt", "ExternalAlert", "NoticeDelivery"]
