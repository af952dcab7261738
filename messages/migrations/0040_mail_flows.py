"""The flows that a mail tells of: who lost the right to one of them while it waited does not get it."""

import django.contrib.postgres.fields
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("messaging", "0039_error_texts_next_breach")]

    operations = [
        migrations.AddField(
            model_name="outboxmail",
            name="flows",
            field=django.contrib.postgres.fields.ArrayField(
                base_field=models.BigIntegerField(), db_default=[], default=list, size=None
            ),
        ),
    ]
