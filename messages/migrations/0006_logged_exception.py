"""Exceptions that applications logged inside a span (OTLP logs): kept apart until the span's own event is here."""

from django.db import migrations, models

TABLE = """
CREATE TABLE messaging_logged_exception (
    occurred_at timestamptz NOT NULL,
    id uuid NOT NULL,
    environment_id bigint NOT NULL,
    event_id uuid NOT NULL,
    system text NOT NULL,
    error_type text NOT NULL,
    error_message text,
    error_stack text,
    attached boolean NOT NULL DEFAULT false,
    PRIMARY KEY (id, occurred_at)
) PARTITION BY RANGE (occurred_at);
CREATE INDEX logged_exception_by_event ON messaging_logged_exception (event_id);
CREATE INDEX logged_exception_waiting ON messaging_logged_exception (occurred_at) WHERE NOT attached;
CREATE TABLE messaging_logged_exception_default PARTITION OF messaging_logged_exception DEFAULT;
"""


class Migration(migrations.Migration):
    dependencies = [("messaging", "0002_partitioned_tables")]

    operations = [
        migrations.RunSQL(TABLE, "DROP TABLE messaging_logged_exception CASCADE"),
        migrations.CreateModel(
            name="LoggedException",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "occurred_at", "id", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("occurred_at", models.DateTimeField()),
                ("id", models.UUIDField()),
                ("event_id", models.UUIDField()),
                ("system", models.TextField()),
                ("error_type", models.TextField()),
                ("error_message", models.TextField(null=True)),
                ("error_stack", models.TextField(null=True)),
                ("attached", models.BooleanField()),
            ],
            options={"db_table": "messaging_logged_exception", "managed": False},
        ),
    ]
