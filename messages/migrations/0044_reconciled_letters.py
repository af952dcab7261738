"""A dead letter of no message decides about its key too: which one it was."""

from django.db import migrations, models

COLUMN = """
SET LOCAL statement_timeout = 0;
ALTER TABLE messaging_reconciled_key ADD COLUMN letter_id uuid;
CREATE INDEX reconciled_key_of_letter ON messaging_reconciled_key (reconciliation_id, kind, key) WHERE letter_id IS NOT NULL;
"""


# Days that a version before this one counted know of no letters: what is being compared begins anew.
ANEW = """
UPDATE messaging_reconciliation SET state = 'queued', steps_done = 0, attempt = attempt + 1, lease_until = now()
WHERE state IN ('queued', 'running') AND removed_at IS NULL
"""


class Migration(migrations.Migration):
    dependencies = [
        ("messaging", "0043_failures_counted_once"),
    ]

    operations = [
        migrations.RunSQL(
            COLUMN,
            "ALTER TABLE messaging_reconciled_key DROP COLUMN letter_id",
            state_operations=[
                migrations.AddField(model_name="reconciledkey", name="letter_id", field=models.UUIDField(null=True)),
            ],
        ),
        migrations.RunSQL(ANEW, migrations.RunSQL.noop),
    ]
