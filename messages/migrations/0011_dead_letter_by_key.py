"""Dead letters are looked for by business key, message id and correlation id; each was a walk over every letter."""

from django.contrib.postgres.indexes import GinIndex
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("messaging", "0010_whole_rejects")]

    operations = [
        migrations.AddIndex(
            model_name="deadletter",
            index=GinIndex(fields=["keys"], name="dead_letter_by_key", opclasses=["jsonb_path_ops"]),
        ),
        migrations.AddIndex(
            model_name="deadletter", index=models.Index(fields=["message_id"], name="dead_letter_by_message_id")
        ),
        migrations.AddIndex(
            model_name="deadletter",
            index=models.Index(
                fields=["correlation_id"],
                name="dead_letter_by_correlation",
                condition=models.Q(("correlation_id", ""), _negated=True),
            ),
        ),
    ]
