from django.contrib.postgres.fields import ArrayField
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("messaging", "0052_reconcile_told"),
    ]

    operations = [
        migrations.AddField(
            model_name="grouprule",
            name="teams",
            field=ArrayField(base_field=models.IntegerField(), null=True, size=None),
        ),
    ]
