"""Masking rules, how often they acted, and what they did to each payload, dead letter and refused item."""

import django.db.models.deletion
from django.db import migrations, models

# Partitioned and unmanaged: Django does not alter it. A column that may be null is added without touching a row.
PAYLOAD = "ALTER TABLE messaging_payload ADD COLUMN masked jsonb"


class Migration(migrations.Migration):
    dependencies = [
        ("identity", "0002_agent_quota"),
        ("messaging", "0012_retention"),
    ]

    operations = [
        migrations.RunSQL(PAYLOAD, "ALTER TABLE messaging_payload DROP COLUMN masked"),
        migrations.CreateModel(
            name="MaskingHit",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("hour", models.DateTimeField()),
                ("shard", models.SmallIntegerField()),
                ("masked", models.BigIntegerField()),
                ("dropped", models.BigIntegerField()),
            ],
        ),
        migrations.CreateModel(
            name="MaskingRule",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("position", models.PositiveIntegerField()),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("json_path", "JSON path"),
                            ("xpath", "XPath"),
                            ("header", "header name"),
                            ("regex", "regular expression"),
                        ],
                        max_length=10,
                    ),
                ),
                ("expression", models.CharField(max_length=500)),
                ("keep_last", models.PositiveSmallIntegerField(default=0)),
                ("drop_unreadable", models.BooleanField(default=True)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("created_by", models.CharField(max_length=150)),
                (
                    "environment",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="masking_rules",
                        to="identity.environment",
                    ),
                ),
                (
                    "flow",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="masking_rules",
                        to="messaging.flow",
                    ),
                ),
            ],
            options={
                "ordering": ["position", "id"],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("kind__in", ["json_path", "xpath", "header", "regex"])),
                        name="masking_rule_kind_is_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("keep_last__lte", 8)), name="masking_rule_keeps_at_most_8"
                    ),
                    models.UniqueConstraint(
                        fields=("environment", "flow", "kind", "expression"),
                        name="masking_rule_once_per_flow",
                        nulls_distinct=False,
                    ),
                ],
            },
        ),
        migrations.AddField(
            model_name="deadletter",
            name="content_masked",
            field=models.BooleanField(db_default=False, default=False),
        ),
        migrations.AddField(
            model_name="deadletter",
            name="masked",
            field=models.JSONField(db_default={}, default=dict),
        ),
        migrations.AddField(
            model_name="ingestreject",
            name="masked",
            field=models.BooleanField(db_default=False, default=False),
        ),
        migrations.AddConstraint(
            model_name="deadletter",
            constraint=models.CheckConstraint(
                condition=models.Q(("content_masked", False), models.Q(("masked", {}), _negated=True), _connector="OR"),
                name="dead_letter_content_masked_by_a_rule",
            ),
        ),
        migrations.AddField(
            model_name="maskinghit",
            name="rule",
            field=models.ForeignKey(
                db_constraint=False,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="hits",
                to="messaging.maskingrule",
            ),
        ),
        migrations.AddConstraint(
            model_name="maskinghit",
            constraint=models.UniqueConstraint(fields=("rule", "hour", "shard"), name="masking_hit_once_an_hour"),
        ),
    ]
