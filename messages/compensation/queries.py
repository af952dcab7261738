"""Reads of many compensations: the lists, what needs a person, what there is of a message; counts for the rail, the overview and alerts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.db.models import Case, Count, DateTimeField, Exists, F, Min, OuterRef, Q, QuerySet, Subquery, When
from django.db.models.functions import Coalesce, Now

from console.core.errors import Invalid
from console.core.paging import Page, decode_number_cursor, decode_time_cursor, encode_cursor
from console.identity.actor import Actor
from console.identity.counted import count_up_to
from console.identity.models import Environment
from messages.compensation.access import number_of, visible_compensations
from messages.compensation.states import BEGUN, ENDED, NEEDS_A_PERSON, STATES
from messages.compensation.steps import next_step, owner_of
from messages.models import Compensation, CompensationStep

SHOWN = ("needs", "open", "all")
MOST_COUNTED = 1_000
MOST_OF_A_MESSAGE = 5
MOST_UIDS = 200
NEVER = datetime(9999, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class CompensationFilter:
    """q: a reference, that one alone; else words of reason, ticket, message id or author.   mine: proposed by, or a step is assigned to, the actor.

    show  needs (a person), open or all; of no meaning with a state.
    """

    q: str = ""
    state: str = ""
    flow: str = ""
    show: str = "all"
    mine: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A compensation of a list. since: since when it is as it is. owner: who has the next step; next_step: what they do, in words."""

    run: Compensation
    undone: int
    total: int
    since: datetime
    owner: str
    next_step: str


def find_compensations(
    actor: Actor, *, environments: Sequence[Environment], only: CompensationFilter, now: datetime, limit: int = 50,
    cursor: str | None = None,
) -> Page[Line]:  # fmt: skip
    """Return the compensations that the actor may see: those that need a person from the oldest on, else the newest first. Raises Invalid, InvalidCursor."""
    if only.state and only.state not in STATES:
        raise Invalid(f"a compensation is {', '.join(STATES)}")
    rows = visible_compensations(actor).filter(environment__in=environments)
    oldest_first = only.show == "needs" and not only.state
    if only.state:
        rows = rows.filter(state=only.state)
    elif only.show == "needs":
        rows = _needing(rows, now)
    elif only.show == "open":
        rows = rows.exclude(state__in=sorted(ENDED))
    rows = rows.filter(flow__name=only.flow) if only.flow else rows
    rows = rows.filter(_said(only.q)) if only.q else rows
    rows = rows.filter(_mine(actor)) if only.mine else rows
    if cursor:
        at = decode_number_cursor(cursor)
        rows = rows.filter(pk__gt=at) if oldest_first else rows.filter(pk__lt=at)
    found = list(rows.order_by("pk" if oldest_first else "-pk")[: limit + 1])
    following = encode_cursor(found[limit - 1].pk) if len(found) > limit else None
    return Page(lines_of(found[:limit], now=now), following)


def lines_of(runs: Sequence[Compensation], *, now: datetime) -> list[Line]:
    """Return these as a list shows them; one query for all their steps."""
    steps: dict[int, list[CompensationStep]] = defaultdict(list)
    rows = CompensationStep.objects.filter(compensation__in=[run.pk for run in runs]).defer("action", "answer")
    for step in rows.order_by("compensation_id", "ordinal"):
        steps[step.compensation_id].append(step)
    return [_line(run, steps[run.pk], now) for run in runs]


def _line(run: Compensation, steps: Sequence[CompensationStep], now: datetime) -> Line:
    undone = sum(step.state in ("done", "by_hand") for step in steps)
    return Line(
        run=run,
        undone=undone,
        total=len(steps),
        since=getattr(run, "since", run.state_at),
        owner=owner_of(run, steps, now=now),
        next_step=next_step(run, steps, now=now),
    )


def _said(q: str) -> Q:
    number = number_of(q)
    if number is not None:
        return Q(pk=number)
    words = q.replace("\x00", "").strip()[:200]
    return (
        Q(reason__icontains=words)
        | Q(ticket__icontains=words)
        | Q(message_id__icontains=words)
        | Q(created_by__icontains=words)
    )


def _mine(actor: Actor) -> Q:
    own = CompensationStep.objects.filter(compensation=OuterRef("pk"), assignee__iexact=actor.name)
    return Q(created_by=actor.name) | Q(Exists(own))


def _steps(**of: Any) -> QuerySet[CompensationStep]:
    return CompensationStep.objects.filter(compensation=OuterRef("pk"), **of)


def _needing(rows: QuerySet[Compensation], now: datetime | Now) -> QuerySet[Any, Any]:
    """Those in which something did not happen and a person must act; `since` says since when. Served by compensation_open."""
    overdue = _steps(state="task", due_at__lt=now)
    failed = _steps(state__in=sorted(NEEDS_A_PERSON - {"task"}))
    first_due = Subquery(overdue.order_by().values("compensation").annotate(first=Min("due_at")).values("first"))
    stuck = Q(state="stuck") | Q(late__contains=[{"answer": ""}])
    begun = Q(state__in=sorted(BEGUN)) & (Q(Exists(overdue)) | Q(Exists(failed)))
    return (
        rows.exclude(state__in=sorted(ENDED))
        .filter(stuck | begun)
        .annotate(
            since=Case(When(state="stuck", then=F("state_at")), default=Coalesce(first_due, F("state_at")), output_field=DateTimeField())
        )
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Needing:
    """How many need a person, at most 1,001, and since when the oldest does."""

    count: int = 0
    oldest_at: datetime | None = None


def count_needing(actor: Actor, environment: Environment, *, now: datetime) -> Needing:
    """Return what needs a person there that the actor may see; over what is open."""
    if not count_of_needing(actor, environment):
        return Needing()
    mine = _needing(visible_compensations(actor).filter(environment=environment), now)
    since = list(mine.order_by("pk").values_list("since", flat=True)[: MOST_COUNTED + 1])
    return Needing(count=len(since), oldest_at=min(since, default=None))


def count_of_needing(actor: Actor, environment: Environment) -> int:
    """Return how many need a person there now, at most 1,001."""
    return count_up_to(MOST_COUNTED + 1, _needing_now, actor, environment)


def _needing_now(actor: Actor, environment: Environment) -> QuerySet[Any, Any]:
    return _needing(visible_compensations(actor).filter(environment=environment), Now())


# tasks ---------------------------------------------------------------------------------------------------------------


def find_tasks(
    actor: Actor, *, environments: Sequence[Environment], flow: str = "", mine: bool = False, limit: int = 50,
    cursor: str | None = None,
) -> Page[CompensationStep]:  # fmt: skip
    """Return the tasks that wait for a person in compensations that are under way, the one that is due first first. Raises InvalidCursor."""
    seen = visible_compensations(actor).filter(environment__in=environments, state__in=sorted(BEGUN))
    seen = seen.filter(flow__name=flow) if flow else seen
    rows = CompensationStep.objects.filter(state="task", compensation__in=seen.order_by().values("pk"))
    rows = rows.select_related("compensation__flow__team", "compensation__environment").defer("action", "answer")
    rows = rows.annotate(due=Coalesce("due_at", NEVER))
    rows = rows.filter(assignee__iexact=actor.name) if mine else rows
    if cursor:
        at, pk = decode_time_cursor(cursor)
        rows = rows.filter(Q(due__gt=at) | Q(due=at, pk__gt=pk))
    found: list[Any] = list(rows.order_by("due", "pk")[: limit + 1])
    following = encode_cursor(found[limit - 1].due, found[limit - 1].pk) if len(found) > limit else None
    return Page(found[:limit], following)


# of one message ------------------------------------------------------------------------------------------------------


def compensations_of(
    actor: Actor, environment_id: int, *, uids: Collection[UUID] = (), letters: Collection[UUID] = ()
) -> list[Compensation]:
    """Return the compensations of these messages and dead letters that the actor may see, the newest first, five at most."""
    about = Q(message_uid__in=list(uids)[:MOST_UIDS]) | Q(dead_letter__in=list(letters)[:MOST_UIDS])
    if not Compensation.objects.filter(
        about, environment_id=environment_id
    ).exists():  # mostly; rights cost ten times as much
        return []
    rows = visible_compensations(actor).filter(about, environment_id=environment_id)
    return list(rows.order_by("-pk")[:MOST_OF_A_MESSAGE])


def find_proposed(actor: Actor, uid: UUID) -> Compensation | None:
    """Return the compensation of this uid, when there is one that the actor may see."""
    return visible_compensations(actor).filter(uid=uid).first()


def steps_of(run: Compensation) -> list[CompensationStep]:
    """Return its steps in the order of undoing."""
    return list(CompensationStep.objects.filter(compensation=run).select_related("connection").order_by("ordinal"))


def steps_of_many(runs: Iterable[Compensation]) -> list[CompensationStep]:
    """Return the steps of these, without what they send and were answered."""
    rows = CompensationStep.objects.filter(compensation__in=[run.pk for run in runs]).defer("action", "answer")
    return list(rows.order_by("-compensation_id", "ordinal"))


# for alerts and metrics ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class StuckCompensation:
    """A compensation that needs a person. age: for how long; why: in words, as its page has them."""

    reference: str
    flow_id: int
    environment_id: int
    age: timedelta
    why: str


def stuck_compensations(now: datetime) -> list[StuckCompensation]:
    """Return what needs a person in every environment, the oldest first, 1,000 at most. For alerts: nobody's rights are asked."""
    rows = _needing(Compensation.objects.select_related("flow", "book"), now).order_by("since", "pk")
    runs: list[Any] = list(rows[:MOST_COUNTED])
    lines = lines_of(runs, now=now)
    return [
        StuckCompensation(
            reference=run.reference,
            flow_id=run.flow_id,
            environment_id=run.environment_id,
            age=max(timedelta(0), now - run.since),
            why=run.why if run.state == "stuck" and run.why else line.next_step,
        )
        for run, line in zip(runs, lines, strict=True)
    ]


def count_by_state() -> dict[str, int]:
    """Return {state: how many compensations}, each state there."""
    rows = Compensation.objects.order_by().values_list("state").annotate(Count("id"))
    return dict.fromkeys(STATES, 0) | dict(rows)


def oldest_needing(now: datetime) -> dict[str, datetime]:
    """Return {slug of an environment: since when the oldest compensation there needs a person}."""
    rows = _needing(Compensation.objects.order_by(), now).values_list("environment__slug", "since")
    oldest: dict[str, datetime] = {}
    for slug, since in rows[:MOST_COUNTED]:
        oldest[slug] = min(since, oldest.get(slug, since))
    return oldest
