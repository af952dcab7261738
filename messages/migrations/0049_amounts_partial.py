"""Whether an amount of a group's failures could not be read, which the next refresh of its figures says."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("messaging", "0048_search_lost"),
    ]

    operations = [
        migrations.AddField(
            model_name="failuregroup",
            name="amounts_partial",
            field=models.BooleanField(db_default=False, default=False),
        ),
    ]
