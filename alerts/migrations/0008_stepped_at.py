"""When the last step of an escalation was told, so that the next one keeps its distance to it."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("alerts", "0007_searches_by_the_minute"),
    ]

    operations = [
        migrations.AddField(
            model_name="telling",
            name="stepped_at",
            field=models.DateTimeField(null=True),
        ),
    ]
