from django.apps import AppConfig


class CoreConfig(AppConfig):
    """The kernel: errors, configuration, rendering, logs. Imports nothing of ours."""

    name = "console.core"
    label = "core"
