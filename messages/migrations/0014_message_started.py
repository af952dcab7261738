"""When a message began, apart from the indexed time that its row was made with: consumers are often heard before producers."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("messaging", "0013_masking")]

    operations = [
        migrations.RunSQL(
            "ALTER TABLE messaging_message ADD COLUMN started_at timestamptz",
            "ALTER TABLE messaging_message DROP COLUMN started_at",
            state_operations=[
                migrations.AddField(model_name="message", name="started_at", field=models.DateTimeField(null=True)),
            ],
        ),
    ]
