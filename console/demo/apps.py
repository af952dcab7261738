from django.apps import AppConfig


class DemoConfig(AppConfig):
    """The page "Demo estate" and the command that prepares its environment."""

    name = "console.demo"
    label = "demo"
