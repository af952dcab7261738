import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("identity", "0002_agent_quota"),
        ("alerts", "0002_breaches"),
    ]

    operations = [
        migrations.CreateModel(
            name="ApprovedHost",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("host", models.CharField(max_length=260, unique=True)),
                ("approved_by", models.CharField(max_length=150)),
                ("approved_at", models.DateTimeField(auto_now_add=True)),
            ],
            options={
                "ordering": ["host"],
            },
        ),
        migrations.CreateModel(
            name="Channel",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("kind", models.CharField(max_length=40)),
                ("name", models.CharField(max_length=120)),
                ("settings", models.JSONField(default=dict)),
                ("secret", models.BinaryField(default=b"")),
                ("title_template", models.CharField(blank=True, max_length=200)),
                ("text_template", models.TextField(blank=True)),
                ("enabled", models.BooleanField(default=True)),
                ("failures", models.PositiveIntegerField(default=0)),
                ("rests_until", models.DateTimeField(null=True)),
                ("next_at", models.DateTimeField(null=True)),
                ("created_by", models.CharField(max_length=150)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("updated_at", models.DateTimeField(auto_now=True)),
                (
                    "environment",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to="identity.environment"
                    ),
                ),
            ],
            options={
                "ordering": ["name"],
                "constraints": [
                    models.UniqueConstraint(fields=("environment", "name"), name="channel_name_once_per_environment")
                ],
            },
        ),
        migrations.CreateModel(
            name="ExternalAlert",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("fingerprint", models.CharField(max_length=64)),
                ("status", models.CharField(max_length=8)),
                ("name", models.CharField(max_length=200)),
                ("severity", models.CharField(blank=True, max_length=40)),
                ("summary", models.CharField(blank=True, max_length=1000)),
                ("starts_at", models.DateTimeField()),
                ("ends_at", models.DateTimeField(null=True)),
                ("labels", models.JSONField(default=dict)),
                ("annotations", models.JSONField(default=dict)),
                ("url", models.CharField(blank=True, max_length=2000)),
                ("received_at", models.DateTimeField()),
                (
                    "agent",
                    models.ForeignKey(
                        null=True, on_delete=django.db.models.deletion.SET_NULL, related_name="+", to="identity.agent"
                    ),
                ),
                (
                    "environment",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to="identity.environment"
                    ),
                ),
                (
                    "flow",
                    models.ForeignKey(
                        null=True, on_delete=django.db.models.deletion.SET_NULL, related_name="+", to="messaging.flow"
                    ),
                ),
            ],
            options={
                "ordering": ["-starts_at", "-id"],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("environment", "fingerprint", "starts_at"), name="external_alert_once_per_occurrence"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("ends_at__isnull", True), ("status", "firing")),
                            models.Q(("ends_at__isnull", False), ("status", "resolved")),
                            _connector="OR",
                        ),
                        name="external_alert_has_an_end_iff_resolved",
                    ),
                ],
                "indexes": [
                    models.Index(fields=["environment", "flow", "-starts_at"], name="external_alert_of_flow"),
                    models.Index(fields=["received_at"], name="external_alert_received"),
                ],
            },
        ),
        migrations.CreateModel(
            name="NoticeDelivery",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("thread", models.CharField(max_length=500)),
                ("happening", models.CharField(max_length=12)),
                ("title", models.CharField(max_length=300)),
                ("notice", models.JSONField()),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("queued", "queued"),
                            ("sending", "sending"),
                            ("delivered", "delivered"),
                            ("failed", "failed"),
                            ("dead", "dead"),
                            ("superseded", "superseded"),
                        ],
                        default="queued",
                        max_length=10,
                    ),
                ),
                ("attempt", models.PositiveIntegerField(default=0)),
                ("tries", models.PositiveIntegerField(default=0)),
                ("next_at", models.DateTimeField(null=True)),
                ("repeat_at", models.DateTimeField(null=True)),
                ("token", models.CharField(max_length=40, null=True)),
                ("answer", models.CharField(blank=True, max_length=500)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("queued_at", models.DateTimeField()),
                ("finished_at", models.DateTimeField(null=True)),
                (
                    "channel",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="deliveries", to="alerts.channel"
                    ),
                ),
            ],
            options={
                "ordering": ["-id"],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            ("state__in", ["queued", "sending", "delivered", "failed", "dead", "superseded"])
                        ),
                        name="notice_delivery_state_is_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(
                                ("finished_at__isnull", True),
                                ("next_at__isnull", False),
                                ("state__in", ("queued", "failed", "sending")),
                            ),
                            models.Q(
                                ("finished_at__isnull", False),
                                ("next_at__isnull", True),
                                ("state__in", ("delivered", "dead", "superseded")),
                            ),
                            _connector="OR",
                        ),
                        name="notice_delivery_is_tried_until_it_ended",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("repeat_at__isnull", True), ("state", "delivered"), _connector="OR"),
                        name="notice_delivery_repeats_only_when_delivered",
                    ),
                    models.UniqueConstraint(fields=("channel", "token"), name="notice_delivery_token_once"),
                ],
                "indexes": [
                    models.Index(fields=["channel", "-id"], name="notice_delivery_of_channel"),
                    models.Index(fields=["channel", "thread", "id"], name="notice_delivery_of_thread"),
                    models.Index(
                        condition=models.Q(("state__in", ("queued", "failed", "sending"))),
                        fields=["channel", "next_at"],
                        name="notice_delivery_due",
                    ),
                    models.Index(
                        condition=models.Q(("state__in", ("queued", "failed", "sending"))),
                        fields=["queued_at"],
                        name="notice_delivery_open",
                    ),
                    models.Index(
                        condition=models.Q(("repeat_at__isnull", False)),
                        fields=["repeat_at"],
                        name="notice_delivery_repeats",
                    ),
                    models.Index(
                        condition=models.Q(("state", "dead")), fields=["channel", "-id"], name="notice_delivery_dead"
                    ),
                    models.Index(
                        condition=models.Q(("finished_at__isnull", False)),
                        fields=["finished_at"],
                        name="notice_delivery_ended",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="DeliveryAttempt",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("number", models.PositiveIntegerField()),
                ("at", models.DateTimeField()),
                ("duration_ms", models.PositiveIntegerField()),
                ("result", models.CharField(max_length=8)),
                ("status", models.PositiveSmallIntegerField(null=True)),
                ("response", models.TextField(blank=True)),
                (
                    "delivery",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="attempts", to="alerts.noticedelivery"
                    ),
                ),
            ],
            options={
                "ordering": ["number"],
                "constraints": [
                    models.UniqueConstraint(fields=("delivery", "number"), name="delivery_attempt_number_once"),
                    models.CheckConstraint(
                        condition=models.Q(("result__in", ["taken", "refused", "later"])),
                        name="delivery_attempt_result_is_known",
                    ),
                ],
            },
        ),
    ]
