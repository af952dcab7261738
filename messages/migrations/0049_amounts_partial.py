"""Whether an amount of a group's failures could not be read, which the next refresh of its figures says."""

from django.db import migrations, models

ANEW = (
    "UPDATE messaging_failuregroup SET figures_at = NULL WHERE merged_into_id IS NULL AND (letters > 0 OR failed > 0)"
)


class Migration(migrations.Migration):
    dependencies = [
        ("messaging", "0048_search_lost"),
    ]

    operations = [
        migrations.AddField(
            model_name="failuregroup",
            name="amounts_partial",
            field=models.BooleanField(db_default=False, default=False),
        ),
        migrations.RunSQL(ANEW, migrations.RunSQL.noop),
    ]
