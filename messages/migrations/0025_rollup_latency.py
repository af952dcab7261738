"""Latency buckets by the hour: what percentiles of a month are read from. Partitioned by day as the rollups that they are folded from."""

from django.db import migrations, models

TABLE = """
CREATE TABLE messaging_rollup_latency (
    hour timestamptz NOT NULL,
    environment_id bigint NOT NULL,
    flow_id bigint NOT NULL,
    bucket smallint NOT NULL,
    count bigint NOT NULL,
    PRIMARY KEY (hour, flow_id, bucket)
) PARTITION BY RANGE (hour);
CREATE TABLE messaging_rollup_latency_default PARTITION OF messaging_rollup_latency DEFAULT WITH (fillfactor = 80);
"""

# What was counted before this table was there. Later it is folded by the task; messages/figures/services.py has the same statement.
FILL = """
SET LOCAL statement_timeout = 0;
INSERT INTO messaging_rollup_latency (hour, environment_id, flow_id, bucket, count)
SELECT date_bin('1 hour', minute, '2000-01-01Z'), min(environment_id), flow_id, bucket, sum(count)
FROM messaging_rollup_minute WHERE operation = 4 GROUP BY 1, flow_id, bucket;
"""


class Migration(migrations.Migration):
    dependencies = [("messaging", "0024_search_outbox")]

    operations = [
        migrations.RunSQL(TABLE, "DROP TABLE messaging_rollup_latency CASCADE"),
        migrations.RunSQL(FILL, migrations.RunSQL.noop),
        migrations.CreateModel(
            name="RollupLatency",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "hour", "flow", "bucket", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("hour", models.DateTimeField()),
                ("bucket", models.SmallIntegerField()),
                ("count", models.BigIntegerField()),
            ],
            options={"db_table": "messaging_rollup_latency", "managed": False},
        ),
    ]
