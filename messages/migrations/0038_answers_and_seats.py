from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("messaging", "0037_plans_that_compensate")]

    operations = [
        migrations.AddField("compensationstep", "answer", models.BinaryField(db_default=b"", default=b"")),
        migrations.AddField("connection", "undo_at_once", models.PositiveSmallIntegerField(db_default=1, default=1)),
        migrations.AddConstraint(
            "connection",
            models.CheckConstraint(
                condition=models.Q(("undo_at_once__gte", 1), ("undo_at_once__lte", 32)),
                name="connection_undo_at_once_in_bounds",
            ),
        ),
    ]
