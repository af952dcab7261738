"""What tests of the engine ask of a compensation, and how time passes for it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from messages.compensation.execute import work_on
from messages.compensation.proposing import propose, target_of_letter
from messages.compensation.services import start
from messages.connectors.memory import QUEUES
from messages.models import Compensation, CompensationStep, Connection, DeadLetter, Event
from tests.compensation.orders import proposed
from tests.factories import ROOT, agent_key, event, push


def now_of(run: Compensation) -> Compensation:
    return Compensation.objects.select_related("dead_letter", "flow__team").get(pk=run.pk)


def states(run: Compensation) -> dict[str, str]:
    return dict(run.steps.order_by("ordinal").values_list("name", "state"))


def step(run: Compensation, name: str) -> CompensationStep:
    return CompensationStep.objects.select_related("compensation__flow__team", "compensation__environment").get(
        compensation=run, name=name
    )


def sent(line: Connection, queue: str) -> int:
    return len(QUEUES[line.address][queue])


def begun(*happened: str, **options: Any) -> Compensation:
    """Return a compensation that was started and has not had its first turn."""
    run = proposed(*happened, **options)
    start(run, by=ROOT)
    return now_of(run)


def worked_on(*happened: str, **options: Any) -> Compensation:
    run = begun(*happened, **options)
    work_on(run.pk)
    return now_of(run)


def again(letter: DeadLetter) -> Compensation:
    return propose(target_of_letter(letter), by=ROOT, reason="again")


def passes(run: Compensation, seconds: float) -> None:
    """So much time passes for the compensation, its steps and its connections."""
    then = timedelta(seconds=seconds)
    Compensation.objects.filter(pk=run.pk).update(looked_at=None, due_at=datetime.now(UTC))
    Connection.objects.update(undo_not_before=None)
    for one in run.steps.all():
        moved = {n: getattr(one, n) - then for n in ("lease_until", "not_before", "answered_at") if getattr(one, n)}
        CompensationStep.objects.filter(pk=one.pk).update(**moved)


def told(run: Compensation, system: str, destination: str, *, at: datetime | None = None, **changes: Any) -> None:
    """A system tells that it processed something of this journey, just now unless said."""
    fields = {
        "system": system, "operation": "process", "outcome": "ok", "destination": destination, "keys": run.keys,
        "occurred_at": (at or datetime.now(UTC)).isoformat(), "trace_id": run.trace_id.hex,
    } | changes  # fmt: skip
    answer = push("/ingest/v1/events", {"events": [event(**fields)]}, key=agent_key("estate")).json()
    assert answer["rejected"] == [], answer


def refund_told(step: CompensationStep) -> bool:
    """Whether the payment system told of a refund in the trace of this step's call already."""
    return Event.objects.filter(trace_id=step.trace_id, agent_id__isnull=False).exists()
