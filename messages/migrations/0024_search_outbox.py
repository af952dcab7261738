"""The outbox of an optional search back end: its table, and the functions of the triggers that fill it.

The triggers themselves are made only where a back end is configured (messages.search.elastic.outbox.attach): without one a write costs
what it cost before. One row of the outbox names up to a thousand rows that one statement changed.
"""

import django.contrib.postgres.fields
import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models

FUNCTIONS = """
CREATE FUNCTION messaging_note_messages() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO messaging_searchchange (kind, environment_id, ids, first_on, last_on)
    SELECT 1, environment_id, array_agg(id), min(first_seen_on), max(first_seen_on)
    FROM (SELECT id, environment_id, first_seen_on, row_number() OVER () / 1000 AS part FROM changed) c
    GROUP BY environment_id, part;
    RETURN NULL;
END $$;
CREATE FUNCTION messaging_note_letters() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO messaging_searchchange (kind, environment_id, ids)
    SELECT 2, environment_id, array_agg(id)
    FROM (SELECT id, environment_id, row_number() OVER () / 1000 AS part FROM changed) c
    GROUP BY environment_id, part;
    IF TG_OP = 'DELETE' THEN  -- a message is found by the reasons of its letters; which day it lies in is not known here
        INSERT INTO messaging_searchchange (kind, environment_id, ids, first_on, last_on)
        SELECT 1, environment_id, array_agg(message_uid), '1970-01-01', current_date + 7
        FROM (SELECT message_uid, environment_id, row_number() OVER () / 1000 AS part FROM changed WHERE message_uid IS NOT NULL) c
        GROUP BY environment_id, part;
    END IF;
    RETURN NULL;
END $$;
CREATE SEQUENCE messaging_search_version;
"""
NO_FUNCTIONS = """
DROP SEQUENCE messaging_search_version;
DROP FUNCTION messaging_note_letters() CASCADE;
DROP FUNCTION messaging_note_messages() CASCADE;
"""


class Migration(migrations.Migration):
    dependencies = [
        ("identity", "0002_agent_quota"),
        ("messaging", "0023_reconcile"),
    ]

    operations = [
        migrations.AddField(
            model_name="flow",
            name="payload_search",
            field=models.BooleanField(db_default=False, default=False),
        ),
        migrations.CreateModel(
            name="SearchChange",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("kind", models.SmallIntegerField(choices=[(1, "Message"), (2, "Letter")])),
                ("ids", django.contrib.postgres.fields.ArrayField(base_field=models.UUIDField(), size=None)),
                ("first_on", models.DateField(null=True)),
                ("last_on", models.DateField(null=True)),
                ("changed_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("not_before", models.DateTimeField(null=True)),
                ("attempt", models.IntegerField(db_default=0)),
                (
                    "environment",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="identity.environment",
                    ),
                ),
            ],
            options={
                "ordering": ["id"],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("kind__in", [1, 2])), name="search_change_kind_is_known"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("first_on__isnull", False), ("kind", 1), ("last_on__isnull", False)),
                            models.Q(("first_on__isnull", True), ("kind", 2), ("last_on__isnull", True)),
                            _connector="OR",
                        ),
                        name="search_change_has_days_iff_messages",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="SearchGeneration",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "state",
                    models.CharField(
                        choices=[("building", "Building"), ("live", "Live"), ("retiring", "Retiring")],
                        default="building",
                        max_length=8,
                    ),
                ),
                ("days_per_index", models.PositiveSmallIntegerField()),
                ("started_at", models.DateTimeField(auto_now_add=True)),
                ("went_live_at", models.DateTimeField(null=True)),
                ("days_left", models.PositiveIntegerField(null=True)),
                ("filled_day", models.DateField(null=True)),
                ("filled_id", models.UUIDField(null=True)),
                ("messages_filled", models.BooleanField(default=False)),
                ("filled", models.BooleanField(default=False)),
                ("documents", models.BigIntegerField(default=0)),
                ("compared_run", models.BigIntegerField(null=True)),
                ("lease_until", models.DateTimeField(null=True)),
                ("leased_by", models.UUIDField(null=True)),
                (
                    "environment",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to="identity.environment"
                    ),
                ),
            ],
            options={
                "ordering": ["id"],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("state__in", ["building", "live", "retiring"])),
                        name="search_generation_state_is_known",
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(("state", "building")),
                        fields=("environment",),
                        name="search_generation_one_building",
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(("state", "live")),
                        fields=("environment",),
                        name="search_generation_one_live",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("lease_until__isnull", True), ("leased_by__isnull", True)),
                            models.Q(("lease_until__isnull", False), ("leased_by__isnull", False)),
                            _connector="OR",
                        ),
                        name="search_generation_lease_names_its_holder",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Unindexed",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("kind", models.SmallIntegerField(choices=[(1, "Message"), (2, "Letter")])),
                ("object_id", models.UUIDField()),
                ("reason", models.TextField()),
                ("refused_at", models.DateTimeField()),
                (
                    "environment",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to="identity.environment"
                    ),
                ),
            ],
            options={
                "ordering": ["-id"],
                "indexes": [models.Index(fields=["environment", "-id"], name="unindexed_newest")],
                "constraints": [
                    models.UniqueConstraint(fields=("kind", "object_id"), name="unindexed_once"),
                    models.CheckConstraint(condition=models.Q(("kind__in", [1, 2])), name="unindexed_kind_is_known"),
                ],
            },
        ),
        migrations.AddField(
            model_name="maskingrule",
            name="found_as",
            field=models.CharField(blank=True, db_default="", default="", max_length=64),
        ),
        migrations.RunSQL(FUNCTIONS, NO_FUNCTIONS),
    ]
