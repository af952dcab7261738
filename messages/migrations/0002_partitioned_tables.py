"""The partitioned tables: events, messages, trace links, payloads and rollups, each with a DEFAULT partition.

Made in SQL because Django's schema editor knows neither PARTITION BY nor column storage. Day partitions are made by
messages.ingest.partitions (ahead of time by a task, on demand by the writer), never by a migration.
"""

from django.db import migrations

TABLES = """
CREATE TABLE messaging_event (
    occurred_at timestamptz NOT NULL,
    id uuid NOT NULL,
    received_at timestamptz NOT NULL,
    environment_id bigint NOT NULL,
    flow_id bigint NOT NULL,
    system_id bigint NOT NULL,
    agent_id bigint,
    message_uid uuid,
    message_id text,
    correlation_id text,
    trace_id uuid,
    span_id text,
    parent_span_id text,
    operation smallint NOT NULL CONSTRAINT event_operation_is_known CHECK (operation BETWEEN 0 AND 5),
    outcome smallint NOT NULL CONSTRAINT event_outcome_is_known CHECK (outcome BETWEEN 0 AND 2),
    duration_us bigint NOT NULL CONSTRAINT event_duration_is_not_negative CHECK (duration_us >= 0),
    name text NOT NULL,
    destination text,
    error_type text,
    error_message text,
    error_stack text,
    keys jsonb NOT NULL,
    attributes jsonb NOT NULL,
    clamped_from timestamptz,
    payload_on date,
    PRIMARY KEY (id, occurred_at)
) PARTITION BY RANGE (occurred_at);
CREATE INDEX event_newest ON messaging_event (environment_id, occurred_at, id);
CREATE INDEX event_by_trace ON messaging_event (trace_id) WHERE trace_id IS NOT NULL;
CREATE INDEX event_by_message ON messaging_event (message_uid) WHERE message_uid IS NOT NULL;
CREATE INDEX event_by_correlation ON messaging_event (correlation_id) WHERE correlation_id IS NOT NULL;
CREATE INDEX event_failed ON messaging_event (environment_id, occurred_at, id) WHERE outcome = 2;
CREATE INDEX event_by_key ON messaging_event USING gin (keys jsonb_path_ops) WHERE message_uid IS NULL;

CREATE TABLE messaging_message (
    first_seen_on date NOT NULL,
    id uuid NOT NULL,
    environment_id bigint NOT NULL,
    flow_id bigint NOT NULL,
    message_id text NOT NULL,
    correlation_id text,
    trace_id uuid,
    first_seen_at timestamptz NOT NULL,
    last_seen_at timestamptz NOT NULL,
    status smallint NOT NULL CONSTRAINT message_status_is_known CHECK (status BETWEEN 0 AND 3),
    decided_at timestamptz,
    failed_at timestamptz,
    event_count integer NOT NULL,
    keys jsonb NOT NULL,
    error_type text,
    error_message text,
    PRIMARY KEY (id, first_seen_on)
) PARTITION BY RANGE (first_seen_on);
CREATE INDEX message_newest ON messaging_message (environment_id, first_seen_at, id);
CREATE INDEX message_failed ON messaging_message (environment_id, first_seen_at, id) WHERE failed_at IS NOT NULL;
CREATE INDEX message_by_message_id ON messaging_message (message_id);
CREATE INDEX message_by_trace ON messaging_message (trace_id) WHERE trace_id IS NOT NULL;
CREATE INDEX message_by_correlation ON messaging_message (correlation_id) WHERE correlation_id IS NOT NULL;
CREATE INDEX message_by_key ON messaging_message USING gin (keys jsonb_path_ops);

CREATE TABLE messaging_trace_link (
    occurred_at timestamptz NOT NULL,
    environment_id bigint NOT NULL,
    trace_id uuid NOT NULL,
    span_id text NOT NULL,
    linked_trace_id uuid NOT NULL,
    linked_span_id text NOT NULL,
    PRIMARY KEY (trace_id, span_id, linked_trace_id, linked_span_id, occurred_at)
) PARTITION BY RANGE (occurred_at);
CREATE INDEX trace_link_backwards ON messaging_trace_link (linked_trace_id);

CREATE TABLE messaging_payload (
    stored_on date NOT NULL,
    id uuid NOT NULL,
    environment_id bigint NOT NULL,
    data_key_id bigint NOT NULL,
    content_type text NOT NULL,
    size_bytes bigint NOT NULL,
    sealed bytea NOT NULL,
    PRIMARY KEY (id, stored_on)
) PARTITION BY RANGE (stored_on);
ALTER TABLE messaging_payload ALTER COLUMN sealed SET STORAGE EXTERNAL;

CREATE TABLE messaging_rollup_minute (
    minute timestamptz NOT NULL,
    environment_id bigint NOT NULL,
    flow_id bigint NOT NULL,
    operation smallint NOT NULL,
    outcome smallint NOT NULL,
    bucket smallint NOT NULL,
    shard smallint NOT NULL,
    count bigint NOT NULL,
    duration_us bigint NOT NULL,
    PRIMARY KEY (minute, flow_id, operation, outcome, bucket, shard)
) PARTITION BY RANGE (minute);

CREATE TABLE messaging_rollup_hour (
    hour timestamptz NOT NULL,
    environment_id bigint NOT NULL,
    flow_id bigint NOT NULL,
    system_id bigint NOT NULL,
    destination text NOT NULL,
    operation smallint NOT NULL,
    outcome smallint NOT NULL,
    shard smallint NOT NULL,
    count bigint NOT NULL,
    PRIMARY KEY (hour, flow_id, system_id, destination, operation, outcome, shard)
) PARTITION BY RANGE (hour);

CREATE TABLE messaging_event_default PARTITION OF messaging_event DEFAULT;
CREATE TABLE messaging_message_default PARTITION OF messaging_message DEFAULT WITH (fillfactor = 80);
CREATE TABLE messaging_trace_link_default PARTITION OF messaging_trace_link DEFAULT;
CREATE TABLE messaging_payload_default PARTITION OF messaging_payload DEFAULT;
CREATE TABLE messaging_rollup_minute_default PARTITION OF messaging_rollup_minute DEFAULT WITH (fillfactor = 80);
CREATE TABLE messaging_rollup_hour_default PARTITION OF messaging_rollup_hour DEFAULT WITH (fillfactor = 80);
"""

NAMES = ("event", "message", "trace_link", "payload", "rollup_minute", "rollup_hour")
DROP = "".join(f"DROP TABLE messaging_{name} CASCADE;" for name in NAMES)


class Migration(migrations.Migration):
    dependencies = [("messaging", "0001_initial")]

    operations = [migrations.RunSQL(TABLES, DROP)]
