"""Which minutes of messages changed, and the function of the triggers that say so.

The triggers themselves are there only while something is counted by the minute of what a search finds (messages.touched.note_touched).
"""

import django.contrib.postgres.fields
import django.db.models.deletion
from django.db import migrations, models

FUNCTION = """
CREATE FUNCTION messaging_note_minutes() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO messaging_touchedminutes (environment_id, minutes)
    SELECT environment_id, array_agg(minute)
    FROM (SELECT DISTINCT environment_id, date_bin('1 minute', first_seen_at, '2000-01-01T00:00:00Z') AS minute FROM changed) c
    GROUP BY environment_id;
    RETURN NULL;
END $$
"""


class Migration(migrations.Migration):
    dependencies = [
        ("identity", "0002_agent_quota"),
        ("messaging", "0041_report_days"),
    ]

    operations = [
        migrations.CreateModel(
            name="TouchedMinutes",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("minutes", django.contrib.postgres.fields.ArrayField(base_field=models.DateTimeField(), size=None)),
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
            options={"ordering": ["id"]},
        ),
        migrations.RunSQL(FUNCTION, "DROP FUNCTION messaging_note_minutes() CASCADE"),
    ]
