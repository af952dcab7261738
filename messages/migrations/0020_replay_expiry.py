"""A replay may drop the expiry of its message, or keep the time to live that it had."""

from django.db import migrations, models
from django.db.models import CheckConstraint, Q


class Migration(migrations.Migration):
    dependencies = [("messaging", "0019_schema")]

    operations = [
        migrations.AddField(
            model_name="replay",
            name="expiry",
            field=models.CharField(
                blank=True, choices=[("drop", "Drop"), ("keep", "Keep")], db_default="", default="", max_length=4
            ),
        ),
        migrations.AddConstraint(
            model_name="replay",
            constraint=CheckConstraint(name="replay_expiry_is_known", condition=Q(expiry__in=["", "drop", "keep"])),
        ),
    ]
