"""Which flows, other than its own, a message's events and letters are of: whoever may not see all of them is shown neither its count nor its times.

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
    ]
