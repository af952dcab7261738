"""What failed may be sent on to a queue for its retries under another name, as without message ids each sending names a message of its own.

Then the system that failed it passes it when it takes the other message and that is delivered. Only where whoever sees the message sees the
other's flow too.
"""

from importlib import import_module

from django.db import migrations

AFTER = import_module("messages.migrations.0059_fares").AFTER
RETRY = "[-._/:](retry|retries|redelivery|delay|wait)[0-9]*([-._/:][0-9]+[a-z]*)*$"
RETRY_OF = f"""
CREATE FUNCTION messaging_is_retry_of(sent text, failed text) RETURNS boolean IMMUTABLE LANGUAGE sql AS $$
    SELECT coalesce(sent, '') <> '' AND coalesce(failed, '') <> ''
        AND lower(sent) ~ '{RETRY}' AND regexp_replace(lower(sent), '{AFTER}', '') = regexp_replace(lower(failed), '{AFTER}', '')
$$
"""
MADE = """
CREATE OR REPLACE FUNCTION messaging_fares(uid uuid, since timestamptz, proved timestamptz, told timestamptz[]) RETURNS timestamptz[]
LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan AS $$
BEGIN
    RETURN (
        WITH own AS (
            SELECT environment_id, system_id, occurred_at, received_at, operation, outcome, destination, trace_id, span_id
            FROM messaging_event WHERE message_uid = uid AND occurred_at >= since
        ), told AS (
            SELECT system_id, occurred_at, received_at, operation, outcome, destination FROM own
            UNION ALL -- what tells of many messages is tied to each by a link
            SELECT e.system_id, e.occurred_at, e.received_at, e.operation, e.outcome, e.destination
            FROM own
            JOIN messaging_trace_link l ON l.linked_trace_id = own.trace_id AND l.linked_span_id = own.span_id AND l.occurred_at >= since
            JOIN messaging_event e ON e.trace_id = l.trace_id AND e.span_id = l.span_id AND e.occurred_at = l.occurred_at
                AND e.message_uid IS NULL AND e.operation IN (3, 4, 5) AND e.destination IS NOT NULL
        ), sent_on AS ( -- what failed of it, was sent on and became another message, which the same system passed
            SELECT own.system_id, own.destination, greatest(b.decided_at, own.occurred_at) AS decided_at
            FROM own
            CROSS JOIN LATERAL (
                SELECT * FROM messaging_trace_link l
                WHERE l.linked_trace_id = own.trace_id AND l.linked_span_id = own.span_id AND l.environment_id = own.environment_id
                  AND l.occurred_at >= since OFFSET 0
            ) l
            CROSS JOIN LATERAL (
                SELECT * FROM messaging_event e WHERE e.environment_id = l.environment_id AND e.occurred_at = l.occurred_at
                  AND e.trace_id = l.trace_id AND e.span_id = l.span_id AND e.system_id = own.system_id
                  AND e.operation IN (1, 2) AND e.outcome <> 2 AND e.message_id IS NULL AND e.message_uid <> uid OFFSET 0
            ) e
            JOIN messaging_message b ON b.id = e.message_uid AND b.first_seen_on >= since::date - 4 AND b.status = 1
            JOIN messaging_flow o ON o.id = b.flow_id
            JOIN messaging_message a ON a.id = uid AND a.first_seen_on >= since::date - 4
            JOIN messaging_flow f ON f.id = a.flow_id AND (o.id = f.id OR o.team_id IS NULL OR o.team_id = f.team_id)
            WHERE own.outcome = 2 AND own.operation IN (3, 4, 5) AND messaging_is_retry_of(e.destination, own.destination)
              AND EXISTS ( -- delivered it is where nobody's failure stands: what this one failed again it passed since
                SELECT FROM messaging_event d WHERE d.message_uid = b.id AND d.system_id = own.system_id AND d.occurred_at >= since
                  AND (d.operation = 4 OR d.operation = 5 AND d.outcome <> 0 OR d.operation = 3 AND d.outcome = 2))
        ), decided AS (
            SELECT system_id, destination, occurred_at, received_at, outcome = 2 AS failed, operation IN (3, 4, 5) AS took FROM told
            WHERE outcome = 2 OR operation = 4 OR operation = 5 AND outcome = 1
            UNION ALL
            SELECT system_id, NULL, failed_at, received_at, true, system_id IS NOT NULL FROM messaging_deadletter
            WHERE message_uid = uid AND resolution IN ('discarded', 'gone')
            UNION ALL
            SELECT NULL, NULL, proved, proved, false, false WHERE proved IS NOT NULL
            UNION ALL
            SELECT system_id, destination, decided_at, 'infinity', false, true FROM sent_on
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


class Migration(migrations.Migration):
    dependencies = [
        ("messaging", "0063_reconciled_system"),
    ]

    operations = [
        migrations.RunSQL(RETRY_OF, "DROP FUNCTION messaging_is_retry_of"),
        migrations.RunSQL(
            MADE,
            import_module("messages.migrations.0059_fares").MADE.replace(
                "CREATE FUNCTION", "CREATE OR REPLACE FUNCTION"
            ),
        ),
    ]
