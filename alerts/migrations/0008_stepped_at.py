"""When the last step of an escalation was told, so that the next one keeps its distance; and policies that were removed and owe an end."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("alerts", "0007_searches_by_the_minute"),
    ]

    operations = [
        migrations.AddField(
            model_name="telling",
            name="stepped_at",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name="alertpolicy",
            name="removed_at",
            field=models.DateTimeField(null=True),
        ),
        migrations.RemoveConstraint(
            model_name="alertpolicy",
            name="alert_policy_once_per_team",
        ),
        migrations.AddConstraint(
            model_name="alertpolicy",
            constraint=models.UniqueConstraint(
                condition=models.Q(("removed_at", None)),
                fields=("environment", "team"),
                name="alert_policy_once_per_team",
                nulls_distinct=False,
            ),
        ),
    ]
