from django.apps import AppConfig


class IdentityConfig(AppConfig):
    """Users, teams, roles, environments, agents and keys."""

    name = "console.identity"
    label = "identity"
