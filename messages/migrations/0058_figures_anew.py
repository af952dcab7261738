"""Of failures that name no document, customer or amount beside others that do, which the next refresh of their group's figures tells."""

from django.db import migrations

ANEW = "UPDATE messaging_failuregroup SET figures_at = NULL WHERE merged_into_id IS NULL AND blast > 0"


class Migration(migrations.Migration):
    dependencies = [
        ("messaging", "0057_partial_figures"),
    ]

    operations = [
        migrations.RunSQL(ANEW, migrations.RunSQL.noop),
    ]
