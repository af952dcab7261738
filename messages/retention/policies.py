"""Reads of policies, holds and runs: for ingest, for the runs, for pages."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import fields
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Max, Q

from console.identity.actor import Actor
from console.identity.models import Environment
from messages.access import visible_holds
from messages.models import Flow, LegalHold, RetentionPolicy, RetentionRun
from messages.retention.rules import SETTLES, Policy, Terms

FRESH_S = 3.0
LATE = timedelta(days=2)  # after so long without a finished run somebody should look
_lately: dict[int, tuple[float, Policy]] = {}  # environment → when it was read, its policy


def policy_of(environment: Environment) -> Policy:
    """Return the environment's policy, the defaults where nobody has set one."""
    row = RetentionPolicy.objects.filter(environment=environment).first()
    return _policy(row)


def _policy(row: RetentionPolicy | None) -> Policy:
    return Policy(**{one.name: getattr(row, one.name) for one in fields(Policy)}) if row else Policy()


def accepted_age(environment_id: int) -> timedelta:
    """Return how old an event may be: as old as its environment's metadata gets. Read again after 3 s; see rules.SETTLES."""
    return timedelta(days=_policy_lately(environment_id).metadata_days)


def letters_age(environment_id: int) -> timedelta:
    """Return how long a dead letter is kept after it was closed. Read again after 3 s."""
    return timedelta(days=_policy_lately(environment_id).letter_days)


def rollups_age(environment_id: int) -> timedelta:
    """Return how long rollups are kept. Read again after 3 s."""
    return timedelta(days=_policy_lately(environment_id).rollup_days)


def _policy_lately(environment_id: int) -> Policy:
    known = _lately.get(environment_id)
    if known is None or time.monotonic() - known[0] > FRESH_S:
        row = RetentionPolicy.objects.filter(environment_id=environment_id).first()
        known = _lately[environment_id] = (time.monotonic(), _policy(row))
    return known[1]


def longest_age() -> timedelta:
    """Return how far back a search for one id has to look: the longest that metadata is kept anywhere."""
    most = RetentionPolicy.objects.aggregate(most=Max("metadata_days"))["most"]
    return timedelta(days=max(most or 0, Policy().metadata_days))


def forget() -> None:
    """Drop everything cached; tests that roll rows back need it."""
    _lately.clear()


def read_terms(*, now: datetime) -> list[Terms]:
    """Return what decides over each environment's data now, in three queries."""
    rows = {row.environment_id: row for row in RetentionPolicy.objects.all()}
    holds: dict[int, set[int | None]] = {}
    for environment_id, flow_id in LegalHold.objects.order_by().values_list("environment_id", "flow_id"):
        holds.setdefault(environment_id, set()).add(flow_id)
    own: dict[int, dict[int, int]] = {}
    for environment_id, flow_id, days in (
        Flow.objects.filter(payload_days__isnull=False).order_by().values_list("environment_id", "pk", "payload_days")
    ):
        own.setdefault(environment_id, {})[flow_id] = days or 0
    return [
        Terms(
            environment_id=pk,
            slug=slug,
            policy=_policy(rows.get(pk)),
            held=None in holds.get(pk, set()),
            held_flows=frozenset(flow for flow in holds.get(pk, set()) if flow is not None),
            flow_days=own.get(pk, {}),
            settled=pk not in rows or rows[pk].changed_at < now - SETTLES,
        )
        for pk, slug in Environment.objects.values_list("pk", "slug")
    ]


def holds_of(actor: Actor, environments: Sequence[Environment]) -> list[LegalHold]:
    """Return the holds in force there that the actor may see, those of whole environments first."""
    found = visible_holds(actor).filter(environment__in=environments)
    return sorted(found, key=lambda hold: (hold.flow is not None, hold.pk))


def hold_of_flow(flow: Flow) -> LegalHold | None:
    """Return the hold that keeps this flow: its own, else that of its environment."""
    holds = LegalHold.objects.filter(environment_id=flow.environment_id).select_related("flow", "environment")
    return holds.filter(flow=flow).first() or holds.filter(flow__isnull=True).first()


def last_runs(limit: int = 5) -> list[RetentionRun]:
    return list(RetentionRun.objects.all()[:limit])


def last_finished() -> RetentionRun | None:
    return RetentionRun.objects.filter(state=RetentionRun.State.FINISHED).first()


def alarm(environment: Environment, *, now: datetime) -> str:
    """Return in words why somebody should look at retention; "" when all is well. It runs for all environments together."""
    finished, failed = Q(state=RetentionRun.State.FINISHED), Q(state=RetentionRun.State.FAILED)
    runs = RetentionRun.objects.order_by().aggregate(
        finished=Max("started_at", filter=finished), failed=Max("pk", filter=failed), last=Max("pk")
    )
    if runs["last"] and runs["failed"] == runs["last"]:
        details = RetentionRun.objects.values_list("details", flat=True).get(pk=runs["last"])
        return f"The last run failed: {details.get('error', '')}"
    since = runs["finished"] or environment.created_at
    if now - since <= LATE:
        return ""
    last = RetentionRun.objects.first()
    left: list[Any] = last.details.get("left", []) if last else []
    why = f"the last one left {left[0]['table']} because {left[0]['because']}." if left else "does beat run?"
    return f"No run has finished for {(now - since).days} days: {why}"
