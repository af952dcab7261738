"""The steps of a comparison. Pure but for the SQL that it writes down.

First each day's messages of the flow are counted by key (`seen`), and its dead letters that name no message, then the list and what was seen are
joined in one statement. A step is a transaction: done whole under the claim's attempt, or not at all.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta

A_DAY_OFF = timedelta(days=4)  # a message's partition may be some days from when it was first seen
JOIN = "join"
Step = date | str

# best: the rank of what decides (3 delivered, 2 failed, dead or compensated, 1 on the way), what it is, and its id. What it is decides among equals:
# m a message, before l a letter, before f a message that failed and has no letter of its own. One row a key; messages without the key are one row,
# with none. A letter that names no message (Kafka gives none an id) is of some message of its key.
LETTERS = """
    SELECT d.keys ->> %(key)s AS key, 0 AS messages, (CASE d.resolution WHEN 'processed' THEN '3' ELSE '2' END) || 'l' || d.id::text AS best
    FROM messaging_deadletter d
    WHERE d.environment_id = %(environment)s AND d.flow_id = %(flow)s AND d.message_uid IS NULL AND d.keys ->> %(key)s <> ''
      AND d.id >= %(letters_since)s"""
# Whoever sees the flow sees these keys: of a message of which flows of other teams told, only what its own flow told is its key.
HIDDEN = """
    m.told_by && ARRAY(SELECT id FROM messaging_flow WHERE environment_id = %(environment)s AND team_id IS NOT NULL
                       AND team_id IS DISTINCT FROM (SELECT team_id FROM messaging_flow WHERE id = %(flow)s))"""
OWN = """(
    SELECT said.key FROM (
        SELECT e.keys ->> %(key)s AS key, e.occurred_at AS at FROM messaging_event e
        WHERE e.message_uid = m.id AND e.flow_id = m.flow_id AND e.keys ->> %(key)s <> ''
          AND e.occurred_at BETWEEN coalesce(m.started_at, m.first_seen_at) - interval '1 hour' AND m.last_seen_at + interval '1 hour'
        UNION ALL SELECT d.keys ->> %(key)s, d.failed_at FROM messaging_deadletter d
        WHERE d.message_uid = m.id AND d.flow_id = m.flow_id AND d.keys ->> %(key)s <> ''
    ) said ORDER BY said.at DESC LIMIT 1)"""
SEEN = f"""
INSERT INTO messaging_reconciliation_seen (reconciliation_id, key, messages, best)
SELECT %(pk)s, f.key, sum(f.messages), max(f.best COLLATE "C")
FROM (
    SELECT nullif(CASE WHEN {HIDDEN} THEN {OWN} ELSE m.keys ->> %(key)s END, '') AS key, 1 AS messages,
           (CASE m.status WHEN 1 THEN '3m' WHEN 2 THEN '2f' WHEN 3 THEN '2m' WHEN 4 THEN '2m' ELSE '1m' END) || m.id::text AS best
    FROM messaging_message m
    WHERE m.first_seen_on = %(day)s AND m.environment_id = %(environment)s AND m.flow_id = %(flow)s
      AND m.first_seen_at >= %(since)s AND m.first_seen_at < %(until)s
    UNION ALL {LETTERS} AND d.id < %(letters_until)s
) f GROUP BY 2
"""  # noqa: S608  a constant of ours
# kind: 4 - rank is 1 processed, 2 failed, 3 on the way; 4 never seen, 5 not on the list. Letters that came after the period tell how it ended
# with a key that was seen in it, and nothing of others; counted in one pass, because no statistics know yet how much was seen.
JOINED = f"""
INSERT INTO messaging_reconciled_key (reconciliation_id, kind, key, listed, line, messages, message_uid, letter_id)
SELECT %(pk)s, CASE WHEN l.key IS NULL THEN 5 WHEN s.key IS NULL THEN 4 ELSE 4 - left(s.best, 1)::int END,
       coalesce(l.key, s.key), coalesce(l.listed, 0), l.line, CASE WHEN s.key IS NULL THEN 0 ELSE greatest(s.messages, 1) END,
       CASE WHEN s.best NOT LIKE '_l%%' THEN right(s.best, 36)::uuid END, CASE WHEN s.best LIKE '_l%%' THEN right(s.best, 36)::uuid END
FROM (
    SELECT key, count(*)::int AS listed, min(line) AS line FROM messaging_reconciliation_line
    WHERE reconciliation_id = %(pk)s AND attempt = %(list)s GROUP BY key
) l FULL JOIN (
    SELECT key, sum(messages)::int AS messages, max(best COLLATE "C") AS best FROM (
        SELECT key, messages, best, true AS in_period FROM messaging_reconciliation_seen WHERE reconciliation_id = %(pk)s AND key IS NOT NULL
        UNION ALL SELECT key, messages, best, false FROM ({LETTERS}) later
    ) f GROUP BY key HAVING bool_or(in_period)
) s ON s.key = l.key
ORDER BY 2, 3
"""  # noqa: S608  a constant of ours
COUNTED = """
SELECT count(*) FILTER (WHERE kind = 1) AS processed, count(*) FILTER (WHERE kind = 2) AS failed,
       count(*) FILTER (WHERE kind = 3) AS moving, count(*) FILTER (WHERE kind = 4) AS never,
       count(*) FILTER (WHERE kind = 5) AS unlisted, count(*) FILTER (WHERE kind < 5) AS listed,
       count(*) FILTER (WHERE kind < 4 AND messages > 1) AS twice,
       coalesce(sum(listed - 1) FILTER (WHERE kind < 5), 0)::bigint AS repeated
FROM messaging_reconciled_key WHERE reconciliation_id = %(pk)s
"""
MESSAGES = """
SELECT coalesce(sum(messages), 0)::bigint AS messages, coalesce(sum(messages) FILTER (WHERE key IS NULL), 0)::bigint AS without_key
FROM messaging_reconciliation_seen WHERE reconciliation_id = %(pk)s
"""


def steps_of(since: datetime, until: datetime) -> list[Step]:
    """Return the days whose messages are counted, and the join."""
    first, last = (since - A_DAY_OFF).date(), (until + A_DAY_OFF).date()
    return [*(first + timedelta(days=number) for number in range((last - first).days + 1)), JOIN]
