"""Reads of failure groups: the list in order of reach, one group with what a page says of it, who may own it."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from django.contrib.postgres.aggregates import BoolOr
from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import Count, Min, OuterRef, Q, QuerySet, Sum
from django.db.models.functions import Coalesce

from console.audit.models import AuditEntry
from console.core.errors import Invalid
from console.core.paging import Page, decode_number_cursor, decode_numbers_cursor, encode_cursor
from console.identity.actor import Actor
from console.identity.models import Environment
from messages.access import visible_dead_letters, visible_flows
from messages.groups.access import possible_owners, visible_group_rules, visible_groups
from messages.groups.breaching import note_next_breaches
from messages.groups.classes import CLASSES
from messages.groups.reference import number_of
from messages.groups.refresh import hours_of
from messages.groups.states import STATES
from messages.groups.tried import LATE, MOST_ASKED, MOST_EVENTS
from messages.ingest.messages_sql import run
from messages.models import DeadLetter, FailureGroup, GroupNote, GroupRule, RollupHour
from messages.models.groups import FURTHEST_FIRST
from messages.models.stream import Operation
from messages.rows import FLOW_UNNAMED, OWNER_UNNAMED, with_environment
from messages.search import lookups  # noqa: F401  registers `holds`
from messages.search.fields import TARGETS, fields_of

TABS = ("failing", "resolved", "all")
MOST_SHOWN = 100
A_DAY = timedelta(days=1)
WAITS = Q(blast__gt=0)  # or may: see messages.groups.refresh
UNRESOLVED = ~Q(state="resolved")
FAILING = WAITS & UNRESOLVED
STANDING = Q(failed__gt=0, blast__gt=0, merged_into=None) & UNRESOLVED


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """What a list of groups is narrowed to; empty is everything. owner: a user's name, or "none".

    q  a reference, which finds that group whatever `show` says, or words of a heading or an exception.
    """

    q: str = ""
    show: str = "failing"
    flow: str = ""
    state: str = ""
    failure_class: str = ""
    owner: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """causes  that fail now.   escalating  of them.   waiting  letters and messages.   largest  the one that reaches furthest.

    left  letters of resolved groups that wait: resolving changes no letter.
    """

    causes: int
    flows: int
    escalating: int
    waiting: int
    left: int
    oldest_at: datetime | None
    largest: FailureGroup | None


def check_filter(only: Filter) -> None:
    """Raise Invalid for a word that no group can have."""
    for name, value, words in (
        ("show", only.show, TABS),
        ("state", only.state, ("", *STATES)),
        ("class", only.failure_class, ("", *CLASSES)),
    ):
        if value not in words:
            raise Invalid(f"{name} is one of {', '.join(one for one in words if one)}, not “{value[:40]}”")
    check_words(only.q)


PARAMETERS = ("flow", "state", "class", "owner", "show")
QUERIES = {name for target in TARGETS for name in fields_of(target)} | set(PARAMETERS)
ASKED = re.compile(r"(?:^|[\s(+-])([a-z_]+):\S", re.ASCII)


def check_words(q: str) -> None:
    """Raise Invalid for a query: of groups `q` are words, and a query would find nothing, as if nothing failed. group:G-204 is a reference."""
    if number_of(q.removeprefix("group:")) is not None:
        return
    asked = [found for found in ASKED.findall(q) if found in QUERIES]
    if asked:
        name = asked[0]
        instead = (
            f"narrow the list by its parameter {name}"
            if name in PARAMETERS
            else f"it is narrowed by {', '.join(PARAMETERS)}"
        )
        raise Invalid(f"q of groups is a reference or words of a heading, no query with {name}: {instead}")
    if q and not q.strip("()[]{} "):
        raise Invalid("q of groups is a reference or words of a heading, and these are brackets alone")


def find_groups(
    actor: Actor,
    *,
    environments: Sequence[Environment],
    only: Filter | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> Page[FailureGroup]:
    """Return groups, what reaches furthest first; what was merged into another is there by its reference alone. Raises Invalid, InvalidCursor.

    Those that reach as far are in order of the next breach of their flow, as the last look found it: see messages.groups.breaching.
    Keyset over (blast, next breach, id). A group whose figures change between two pages may be in both or, seldom, in none.
    """
    only = only or Filter()
    check_filter(only)
    rows = visible_groups(actor).filter(environment__in=environments)
    rows = rows.select_related(None).select_related("flow__team", "owner").defer(*FLOW_UNNAMED, *OWNER_UNNAMED)
    number = number_of(only.q.removeprefix("group:"))
    rows = rows.filter(pk=number) if number is not None else _shown(rows.filter(merged_into=None), only)
    rows = _narrowed(rows, only)
    if cursor:
        blast, breach_s, pk = decode_numbers_cursor(cursor, 3)
        later = Q(next_breach_s__gt=breach_s) | Q(next_breach_s=breach_s, pk__lt=pk)
        rows = rows.filter(blast__lte=blast).filter(Q(blast__lt=blast) | Q(blast=blast) & later)
    found = list(rows.order_by(*FURTHEST_FIRST)[: limit + 1])
    last = found[limit - 1] if len(found) > limit else None
    shown = found[:limit]
    with_environment(shown, environments)
    note_next_breaches(shown)
    return Page(shown, encode_cursor(last.blast, last.next_breach_s, last.pk) if last else None)


def _shown(rows: QuerySet[FailureGroup], only: Filter) -> QuerySet[FailureGroup]:
    if only.q:
        rows = rows.filter(Q(title__holds=only.q) | Q(name__holds=only.q) | Q(error_type__holds=only.q))
    if only.show == "failing":
        return rows.filter(FAILING)
    return rows.filter(state="resolved") if only.show == "resolved" else rows


def _narrowed(rows: QuerySet[FailureGroup], only: Filter) -> QuerySet[FailureGroup]:
    if only.flow:
        rows = rows.filter(flow__name=only.flow)
    if only.state:
        rows = rows.filter(state=only.state)
    if only.failure_class:
        rows = rows.filter(failure_class=only.failure_class)
    if only.owner:
        rows = rows.filter(owner=None) if only.owner == "none" else rows.filter(owner__username=only.owner)
    return rows


def verdict_of(actor: Actor, environment: Environment, only: Filter) -> Verdict:
    """Return the numbers of the first sentence: of what waits of the flow, state, class and owner, whatever else is shown; two queries."""
    groups = visible_groups(actor).filter(WAITS, environment=environment, merged_into=None).order_by()
    standing = _narrowed(groups, only).select_related(None)
    counted = standing.aggregate(
        causes=Count("pk", filter=UNRESOLVED),
        flows=Count("flow", distinct=True, filter=UNRESOLVED),
        escalating=Count("pk", filter=Q(state="escalating")),
        waiting_letters=Sum("letters", filter=UNRESOLVED),
        waiting_messages=Sum("failed", filter=UNRESOLVED),
        left=Sum("letters", filter=~UNRESOLVED),
        oldest_at=Min("oldest_at", filter=UNRESOLVED),
    )
    largest = standing.filter(UNRESOLVED).order_by(*FURTHEST_FIRST).first() if counted["causes"] else None
    return Verdict(
        causes=counted["causes"],
        flows=counted["flows"],
        escalating=counted["escalating"],
        waiting=(counted["waiting_letters"] or 0) + (counted["waiting_messages"] or 0),
        left=counted["left"] or 0,
        oldest_at=counted["oldest_at"],
        largest=largest,
    )


def count_failing(actor: Actor, environment: Environment) -> int:
    """Return how many causes fail now."""
    return visible_groups(actor).filter(FAILING, environment=environment, merged_into=None).order_by().count()


def groups_with_failed_messages(actor: Actor, environment: Environment) -> list[tuple[FailureGroup, list[int]]]:
    """Return the causes that fail now and have messages without a dead letter that stand so, each with itself and what it speaks for; one query."""
    merged = FailureGroup.objects.filter(merged_into=OuterRef("pk")).order_by().values("pk")
    found = _with_flow(visible_groups(actor)).filter(STANDING, environment=environment)
    return [(group, [group.pk, *group.parts]) for group in found.annotate(parts=ArraySubquery(merged))]


def failed_messages_of_flows(flow_ids: Collection[int]) -> dict[int, tuple[int, datetime | None, bool]]:
    """Return {flow: failed messages without a letter of causes that nobody resolved, since when something of those waits, whether there
    may be more of them}; rights are the caller's.
    """
    rows = FailureGroup.objects.filter(STANDING, flow_id__in=flow_ids).order_by().values_list("flow_id")
    counted = rows.annotate(
        Sum("failed"), oldest=Min(Coalesce("failed_oldest_at", "oldest_at")), at_least=BoolOr("failed_capped")
    )
    return {flow_id: (failed, oldest_at, at_least) for flow_id, failed, oldest_at, at_least in counted}


def trends_of(groups: Sequence[FailureGroup], now: datetime, *, back: int = 24) -> dict[int, list[int]]:
    """Return {group: failures by hour}, oldest first, with those of what is merged into it; two queries."""
    parts = {group.pk: [group.pk] for group in groups}
    for pk, target in FailureGroup.objects.filter(merged_into__in=list(parts)).values_list("pk", "merged_into_id"):
        parts[target].append(pk)
    return hours_of(parts, now, back=back)


def whole_of(group: FailureGroup) -> list[FailureGroup]:
    """Return everything that was merged into a group: services.merge_groups says how much that can be."""
    return list(FailureGroup.objects.filter(merged_into=group).order_by("pk"))


def history_of_group(group: FailureGroup) -> list[AuditEntry]:
    """Return what was done to a group, newest first."""
    return list(
        AuditEntry.objects.filter(object_kind="failuregroup", object_id=str(group.pk)).order_by("-id")[:MOST_SHOWN]
    )


def notes_of(
    group: FailureGroup, parts: Sequence[FailureGroup] = (), *, limit: int = MOST_SHOWN, cursor: str | None = None
) -> Page[GroupNote]:
    """Return the notes of a group and of what was merged into it, newest first. Raises InvalidCursor."""
    notes = GroupNote.objects.filter(group__in=[group.pk, *(one.pk for one in parts)])
    if cursor:
        notes = notes.filter(pk__lt=decode_number_cursor(cursor))
    found = list(notes.order_by("-pk")[: limit + 1])
    return Page(found[:limit], encode_cursor(found[limit - 1].pk) if len(found) > limit else None)


def longest_waiting(actor: Actor, group: FailureGroup, *, most: int) -> list[UUID]:
    """Return the letters of a group that are open, those that were harvested first first."""
    mine = Q(group=group) | Q(group__merged_into=group)
    letters = visible_dead_letters(actor).filter(mine, state=DeadLetter.State.OPEN, closed_at=None)
    return list(letters.order_by("pk").values_list("pk", flat=True)[:most])


def sample_of(actor: Actor, group: FailureGroup, parts: Sequence[FailureGroup] = ()) -> DeadLetter | None:
    """Return the newest letter of a group, else of `parts`, what was merged into it, whose error stands for all."""
    letters = visible_dead_letters(actor)
    own = letters.filter(group=group).order_by("-pk").first()
    if own is not None or not parts:
        return own
    newest = _newest([part.pk for part in parts])
    return letters.filter(pk=max(newest.values()).pk).first() if newest else None


def owners_of(group: FailureGroup) -> list[str]:
    """Return the names of those who may own a group."""
    return list(possible_owners(group.flow).values_list("username", flat=True)[:MOST_SHOWN])


def owner_names(actor: Actor, environment: Environment) -> list[str]:
    """Return who owns groups that the actor sees."""
    groups = visible_groups(actor).filter(environment=environment, owner__isnull=False).order_by()
    return sorted(set(groups.values_list("owner__username", flat=True)[:1000]))


def others_of_flow(actor: Actor, group: FailureGroup) -> list[FailureGroup]:
    """Return groups that this one could be merged into or take in, what reaches furthest first."""
    groups = visible_groups(actor).filter(flow=group.flow_id, merged_into=None).exclude(pk=group.pk)
    return list(groups.order_by(*FURTHEST_FIRST)[:MOST_SHOWN])


def runbook_of(group: FailureGroup) -> str:
    """Return the group's runbook, else that of its rule, else that of its flow."""
    rule = GroupRule.objects.filter(pk=group.rule_id).first() if group.rule_id and not group.runbook_url else None
    return group.runbook_url or (rule.runbook_url if rule else "") or group.flow.runbook_url


# From the indexes of a group's letters, oldest and newest, and of its newest messages and their events.
WHERE_FAILED = """
SELECT DISTINCT w.flow_id, s.name FROM (
    SELECT d.flow_id, d.system_id FROM unnest(%b::int8[]) AS g (id) CROSS JOIN LATERAL (
        (SELECT flow_id, system_id FROM messaging_deadletter WHERE group_id = g.id ORDER BY id DESC LIMIT %b) UNION ALL
        (SELECT flow_id, system_id FROM messaging_deadletter WHERE group_id = g.id ORDER BY id LIMIT %b)
    ) d
    UNION
    SELECT e.flow_id, e.system_id FROM unnest(%b::int8[]) AS g (id) CROSS JOIN LATERAL (
        SELECT id FROM messaging_message WHERE group_id = g.id AND first_seen_on >= %b AND first_seen_at >= %b
        ORDER BY first_seen_at DESC, id DESC LIMIT %b
    ) m CROSS JOIN LATERAL (
        SELECT flow_id, system_id FROM messaging_event WHERE message_uid = m.id AND outcome = 2 AND occurred_at >= %b LIMIT %b
    ) e
) w JOIN messaging_system s ON s.id = w.system_id
"""
MOST_LETTERS = 200  # the newest of a group, and as many of the oldest, whose systems are looked at


def systems_of(actor: Actor, group: FailureGroup, parts: Sequence[FailureGroup] = ()) -> list[str]:
    """Return the names of systems whose changes may explain a group: where it and `parts`, what was merged into it, failed, and which had
    sent in its flow in the day before its last failure.

    Where a rule leaves the system out, those of letters and messages in flows that the actor may see.
    """
    whole = [group, *parts]
    found = {one.step for one in whole if one.step}
    sent = RollupHour.objects.filter(flow_id=group.flow_id, operation=Operation.SEND)
    sent = sent.filter(hour__gt=group.last_seen_at - A_DAY, hour__lte=group.last_seen_at)
    found |= set(sent.order_by().values_list("system__name", flat=True).distinct())
    if of_any := [one for one in whole if not one.step]:
        pks, since = [one.pk for one in of_any], min(one.last_seen_at for one in of_any) - LATE
        asked = [pks, MOST_LETTERS, MOST_LETTERS, pks, since.date(), since, MOST_ASKED, since, MOST_EVENTS]
        rows = run(WHERE_FAILED, asked).fetchall()
        seen = set(visible_flows(actor).filter(pk__in={flow for flow, _ in rows}).values_list("pk", flat=True))
        found |= {name for flow, name in rows if flow in seen}
    return sorted(found)


def rules_in_order(actor: Actor, environment: Environment) -> list[tuple[GroupRule, int]]:
    """Return the grouping rules in the order they are tried, each with how many groups it made that fail now."""
    rules = visible_group_rules(actor).filter(environment=environment)
    groups = visible_groups(actor).filter(FAILING, rule__in=rules, merged_into=None).order_by()
    counts = dict(groups.values_list("rule_id").annotate(Count("pk")))
    return [(rule, counts.get(rule.pk, 0)) for rule in rules.order_by("position", "id")]


NEWEST = """
SELECT g.id, d.id, (SELECT name FROM messaging_system WHERE id = d.system_id) FROM unnest(%b::int8[]) AS g (id) CROSS JOIN LATERAL (
    SELECT id, system_id FROM messaging_deadletter WHERE group_id = g.id {only} ORDER BY id DESC LIMIT 1
) d
"""


class Newest(NamedTuple):
    """The newest letter of a group: its id, and the name of the system that failed, None when nobody said."""

    pk: UUID
    system: str | None


def newest_waiting(pks: Collection[int]) -> dict[int, Newest]:
    """Return {group: its newest letter that waits}, each from the end of its index."""
    return _newest(pks, only="AND closed_at IS NULL")


def _newest(pks: Collection[int], *, only: str = "") -> dict[int, Newest]:
    rows = run(NEWEST.format(only=only), [sorted(pks)]).fetchall() if pks else []
    return {group: Newest(pk, system) for group, pk, system in rows}


def speaking_groups(actor: Actor, pks: Collection[int]) -> dict[int, FailureGroup]:
    """Return {group: the group that speaks for it, itself when it was not merged}, of those that the actor may see."""
    groups = _with_flow(visible_groups(actor))
    found = groups.in_bulk(sorted(pks)) if pks else {}
    missing = {one.merged_into_id for one in found.values() if one.merged_into_id} - set(found)
    known = found | (groups.in_bulk(sorted(pk for pk in missing if pk)) if missing else {})
    return {pk: known.get(one.merged_into_id or pk, one) for pk, one in found.items()}


def groups_that_speak(actor: Actor, pks: Collection[int | None]) -> list[FailureGroup]:
    """Return the groups that speak for these, of those that the actor may see, each once and the oldest first."""
    found = speaking_groups(actor, {pk for pk in pks if pk is not None})
    return sorted({one.pk: one for one in found.values()}.values(), key=lambda one: one.pk)


def _with_flow(groups: QuerySet[FailureGroup]) -> QuerySet[FailureGroup]:
    """Return these groups, of which there may be hundreds on a page that names no more of each than its flow."""
    return groups.select_related(None).select_related("flow").defer(*FLOW_UNNAMED)
