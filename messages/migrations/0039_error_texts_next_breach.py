"""Which errors the messages of a day have, without their values; and the next breach in the order of failure groups.

messaging_message_text is partitioned by day as the messages are, and filled by messages.ingest.error_texts.
"""

from django.db import migrations, models

TABLE = """
CREATE TABLE messaging_message_text (
    day date NOT NULL,
    environment_id bigint NOT NULL,
    flow_id bigint,
    digest uuid NOT NULL,
    text text,
    CONSTRAINT message_text_has_flow_iff_text CHECK ((flow_id IS NULL) = (text IS NULL))
) PARTITION BY RANGE (day);
CREATE UNIQUE INDEX message_text_once ON messaging_message_text (environment_id, day, digest, flow_id) NULLS NOT DISTINCT;
CREATE TABLE messaging_message_text_default PARTITION OF messaging_message_text DEFAULT;
"""


class Migration(migrations.Migration):
    dependencies = [("messaging", "0038_answers_and_seats")]

    operations = [
        migrations.RunSQL(TABLE, "DROP TABLE messaging_message_text CASCADE"),
        migrations.CreateModel(
            name="ErrorTextsSince",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("begun_on", models.DateField()),
                ("since", models.DateField()),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(condition=models.Q(("id", 1)), name="error_texts_since_is_one_row")
                ],
            },
        ),
        migrations.AddField(
            model_name="failuregroup",
            name="next_breach_s",
            field=models.BigIntegerField(db_default=10**12, default=10**12),
        ),
        migrations.AlterModelOptions(name="failuregroup", options={"ordering": ["-blast", "next_breach_s", "-id"]}),
        migrations.AddIndex(
            model_name="failuregroup",
            index=models.Index(
                condition=models.Q(("merged_into", None)),
                fields=["environment", "-blast", "next_breach_s", "-id"],
                name="group_by_reach",
            ),
        ),
        migrations.RemoveIndex(model_name="failuregroup", name="group_by_blast"),
    ]
