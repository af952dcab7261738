"""Of a group's failed messages since when the oldest waits, beside its letters, which may be being replayed, and whether there may be more of them.

Names that rules made of the hash of a masked key lose it: it is told to nobody who may not find by it.
"""

from django.db import migrations, models

HASH = "#[0-9a-f]{32}"


class Migration(migrations.Migration):
    dependencies = [
        ("messaging", "0055_also_in"),
    ]

    operations = [
        migrations.AddField(
            model_name="failuregroup",
            name="failed_oldest_at",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name="failuregroup",
            name="failed_capped",
            field=models.BooleanField(default=False, db_default=False),
        ),
        migrations.RunSQL(
            f"UPDATE messaging_failuregroup SET name = regexp_replace(name, '{HASH}', '•••', 'g') WHERE name ~ '{HASH}'",  # noqa: S608  a constant of ours
            migrations.RunSQL.noop,
        ),
    ]
