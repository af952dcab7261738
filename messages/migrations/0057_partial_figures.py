"""Whether some of what failed names no customer, or no document. In a migration of its own: what follows waits for no lock on the table."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("messaging", "0056_failed_of_groups"),
    ]

    operations = [
        migrations.AddField(
            model_name="failuregroup",
            name="customers_partial",
            field=models.BooleanField(db_default=False, default=False),
        ),
        migrations.AddField(
            model_name="failuregroup",
            name="documents_partial",
            field=models.BooleanField(db_default=False, default=False),
        ),
    ]
