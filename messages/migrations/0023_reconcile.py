"""Reconciliations: lists of keys compared with messages, checks that are due daily, and how long they are kept."""

import django.contrib.postgres.fields
import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

import console.core.ids

# The lines of lists, what each day's messages carry (only while they are compared), and what became of each key. No keys between
# tables: they are filled and emptied by the million, and whatever lost its reconciliation is swept.
TABLES = """
CREATE TABLE messaging_reconciliation_line (
    reconciliation_id uuid NOT NULL,
    attempt integer NOT NULL,
    line integer NOT NULL,
    key text COLLATE "C" NOT NULL
);
CREATE INDEX reconciliation_line_of ON messaging_reconciliation_line (reconciliation_id, attempt);
CREATE TABLE messaging_reconciliation_seen (
    reconciliation_id uuid NOT NULL,
    key text COLLATE "C",
    messages bigint NOT NULL,
    best text COLLATE "C" NOT NULL
);
CREATE INDEX reconciliation_seen_of ON messaging_reconciliation_seen (reconciliation_id);
CREATE TABLE messaging_reconciled_key (
    reconciliation_id uuid NOT NULL,
    kind smallint NOT NULL CONSTRAINT reconciled_key_kind_is_known CHECK (kind BETWEEN 1 AND 5),
    key text COLLATE "C" NOT NULL,
    listed integer NOT NULL,
    line integer,
    messages integer NOT NULL,
    message_uid uuid,
    CONSTRAINT reconciled_key_is_listed_or_seen CHECK (
        (kind = 5) = (listed = 0) AND (kind = 4) = (messages = 0) AND (listed = 0) = (line IS NULL)
    )
);
CREATE UNIQUE INDEX reconciled_key_by_kind ON messaging_reconciled_key (reconciliation_id, kind, key);
CREATE INDEX reconciled_key_twice ON messaging_reconciled_key (reconciliation_id, kind, key) WHERE messages > 1 AND listed > 0;
CREATE INDEX reconciled_key_repeated ON messaging_reconciled_key (reconciliation_id, kind, key) WHERE listed > 1;
"""
DROP = "DROP TABLE messaging_reconciliation_line, messaging_reconciliation_seen, messaging_reconciled_key;"


class Migration(migrations.Migration):
    dependencies = [
        ("identity", "0002_agent_quota"),
        ("messaging", "0022_saved_searches"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.RunSQL(TABLES, DROP),
        migrations.CreateModel(
            name="ReconciledKey",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "reconciliation_id",
                        "kind",
                        "key",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("reconciliation_id", models.UUIDField()),
                (
                    "kind",
                    models.SmallIntegerField(
                        choices=[
                            (1, "processed"),
                            (2, "failed"),
                            (3, "on the way"),
                            (4, "never seen"),
                            (5, "not on the list"),
                        ]
                    ),
                ),
                ("key", models.TextField(db_collation="C")),
                ("listed", models.IntegerField()),
                ("line", models.IntegerField(null=True)),
                ("messages", models.IntegerField()),
                ("message_uid", models.UUIDField(null=True)),
            ],
            options={
                "db_table": "messaging_reconciled_key",
                "managed": False,
            },
        ),
        migrations.AddField(
            model_name="retentionpolicy",
            name="reconciliation_days",
            field=models.PositiveSmallIntegerField(db_default=30, default=30),
        ),
        migrations.CreateModel(
            name="Reconciliation",
            fields=[
                (
                    "id",
                    models.UUIDField(default=console.core.ids.uuid7, editable=False, primary_key=True, serialize=False),
                ),
                ("name", models.CharField(max_length=120)),
                ("key_name", models.CharField(max_length=120)),
                ("since", models.DateTimeField()),
                ("until", models.DateTimeField()),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("created_by", models.CharField(max_length=150)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("waiting", "Waiting"),
                            ("receiving", "Receiving"),
                            ("queued", "Queued"),
                            ("running", "Running"),
                            ("done", "Done"),
                            ("cancelled", "Cancelled"),
                            ("failed", "Failed"),
                        ],
                        default="waiting",
                        max_length=9,
                    ),
                ),
                ("problem", models.CharField(blank=True, max_length=500)),
                ("attempt", models.PositiveIntegerField(default=0)),
                ("lease_until", models.DateTimeField(null=True)),
                ("deaths", models.PositiveSmallIntegerField(default=0)),
                ("steps_done", models.PositiveSmallIntegerField(default=0)),
                ("steps", models.PositiveSmallIntegerField(default=0)),
                ("list_attempt", models.PositiveIntegerField(null=True)),
                ("received_at", models.DateTimeField(null=True)),
                ("lines", models.PositiveIntegerField(default=0)),
                ("blank_lines", models.PositiveIntegerField(default=0)),
                ("bad_lines", models.PositiveIntegerField(default=0)),
                ("bad", models.JSONField(default=list)),
                ("evaluated_at", models.DateTimeField(null=True)),
                ("listed", models.PositiveIntegerField(default=0)),
                ("repeated", models.PositiveIntegerField(default=0)),
                ("processed", models.PositiveIntegerField(default=0)),
                ("failed", models.PositiveIntegerField(default=0)),
                ("moving", models.PositiveIntegerField(default=0)),
                ("never", models.PositiveIntegerField(default=0)),
                ("twice", models.PositiveIntegerField(default=0)),
                ("unlisted", models.PositiveIntegerField(default=0)),
                ("messages", models.PositiveBigIntegerField(default=0)),
                ("without_key", models.PositiveBigIntegerField(default=0)),
                ("removed_at", models.DateTimeField(null=True)),
                (
                    "environment",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to="identity.environment"
                    ),
                ),
                (
                    "flow",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to="messaging.flow"
                    ),
                ),
            ],
            options={
                "ordering": ["-id"],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            ("state__in", ["waiting", "receiving", "queued", "running", "done", "cancelled", "failed"])
                        ),
                        name="reconciliation_state_is_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("until__gt", models.F("since"))), name="reconciliation_ends_after_it_begins"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("state__in", ["queued", "running", "done"]), _negated=True),
                            ("list_attempt__isnull", False),
                            _connector="OR",
                        ),
                        name="reconciliation_compares_what_it_has",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            (
                                "listed",
                                models.F("processed") + models.F("failed") + models.F("moving") + models.F("never"),
                            )
                        ),
                        name="reconciliation_counts_add_up",
                    ),
                ],
                "indexes": [
                    models.Index(fields=["environment", "-id"], name="reconciliation_newest"),
                    models.Index(
                        condition=models.Q(
                            ("state__in", ["receiving", "queued", "running"]),
                            ("removed_at__isnull", False),
                            _connector="OR",
                        ),
                        fields=["lease_until"],
                        name="reconciliation_at_work",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="ReconciliationCheck",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=120)),
                ("key_name", models.CharField(max_length=120)),
                ("minute", models.SmallIntegerField()),
                ("days", django.contrib.postgres.fields.ArrayField(base_field=models.SmallIntegerField(), size=None)),
                ("time_zone", models.CharField(max_length=60)),
                ("hours", models.PositiveSmallIntegerField()),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "state",
                    models.CharField(
                        choices=[("new", "New"), ("calm", "Calm"), ("raised", "Raised"), ("stopped", "Stopped")],
                        default="new",
                        max_length=7,
                    ),
                ),
                ("state_since", models.DateTimeField()),
                ("problem", models.CharField(blank=True, max_length=500)),
                ("due_at", models.DateTimeField()),
                ("next_look_at", models.DateTimeField(null=True)),
                ("attempt", models.PositiveIntegerField(default=0)),
                ("checked_at", models.DateTimeField(null=True)),
                ("told_at", models.DateTimeField(null=True)),
                (
                    "environment",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to="identity.environment"
                    ),
                ),
                (
                    "flow",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to="messaging.flow"
                    ),
                ),
                (
                    "owner",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to=settings.AUTH_USER_MODEL
                    ),
                ),
                (
                    "waiting_for",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to="messaging.reconciliation",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("flow", "name"), name="reconciliation_check_name_once_per_flow"),
                    models.CheckConstraint(
                        condition=models.Q(("state__in", ["new", "calm", "raised", "stopped"])),
                        name="reconciliation_check_state_is_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("next_look_at__isnull", True), ("state", "stopped")),
                            models.Q(models.Q(("state", "stopped"), _negated=True), ("next_look_at__isnull", False)),
                            _connector="OR",
                        ),
                        name="reconciliation_check_is_looked_at_unless_stopped",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("days__len__gte", 1), ("hours__gte", 1), ("minute__gte", 0), ("minute__lt", 1440)
                        ),
                        name="reconciliation_check_has_a_time",
                    ),
                ],
                "indexes": [
                    models.Index(
                        condition=models.Q(("next_look_at__isnull", False)),
                        fields=["next_look_at"],
                        name="reconciliation_check_due",
                    )
                ],
            },
        ),
        migrations.AddField(
            model_name="reconciliation",
            name="of_check",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="reconciliations",
                to="messaging.reconciliationcheck",
            ),
        ),
        migrations.AddIndex(
            model_name="reconciliation",
            index=models.Index(fields=["of_check", "-id"], name="reconciliation_by_check"),
        ),
    ]
