"""The same of messages from before, in a transaction of its own: while it reads, messages are stored as ever."""

from django.db import migrations

FILL = """
SET LOCAL statement_timeout = 0;
UPDATE messaging_message m SET told_by = told.flows FROM (
    SELECT one.id, one.first_seen_on, array_agg(DISTINCT said.flow_id) AS flows FROM (
        SELECT message_uid, flow_id FROM messaging_event
        WHERE message_uid IS NOT NULL AND (keys <> '{}' OR error_type IS NOT NULL OR error_message IS NOT NULL)
        UNION ALL SELECT message_uid, flow_id FROM messaging_deadletter WHERE message_uid IS NOT NULL
    ) said JOIN messaging_message one ON one.id = said.message_uid AND one.flow_id <> said.flow_id
    GROUP BY one.id, one.first_seen_on
) told WHERE m.id = told.id AND m.first_seen_on = told.first_seen_on
"""


class Migration(migrations.Migration):
    dependencies = [
        ("messaging", "0045_told_by"),
    ]

    operations = [
        migrations.RunSQL(FILL, migrations.RunSQL.noop),
    ]
