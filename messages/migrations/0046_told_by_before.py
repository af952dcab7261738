"""The same of messages from before, read at once and written a part of a day at a time, so that messages are stored as ever meanwhile."""

from typing import Any

from django.db import connection, migrations, transaction

AT_ONCE = 5_000
READ = """
SET LOCAL statement_timeout = 0;
CREATE TEMPORARY TABLE told_before AS
SELECT first_seen_on, id, flows, row_number() OVER (PARTITION BY first_seen_on ORDER BY id) AS number FROM (
    SELECT one.id, one.first_seen_on, array_agg(DISTINCT said.flow_id) AS flows FROM (
        SELECT message_uid, flow_id FROM messaging_event
        WHERE message_uid IS NOT NULL AND (keys <> '{}' OR error_type IS NOT NULL OR error_message IS NOT NULL)
        UNION ALL SELECT message_uid, flow_id FROM messaging_deadletter WHERE message_uid IS NOT NULL
    ) said JOIN messaging_message one ON one.id = said.message_uid AND one.flow_id <> said.flow_id
    GROUP BY one.id, one.first_seen_on
) told;
CREATE INDEX ON told_before (first_seen_on, number);
ANALYZE told_before
"""
# In the order in which every writer of several locks them; beside what was noted since they were read.
WRITE = """
WITH mine AS (
    SELECT m.id, t.flows FROM told_before t JOIN messaging_message m ON m.id = t.id AND m.first_seen_on = t.first_seen_on
    WHERE t.first_seen_on = %(day)s AND m.first_seen_on = %(day)s AND t.number > %(after)s AND t.number <= %(after)s + %(most)s
    ORDER BY m.id FOR NO KEY UPDATE OF m
)
UPDATE messaging_message m SET told_by = ARRAY(SELECT DISTINCT flow FROM unnest(m.told_by || mine.flows) AS flow ORDER BY flow)
FROM mine WHERE m.id = mine.id AND m.first_seen_on = %(day)s
"""


def fill(*_: Any) -> None:
    with connection.cursor() as cursor:
        with transaction.atomic():
            cursor.execute(READ)
        cursor.execute("SELECT first_seen_on, max(number) FROM told_before GROUP BY 1 ORDER BY 1")
        for day, count in cursor.fetchall():
            for after in range(0, count, AT_ONCE):
                with transaction.atomic():
                    cursor.execute("SET LOCAL statement_timeout = 0")
                    cursor.execute(WRITE, {"day": day, "after": after, "most": AT_ONCE})
        cursor.execute("DROP TABLE told_before")


class Migration(migrations.Migration):
    atomic = False
    dependencies = [
        ("messaging", "0045_told_by"),
    ]

    operations = [
        migrations.RunPython(fill, migrations.RunPython.noop),
    ]
