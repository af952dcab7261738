"""Failures of one cause: letters and events that find the same group."""

from __future__ import annotations

from typing import Any

from messages.groups.services import merge_groups
from messages.models import DeadLetter, FailureGroup
from tests.factories import ROOT, agent_key, event, letter, push


def timeout(number: int, **changes: Any) -> dict[str, Any]:
    said = {"error": {"type": "ErpTimeout", "message": f"erp did not answer order {number} in 30 s"}}
    return letter(
        **said | {"keys": {"order_no": f"47-{number}", "customer_no": str(number % 2), "amount": "10"}} | changes
    )


def push_letters(*letters: dict[str, Any]) -> list[DeadLetter]:
    before = set(DeadLetter.objects.values_list("pk", flat=True))
    answer = push("/ingest/v1/dead-letters", list(letters), key=agent_key("harvester"))
    assert answer.status_code == 200, answer.content
    return list(DeadLetter.objects.exclude(pk__in=before).order_by("id"))


def failed_event(number: int, **changes: Any) -> dict[str, Any]:
    error = {"type": "ErpTimeout", "message": f"erp did not answer order {number} in 30 s", "stack": ""}
    return event(
        system="erp", operation="process", outcome="error", error=error, destination="erp.orders",
        message_id=f"failed-message-{number}-long-enough", keys={"order_no": f"47-{number}"}, **changes,
    )  # fmt: skip


def silent_letter(message_id: str = "failed-message-1-long-enough") -> dict[str, Any]:
    """Return a letter that says nothing of why; by default of the message of `failed_event(1)`."""
    return letter(message_id=message_id, origin="erp.orders", reason="", error={"type": "", "message": ""})


def merged(target: FailureGroup, others: list[FailureGroup]) -> FailureGroup:
    for at in range(0, len(others), 50):
        target = merge_groups(target, others[at : at + 50], by=ROOT, reason="one trouble")
    return target
