"""Messaging in the read-only admin; sealed payloads, raw rejects and secrets are not shown."""

from django.contrib import admin

from console.core.readonly import window
from messages.models import (
    AutomaticRule,
    Change,
    Connection,
    DeadLetter,
    FailureGroup,
    Flow,
    FlowRule,
    GroupRule,
    IngestReject,
    KeyRule,
    LegalHold,
    Mapping,
    OutboxMail,
    Reconciliation,
    ReconciliationCheck,
    Replay,
    RetentionPolicy,
    RetentionRun,
    Schema,
    System,
)

admin.site.register(Flow, window(show=("name", "environment", "team", "criticality")))
admin.site.register(System, window(show=("name", "environment")))
admin.site.register(FlowRule, window(show=("pattern", "flow", "environment", "position")))
admin.site.register(KeyRule, window(show=("attribute", "key_name", "environment", "position")))
admin.site.register(Connection, window("secret", show=("name", "kind", "address", "approved_at", "environment")))
admin.site.register(
    DeadLetter, window(show=("id", "flow", "state", "resolution", "error_type", "failed_at"), search=("message_id",))
)
admin.site.register(Mapping, window("secret", show=("slug", "name", "enabled", "signature_header", "environment")))
admin.site.register(Schema, window("compiled", show=("name", "format", "destination", "ids", "environment")))
admin.site.register(Replay, window(show=("id", "dead_letter", "state", "attempt", "requested_by", "created_at")))
admin.site.register(IngestReject, window("raw", show=("received_at", "agent", "endpoint", "code")))
admin.site.register(Change, window(show=("started_at", "kind", "title", "outcome", "environment")))
admin.site.register(LegalHold, window(show=("placed_at", "environment", "flow", "placed_by", "reason")))
admin.site.register(RetentionPolicy, window(show=("environment", "payload_days", "metadata_days", "changed_by")))
admin.site.register(RetentionRun, window(show=("started_at", "state", "finished_at")))
admin.site.register(FailureGroup, window(show=("id", "flow", "state", "failure_class", "error_type", "last_seen_at")))
admin.site.register(GroupRule, window(show=("position", "name", "failure_class", "environment")))
admin.site.register(OutboxMail, window("body", "html", show=("created_at", "about", "state", "attempt", "answer")))
admin.site.register(Reconciliation, window(show=("created_at", "name", "flow", "state", "listed", "never", "failed")))
admin.site.register(ReconciliationCheck, window(show=("name", "flow", "state", "due_at", "owner")))
admin.site.register(AutomaticRule, window(show=("name", "environment", "is_on", "author", "switched_at")))
