"""Users, teams, roles, environments, agents and keys."""

from __future__ import annotations

from django.contrib.auth.models import AbstractUser
from django.db import models
from django.db.models import CheckConstraint, Q, UniqueConstraint


class User(AbstractUser):
    """A person, or the owner of an API key. `is_superuser` means administrator of everything."""


class Environment(models.Model):
    """production, staging, …: a boundary for data, colour and permissions."""

    class Colour(models.TextChoices):
        RED = "red"
        AMBER = "amber"
        GREEN = "green"
        BLUE = "blue"
        VIOLET = "violet"
        TEAL = "teal"

    slug = models.SlugField(max_length=40, unique=True)
    name = models.CharField(max_length=60)
    colour = models.CharField(max_length=10, choices=Colour.choices, default=Colour.RED)
    position = models.PositiveSmallIntegerField(default=0)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["position", "slug"]
        constraints = [
            CheckConstraint(
                name="environment_colour_is_known",
                condition=Q(colour__in=["red", "amber", "green", "blue", "violet", "teal"]),
            )
        ]

    def __str__(self) -> str:
        return self.slug


class Team(models.Model):
    """People who own flows together."""

    name = models.CharField(max_length=80, unique=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class Role(models.IntegerChoices):
    """What a member may do; each role may do all that the lower ones may."""

    VIEWER = 1
    OPERATOR = 2
    ADMINISTRATOR = 3


class Membership(models.Model):
    """A user's role in a team, in one environment."""

    user = models.ForeignKey(User, models.CASCADE, related_name="memberships")
    team = models.ForeignKey(Team, models.CASCADE, related_name="memberships")
    environment = models.ForeignKey(Environment, models.CASCADE, related_name="memberships")
    role = models.PositiveSmallIntegerField(choices=Role.choices)

    class Meta:
        constraints = [
            UniqueConstraint(name="membership_once_per_team_and_environment", fields=["user", "team", "environment"]),
            CheckConstraint(name="membership_role_is_known", condition=Q(role__in=Role.values)),
        ]


class Agent(models.Model):
    """A process that pushes into the console, in one environment."""

    environment = models.ForeignKey(Environment, models.PROTECT, related_name="agents")
    name = models.CharField(max_length=120)
    created_at = models.DateTimeField(auto_now_add=True)
    last_seen_at = models.DateTimeField(null=True)  # last accepted request, written at most every 10 s
    events_per_s = models.PositiveIntegerField(null=True, blank=True)  # quota; None: that of the settings
    bytes_per_s = models.PositiveBigIntegerField(null=True, blank=True)
    heartbeat_at = models.DateTimeField(null=True)
    heartbeat = models.JSONField(default=dict)  # the last heartbeat's body: version, queues, spooled

    class Meta:
        ordering = ["name"]
        constraints = [UniqueConstraint(name="agent_name_once_per_environment", fields=["environment", "name"])]

    def __str__(self) -> str:
        return self.name


class Key(models.Model):
    """A bearer key. Only its keyed digest is stored; the text is shown once, when it is made."""

    class Kind(models.TextChoices):
        AGENT = "agent"
        API = "api"

    kind = models.CharField(max_length=5, choices=Kind.choices)
    name = models.CharField(max_length=120)
    digest = models.BinaryField(max_length=32, unique=True)
    prefix = models.CharField(max_length=16)
    agent = models.ForeignKey(Agent, models.CASCADE, null=True, related_name="keys")
    user = models.ForeignKey(User, models.CASCADE, null=True, related_name="keys")
    created_at = models.DateTimeField(auto_now_add=True)
    created_by = models.CharField(max_length=150)
    last_used_at = models.DateTimeField(null=True)
    expires_at = models.DateTimeField(null=True)
    revoked_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            CheckConstraint(
                name="key_has_agent_or_user_by_kind",
                condition=Q(kind="agent", agent__isnull=False, user__isnull=True)
                | Q(kind="api", agent__isnull=True, user__isnull=False),
            )
        ]
