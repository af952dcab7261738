"""Saved searches, subscriptions to them, and the outbox of mails."""

import django.contrib.postgres.fields
import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

import console.core.ids


class Migration(migrations.Migration):
    dependencies = [
        ("identity", "0002_agent_quota"),
        ("messaging", "0021_failure_groups"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="OutboxMail",
            fields=[
                (
                    "id",
                    models.UUIDField(default=console.core.ids.uuid7, editable=False, primary_key=True, serialize=False),
                ),
                ("about", models.CharField(max_length=60)),
                ("occurrence", models.CharField(max_length=120)),
                ("to", models.CharField(blank=True, max_length=254)),
                ("subject", models.CharField(max_length=200)),
                ("body", models.TextField()),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "state",
                    models.CharField(
                        choices=[("waiting", "Waiting"), ("sent", "Sent"), ("given_up", "Given Up")],
                        default="waiting",
                        max_length=8,
                    ),
                ),
                ("attempt", models.PositiveSmallIntegerField(default=0)),
                ("next_try_at", models.DateTimeField(null=True)),
                ("answer", models.CharField(blank=True, max_length=500)),
                ("finished_at", models.DateTimeField(null=True)),
            ],
            options={
                "ordering": ["-id"],
                "indexes": [
                    models.Index(fields=["about", "-id"], name="outbox_mail_by_subject"),
                    models.Index(
                        condition=models.Q(("state", "waiting")), fields=["next_try_at"], name="outbox_mail_due"
                    ),
                ],
                "constraints": [
                    models.UniqueConstraint(fields=("occurrence",), name="outbox_mail_once_per_occurrence"),
                    models.CheckConstraint(
                        condition=models.Q(("state__in", ["waiting", "sent", "given_up"])),
                        name="outbox_mail_state_is_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(
                                ("finished_at__isnull", True), ("next_try_at__isnull", False), ("state", "waiting")
                            ),
                            models.Q(
                                models.Q(("state", "waiting"), _negated=True),
                                ("finished_at__isnull", False),
                                ("next_try_at__isnull", True),
                            ),
                            _connector="OR",
                        ),
                        name="outbox_mail_is_tried_iff_waiting",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="SavedSearch",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "of",
                    models.CharField(
                        choices=[("messages", "Messages"), ("dead-letters", "Dead Letters")], max_length=12
                    ),
                ),
                ("name", models.CharField(max_length=80)),
                ("q", models.TextField()),
                ("window", models.CharField(blank=True, max_length=12)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("updated_at", models.DateTimeField(auto_now=True)),
                (
                    "environment",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to="identity.environment"
                    ),
                ),
                (
                    "owner",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to=settings.AUTH_USER_MODEL
                    ),
                ),
                (
                    "team",
                    models.ForeignKey(
                        null=True, on_delete=django.db.models.deletion.SET_NULL, related_name="+", to="identity.team"
                    ),
                ),
            ],
            options={
                "ordering": ["name", "pk"],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("environment", "owner", "of", "name"), name="saved_search_name_once_per_owner_and_list"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("of__in", ["messages", "dead-letters"])), name="saved_search_list_is_known"
                    ),
                ],
                "indexes": [models.Index(fields=["environment", "team"], name="saved_search_by_team")],
            },
        ),
        migrations.CreateModel(
            name="Subscription",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("when", models.CharField(choices=[("matches", "Matches"), ("silent", "Silent")], max_length=7)),
                ("minutes", models.PositiveIntegerField(null=True)),
                ("digest_minutes", models.PositiveIntegerField(null=True)),
                (
                    "days",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.SmallIntegerField(), default=list, size=None
                    ),
                ),
                ("from_minute", models.SmallIntegerField(default=0)),
                ("until_minute", models.SmallIntegerField(default=1440)),
                ("time_zone", models.CharField(default="UTC", max_length=60)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("new", "New"),
                            ("calm", "Calm"),
                            ("raised", "Raised"),
                            ("broken", "Broken"),
                            ("stopped", "Stopped"),
                        ],
                        default="new",
                        max_length=7,
                    ),
                ),
                ("state_since", models.DateTimeField()),
                ("told", models.CharField(blank=True, max_length=7)),
                ("told_at", models.DateTimeField(null=True)),
                ("told_count", models.PositiveIntegerField(default=0)),
                ("fingerprint", models.CharField(blank=True, max_length=64)),
                ("count", models.PositiveIntegerField(null=True)),
                ("last_looked_at", models.DateTimeField(null=True)),
                ("last_matched_at", models.DateTimeField(null=True)),
                ("problem", models.CharField(blank=True, max_length=500)),
                ("next_look_at", models.DateTimeField(null=True)),
                ("attempt", models.PositiveIntegerField(default=0)),
                (
                    "owner",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to=settings.AUTH_USER_MODEL
                    ),
                ),
                (
                    "search",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="subscriptions",
                        to="messaging.savedsearch",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("search", "owner"), name="subscription_once_per_search_and_owner"),
                    models.CheckConstraint(
                        condition=models.Q(("state__in", ["new", "calm", "raised", "broken", "stopped"])),
                        name="subscription_state_is_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("next_look_at__isnull", True), ("state", "stopped")),
                            models.Q(models.Q(("state", "stopped"), _negated=True), ("next_look_at__isnull", False)),
                            _connector="OR",
                        ),
                        name="subscription_is_looked_at_unless_stopped",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("digest_minutes__isnull", True), ("minutes__gte", 1), ("when", "silent")),
                            models.Q(("minutes__isnull", True), ("when", "matches")),
                            _connector="OR",
                        ),
                        name="subscription_minutes_iff_silent",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("days__len__gte", 1),
                            ("from_minute__gte", 0),
                            ("until_minute__gt", models.F("from_minute")),
                            ("until_minute__lte", 1440),
                        ),
                        name="subscription_has_working_time",
                    ),
                ],
                "indexes": [
                    models.Index(
                        condition=models.Q(("next_look_at__isnull", False)),
                        fields=["next_look_at"],
                        name="subscription_due",
                    )
                ],
            },
        ),
    ]
