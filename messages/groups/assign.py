"""Failures → the rows of their groups, inside the caller's transaction. Shared by dead letters as they are stored and by the sweep.

Locks are taken in one order, groups, then letters or messages, then counts: groups that are there by FOR KEY SHARE in order of id, so
that whoever resolves or merges them (FOR UPDATE) comes wholly before or wholly after these failures.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.db import transaction

from console.audit.services import record_audit
from console.identity.actor import SYSTEM
from messages.groups.figures import blast_of, reach_of
from messages.groups.fingerprint import VERSION, Failure, fingerprint_of, in_common
from messages.groups.rules import Placed, Rule, of_team, place
from messages.groups.states import next_state, states_before
from messages.ingest.messages_sql import run, run_set_based
from messages.models import FailureGroup, Flow, GroupRule

SHARDS = 8
KNOWN = """
SELECT fingerprint, id, coalesce(merged_into_id, id), rule_id, name, failure_class FROM messaging_failuregroup
WHERE environment_id = %b AND fingerprint = ANY(%b) ORDER BY id FOR KEY SHARE
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A failure and when it happened. waits: whether it stands so now, and counts."""

    failure: Failure
    at: datetime
    waits: bool = True


Ruled = tuple[int | None, str, str]  # a group's rule, name and class


@dataclass(frozen=True, slots=True)
class Home:
    """group_id  of the failure's own fingerprint.   speaks_for  the group it was merged into, else itself.   ruled  what rules made of it."""

    group_id: int
    speaks_for: int
    ruled: Ruled | None = None


Counted = tuple[int, datetime]  # a failure: its group, and when


def rules_of(environment_id: int) -> list[Rule]:
    """Return the operators' rules of an environment, the one that is tried first first."""
    return [as_rule(row) for row in GroupRule.objects.filter(environment_id=environment_id).order_by("position", "id")]


def as_rule(row: GroupRule) -> Rule:
    return Rule(
        id=row.pk or 0,
        name=row.name,
        flow=row.flow,
        step=row.step,
        error_type=row.error_type,
        words=row.words,
        destination=row.destination,
        reason=row.reason,
        parts=tuple(row.parts),
        failure_class=row.failure_class,
        teams=row.teams,
    )


def names_of_flows(flow_ids: Iterable[int]) -> dict[int, str]:
    return dict(Flow.objects.filter(pk__in=set(flow_ids)).values_list("pk", "name"))


def find_homes(
    environment_id: int, seen: Sequence[Seen], rules: Sequence[Rule], now: datetime, *, column: str
) -> list[Home]:
    """Return the group of each failure, making those that nobody saw before; two writers of the same new group make one.

    The failures' `flow` must be there when there are rules.   column  what they count as: letters or failed.
    """
    acting = _acting_on({one.failure.flow_id for one in seen}, rules)
    placed = [place(one.failure, acting.get(one.failure.flow_id, rules)) for one in seen]
    prints = [
        fingerprint_of(environment_id, one.failure.flow_id, where.parts)
        for one, where in zip(seen, placed, strict=True)
    ]
    homes = _known(environment_id, prints)
    if missing := sorted({one for one in prints if one not in homes}):
        first: dict[UUID, list[tuple[Seen, Placed]]] = {}
        for fingerprint, one, where in zip(prints, seen, placed, strict=True):
            if fingerprint not in homes:
                first.setdefault(fingerprint, []).append((one, where))
        rows = [_new(environment_id, fingerprint, first[fingerprint], now, column) for fingerprint in missing]
        FailureGroup.objects.bulk_create(rows, ignore_conflicts=True)
        homes |= _known(environment_id, missing)
    here = [homes[one] for one in prints]
    _follow_rules(zip(here, placed, strict=True), rules)
    return here


def _acting_on(flow_ids: Collection[int], rules: Sequence[Rule]) -> dict[int, list[Rule]]:
    """Return {flow: the rules that act on it}; nothing, and without a query, where all act on every flow."""
    if all(rule.teams is None for rule in rules):
        return {}
    return {pk: of_team(rules, team) for pk, team in Flow.objects.filter(pk__in=flow_ids).values_list("pk", "team_id")}


def _follow_rules(failures: Iterable[tuple[Home, Placed]], rules: Sequence[Rule]) -> None:
    """Let groups that were there before have the rule, the name and, where the rule says one, the class of the failures that come now.

    Of several rules that fit failures of a group the first counts, whichever failure comes last. It is written when the failures are, for
    itself: who held a group while they wait for a message or letter would be waited for by those who hold that and then tell the group.
    """
    places: dict[int | None, int] = {rule.id: place for place, rule in enumerate(rules)}
    first: dict[Home, tuple[int, Rule, str]] = {}
    for home, where in failures:
        if where.rule and (home not in first or places[where.rule.id] < first[home][0]):
            first[home] = places[where.rule.id], where.rule, where.name
    for home, (at, rule, name) in first.items():
        rule_id, called, kind = home.ruled or (None, "", "")
        if places.get(rule_id, at) < at:
            continue
        as_called = called.casefold() == name.casefold()  # as fingerprints are compared
        wanted: Ruled = rule.id, called if as_called else name, rule.failure_class or kind
        if wanted != home.ruled:
            _follow_after_commit(home.group_id, wanted)


def _follow_after_commit(group_id: int, ruled: Ruled) -> None:
    # robust: the rule may be removed meanwhile; no partial, of which Django cannot say that it failed
    transaction.on_commit(lambda: _follow(group_id, ruled), robust=True)


def _follow(group_id: int, ruled: Ruled) -> None:
    rule_id, name, failure_class = ruled
    FailureGroup.objects.filter(pk=group_id).update(rule_id=rule_id, name=name, failure_class=failure_class)


def _known(environment_id: int, prints: Iterable[UUID]) -> dict[UUID, Home]:
    rows = run(KNOWN, [environment_id, sorted(set(prints))]).fetchall()
    return {fingerprint: Home(pk, speaks_for, tuple(ruled)) for fingerprint, pk, speaks_for, *ruled in rows}


def _new(
    environment_id: int, fingerprint: UUID, found: Sequence[tuple[Seen, Placed]], now: datetime, column: str
) -> FailureGroup:
    """Return a group that is not there yet, with what its first failures say, so that it is in the list before any task ran."""
    failure, placed = found[0][0].failure, found[0][1]
    times = [seen.at for seen, _ in found]
    standing = [seen for seen, _ in found if seen.waits]
    reach = reach_of(seen.failure.keys for seen in standing)
    return FailureGroup(
        environment_id=environment_id,
        flow_id=failure.flow_id,
        version=VERSION,
        fingerprint=fingerprint,
        rule_id=placed.rule.id if placed.rule else None,
        name=placed.name,
        step=placed.parts.step,
        error_type=placed.parts.error_type,
        message=placed.parts.message,
        destination=placed.parts.destination,
        title=in_common([seen.failure.message for seen, _ in found[:50]]),
        failure_class=placed.failure_class,
        state="open",
        state_at=now,
        first_seen_at=min(times),
        last_seen_at=max(times),
        oldest_at=min(times),
        failed_oldest_at=min(times) if column == "failed" else None,
        customers=len(reach.customers),
        customers_partial=reach.is_customer_partial,
        documents=len(reach.documents),
        documents_partial=reach.is_document_partial,
        blast=blast_of(reach, waiting=len(standing)),
        **{column: len(standing)},
    )


def count_in_hours(
    *,
    letters: Iterable[Counted] = (),
    messages: Iterable[Counted] = (),
    gone: Iterable[Counted] = (),
    told: Iterable[Counted] = (),
) -> None:
    """Add failures (group id, when) to the counts by hour. Last in the transaction, in key order.

    letters, messages  that failed.   gone  letters that moved to another group.   told  messages whose letter has come: it counts in their place.
    """
    counts: dict[Counted, list[int]] = defaultdict(lambda: [0, 0])
    for column, by, several in ((0, 1, letters), (1, 1, messages), (0, -1, gone), (1, -1, told)):
        for group_id, at in several:
            counts[(group_id, at.astimezone(UTC).replace(minute=0, second=0, microsecond=0))][column] += by
    shard = os.getpid() % SHARDS
    rows = [(group_id, hour, shard, *both) for (group_id, hour), both in sorted(counts.items())]
    if rows:
        run_set_based(
            "INSERT INTO messaging_grouphour AS h (group_id, hour, shard, letters, messages) "
            "SELECT * FROM unnest(%b::int8[], %b::timestamptz[], %b::int2[], %b::int4[], %b::int4[]) "
            "ON CONFLICT (group_id, hour, shard) DO UPDATE "
            "SET letters = h.letters + excluded.letters, messages = h.messages + excluded.messages",
            rows,
        )


def tell_failed(failures: Iterable[tuple[int, datetime]], now: datetime) -> None:
    """Say of groups that were resolved before they failed that they failed again. Call it after the failures' rows are written: their
    reference to the group holds off whoever resolves it meanwhile, so that no failure is between the two.

    failures  (the group that speaks, when it failed): what failed before the group was resolved and was harvested after is no news.
    """
    latest: dict[int, datetime] = {}
    for pk, at in failures:
        latest[pk] = max(at, latest.get(pk, at))
    resolved = FailureGroup.objects.filter(pk__in=latest, state__in=states_before("fail")).order_by("pk")
    for pk, state, since in list(resolved.values_list("pk", "state", "state_at")) if latest else ():
        if latest[pk] > since:
            move(pk, state, "fail", "group.regressed", now)


def move(pk: int, state: str, happening: str, action: str, now: datetime, **details: Any) -> bool:
    """Let something happen to a group in this state and record it; False when somebody was faster."""
    after = next_state(state, happening)
    if after is None or not FailureGroup.objects.filter(pk=pk, state=state).update(state=after, state_at=now):
        return False
    group = FailureGroup.objects.select_related("environment", "flow").get(pk=pk)
    record_audit(
        SYSTEM, action, group, environment=group.environment, team_id=group.flow.team_id, details=details or None
    )
    return True


def group_messages(groups: Mapping[UUID, int], first_seen: Mapping[UUID, datetime]) -> None:
    """Let these messages belong to the groups of their dead letters, whatever they belonged to. {message uid: …}"""
    if not groups:
        return
    days = [at.date() for at in first_seen.values()]
    rows = [(uid, groups[uid]) for uid in sorted(groups)]
    run(
        "UPDATE messaging_message m SET group_id = v.group_id FROM unnest(%b::uuid[], %b::int8[]) AS v (id, group_id) "
        "WHERE m.id = v.id AND m.first_seen_on BETWEEN %b::date - 3 AND %b::date + 3 AND m.group_id IS DISTINCT FROM v.group_id",
        [*(list(column) for column in zip(*rows, strict=True)), min(days), max(days)],
    )
