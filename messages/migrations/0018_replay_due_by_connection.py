"""Replays are claimed in windows of one connection, in the order of their request: the index of what is due goes by both.

Two indexes that nothing asks are gone: every claim and every mark wrote to them.
"""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("messaging", "0017_mapping")]

    operations = [
        migrations.AlterField(
            model_name="replay",
            name="environment",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="identity.environment",
            ),
        ),
        migrations.AlterField(
            model_name="replay",
            name="connection",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="messaging.connection",
            ),
        ),
        migrations.RemoveIndex(model_name="replay", name="replay_due"),
        migrations.AddIndex(
            model_name="replay",
            index=models.Index(
                condition=models.Q(("state__in", ["queued", "sending"])),
                fields=["connection", "id"],
                name="replay_due",
            ),
        ),
    ]
