"""A receiver may ask to be left alone for a while: all replays over its connection wait, also across a restart."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("messaging", "0015_queue_readings")]

    operations = [
        migrations.AddField(model_name="connection", name="not_before", field=models.DateTimeField(null=True)),
    ]
