"""What harvesters say of their queues, kept for a trend; and letters that left the queue which a harvester mirrors."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("identity", "0002_agent_quota"), ("messaging", "0014_message_started")]

    operations = [
        migrations.CreateModel(
            name="QueueReading",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("broker", models.CharField(max_length=300)),
                ("queue", models.CharField(max_length=300)),
                ("slot", models.DateTimeField()),
                ("depth", models.BigIntegerField(null=True)),
                ("lag_s", models.FloatField(null=True)),
                ("harvested", models.BigIntegerField(default=0)),
                (
                    "agent",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="queue_readings", to="identity.agent"
                    ),
                ),
            ],
            options={
                "indexes": [models.Index(fields=["slot"], name="queue_reading_by_slot")],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("agent", "broker", "queue", "slot"), name="queue_reading_once_a_slot"
                    )
                ],
            },
        ),
        migrations.AlterField(
            model_name="deadletter",
            name="resolution",
            field=models.CharField(
                choices=[
                    ("processed", "Processed"),
                    ("discarded", "Discarded"),
                    ("failed_again", "Failed Again"),
                    ("gone", "Gone"),
                ],
                max_length=14,
                null=True,
            ),
        ),
        migrations.RemoveConstraint(model_name="deadletter", name="dead_letter_resolution_is_known"),
        migrations.AddConstraint(
            model_name="deadletter",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("resolution__isnull", True),
                    ("resolution__in", ["processed", "discarded", "failed_again", "gone"]),
                    _connector="OR",
                ),
                name="dead_letter_resolution_is_known",
            ),
        ),
    ]
