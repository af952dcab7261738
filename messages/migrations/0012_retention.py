"""Retention: policies, legal holds, runs; keys of what outlives its day; whose flow a payload is."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("identity", "0002_agent_quota"),
        ("messaging", "0011_dead_letter_by_key"),
    ]

    operations = [
        # Rows stored before have none: they follow their environment's policy, and stay while anything there is on hold.
        migrations.RunSQL(
            "ALTER TABLE messaging_payload ADD COLUMN flow_id bigint",
            "ALTER TABLE messaging_payload DROP COLUMN flow_id",
        ),
        migrations.CreateModel(
            name="LegalHold",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("reason", models.TextField()),
                ("placed_at", models.DateTimeField(auto_now_add=True)),
                ("placed_by", models.CharField(max_length=150)),
                (
                    "environment",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to="identity.environment"
                    ),
                ),
                (
                    "flow",
                    models.ForeignKey(
                        null=True, on_delete=django.db.models.deletion.PROTECT, related_name="+", to="messaging.flow"
                    ),
                ),
            ],
            options={
                "ordering": ["-id"],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("flow__isnull", False)), fields=("flow",), name="legal_hold_once_per_flow"
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(("flow__isnull", True)),
                        fields=("environment",),
                        name="legal_hold_once_per_environment",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="RetentionPolicy",
            fields=[
                (
                    "environment",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="+",
                        serialize=False,
                        to="identity.environment",
                    ),
                ),
                ("payload_days", models.PositiveSmallIntegerField()),
                ("metadata_days", models.PositiveSmallIntegerField()),
                ("rollup_days", models.PositiveSmallIntegerField()),
                ("letter_days", models.PositiveSmallIntegerField()),
                ("settled_reject_days", models.PositiveSmallIntegerField()),
                ("waiting_reject_days", models.PositiveSmallIntegerField()),
                ("changed_at", models.DateTimeField()),
                ("changed_by", models.CharField(max_length=150)),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            ("metadata_days__lte", models.F("rollup_days")),
                            ("payload_days__gte", 1),
                            ("payload_days__lte", models.F("metadata_days")),
                        ),
                        name="retention_payloads_then_metadata_then_rollups",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="RetentionRun",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("started_at", models.DateTimeField()),
                ("finished_at", models.DateTimeField(null=True)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("running", "Running"),
                            ("finished", "Finished"),
                            ("unfinished", "Unfinished"),
                            ("failed", "Failed"),
                        ],
                        default="running",
                        max_length=10,
                    ),
                ),
                ("details", models.JSONField(default=dict)),
            ],
            options={
                "ordering": ["-id"],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("state__in", ["running", "finished", "unfinished", "failed"])),
                        name="retention_run_state_is_known",
                    )
                ],
                "indexes": [
                    models.Index(
                        condition=models.Q(("state", "finished")), fields=["-id"], name="retention_run_finished"
                    )
                ],
            },
        ),
        migrations.RemoveConstraint(
            model_name="datakey",
            name="data_key_once_per_environment_and_day",
        ),
        migrations.AddField(
            model_name="datakey",
            name="kept",
            field=models.BooleanField(db_default=False, default=False),
        ),
        migrations.AddField(
            model_name="flow",
            name="payload_days",
            field=models.PositiveSmallIntegerField(null=True),
        ),
        migrations.AddIndex(
            model_name="deadletter",
            index=models.Index(fields=["payload_on"], name="dead_letter_by_payload_day"),
        ),
        migrations.AddIndex(
            model_name="deadletter",
            index=models.Index(
                condition=models.Q(("state", "closed")), fields=["environment", "closed_at"], name="dead_letter_closed"
            ),
        ),
        migrations.AddConstraint(
            model_name="datakey",
            constraint=models.UniqueConstraint(
                fields=("environment", "day", "kept"), name="data_key_once_per_environment_day_and_use"
            ),
        ),
    ]
