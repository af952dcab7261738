"""Of letters whose messages name customers, documents or amounts, which the next refresh of their group's figures tells."""

from django.db import migrations

ANEW = "UPDATE messaging_failuregroup SET figures_at = NULL WHERE merged_into_id IS NULL AND letters > 0"


class Migration(migrations.Migration):
    dependencies = [
        ("messaging", "0061_told_to_nobody"),
    ]

    operations = [
        migrations.RunSQL(ANEW, migrations.RunSQL.noop),
    ]
