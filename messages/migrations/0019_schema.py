"""Schemas: how encoded bodies are read for people."""

import django.contrib.postgres.fields
import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("identity", "0002_agent_quota"),
        ("messaging", "0018_replay_due_by_connection"),
    ]

    operations = [
        migrations.CreateModel(
            name="Schema",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=120)),
                ("format", models.CharField(choices=[("avro", "Avro"), ("protobuf", "Protobuf")], max_length=10)),
                ("definition", models.TextField()),
                ("message", models.CharField(blank=True, max_length=300)),
                ("destination", models.CharField(blank=True, max_length=200)),
                (
                    "ids",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.PositiveIntegerField(), default=list, size=None
                    ),
                ),
                ("compiled", models.BinaryField(default=b"")),
                ("fingerprint", models.CharField(blank=True, max_length=16)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("created_by", models.CharField(max_length=150)),
                ("updated_at", models.DateTimeField(auto_now=True)),
                (
                    "environment",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="schemas", to="identity.environment"
                    ),
                ),
            ],
            options={
                "ordering": ["name"],
                "constraints": [
                    models.UniqueConstraint(fields=("environment", "name"), name="schema_name_once_per_environment"),
                    models.CheckConstraint(
                        condition=models.Q(("format__in", ["avro", "protobuf"])), name="schema_format_is_known"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("destination", ""), ("ids", []), _negated=True),
                        name="schema_applies_to_something",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(
                                models.Q(("compiled", b""), _negated=True), ("fingerprint", ""), ("format", "protobuf")
                            ),
                            models.Q(
                                models.Q(("fingerprint", ""), _negated=True), ("compiled", b""), ("format", "avro")
                            ),
                            _connector="OR",
                        ),
                        name="schema_is_compiled_iff_protobuf",
                    ),
                ],
            },
        ),
    ]
