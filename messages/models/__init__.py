"""The tables of messaging, by topic. Partitioned ones are made in SQL by the first migration and only mapped here."""

from messages.models.answers import KeptAnswer
from messages.models.automatic import AutomaticRule
from messages.models.catalog import Connection, Flow, FlowRule, KeyRule, System
from messages.models.changes import Change
from messages.models.compensation import Compensation, CompensationBook, CompensationStep
from messages.models.dead_letters import DeadLetter, Replay
from messages.models.groups import FailureGroup, GroupHour, GroupNote, GroupRule
from messages.models.ingest import ClockReading, DataKey, IngestReject, LedgerEntry, QueueReading
from messages.models.mappings import Mapping
from messages.models.masking import MaskingHit, MaskingRule
from messages.models.orders import OrderSecret, ReplayOrder
from messages.models.plans import Plan, PlanItem, ReplayStop
from messages.models.reconcile import ReconciledKey, Reconciliation, ReconciliationCheck
from messages.models.retention import LegalHold, RetentionPolicy, RetentionRun
from messages.models.saved import OutboxMail, SavedSearch, Subscription
from messages.models.schemas import Schema
from messages.models.search import ErrorTextsSince, SearchChange, SearchGeneration, Unindexed
from messages.models.stream import (
    Event,
    LoggedException,
    Message,
    MessageStatus,
    Payload,
    RollupHour,
    RollupLatency,
    RollupMinute,
    TraceLink,
)
from messages.models.touched import TouchedMinutes

__all__ = [
    "AutomaticRule",
    "Change",
    "ClockReading",
    "Compensation",
    "CompensationBook",
    "CompensationStep",
    "Connection",
    "DataKey",
    "DeadLetter",
    "ErrorTextsSince",
    "Event",
    "FailureGroup",
    "Flow",
    "FlowRule",
    "GroupHour",
    "GroupNote",
    "GroupRule",
    "IngestReject",
    "KeptAnswer",
    "KeyRule",
    "LedgerEntry",
    "LegalHold",
    "LoggedException",
    "Mapping",
    "MaskingHit",
    "MaskingRule",
    "Message",
    "MessageStatus",
    "OrderSecret",
    "OutboxMail",
    "Payload",
    "Plan",
    "PlanItem",
    "QueueReading",
    "ReconciledKey",
    "Reconciliation",
    "ReconciliationCheck",
    "Replay",
    "ReplayOrder",
    "ReplayStop",
    "RetentionPolicy",
    "RetentionRun",
    "RollupHour",
    "RollupLatency",
    "RollupMinute",
    "SavedSearch",
    "Schema",
    "SearchChange",
    "SearchGeneration",
    "Subscription",
    "System",
    "TouchedMinutes",
    "TraceLink",
    "Unindexed",
]
