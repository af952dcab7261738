"""Objectives on saved searches are counted in the minutes that were touched: what is needed beside the minutes themselves."""

import django.contrib.postgres.fields
import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("alerts", "0006_report_nouns"),
    ]

    operations = [
        migrations.CreateModel(
            name="Uncounted",
            fields=[
                (
                    "objective",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="+",
                        serialize=False,
                        to="alerts.objective",
                    ),
                ),
                ("since", django.contrib.postgres.fields.ArrayField(base_field=models.DateTimeField(), size=None)),
                ("until", django.contrib.postgres.fields.ArrayField(base_field=models.DateTimeField(), size=None)),
            ],
        ),
        migrations.AddField(
            model_name="objective",
            name="kept_before",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name="objective",
            name="meant",
            field=models.CharField(blank=True, db_default="", default="", max_length=64),
        ),
        # what was counted until now stays where it cannot be counted again; all else is counted anew, once
        migrations.RunSQL(
            "UPDATE alerts_objective SET meant = 'unknown' WHERE flow_id IS NULL", migrations.RunSQL.noop
        ),
        migrations.AddField(
            model_name="objective",
            name="meant_at",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name="objective",
            name="step_minutes",
            field=models.PositiveSmallIntegerField(db_default=1440, default=1440),
        ),
        migrations.CreateModel(
            name="FoundMinutes",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "objective", "hour", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("hour", models.DateTimeField()),
                ("found", django.contrib.postgres.fields.ArrayField(base_field=models.IntegerField(), size=None)),
                (
                    "objective",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="alerts.objective",
                    ),
                ),
            ],
        ),
    ]
