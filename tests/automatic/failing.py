"""A flow whose receiver does well, letters that died there, a rule that is on: what these tests start from."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from console.identity.models import Role, User
from messages.automatic.services import NewAutomaticRule, add_automatic_rule, switch_on
from messages.models import AutomaticRule, DeadLetter, Plan, Replay
from messages.plans.advance import advance_plan
from messages.replay.proofs import settle_replays
from messages.replay.sending import send_due
from tests.factories import actor, agent_key, environment, event, letter, person, push


def died(count: int = 1, *, minutes_ago: float = 10, **changes: Any) -> list[DeadLetter]:
    """Push letters that died so long ago, of class transient unless the error says otherwise; return them, the newest last."""
    at = datetime.now(UTC) - timedelta(minutes=minutes_ago)
    made = [letter(failed_at=at.isoformat(), **changes) for _ in range(count)]
    assert push("/ingest/v1/dead-letters", made, key=agent_key("harvester")).json()["accepted"] == count
    return list(DeadLetter.objects.order_by("-pk")[:count])[::-1]


def processed(good: int, bad: int = 0, *, destination: str = "erp.orders") -> None:
    """Let the receiver report so many events of processing within the last minutes."""
    at = (datetime.now(UTC) - timedelta(minutes=2)).isoformat()
    common = {"system": "erp", "operation": "process", "destination": destination, "occurred_at": at}
    made = [event(**common) for _ in range(good)]
    made += [event(**common, outcome="error", error={"type": "E", "message": "no", "stack": ""}) for _ in range(bad)]
    assert push("/ingest/v1/events", made, key=agent_key("erp exporter")).json()["accepted"] == good + bad


def rule_on(by: User | None = None, **said: Any) -> AutomaticRule:
    """Return a rule for the class transient that an operator switched on."""
    who = actor(by or person("night-shift", Role.OPERATOR))
    if "group" not in said:
        said.setdefault("failure_class", "transient")
    made = add_automatic_rule(
        environment(), NewAutomaticRule(**{"name": "erp is away", "rate_per_s": 1000.0} | said), by=who
    )
    return switch_on(made, by=who, reason="nights")


def run_plan(plan: Plan, line: Any, *, proved: bool = True, turns: int = 20) -> Plan:
    """Let workers do what is to be done; with the receiver's proofs."""
    for _ in range(turns):
        advance_plan(plan.pk)
        send_due(line.pk)
        if proved:
            prove(plan)
        plan.refresh_from_db()
        if plan.state != "running":
            break
    return plan


def prove(plan: Plan) -> None:
    at = datetime.now(UTC).isoformat()
    sent = Replay.objects.filter(plan=plan, state="confirmed")
    proofs = [
        event(system="erp", operation="process", destination="erp.orders", occurred_at=at, message_id="", trace_id=one.trace_id.hex)
        for one in sent
    ]  # fmt: skip
    if proofs:
        push("/ingest/v1/events", proofs, key=agent_key("erp exporter"))
        settle_replays()


def fails_again(plan: Plan) -> None:
    """Let what was sent die once more."""
    sent = Replay.objects.filter(plan=plan, state="confirmed")
    push("/ingest/v1/dead-letters", [letter(replay_id=str(one.pk)) for one in sent], key=agent_key("harvester"))
