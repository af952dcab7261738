"""What failed may be sent on to a queue for its retries under another name, as without message ids each sending names a message of its own.

Then the system that failed it passes it when it takes the other message and that is delivered. Only where whoever sees the message sees the
other's flow too.
"""

from importlib import import_module

from django.db import migrations

fares = import_module("messages.migrations.0059_fares")
RETRY = "[-._/:](retry|retries|redelivery|delay|wait)[0-9]*([-._/:][0-9]+[a-z]*)*$"
RETRY_OF = f"""
CREATE FUNCTION messaging_is_retry_of(sent text, failed text) RETURNS boolean IMMUTABLE LANGUAGE sql AS $$
    SELECT coalesce(sent, '') <> '' AND coalesce(failed, '') <> ''
        AND lower(sent) ~ '{RETRY}' AND regexp_replace(lower(sent), '{fares.AFTER}', '') = regexp_replace(lower(failed), '{fares.AFTER}', '')
$$
"""
SENT_ON = """        ), sent_on AS ( -- what failed of it, was sent on and became another message, which the same system passed
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
"""
PASSED = """            UNION ALL
            SELECT system_id, destination, decided_at, 'infinity', false, true FROM sent_on
"""
BEFORE = fares.MADE.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION")
MADE = (
    BEFORE.replace(
        "SELECT system_id, occurred_at, received_at, operation, outcome, destination, trace_id",
        "SELECT environment_id, system_id, occurred_at, received_at, operation, outcome, destination, trace_id",
    )
    .replace("        ), decided AS (", f"{SENT_ON}        ), decided AS (")
    .replace("        ), standing AS (", f"{PASSED}        ), standing AS (")
)


class Migration(migrations.Migration):
    dependencies = [
        ("messaging", "0063_reconciled_system"),
    ]

    operations = [
        migrations.RunSQL(RETRY_OF, "DROP FUNCTION messaging_is_retry_of"),
        migrations.RunSQL(MADE, BEFORE),
    ]
