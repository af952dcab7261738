"""What the events and dead letters of some flows told of one message: asked for a few rows of a search, where flows are not all to be seen.

Functions, so that a search plans nothing for the events of every day: as subqueries they cost it 6 ms.
"""

from django.db import migrations

MADE = """
CREATE FUNCTION messaging_keys_told(uid uuid, began timestamptz, ended timestamptz, flows bigint[]) RETURNS jsonb LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN coalesce((
        SELECT jsonb_object_agg(name, told) FROM (
            SELECT one.key AS name, jsonb_agg(one.value) AS told FROM (
                SELECT keys FROM messaging_event
                WHERE message_uid = uid AND occurred_at BETWEEN began AND ended AND flow_id = ANY(flows) AND keys <> '{}'
                UNION ALL SELECT keys FROM messaging_deadletter WHERE message_uid = uid AND flow_id = ANY(flows)
            ) rows, jsonb_each(rows.keys) one GROUP BY one.key
        ) named), '{}');
END $$;
CREATE FUNCTION messaging_errors_told(uid uuid, began timestamptz, ended timestamptz, flows bigint[]) RETURNS text LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN coalesce((
        SELECT string_agg(text, E'\\x01') FROM (
            SELECT concat_ws(E'\\x01', error_type, error_message) AS text FROM messaging_event
            WHERE message_uid = uid AND occurred_at BETWEEN began AND ended AND flow_id = ANY(flows)
            UNION ALL SELECT concat_ws(E'\\x01', error_root_type, error_message, reason) FROM messaging_deadletter
            WHERE message_uid = uid AND flow_id = ANY(flows)
        ) said WHERE text > ''), '');
END $$;
CREATE FUNCTION messaging_classes_told(uid uuid, began timestamptz, ended timestamptz, flows bigint[]) RETURNS text LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN coalesce((
        SELECT string_agg(text, E'\\x01') FROM (
            SELECT error_type AS text FROM messaging_event
            WHERE message_uid = uid AND occurred_at BETWEEN began AND ended AND flow_id = ANY(flows)
            UNION ALL SELECT error_root_type FROM messaging_deadletter WHERE message_uid = uid AND flow_id = ANY(flows)
        ) said WHERE text > ''), '');
END $$;
"""
GONE = """
DROP FUNCTION messaging_keys_told;
DROP FUNCTION messaging_errors_told;
DROP FUNCTION messaging_classes_told;
"""


class Migration(migrations.Migration):
    dependencies = [
        ("messaging", "0049_amounts_partial"),
    ]

    operations = [
        migrations.RunSQL(MADE, GONE),
    ]
