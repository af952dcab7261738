"""Rules that replay by themselves, and what plans say of being told: the report, the alert."""

import django.contrib.postgres.fields
import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("identity", "0002_agent_quota"),
        ("messaging", "0029_kept_answers"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AddField(
            model_name="outboxmail",
            name="html",
            field=models.TextField(blank=True, db_default="", default=""),
        ),
        migrations.AddField(
            model_name="plan",
            name="mail_to_author",
            field=models.BooleanField(db_default=False, default=False),
        ),
        migrations.AddField(
            model_name="plan",
            name="overdue_told_at",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name="plan",
            name="reported_at",
            field=models.DateTimeField(null=True),
        ),
        migrations.CreateModel(
            name="AutomaticRule",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=120)),
                ("failure_class", models.CharField(blank=True, max_length=14)),
                (
                    "waits",
                    django.contrib.postgres.fields.ArrayField(base_field=models.PositiveIntegerField(), size=None),
                ),
                ("success_percent", models.FloatField(default=95.0)),
                ("per_hour", models.PositiveIntegerField(default=100)),
                ("per_day", models.PositiveIntegerField(default=500)),
                ("rate_per_s", models.FloatField(default=5.0)),
                ("stop_failed_percent", models.FloatField(default=50.0)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("created_by", models.CharField(max_length=150)),
                ("is_on", models.BooleanField(default=False)),
                ("switched_at", models.DateTimeField()),
                ("switched_by", models.CharField(max_length=150)),
                ("why", models.TextField(blank=True)),
                ("waits_because", models.TextField(blank=True)),
                ("looked_at", models.DateTimeField(null=True)),
                ("looked_to", models.UUIDField(null=True)),
                ("next_look_at", models.DateTimeField(null=True)),
                ("attempt", models.PositiveIntegerField(default=0)),
                (
                    "author",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "environment",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="automatic_rules",
                        to="identity.environment",
                    ),
                ),
                (
                    "group",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="automatic_rules",
                        to="messaging.failuregroup",
                    ),
                ),
            ],
            options={
                "ordering": ["name", "pk"],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("environment", "name"), name="automatic_rule_name_once_per_environment"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("failure_class", ""), ("group__isnull", False)),
                            models.Q(("group__isnull", True), models.Q(("failure_class", ""), _negated=True)),
                            _connector="OR",
                        ),
                        name="automatic_rule_is_for_a_group_or_a_class",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            (
                                "failure_class__in",
                                [
                                    "",
                                    "transient",
                                    "throttled",
                                    "data",
                                    "configuration",
                                    "authentication",
                                    "contract",
                                    "poison",
                                    "unknown",
                                ],
                            )
                        ),
                        name="automatic_rule_class_is_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("waits__len__gte", 1)), name="automatic_rule_tries_once_or_more"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("per_day__gte", models.F("per_hour")), ("per_hour__gte", 1)),
                        name="automatic_rule_has_a_budget",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("is_on", True), ("next_look_at__isnull", False)),
                            models.Q(("is_on", False), ("next_look_at__isnull", True)),
                            _connector="OR",
                        ),
                        name="automatic_rule_is_looked_at_iff_on",
                    ),
                ],
                "indexes": [
                    models.Index(
                        condition=models.Q(("next_look_at__isnull", False)),
                        fields=["next_look_at"],
                        name="automatic_rule_due",
                    )
                ],
            },
        ),
        migrations.AddField(
            model_name="plan",
            name="automatic",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="plans",
                to="messaging.automaticrule",
            ),
        ),
        migrations.AddIndex(
            model_name="plan",
            index=models.Index(
                condition=models.Q(("automatic__isnull", False)), fields=["automatic", "-id"], name="plan_by_rule"
            ),
        ),
        migrations.AddIndex(
            model_name="plan",
            index=models.Index(
                condition=models.Q(("mail_to_author", True)), fields=["state_at"], name="plan_reporting"
            ),
        ),
        migrations.AddConstraint(
            model_name="plan",
            constraint=models.UniqueConstraint(
                condition=models.Q(
                    ("automatic__isnull", False),
                    models.Q(("state__in", ["cancelled", "expired", "finished", "stopped"]), _negated=True),
                ),
                fields=("automatic",),
                name="plan_one_of_a_rule_at_a_time",
            ),
        ),
    ]
