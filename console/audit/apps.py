from django.apps import AppConfig


class AuditConfig(AppConfig):
    """Who did what, to what, when and why: append-only."""

    name = "console.audit"
    label = "audit"
