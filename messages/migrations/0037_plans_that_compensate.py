from django.db import migrations, models

LEFT_OUT = [
    "",
    "not_yours",
    "closed",
    "under_way",
    "in_plan",
    "flow_forbids",
    "processed",
    "superseded",
    "attempt_cap",
    "expired",
    "no_payload",
    "masked",
    "no_origin",
    "no_connection",
    "not_approved",
    "no_book",
    "not_open",
    "nothing_to_undo",
    "being_undone",
    "book_changed",
    "needs_second",
    "not_proposed",
]


class Migration(migrations.Migration):
    dependencies = [("messaging", "0036_replay_throughput")]

    operations = [
        migrations.AddField("plan", "does", models.CharField(db_default="replay", default="replay", max_length=10)),
        migrations.AddConstraint(
            "plan",
            models.CheckConstraint(
                condition=models.Q(("does__in", ["replay", "compensate"])), name="plan_does_is_known"
            ),
        ),
        migrations.RemoveConstraint("planitem", "plan_item_left_out_is_known"),
        migrations.AddConstraint(
            "planitem",
            models.CheckConstraint(condition=models.Q(("left_out__in", LEFT_OUT)), name="plan_item_left_out_is_known"),
        ),
    ]
