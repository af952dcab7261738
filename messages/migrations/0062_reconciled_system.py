"""A reconciliation and a check may name the receiving system that decides alone: how many messages of a key it took."""

import django.db.models.deletion
from django.db import migrations, models

SYSTEM = models.ForeignKey(
    null=True, on_delete=django.db.models.deletion.PROTECT, related_name="+", to="messaging.system"
)


class Migration(migrations.Migration):
    dependencies = [
        ("messaging", "0061_told_to_nobody"),
    ]

    operations = [
        migrations.AddField("reconciliation", "system", SYSTEM),
        migrations.AddField("reconciliationcheck", "system", SYSTEM),
        migrations.RunSQL(
            "ALTER TABLE messaging_reconciliation_seen ADD COLUMN taken bigint",
            "ALTER TABLE messaging_reconciliation_seen DROP COLUMN taken",
        ),
    ]
