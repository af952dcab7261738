"""Whether a flow told of a failure before: asked where another flow did. A function, so that no other write opens the events of every day."""

from django.db import migrations

MADE = """
CREATE FUNCTION messaging_failed_before(uid uuid, flow bigint, since timestamptz, at timestamptz) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN EXISTS (
        SELECT 1 FROM messaging_event e
        WHERE e.message_uid = uid AND e.flow_id = flow AND e.outcome = 2 AND e.occurred_at >= since AND e.occurred_at < at);
END $$
"""


class Migration(migrations.Migration):
    dependencies = [
        ("messaging", "0046_told_by_before"),
    ]

    operations = [
        migrations.RunSQL(MADE, "DROP FUNCTION messaging_failed_before"),
    ]
