"""How many messages the events of a rollup were about, as a batch's one is about many: what failed is counted in messages, and compared with what passed.

Null of what was counted before, and of what processes of the version before count: these write rows of their own, of the shards 0 to 7.
"""

from django.db import migrations, models


def column(table: str, model: str) -> migrations.RunSQL:
    return migrations.RunSQL(
        f"ALTER TABLE {table} ADD COLUMN messages bigint",
        f"ALTER TABLE {table} DROP COLUMN messages",
        state_operations=[migrations.AddField(model, "messages", models.BigIntegerField(null=True))],
    )


class Migration(migrations.Migration):
    dependencies = [
        ("messaging", "0059_fares"),
    ]

    operations = [column("messaging_rollup_minute", "rollupminute"), column("messaging_rollup_hour", "rolluphour")]
