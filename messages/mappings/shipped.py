"""The mappings that a new one may start from. They are copied when they are used: what ships with a release changes nobody's mapping."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Shipped:
    """A mapping to start from, with a sample body as its vendor documents it."""

    slug: str
    name: str
    definition: dict[str, Any]
    sample: str


GENERIC = Shipped(
    slug="webhook",
    name="Generic webhook",
    definition={
        "body": "json",
        "event": {
            "fields": {
                "id": {"from": ["$.id", "$.event_id", "$.delivery_id", "$.message_id"]},
                "system": {"from": ["$.source", "$.system"], "default": "webhook"},
                "operation": "receive",
                "occurred_at": {"from": ["$.occurred_at", "$.timestamp", "$.time", "$.created_at"]},
                "outcome": {
                    "from": ["$.status", "$.outcome"],
                    "map": {
                        **dict.fromkeys(("ok", "success", "succeeded", "completed", "delivered"), "ok"),
                        **dict.fromkeys(("error", "failed", "failure", "dead", "exhausted"), "error"),
                        "*": "unset",
                    },
                    "default": "unset",
                },
                "destination": {"from": ["$.destination", "$.type", "$.event"]},
                "message_id": {"from": ["$.message_id", "$.id"]},
                "correlation_id": "$.correlation_id",
                "error.message": {"from": ["$.error.message", "$.error"]},
                "payload.content_type": "application/json",
                "payload.body": "$",
            }
        },
        "dead_letter": {
            "when": [{"path": "$.status", "in": ["dead", "exhausted"]}],
            "fields": {
                "id": {"from": ["$.id", "$.event_id", "$.delivery_id", "$.message_id"]},
                "broker": {"from": ["$.source", "$.system"], "default": "webhook"},
                "family": "webhook",
                "queue": {"from": ["$.destination", "$.type", "$.event"], "default": "webhook"},
                "system": {"from": ["$.source", "$.system"], "default": "webhook"},
                "message_id": {"from": ["$.message_id", "$.id"]},
                "reason": "$.status",
                "error.message": {"from": ["$.error.message", "$.error"]},
                "attempts": "$.attempts",
                "failed_at": {"from": ["$.occurred_at", "$.timestamp", "$.time", "$.created_at"]},
                "content_type": "application/json",
                "body": "$",
            },
        },
    },
    sample="""{
 "id": "evt-4711",
 "source": "shop",
 "type": "order.created",
 "timestamp": "2026-11-24T10:14:02.118Z",
 "status": "exhausted",
 "error": {"message": "the receiver answered 503 five times"},
 "attempts": 5,
 "data": {"order_no": "4711", "total": 1284.50}
}""",
)

LOGIC_APPS = Shipped(
    slug="logic-apps",
    name="Azure Logic Apps run history",
    definition={
        "body": "json",
        "items": "$.records[*]",
        "skip": [{"path": "$.operationName", "not_in": ["Microsoft.Logic/workflows/workflowRunCompleted"]}],
        "event": {
            "fields": {
                "id": "$.properties.resource.runId",
                "system": "$.properties.resource.workflowName",
                "operation": "process",
                "occurred_at": {"from": ["$.properties.startTime", "$.time"]},
                "duration_ms": {"from": "$.properties.endTime", "since": "$.properties.startTime"},
                "outcome": {
                    "from": "$.properties.status",
                    "map": {
                        "Succeeded": "ok",
                        "Failed": "error",
                        "TimedOut": "error",
                        "Aborted": "error",
                        "*": "unset",
                    },
                },
                "name": "run of {$.properties.resource.workflowName}",
                "destination": "$.properties.resource.workflowName",
                "message_id": "$.properties.resource.runId",
                "correlation_id": "$.properties.correlation.clientTrackingId",
                "error.type": "$.properties.code",
                "error.message": {"from": ["$.properties.error.message", "$.properties.status"]},
                "keys": "$.properties.trackedProperties",
                "attributes.azure.resource_id": "$.resourceId",
                "attributes.azure.status": "$.properties.status",
                "attributes.azure.location": "$.properties.resource.location",
            }
        },
        "dead_letter": {
            "when": [{"path": "$.properties.status", "in": ["Failed", "TimedOut", "Aborted"]}],
            "fields": {
                "id": "$.properties.resource.runId",
                "broker": {"from": "$.properties.resource.subscriptionId", "default": "azure"},
                "family": "azure-logic-apps",
                "queue": "$.properties.resource.workflowName",
                "system": "$.properties.resource.workflowName",
                "message_id": "$.properties.resource.runId",
                "correlation_id": "$.properties.correlation.clientTrackingId",
                "reason": "{$.properties.status}: {$.properties.code}",
                "reason_code": {"from": "$.properties.status", "map": {"TimedOut": "expired", "*": "target_error"}},
                "error.type": "$.properties.code",
                "error.message": {"from": ["$.properties.error.message", "$.properties.status"]},
                "failed_at": {"from": ["$.properties.endTime", "$.time"]},
                "keys": "$.properties.trackedProperties",
            },
        },
    },
    sample="""{"records": [{
 "time": "2026-11-24T10:14:06.5430281Z",
 "workflowId": "/SUBSCRIPTIONS/7F1A2B3C/RESOURCEGROUPS/ORDERS/PROVIDERS/MICROSOFT.LOGIC/WORKFLOWS/ORDER-TO-ERP",
 "resourceId": "/SUBSCRIPTIONS/7F1A2B3C/RESOURCEGROUPS/ORDERS/PROVIDERS/MICROSOFT.LOGIC/WORKFLOWS/ORDER-TO-ERP/RUNS/08584312345678901234567890123CU12",
 "category": "WorkflowRuntime",
 "level": "Error",
 "operationName": "Microsoft.Logic/workflows/workflowRunCompleted",
 "properties": {
  "$schema": "2016-06-01",
  "startTime": "2026-11-24T10:14:02.4336305Z",
  "endTime": "2026-11-24T10:14:06.5430281Z",
  "status": "Failed",
  "code": "ActionFailed",
  "error": {"code": "ActionFailed", "message": "An action failed. No dependent actions succeeded."},
  "resource": {
   "subscriptionId": "7f1a2b3c", "resourceGroupName": "orders", "workflowName": "order-to-erp",
   "workflowId": "8d0a6f3e2f5c4a51b1d1b1e0a3a4f0c2", "runId": "08584312345678901234567890123CU12", "location": "westeurope"
  },
  "correlation": {"clientTrackingId": "order-4711"},
  "trackedProperties": {"order_no": "4711"}
 }
}]}""",
)

EVENTBRIDGE = Shipped(
    slug="eventbridge",
    name="AWS EventBridge events",
    definition={
        "body": "json",
        "event": {
            "fields": {
                "id": "$.id",
                "system": "$.source",
                "operation": "send",
                "occurred_at": "$.time",
                "name": "$.detail-type",
                "destination": "$.detail-type",
                "message_id": "$.id",
                "correlation_id": {"from": ["$.detail.correlation_id", "$.detail.correlationId"]},
                "attributes.aws.account": "$.account",
                "attributes.aws.region": "$.region",
                "attributes.aws.resources": "$.resources",
                "payload.content_type": "application/json",
                "payload.body": "$.detail",
            }
        },
    },
    sample="""{
 "version": "0",
 "id": "6a7e8feb-b491-4cf7-a9f1-bf3703467718",
 "detail-type": "OrderPlaced",
 "source": "com.example.shop",
 "account": "111122223333",
 "time": "2026-11-24T10:14:02Z",
 "region": "eu-central-1",
 "resources": ["arn:aws:dynamodb:eu-central-1:111122223333:table/orders"],
 "detail": {"order_no": "4711", "total": 1284.50, "correlation_id": "basket-17"}
}""",
)

SHIPPED = {one.slug: one for one in (GENERIC, LOGIC_APPS, EVENTBRIDGE)}
