"""A reconciliation and a check may name the receiving system that decides alone, and which messages a key has is known.

taken: how many messages of a key the system took. carried: what decides of each of a key's messages, where it has several.
"""

import django.db.models.deletion
from django.db import migrations, models

SYSTEM = models.ForeignKey(
    null=True, on_delete=django.db.models.deletion.PROTECT, related_name="+", to="messaging.system"
)
COLUMNS = "ALTER TABLE messaging_reconciliation_seen ADD COLUMN taken bigint, ADD COLUMN carried text"
# Days that a version before this one counted do not know their messages: what is being compared begins anew.
ANEW = """
UPDATE messaging_reconciliation SET state = 'queued', steps_done = 0, attempt = attempt + 1, lease_until = now()
WHERE state IN ('queued', 'running') AND removed_at IS NULL
"""


class Migration(migrations.Migration):
    dependencies = [
        ("messaging", "0062_figures_of_letters"),
    ]

    operations = [
        migrations.AddField("reconciliation", "system", SYSTEM),
        migrations.AddField("reconciliationcheck", "system", SYSTEM),
        migrations.RunSQL(COLUMNS, "ALTER TABLE messaging_reconciliation_seen DROP COLUMN taken, DROP COLUMN carried"),
        migrations.RunSQL(ANEW, migrations.RunSQL.noop),
    ]
