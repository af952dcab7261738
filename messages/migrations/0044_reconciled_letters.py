"""A dead letter of no message decides about its key too: which one it was."""

from django.db import migrations, models

COLUMN = """
ALTER TABLE messaging_reconciled_key ADD COLUMN letter_id uuid;
CREATE INDEX reconciled_key_of_letter ON messaging_reconciled_key (reconciliation_id, kind, key) WHERE letter_id IS NOT NULL;
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
    ]
