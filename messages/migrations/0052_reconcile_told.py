"""Messages that another flow told of first count for each flow that told of them: what is being compared begins anew.

And since when a check waits for a comparison, and which occurrence it decided last.
"""

from django.db import migrations, models

ANEW = """
UPDATE messaging_reconciliation SET state = 'queued', steps_done = 0, attempt = attempt + 1, lease_until = now()
WHERE state IN ('queued', 'running') AND removed_at IS NULL
"""


class Migration(migrations.Migration):
    dependencies = [
        ("messaging", "0051_subscription_in_vain"),
    ]

    operations = [
        migrations.RunSQL(ANEW, migrations.RunSQL.noop),
        migrations.AddField("reconciliationcheck", "waiting_since", models.DateTimeField(null=True)),
        migrations.AddField("reconciliationcheck", "decided_due_at", models.DateTimeField(null=True)),
    ]
