from django.apps import AppConfig


class CoreConfig(AppConfig):
    """The kernel: errors, configuration, rendering, logs. Imports nothing of ours."""

    name = "console.core"
    label = "core"

    def ready(self) -> None:
        from django.db.backends.signals import connection_created

        from console.core.pgtimes import read_times_so

        connection_created.connect(read_times_so, dispatch_uid="console.core.pgtimes")
