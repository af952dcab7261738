from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("messaging", "0031_two_way_agents")]

    operations = [
        migrations.AddField("replay", "despite_stop", models.BooleanField(db_default=False, default=False)),
    ]
