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
    SELECT d.keys ->> %(key)s AS key, 0 AS messages, (CASE d.resolution WHEN 'processed' THEN '3' ELSE '2' END) || 'l' || d.id::text AS best,
           0 AS taken, CASE d.resolution WHEN 'processed' THEN d.closed_at ELSE d.failed_at END AS said_at
    FROM messaging_deadletter d
    WHERE d.environment_id = %(environment)s AND d.flow_id = %(flow)s AND d.message_uid IS NULL AND d.keys ->> %(key)s <> ''
      AND d.id >= %(letters_since)s AND (%(system)s::bigint IS NULL OR d.system_id IS NULL OR d.system_id = %(system)s)"""
# Whoever sees the flow sees these keys: of a message of which flows of other teams told, only what its own flow told is its key.
OTHER_TEAMS = """SELECT id FROM messaging_flow WHERE environment_id = %(environment)s AND team_id IS NOT NULL
                       AND team_id IS DISTINCT FROM (SELECT team_id FROM messaging_flow WHERE id = %(flow)s)"""
HIDDEN = f"m.told_by && ARRAY({OTHER_TEAMS})"
OWN = """(
    SELECT said.key FROM (
        SELECT e.keys ->> %(key)s AS key, e.occurred_at AS at FROM messaging_event e
        WHERE e.message_uid = m.id AND e.flow_id = m.flow_id AND e.keys ->> %(key)s <> ''
          AND e.occurred_at BETWEEN coalesce(m.started_at, m.first_seen_at) - interval '1 hour' AND m.last_seen_at + interval '1 hour'
        UNION ALL SELECT d.keys ->> %(key)s, d.failed_at FROM messaging_deadletter d
        WHERE d.message_uid = m.id AND d.flow_id = m.flow_id AND d.keys ->> %(key)s <> ''
    ) said ORDER BY said.at DESC LIMIT 1)"""
OF_ROW = "CASE m.status WHEN 1 THEN '3m' WHEN 2 THEN '2f' WHEN 3 THEN '2m' WHEN 4 THEN '2m' ELSE '1m' END"
# A message has one row, of the flow that told of it first. Of one that another flow told first, what this flow tells itself counts, once, when it first
# does: `told` are its events of the day, and letters of messages that it has no event of, `later` its events since, `died` its letters. What it says
# nothing of, the key or what became of it, is what the row says, unless flows of other teams told of it.
FAILS, DELIVERS = "e.outcome = 2", "e.outcome <> 2 AND (e.operation = 4 OR e.operation = 5 AND e.outcome = 1)"
TELLS = f"""
    max(e.occurred_at) FILTER (WHERE {FAILS}) AS failed_at, max(e.occurred_at) FILTER (WHERE {DELIVERS}) AS delivered_at,
    (array_agg(e.keys ->> %(key)s ORDER BY e.occurred_at DESC) FILTER (WHERE e.keys ->> %(key)s <> ''))[1] AS key"""
SHARED = f"""
    SELECT nullif(coalesce(later.key, told.key, died.key, CASE WHEN NOT m.hidden THEN m.key END), '') AS key, m.id,
           CASE WHEN died.waits THEN '2m'
                 WHEN greatest(told.delivered_at, later.delivered_at, died.processed_at)
                      > coalesce(greatest(told.failed_at, later.failed_at, died.failed_at), '-infinity') THEN CASE m.status WHEN 4 THEN '2m' ELSE '3m' END
                 WHEN coalesce(told.failed_at, later.failed_at, died.failed_at) IS NOT NULL THEN '2f'
                 WHEN NOT m.hidden THEN {OF_ROW} ELSE '1m' END AS fared, m.status, m.failed_at, m.began, m.last_seen_at
    FROM (
        SELECT e.message_uid, %(begins)s::timestamptz AS before, {TELLS}
        FROM messaging_event e
        WHERE e.environment_id = %(environment)s AND e.flow_id = %(flow)s AND e.message_uid IS NOT NULL
          AND e.occurred_at >= %(begins)s AND e.occurred_at < %(ends)s
          AND NOT EXISTS (SELECT FROM messaging_message own
                          WHERE own.id = e.message_uid AND own.first_seen_on = %(day)s AND own.flow_id = %(flow)s)
        GROUP BY 1
        UNION ALL
        SELECT DISTINCT d.message_uid, NULL::timestamptz, NULL::timestamptz, NULL::timestamptz, NULL::text FROM messaging_deadletter d
        WHERE d.environment_id = %(environment)s AND d.flow_id = %(flow)s AND d.message_uid IS NOT NULL
          AND d.id >= %(letters_since)s AND d.id < %(letters_until)s
    ) told CROSS JOIN LATERAL (
        SELECT m.id, m.flow_id, m.status, m.failed_at, m.last_seen_at, coalesce(m.started_at, m.first_seen_at) - interval '1 hour' AS began,
               m.keys ->> %(key)s AS key,
               (m.told_by || m.flow_id) && ARRAY({OTHER_TEAMS}) AS hidden
        FROM messaging_message m
        WHERE m.id = told.message_uid AND m.first_seen_on BETWEEN %(day)s::date - 4 AND %(day)s::date + 4
        ORDER BY m.flow_id = %(flow)s DESC LIMIT 1
    ) m CROSS JOIN LATERAL (
        SELECT {TELLS} FROM messaging_event e
        WHERE m.last_seen_at >= %(ends)s AND e.message_uid = m.id AND e.flow_id = %(flow)s
          AND e.occurred_at >= %(ends)s AND e.occurred_at <= m.last_seen_at
    ) later CROSS JOIN LATERAL (
        SELECT bool_or(d.closed_at IS NULL) AS waits, bool_or(d.id < %(letters_since)s) AS before,
               max(d.closed_at) FILTER (WHERE d.resolution = 'processed') AS processed_at,
               max(greatest(d.failed_at, CASE WHEN d.resolution <> 'processed' THEN d.closed_at END)) AS failed_at,
               max(nullif(d.keys ->> %(key)s, '')) AS key
        FROM messaging_deadletter d WHERE m.failed_at IS NOT NULL AND d.message_uid = m.id AND d.flow_id = %(flow)s
    ) died
    WHERE m.flow_id <> %(flow)s AND died.before IS NOT TRUE
      AND CASE WHEN m.began < coalesce(told.before, %(ends)s) THEN (
          SELECT true FROM messaging_event e
          WHERE e.message_uid = m.id AND e.flow_id = %(flow)s AND e.occurred_at >= m.began
            AND e.occurred_at < coalesce(told.before, %(ends)s) LIMIT 1) END IS NULL"""  # noqa: S608  constants of ours
MESSAGES_OF_FLOW = f"""
    SELECT nullif(CASE WHEN {HIDDEN} THEN {OWN} ELSE m.keys ->> %(key)s END, '') AS key, m.id, {OF_ROW} AS fared,
           m.status, m.failed_at, coalesce(m.started_at, m.first_seen_at) - interval '1 hour' AS began, m.last_seen_at
    FROM messaging_message m
    WHERE m.first_seen_on = %(day)s AND m.environment_id = %(environment)s AND m.flow_id = %(flow)s
      AND m.first_seen_at >= %(since)s AND m.first_seen_at < %(until)s
    UNION ALL {SHARED}"""  # noqa: S608  constants of ours
SEEN = f"""
INSERT INTO messaging_reconciliation_seen (reconciliation_id, key, messages, best, carried)
SELECT %(pk)s, f.key, sum(f.messages), max(f.best COLLATE "C"), CASE WHEN count(*) > 1 THEN string_agg(f.best, ',') FILTER (WHERE f.key IS NOT NULL) END
FROM (
    SELECT m.key, 1 AS messages, m.fared || m.id::text AS best FROM ({MESSAGES_OF_FLOW}) m
    UNION ALL SELECT key, messages, best FROM ({LETTERS} AND d.id < %(letters_until)s) l
) f GROUP BY 2
"""  # noqa: S608  constants of ours
# Of a named system, what it said last of a key decides: its events and letters of every flow that whoever sees this flow may see, letters of no system
# among them. best: the time of that word before the rank, of two at once the failure; taken: how many messages it took.
SAID = "lpad((extract(epoch FROM coalesce(said_at, 'epoch')) * 1000000)::bigint::text, 17, '0') || (best ~ '^2')::int || best"
# It failed the message and sent it on to be tried again under another name; delivered, nobody's failure of it stands.
SENT_ON = """EXISTS (
    SELECT FROM messaging_event e
    JOIN messaging_trace_link l ON l.linked_trace_id = e.trace_id AND l.linked_span_id = e.span_id
    JOIN messaging_event s ON s.trace_id = l.trace_id AND s.span_id = l.span_id AND s.occurred_at = l.occurred_at
    WHERE e.message_uid = m.id AND e.system_id = %(system)s AND e.outcome = 2 AND e.occurred_at BETWEEN m.began AND m.last_seen_at
      AND l.occurred_at BETWEEN m.began AND m.last_seen_at + interval '4 days' AND s.system_id = %(system)s AND s.operation IN (1, 2)
      AND s.message_id IS NULL AND messaging_is_retry_of(s.destination, e.destination))"""
WORD_OF_SYSTEM = f"""
    SELECT CASE WHEN waits OR status = 4 AND passed_at IS NOT NULL THEN '2m'
                WHEN passed_at > coalesce(greatest(failed_at, given_up_at), '-infinity') THEN '3m'
                WHEN failed_at IS NOT NULL THEN CASE WHEN status = 1 AND given_up_at IS NULL AND {SENT_ON} THEN '3m' ELSE '2m' END
                ELSE '1m' END AS fared, took, passed_at, failed_at
    FROM (
        SELECT max(at) FILTER (WHERE passed) AS passed_at, max(at) FILTER (WHERE NOT passed) AS failed_at, max(given_up_at) AS given_up_at,
               coalesce(bool_or(waits), false) AS waits, coalesce(bool_or(took), false) AS took
        FROM (
            SELECT e.occurred_at AS at, CASE WHEN {FAILS} THEN false WHEN {DELIVERS} THEN true END AS passed, e.operation >= 3 AS took,
                   false AS waits, NULL::timestamptz AS given_up_at
            FROM messaging_event e
            WHERE e.message_uid = m.id AND e.system_id = %(system)s AND e.flow_id <> ALL (ARRAY({OTHER_TEAMS}))
              AND e.occurred_at BETWEEN m.began AND m.last_seen_at + interval '1 hour'
            UNION ALL
            SELECT CASE d.resolution WHEN 'processed' THEN d.closed_at ELSE d.failed_at END, coalesce(d.resolution = 'processed', false), true,
                   d.closed_at IS NULL, CASE WHEN d.resolution <> 'processed' THEN d.closed_at END
            FROM messaging_deadletter d
            WHERE m.failed_at IS NOT NULL AND d.message_uid = m.id AND (d.system_id = %(system)s OR d.system_id IS NULL)
              AND d.flow_id <> ALL (ARRAY({OTHER_TEAMS}))
        ) said
    ) words"""  # noqa: S608  constants of ours
SEEN_OF_SYSTEM = f"""
INSERT INTO messaging_reconciliation_seen (reconciliation_id, key, messages, taken, best)
SELECT %(pk)s, f.key, sum(f.messages), sum(f.taken), max(({SAID}) COLLATE "C")
FROM (
    SELECT m.key, 1 AS messages, w.took::int AS taken, w.fared || m.id::text AS best,
           CASE w.fared WHEN '3m' THEN w.passed_at WHEN '2m' THEN coalesce(w.failed_at, w.passed_at) END AS said_at
    FROM ({MESSAGES_OF_FLOW}) m CROSS JOIN LATERAL ({WORD_OF_SYSTEM}) w
    UNION ALL SELECT key, messages, taken, best, said_at FROM ({LETTERS} AND d.id < %(letters_until)s) l
) f GROUP BY 2
"""  # noqa: S608  constants of ours
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
    SELECT key, messages, right(CASE WHEN seen LIKE '%%3_____________________________________' THEN seen ELSE best END, 38) AS best FROM (
        SELECT key, sum(coalesce(taken, messages))::int AS messages, max(best COLLATE "C") AS best,
               max(best COLLATE "C") FILTER (WHERE in_period) AS seen FROM (
            SELECT key, messages, taken, best, true AS in_period FROM messaging_reconciliation_seen WHERE reconciliation_id = %(pk)s AND key IS NOT NULL
            UNION ALL SELECT key, messages, taken, CASE WHEN %(system)s::bigint IS NULL THEN best ELSE {SAID} END, false FROM ({LETTERS}) later
        ) f GROUP BY key HAVING bool_or(in_period)
    ) k
) s ON s.key = l.key
ORDER BY 2, 3
"""  # noqa: S608  a constant of ours
# Where any receiver counts, a key of several messages may have failed at one and passed at another: short ids make one order a message at each
# destination. Of each of these messages what its systems said is asked. The key failed where what a system failed last it did not pass later, under
# whichever message; a failed sending, and a closed letter of no system, where nobody did. It came as often as one system took it, or sent it under ids of
# their own; what nobody said anything of stays as it is. made_good: since then a failure is none.
SEVERAL = """SELECT coalesce(sum(messages), 0)::bigint FROM messaging_reconciled_key WHERE reconciliation_id = %(pk)s AND messages > 1 AND listed > 0"""
MOST_ASKED = 1_000_000  # messages of such keys; of more, only keys are asked that have a message that failed and one that was delivered
ASKED = f"""
WITH carried AS MATERIALIZED (
    SELECT g.kind, g.key, one.best FROM (
        SELECT key, max(kind) AS kind, string_agg(carried, ',') AS carried FROM (
            SELECT key, NULL::smallint AS kind, coalesce(carried, best) AS carried FROM messaging_reconciliation_seen
            WHERE reconciliation_id = %(pk)s AND key IS NOT NULL
            UNION ALL SELECT key, kind, NULL FROM messaging_reconciled_key WHERE reconciliation_id = %(pk)s AND messages > 1 AND listed > 0
        ) f GROUP BY key HAVING max(kind) IS NOT NULL AND (%(every)s OR max(kind) = 1 AND bool_or(carried ~ '(^|,)2'))
    ) g CROSS JOIN LATERAL unnest(string_to_array(g.carried, ',')) one (best)
    WHERE one.best NOT LIKE '_l%%'
), told AS (
    SELECT c.kind, c.key, w.system_id, max(w.at) FILTER (WHERE w.passed) AS passed_at, max(w.at) FILTER (WHERE NOT w.passed) AS failed_at,
           (array_agg(m.id ORDER BY w.at DESC) FILTER (WHERE NOT w.passed))[1] AS failed_uid,
           count(DISTINCT m.id) FILTER (WHERE w.operation >= 3) AS taken, count(DISTINCT m.message_id) FILTER (WHERE w.operation IN (1, 2)) AS sent
    FROM carried c CROSS JOIN LATERAL (
        SELECT m.id, m.message_id, m.flow_id, m.failed_at, m.last_seen_at, coalesce(m.started_at, m.first_seen_at) - interval '1 hour' AS began
        FROM messaging_message m
        WHERE m.id = right(c.best, 36)::uuid AND m.first_seen_on BETWEEN %(first)s AND %(last)s
        ORDER BY m.flow_id = %(flow)s DESC LIMIT 1
    ) m CROSS JOIN LATERAL (
        SELECT e.occurred_at AS at, CASE WHEN {FAILS} AND e.operation IN (1, 2) THEN NULL ELSE e.system_id END AS system_id, e.operation,
               CASE WHEN {FAILS} THEN false WHEN {DELIVERS} THEN true END AS passed
        FROM messaging_event e
        WHERE e.message_uid = m.id AND e.occurred_at BETWEEN m.began AND m.last_seen_at + interval '1 hour'
          AND (e.flow_id = %(flow)s OR m.flow_id = %(flow)s AND e.flow_id <> ALL (ARRAY({OTHER_TEAMS})))
        UNION ALL
        SELECT CASE WHEN d.closed_at IS NULL AND d.system_id IS NULL THEN 'infinity' WHEN d.resolution = 'processed' THEN d.closed_at ELSE d.failed_at END,
               d.system_id, 3, coalesce(d.resolution = 'processed', false)
        FROM messaging_deadletter d
        WHERE m.failed_at IS NOT NULL AND d.message_uid = m.id
          AND (d.flow_id = %(flow)s OR m.flow_id = %(flow)s AND d.flow_id <> ALL (ARRAY({OTHER_TEAMS})))
    ) w GROUP BY 1, 2, 3
), asked AS (
    SELECT kind, key, max(taken) AS taken, max(sent) AS sent,
           (array_agg(failed_uid ORDER BY failed_at DESC) FILTER (WHERE failed_at >= coalesce(made_good, '-infinity')))[1] AS failed_uid
    FROM (
        SELECT *, CASE WHEN system_id IS NULL THEN max(passed_at) OVER of_key
                       ELSE greatest(passed_at, max(passed_at) FILTER (WHERE system_id IS NULL) OVER of_key) END AS made_good
        FROM told WINDOW of_key AS (PARTITION BY kind, key)
    ) t GROUP BY 1, 2
)
UPDATE messaging_reconciled_key k
SET kind = CASE WHEN a.failed AND k.letter_id IS NULL THEN 2 ELSE k.kind END,
    message_uid = CASE WHEN a.failed AND k.letter_id IS NULL THEN a.failed_uid ELSE k.message_uid END,
    messages = coalesce(nullif(greatest(a.taken, a.sent), 0), k.messages)
FROM (SELECT *, kind = 1 AND failed_uid IS NOT NULL AS failed FROM asked) a
WHERE k.reconciliation_id = %(pk)s AND k.kind = a.kind AND k.key = a.key
"""  # noqa: S608  constants of ours
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
