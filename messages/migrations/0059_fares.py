"""What a message's events say together, asked where some say that it was processed and others that it failed, of one or of several receivers:
when it failed, where that stands, and when it was passed last. Null where one of the times that somebody told is of no event here: a batch that no
link ties. What is stored is told anew by it, and dead again where a letter of it waits.
"""

from django.db import migrations

AFTER = "[-._/:](retry|retries|redeliver[a-z]*|delay[a-z]*|wait|dlq|dlt|dead[a-z]*|errors?|parked)([-._/:0-9].*)?$"
ONE_QUEUE = f"""
CREATE FUNCTION messaging_is_one_queue(one text, other text) RETURNS boolean IMMUTABLE LANGUAGE sql AS $$
    SELECT coalesce(one, '') = '' OR coalesce(other, '') = '' OR a = b
        OR starts_with(a, b) AND substr(a, length(b) + 1, 1) ~ '[-._/:]'
        OR starts_with(b, a) AND substr(b, length(a) + 1, 1) ~ '[-._/:]'
    FROM (SELECT regexp_replace(lower(one), '{AFTER}', '') AS a, regexp_replace(lower(other), '{AFTER}', '') AS b) names
$$
"""  # noqa: S608  a constant of ours
MADE = """
CREATE FUNCTION messaging_fares(uid uuid, since timestamptz, proved timestamptz, told timestamptz[]) RETURNS timestamptz[]
LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan AS $$
BEGIN
    RETURN (
        WITH own AS (
            SELECT system_id, occurred_at, received_at, operation, outcome, destination, trace_id, span_id
            FROM messaging_event WHERE message_uid = uid AND occurred_at >= since
        ), told AS (
            SELECT system_id, occurred_at, received_at, operation, outcome, destination FROM own
            UNION ALL -- what tells of many messages is tied to each by a link
            SELECT e.system_id, e.occurred_at, e.received_at, e.operation, e.outcome, e.destination
            FROM own
            JOIN messaging_trace_link l ON l.linked_trace_id = own.trace_id AND l.linked_span_id = own.span_id AND l.occurred_at >= since
            JOIN messaging_event e ON e.trace_id = l.trace_id AND e.span_id = l.span_id AND e.occurred_at = l.occurred_at
                AND e.message_uid IS NULL AND e.operation IN (3, 4, 5) AND e.destination IS NOT NULL
        ), decided AS (
            SELECT system_id, destination, occurred_at, received_at, outcome = 2 AS failed, operation IN (3, 4, 5) AS took FROM told
            WHERE outcome = 2 OR operation = 4 OR operation = 5 AND outcome = 1
            UNION ALL
            SELECT system_id, NULL, failed_at, received_at, true, system_id IS NOT NULL FROM messaging_deadletter
            WHERE message_uid = uid AND resolution IN ('discarded', 'gone')
            UNION ALL
            SELECT NULL, NULL, proved, proved, false, false WHERE proved IS NOT NULL
        ), standing AS (
            SELECT occurred_at FROM decided AS failure WHERE took AND failed AND NOT EXISTS (
                SELECT FROM decided AS passed
                WHERE passed.took AND NOT passed.failed AND passed.system_id = failure.system_id
                  AND (passed.occurred_at, passed.received_at) >= (failure.occurred_at, failure.received_at)
                  AND messaging_is_one_queue(passed.destination, failure.destination)
            ) AND NOT EXISTS (
                SELECT FROM messaging_deadletter d
                WHERE d.message_uid = uid AND d.resolution = 'processed' AND d.closed_at >= failure.occurred_at
                  AND (d.system_id IS NULL OR d.system_id = failure.system_id
                       OR d.system_id NOT IN (SELECT system_id FROM decided WHERE took))
                  AND (messaging_is_one_queue(d.origin, failure.destination) OR NOT EXISTS ( -- brokers may name it otherwise than systems
                      SELECT FROM decided AS other
                      WHERE other.took AND other.failed AND other.destination <> '' AND other.system_id = failure.system_id
                        AND messaging_is_one_queue(d.origin, other.destination))))
        )
        SELECT ARRAY[coalesce((SELECT max(occurred_at) FROM standing), max(occurred_at) FILTER (WHERE failed AND NOT took AND nth = 1)),
            max(occurred_at) FILTER (WHERE NOT failed)]
        FROM (
            SELECT *, row_number() OVER (ORDER BY occurred_at DESC, received_at DESC) AS nth FROM decided WHERE NOT (took AND failed)
        ) others
        HAVING NOT EXISTS (SELECT FROM unnest(told) AS said (at) WHERE at IS NOT NULL AND at NOT IN (SELECT occurred_at FROM decided))
    );
END $$
"""
BACKFILL = """
UPDATE messaging_message m SET status = 2, decided_at = known.stands FROM (
    SELECT first_seen_on, id, (messaging_fares(id, least(started_at, first_seen_at), NULL, ARRAY[decided_at]))[1] AS stands
    FROM messaging_message WHERE status = 1 AND failed_at IS NOT NULL
) known WHERE m.first_seen_on = known.first_seen_on AND m.id = known.id AND known.stands IS NOT NULL;
UPDATE messaging_message m SET status = 3 FROM messaging_deadletter d
WHERE d.message_uid = m.id AND d.state <> 'closed' AND m.status <> 3;
"""


class Migration(migrations.Migration):
    dependencies = [
        ("messaging", "0058_figures_anew"),
    ]

    operations = [
        migrations.RunSQL(ONE_QUEUE, "DROP FUNCTION messaging_is_one_queue"),
        migrations.RunSQL(MADE, "DROP FUNCTION messaging_fares"),
        migrations.RunSQL(BACKFILL, migrations.RunSQL.noop),
    ]
