"""What handing a letter to the workers writes: one version of its row in the same page, and no index of it.

PostgreSQL writes to every index of a row when a column that any of them names has changed, also in its condition; and to none when none
has and the page has room for the new version. A letter has 17 indexes: 22 µs and 2,000 bytes of WAL become 4 µs and 100 bytes.
Half of each page is left free, because the letters of a page are mostly replayed together. A table all of whose letters were
replayed once is as large either way.
"""

import django.db.models.deletion
from django.db import migrations, models
from django.db.models import Q


def parent(to: str, **more: object) -> models.ForeignKey:
    return models.ForeignKey(
        db_constraint=False,
        db_index=False,
        on_delete=django.db.models.deletion.PROTECT,
        related_name="+",
        to=to,
        **more,
    )


class Migration(migrations.Migration):
    dependencies = [("messaging", "0035_compensation_due")]

    operations = [
        migrations.RunSQL(
            "ALTER TABLE messaging_deadletter SET (fillfactor = 50)",
            "ALTER TABLE messaging_deadletter RESET (fillfactor)",
        ),
        migrations.RemoveIndex("deadletter", "dead_letter_waiting"),
        migrations.RemoveIndex("deadletter", "dead_letter_closed"),
        migrations.RemoveIndex("deadletter", "dead_letter_waits_in_group"),
        migrations.AddIndex(
            "deadletter",
            models.Index(
                fields=["environment", "-id"], name="dead_letter_waiting", condition=Q(closed_at__isnull=True)
            ),
        ),
        migrations.AddIndex(
            "deadletter",
            models.Index(
                fields=["environment", "closed_at"], name="dead_letter_closed", condition=Q(closed_at__isnull=False)
            ),
        ),
        migrations.AddIndex(
            "deadletter",
            models.Index(
                fields=["group", "-id"],
                name="dead_letter_waits_in_group",
                condition=Q(closed_at__isnull=True, group__isnull=False),
            ),
        ),
        migrations.AlterField("replay", "environment", parent("identity.environment")),
        migrations.AlterField("replay", "connection", parent("messaging.connection")),
        migrations.AlterField("replay", "plan", parent("messaging.plan", null=True)),
    ]
