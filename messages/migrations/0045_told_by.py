"""Which flows, other than its own, told of a message's keys or its error: whoever may not see all of them is not shown what they told.

What Elasticsearch has of messages does not say so: it is built anew, and PostgreSQL answers meanwhile.
"""

import django.contrib.postgres.fields
from django.db import migrations, models

ANEW = """
UPDATE messaging_searchgeneration SET state = 'retiring', lease_until = NULL, leased_by = NULL WHERE state IN ('building', 'live')
"""


class Migration(migrations.Migration):
    dependencies = [
        ("messaging", "0044_reconciled_letters"),
    ]

    operations = [
        migrations.RunSQL(
            "ALTER TABLE messaging_message ADD COLUMN told_by bigint[]",
            "ALTER TABLE messaging_message DROP COLUMN told_by",
            state_operations=[
                migrations.AddField(
                    model_name="message",
                    name="told_by",
                    field=django.contrib.postgres.fields.ArrayField(models.BigIntegerField(), null=True),
                ),
            ],
        ),
        migrations.RunSQL(ANEW, migrations.RunSQL.noop),
    ]
