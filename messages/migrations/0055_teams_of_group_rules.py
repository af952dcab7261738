from django.contrib.postgres.fields import ArrayField
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("messaging", "0051_subscription_in_vain"),
    ]

    operations = [
        migrations.AddField(
            model_name="grouprule",
            name="teams",
            field=ArrayField(base_field=models.IntegerField(), null=True, size=None),
        ),
    ]
