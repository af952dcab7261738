"""A message that failed and whose letter came was counted by both: of hours that were counted so, each letter takes one of them off."""

from django.db import migrations

ONCE = """
SET LOCAL statement_timeout = 0;
INSERT INTO messaging_grouphour AS h (group_id, hour, shard, letters, messages)
SELECT group_id, hour, 0, 0, -least(sum(letters), sum(messages)) FROM messaging_grouphour
GROUP BY group_id, hour HAVING sum(letters) > 0 AND sum(messages) > 0
ON CONFLICT (group_id, hour, shard) DO UPDATE SET messages = h.messages + excluded.messages
"""


class Migration(migrations.Migration):
    dependencies = [
        ("messaging", "0042_touched_minutes"),
    ]

    operations = [
        migrations.RunSQL(ONCE, migrations.RunSQL.noop),
    ]
