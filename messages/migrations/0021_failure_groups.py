"""Failure groups: the groups, their counts by hour, notes, operators' rules, and which group a letter and a message belong to.

A message remembers its group in a column that no event ever writes: updates of a message stay HOT, since no indexed column changes.
What has no group yet is found in a partial index and given one by a sweep, in chunks: the back-fill of what was there before.
"""

import django.contrib.postgres.fields
import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

MESSAGE = """
ALTER TABLE messaging_message ADD COLUMN group_id bigint;
CREATE INDEX message_by_group ON messaging_message (group_id, first_seen_at, id) WHERE group_id IS NOT NULL;
CREATE INDEX message_ungrouped ON messaging_message (first_seen_at) WHERE failed_at IS NOT NULL AND group_id IS NULL;
"""


class Migration(migrations.Migration):
    dependencies = [
        ("identity", "0002_agent_quota"),
        ("messaging", "0020_replay_expiry"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="GroupRule",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("position", models.PositiveIntegerField()),
                ("name", models.CharField(max_length=120)),
                ("flow", models.CharField(blank=True, max_length=200)),
                ("step", models.CharField(blank=True, max_length=120)),
                ("error_type", models.CharField(blank=True, max_length=300)),
                ("words", models.CharField(blank=True, max_length=310)),
                ("destination", models.CharField(blank=True, max_length=300)),
                ("reason", models.CharField(blank=True, max_length=20)),
                (
                    "parts",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=80), default=list, size=None
                    ),
                ),
                ("failure_class", models.CharField(blank=True, max_length=14)),
                ("runbook_url", models.URLField(blank=True)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("created_by", models.CharField(max_length=150)),
                (
                    "environment",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="group_rules",
                        to="identity.environment",
                    ),
                ),
            ],
            options={
                "ordering": ["position", "id"],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("environment", "name"), name="group_rule_name_once_per_environment"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            (
                                "failure_class__in",
                                [
                                    "",
                                    "transient",
                                    "throttled",
                                    "data",
                                    "configuration",
                                    "authentication",
                                    "contract",
                                    "poison",
                                    "unknown",
                                ],
                            )
                        ),
                        name="group_rule_class_is_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("destination", ""),
                            ("error_type", ""),
                            ("flow", ""),
                            ("reason", ""),
                            ("step", ""),
                            ("words", ""),
                            _negated=True,
                        ),
                        name="group_rule_asks_for_something",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="FailureGroup",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("version", models.PositiveSmallIntegerField()),
                ("fingerprint", models.UUIDField()),
                ("by_hand", models.BooleanField(default=False)),
                ("name", models.CharField(blank=True, max_length=200)),
                ("step", models.CharField(blank=True, max_length=120)),
                ("error_type", models.TextField(blank=True)),
                ("message", models.TextField(blank=True)),
                ("destination", models.TextField(blank=True)),
                ("title", models.TextField(blank=True)),
                ("failure_class", models.CharField(max_length=14)),
                ("state", models.CharField(default="open", max_length=12)),
                ("state_at", models.DateTimeField()),
                ("runbook_url", models.URLField(blank=True)),
                ("first_seen_at", models.DateTimeField()),
                ("last_seen_at", models.DateTimeField()),
                ("letters", models.IntegerField(default=0)),
                ("replaying", models.IntegerField(default=0)),
                ("failed", models.IntegerField(default=0)),
                ("customers", models.IntegerField(default=0)),
                ("documents", models.IntegerField(default=0)),
                ("amounts", models.JSONField(default=dict)),
                ("word", models.CharField(blank=True, max_length=64)),
                ("capped", models.BooleanField(default=False)),
                ("oldest_at", models.DateTimeField(null=True)),
                ("spread", models.CharField(blank=True, max_length=8)),
                ("spread_words", models.TextField(blank=True)),
                ("blast", models.BigIntegerField(default=0)),
                ("newest", models.UUIDField(null=True)),
                ("figures_at", models.DateTimeField(null=True)),
                (
                    "environment",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to="identity.environment"
                    ),
                ),
                (
                    "flow",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="groups", to="messaging.flow"
                    ),
                ),
                (
                    "merged_into",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="merged",
                        to="messaging.failuregroup",
                    ),
                ),
                (
                    "owner",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "rule",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="groups",
                        to="messaging.grouprule",
                    ),
                ),
            ],
            options={
                "ordering": ["-blast", "-id"],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("environment", "fingerprint"), name="failure_group_once_per_fingerprint"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("state__in", ["open", "acknowledged", "escalating", "regressed", "resolved"])
                        ),
                        name="failure_group_state_is_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            (
                                "failure_class__in",
                                [
                                    "transient",
                                    "throttled",
                                    "data",
                                    "configuration",
                                    "authentication",
                                    "contract",
                                    "poison",
                                    "unknown",
                                ],
                            )
                        ),
                        name="failure_group_class_is_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("merged_into__isnull", True),
                            models.Q(("merged_into", models.F("id")), _negated=True),
                            _connector="OR",
                        ),
                        name="failure_group_not_merged_into_itself",
                    ),
                ],
                "indexes": [
                    models.Index(
                        condition=models.Q(("merged_into", None)),
                        fields=["environment", "-blast", "-id"],
                        name="group_by_blast",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="GroupHour",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "group_id", "hour", "shard", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("hour", models.DateTimeField()),
                ("shard", models.SmallIntegerField()),
                ("letters", models.IntegerField(default=0)),
                ("messages", models.IntegerField(default=0)),
                (
                    "group",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="hours",
                        to="messaging.failuregroup",
                    ),
                ),
            ],
            options={
                "indexes": [models.Index(fields=["hour"], name="group_hour_by_hour")],
            },
        ),
        migrations.CreateModel(
            name="GroupNote",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("at", models.DateTimeField(auto_now_add=True)),
                ("author", models.CharField(max_length=150)),
                ("text", models.TextField()),
                (
                    "group",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="notes", to="messaging.failuregroup"
                    ),
                ),
            ],
            options={
                "ordering": ["-id"],
            },
        ),
        migrations.AddField(
            model_name="deadletter",
            name="group",
            field=models.ForeignKey(
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="messaging.failuregroup",
            ),
        ),
        migrations.AddIndex(
            model_name="deadletter",
            index=models.Index(fields=["group", "-id"], name="dead_letter_by_group"),
        ),
        migrations.AddIndex(
            model_name="deadletter",
            index=models.Index(
                condition=models.Q(("state__in", ["open", "replaying"])),
                fields=["group", "-id"],
                include=("state", "failed_at"),
                name="dead_letter_waits_in_group",
            ),
        ),
        migrations.AddIndex(
            model_name="deadletter",
            index=models.Index(
                condition=models.Q(("group__isnull", True)), fields=["id"], name="dead_letter_ungrouped"
            ),
        ),
        migrations.RunSQL(
            MESSAGE,
            "ALTER TABLE messaging_message DROP COLUMN group_id",
            state_operations=[
                migrations.AddField(
                    model_name="message",
                    name="group",
                    field=models.ForeignKey(
                        db_constraint=False,
                        null=True,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="messaging.failuregroup",
                    ),
                ),
            ],
        ),
    ]
