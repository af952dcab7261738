from django.apps import AppConfig


class AlertsConfig(AppConfig):
    """Objectives and their assessment, breaches, notifications, reports."""

    name = "alerts"
    label = "alerts"
