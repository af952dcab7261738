"""What flows in: events, messages, payloads and their rollups. All partitioned by day, all written by COPY or set-based SQL.

The tables are made by messages/migrations/0002 in SQL; these classes only read them.
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from django.contrib.postgres.fields import ArrayField
from django.db import models


class Operation(models.IntegerChoices):
    """What the system did with the message, after the OpenTelemetry messaging conventions."""

    OTHER = 0, "other"
    CREATE = 1, "create"
    SEND = 2, "send"
    RECEIVE = 3, "receive"
    PROCESS = 4, "process"
    SETTLE = 5, "settle"


class Outcome(models.IntegerChoices):
    UNSET = 0, "unset"
    OK = 1, "ok"
    ERROR = 2, "error"


class MessageStatus(models.IntegerChoices):
    """Where a message stands: the latest deciding event says it; `dead` is set and lifted by dead letters, `compensated` by compensations."""

    MOVING = 0, "moving"
    DELIVERED = 1, "delivered"
    FAILED = 2, "failed"
    DEAD = 3, "dead"
    COMPENSATED = 4, "compensated"


class Event(models.Model):
    """One hop: a system did something at a time, with an outcome. Append-only; key (occurred_at, id)."""

    pk = models.CompositePrimaryKey("occurred_at", "id")
    occurred_at = models.DateTimeField()
    id: models.UUIDField[UUID, UUID] = models.UUIDField()  # derived from environment and the sender's own id
    received_at = models.DateTimeField()
    environment = models.ForeignKey("identity.Environment", models.DO_NOTHING, related_name="+", db_constraint=False)
    flow = models.ForeignKey("messaging.Flow", models.DO_NOTHING, related_name="+", db_constraint=False)
    system = models.ForeignKey("messaging.System", models.DO_NOTHING, related_name="+", db_constraint=False)
    agent = models.ForeignKey("identity.Agent", models.DO_NOTHING, null=True, related_name="+", db_constraint=False)
    message_uid: models.UUIDField[UUID | None, UUID | None] = models.UUIDField(
        null=True
    )  # Message.id, when the event is about a message
    message_id = models.TextField(null=True)  # the sender's message id
    correlation_id = models.TextField(null=True)
    trace_id: models.UUIDField[UUID | None, UUID | None] = models.UUIDField(null=True)
    span_id = models.TextField(null=True)  # 16 lower-case hex digits
    parent_span_id = models.TextField(null=True)
    operation = models.SmallIntegerField(choices=Operation.choices)
    outcome = models.SmallIntegerField(choices=Outcome.choices)
    duration_us = models.BigIntegerField()
    name = models.TextField()
    destination = models.TextField(null=True)
    error_type = models.TextField(null=True)
    error_message = models.TextField(null=True)
    error_stack = models.TextField(null=True)
    keys = models.JSONField()  # {"order_no": "4711"}: text values only
    attributes = models.JSONField()
    clamped_from = models.DateTimeField(null=True)  # the sender's own time when it was outside the accepted range
    payload_on = models.DateField(null=True)  # partition of this event's payload, whose id is the event's

    class Meta:
        managed = False
        db_table = "messaging_event"

    def __str__(self) -> str:
        return f"event {self.id}"


class Message(models.Model):
    """One business message. `id` is derived; `first_seen_on` is its partition and never changes."""

    pk = models.CompositePrimaryKey("first_seen_on", "id")
    first_seen_on = models.DateField()
    id: models.UUIDField[UUID, UUID] = models.UUIDField()
    environment = models.ForeignKey("identity.Environment", models.DO_NOTHING, related_name="+", db_constraint=False)
    flow = models.ForeignKey("messaging.Flow", models.DO_NOTHING, related_name="+", db_constraint=False)
    message_id = models.TextField()
    correlation_id = models.TextField(null=True)
    trace_id: models.UUIDField[UUID | None, UUID | None] = models.UUIDField(null=True)
    first_seen_at = models.DateTimeField()  # of the batch that made the row; indexed, so it never changes
    started_at = models.DateTimeField(
        null=True
    )  # the earliest event, whenever it came; null: only a dead letter told of it
    last_seen_at = models.DateTimeField()
    status = models.SmallIntegerField(choices=MessageStatus.choices)
    decided_at = models.DateTimeField(null=True)  # time of the event that set the status
    failed_at = models.DateTimeField(null=True)  # first failure; index of the failed list
    event_count = models.IntegerField()
    keys = models.JSONField()
    error_type = models.TextField(null=True)
    error_message = models.TextField(null=True)
    told_by = ArrayField(
        models.BigIntegerField(), null=True
    )  # flows, other than its own, that told of its keys or its error
    also_in = ArrayField(models.BigIntegerField(), null=True)  # flows, other than its own, of its events and letters
    group = models.ForeignKey(
        "messaging.FailureGroup", models.DO_NOTHING, null=True, related_name="+", db_constraint=False
    )  # of its first failure; given by a sweep, or by its dead letter

    class Meta:
        managed = False
        db_table = "messaging_message"

    def __str__(self) -> str:
        return f"message {self.message_id}"

    @property
    def began_at(self) -> datetime:
        """Return when it began as far as we know: its earliest event, else what its row was made from."""
        return self.started_at or self.first_seen_at


class TraceLink(models.Model):
    """A span link that leaves its trace, the tie between producer and consumer; or of an event about many messages, inside of one."""

    pk = models.CompositePrimaryKey("occurred_at", "trace_id", "span_id", "linked_trace_id", "linked_span_id")
    occurred_at = models.DateTimeField()
    environment = models.ForeignKey("identity.Environment", models.DO_NOTHING, related_name="+", db_constraint=False)
    trace_id: models.UUIDField[UUID, UUID] = models.UUIDField()
    span_id = models.TextField()
    linked_trace_id: models.UUIDField[UUID, UUID] = models.UUIDField()
    linked_span_id = models.TextField()

    class Meta:
        managed = False
        db_table = "messaging_trace_link"


class LoggedException(models.Model):
    """An exception that an application logged inside a span (OTLP logs); `event_id` is that of the span's event."""

    pk = models.CompositePrimaryKey("occurred_at", "id")
    occurred_at = models.DateTimeField()
    id: models.UUIDField[UUID, UUID] = models.UUIDField()
    environment = models.ForeignKey("identity.Environment", models.DO_NOTHING, related_name="+", db_constraint=False)
    event_id: models.UUIDField[UUID, UUID] = models.UUIDField()
    system = models.TextField()
    error_type = models.TextField()
    error_message = models.TextField(null=True)
    error_stack = models.TextField(null=True)
    attached = models.BooleanField()  # its event was here, and has its words when it failed

    class Meta:
        managed = False
        db_table = "messaging_logged_exception"


class Payload(models.Model):
    """A body with its headers: msgspec-encoded, zstd, then AES-256-GCM under the data key of environment and day."""

    pk = models.CompositePrimaryKey("stored_on", "id")
    stored_on = models.DateField()
    id: models.UUIDField[UUID, UUID] = models.UUIDField()  # id of the event or dead letter it belongs to
    environment = models.ForeignKey("identity.Environment", models.DO_NOTHING, related_name="+", db_constraint=False)
    flow = models.ForeignKey(
        "messaging.Flow", models.DO_NOTHING, null=True, related_name="+", db_constraint=False
    )  # null: stored before retention knew flows
    data_key = models.ForeignKey("messaging.DataKey", models.DO_NOTHING, related_name="+", db_constraint=False)
    content_type = models.TextField()
    size_bytes = models.BigIntegerField()  # of the body as stored
    masked = models.JSONField(null=True)  # {masking rule id: values it replaced}; null: none did
    sealed = models.BinaryField()  # 12-byte nonce ‖ ciphertext ‖ 16-byte tag

    class Meta:
        managed = False
        db_table = "messaging_payload"


class RollupMinute(models.Model):
    """Events per minute × flow × operation × outcome × latency bucket; `shard` spreads concurrent writers."""

    pk = models.CompositePrimaryKey("minute", "flow", "operation", "outcome", "bucket", "shard")
    minute = models.DateTimeField()
    environment = models.ForeignKey("identity.Environment", models.DO_NOTHING, related_name="+", db_constraint=False)
    flow = models.ForeignKey("messaging.Flow", models.DO_NOTHING, related_name="+", db_constraint=False)
    operation = models.SmallIntegerField()
    outcome = models.SmallIntegerField()
    bucket = models.SmallIntegerField()  # n: duration < 2**n ms, see messages.ingest.rollups
    shard = models.SmallIntegerField()
    count = models.BigIntegerField()
    duration_us = models.BigIntegerField()
    messages = models.BigIntegerField(null=True)  # as of an hour

    class Meta:
        managed = False
        db_table = "messaging_rollup_minute"


class RollupHour(models.Model):
    """Events per hour × flow × system × destination × operation × outcome."""

    pk = models.CompositePrimaryKey("hour", "flow", "system", "destination", "operation", "outcome", "shard")
    hour = models.DateTimeField()
    environment = models.ForeignKey("identity.Environment", models.DO_NOTHING, related_name="+", db_constraint=False)
    flow = models.ForeignKey("messaging.Flow", models.DO_NOTHING, related_name="+", db_constraint=False)
    system = models.ForeignKey("messaging.System", models.DO_NOTHING, related_name="+", db_constraint=False)
    destination = models.TextField()
    operation = models.SmallIntegerField()
    outcome = models.SmallIntegerField()
    shard = models.SmallIntegerField()
    count = models.BigIntegerField()
    messages = models.BigIntegerField(null=True)  # those of a batch are all counted; null: counted before it was known

    class Meta:
        managed = False
        db_table = "messaging_rollup_hour"


class RollupLatency(models.Model):
    """Processed events per hour × flow × latency bucket, folded from the minutes by a task, so that a month's percentiles are few rows."""

    pk = models.CompositePrimaryKey("hour", "flow", "bucket")
    hour = models.DateTimeField()
    environment = models.ForeignKey("identity.Environment", models.DO_NOTHING, related_name="+", db_constraint=False)
    flow = models.ForeignKey("messaging.Flow", models.DO_NOTHING, related_name="+", db_constraint=False)
    bucket = models.SmallIntegerField()
    count = models.BigIntegerField()

    class Meta:
        managed = False
        db_table = "messaging_rollup_latency"
