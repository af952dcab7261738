from django.conf import settings
from django.db import migrations, models
from django.db.models.deletion import DO_NOTHING

# What was scheduled before this: whoever scheduled it is in `state_by`.
STARTERS = """
UPDATE messaging_plan p SET started_by_user_id = u.id FROM identity_user u WHERE p.state = 'scheduled' AND u.username = p.state_by
"""


class Migration(migrations.Migration):
    dependencies = [
        ("identity", "0002_agent_quota"),
        ("messaging", "0033_compensation"),
    ]

    operations = [
        migrations.AddField(
            "plan",
            "started_by_user",
            models.ForeignKey(
                db_constraint=False,
                db_index=False,
                null=True,
                on_delete=DO_NOTHING,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField(
            "plan",
            "started_by_key",
            models.ForeignKey(
                db_constraint=False,
                db_index=False,
                null=True,
                on_delete=DO_NOTHING,
                related_name="+",
                to="identity.key",
            ),
        ),
        migrations.AddField("replay", "spared", models.PositiveIntegerField(db_default=0, default=0)),
        migrations.AddIndex(
            "replay",
            models.Index(
                condition=models.Q(("plan__isnull", True)), fields=["requested_by", "created_at"], name="replay_by_hand"
            ),
        ),
        migrations.AddIndex("plan", models.Index(fields=["created_by", "started_at"], name="plan_by_author")),
        migrations.RunSQL(STARTERS, migrations.RunSQL.noop),
    ]
