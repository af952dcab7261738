"""Mappings: how bodies of other platforms become events and dead letters."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("identity", "0002_agent_quota"), ("messaging", "0016_connection_not_before")]

    operations = [
        migrations.CreateModel(
            name="Mapping",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("slug", models.CharField(max_length=30)),
                ("name", models.CharField(max_length=120)),
                ("definition", models.TextField()),
                ("enabled", models.BooleanField(default=True)),
                ("signature_header", models.CharField(blank=True, max_length=80)),
                ("secret", models.BinaryField(default=b"")),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("created_by", models.CharField(max_length=150)),
                ("updated_at", models.DateTimeField(auto_now=True)),
                (
                    "environment",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="mappings",
                        to="identity.environment",
                    ),
                ),
            ],
            options={
                "ordering": ["slug"],
                "constraints": [
                    models.UniqueConstraint(fields=("environment", "slug"), name="mapping_slug_once_per_environment"),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("secret", b""), ("signature_header", "")),
                            models.Q(
                                models.Q(("signature_header", ""), _negated=True),
                                models.Q(("secret", b""), _negated=True),
                            ),
                            _connector="OR",
                        ),
                        name="mapping_has_a_secret_iff_bodies_are_signed",
                    ),
                ],
            },
        ),
    ]
