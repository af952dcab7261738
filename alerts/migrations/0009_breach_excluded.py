"""Whether a breach cannot be measured because its time is excluded: then nobody is told more of it, and a person may close it."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("alerts", "0008_stepped_at"),
    ]

    operations = [
        migrations.AddField(
            model_name="breach", name="is_excluded", field=models.BooleanField(db_default=False, default=False)
        ),
    ]
