"""What Elasticsearch had is remembered, so that what it lost is seen. What is live already is taken as whole once."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("messaging", "0047_own_failure"),
    ]

    operations = [
        migrations.AddField(
            model_name="searchgeneration",
            name="indices",
            field=models.JSONField(db_default={}, default=dict),
        ),
        migrations.AddField(
            model_name="searchgeneration",
            name="kept",
            field=models.BigIntegerField(null=True),
        ),
    ]
