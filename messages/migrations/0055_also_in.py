"""Which flows, other than its own, a message's events and letters are of: whoever may not see all of them is shown neither its count nor its times.
And of a group since when its oldest failed message waits, beside its letters, which may be being replayed, and whether there may be more of those.

`also_in` is beside `told_by`, by which words are kept apart: most flows that a message passes tell no words, and those of the row are then for everybody.
"""

import django.contrib.postgres.fields
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("messaging", "0054_figures_no"),
    ]

    operations = [
        migrations.RunSQL(
            "ALTER TABLE messaging_message ADD COLUMN also_in bigint[]",
            "ALTER TABLE messaging_message DROP COLUMN also_in",
            state_operations=[
                migrations.AddField(
                    model_name="message",
                    name="also_in",
                    field=django.contrib.postgres.fields.ArrayField(models.BigIntegerField(), null=True),
                ),
            ],
        ),
        migrations.AddField(
            model_name="failuregroup",
            name="failed_oldest_at",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name="failuregroup",
            name="failed_capped",
            field=models.BooleanField(default=False),
        ),
    ]
