"""The tables of messaging, by topic. Partitioned ones are made in SQL by the first migration and only mapped here."""

from messages.models.catalog import Connection, Flow, FlowRule, KeyRule, System
from messages.models.changes import Change
from messages.models.dead_letters import DeadLetter, Replay
from messages.models.ingest import ClockReading, DataKey, IngestReject, LedgerEntry
from messages.models.stream import (
    Event,
    LoggedException,
    Message,
    MessageStatus,
    Payload,
    RollupHour,
    RollupMinute,
    TraceLink,
)

__all__ = [
    "Change",
    "ClockReading",
    "Connection",
    "DataKey",
    "DeadLetter",
    "Event",
    "Flow",
    "FlowRule",
    "IngestReject",
    "KeyRule",
    "LedgerEntry",
    "LoggedException",
    "Message",
    "MessageStatus",
    "Payload",
    "Replay",
    "RollupHour",
    "RollupMinute",
    "System",
    "TraceLink",
]
