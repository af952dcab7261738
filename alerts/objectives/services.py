"""Every write to objectives by people and programs: made, changed, removed. Exclusions: see excluding."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Any

from django.db import IntegrityError, transaction

from alerts.breaches.services import observe
from alerts.models import Objective, Standing
from alerts.objectives.access import check_can_change_objective, check_can_promise
from alerts.objectives.assess import assess_again, gone
from alerts.objectives.counters import MINUTES_KEPT, fold_again, forget_counted, hour_of, minute_of, one_writer
from alerts.objectives.shapes import looks_back_to
from alerts.objectives.terms import terms_of, terms_that_differ
from alerts.objectives.wishes import FOLDED_ANEW, NewObjective, ObjectiveInvalid, checked
from console.audit.services import record_audit
from console.core.errors import Conflict, Invalid
from console.identity.actor import Actor
from console.identity.models import Environment
from messages.queries import Flow, SavedSearch, check_searchable, kept_since, known_since

MOST_OBJECTIVES = 5_000  # of one environment
COUNTED_ANEW = (
    "kind",
    "limit_ms",
    "limit_minutes",
    "recover_minutes",
    "at_least",
    "work_days",
    "from_minute",
    "until_minute",
    "holidays",
)
OF_ROLLUPS = (Objective.Kind.SUCCESS, Objective.Kind.LATENCY)  # which stay longer than minutes are kept


def add_objective(
    said: NewObjective,
    *,
    flow: Flow | None = None,
    search: SavedSearch | None = None,
    by: Actor,
    now: datetime | None = None,
) -> Objective:
    """Make a promise about a flow or a saved search, audited; its history is counted from then on. The caller has fetched both for this actor.

    Raises ObjectiveInvalid, Invalid, Forbidden, Conflict, BadQuery.
    """
    if (flow is None) == (search is None):
        raise ObjectiveInvalid("an objective is about a flow or about a saved search")
    now = now or datetime.now(UTC)
    columns = checked(said, searched=search is not None)
    begun = minute_of(now)
    about = flow or search
    assert about is not None
    made = Objective(
        environment=about.environment,
        flow=flow,
        owner_id=by.user_id,
        begun_at=begun,
        filled_since=begun,
        fill_from=begun,
        **columns,
    )
    if search is not None:
        made.owner_id = check_can_promise(by)
        made.search, made.team_id, made.q = search, search.team_id, search.q
        if search.of != SavedSearch.Of.MESSAGES:
            raise ObjectiveInvalid("an objective counts messages: choose a saved search of messages")
        if not search.q.strip():
            raise ObjectiveInvalid("this search finds every message: promise something about a flow, or narrow it down")
        check_searchable(by, search.environment, search.q)
    check_can_change_objective(by, made)
    made.fill_from = history_from(made, begun)
    made.counted_to = begun
    with transaction.atomic():
        if Objective.objects.filter(environment=made.environment).count() >= MOST_OBJECTIVES:
            raise Invalid(f"{made.environment.slug} has {MOST_OBJECTIVES:,} objectives, and more are not taken")
        _save(made)
        Standing.objects.create(objective=made, environment=made.environment, state_since=now)
        audit(by, "objective.added", made)
    return made


def history_from(one: Objective, begun: datetime) -> datetime:
    """Return back to when a new objective is counted.

    No further than everything is there of what counts by being absent: messages that retention let go are no missed period, nor are
    those from before the console knew of the flow.
    """
    begins = looks_back_to(one, begun)
    there = kept_since(one.environment_id, begun)
    if one.kind == Objective.Kind.DEAD_LETTER_AGE:
        begins = max(begins, there.letters)
    elif one.kind == Objective.Kind.VOLUME:
        begins = max(begins, there.messages if one.flow_id is None else there.rollups)
        begins = known_since(one.environment_id, one.flow_id, since=begins, now=begun)
    return hour_of(begins)


def _save(one: Objective) -> None:
    try:
        with transaction.atomic():
            one.save(force_insert=one._state.adding)
    except IntegrityError as error:
        raise name_taken(one.environment, one.name) from error


def name_taken(environment: Environment, name: str) -> Conflict:
    return Conflict(f"{environment.slug} has an objective “{name}” already")


def change_objective(one: Objective, said: NewObjective, *, by: Actor, now: datetime | None = None) -> Objective:
    """Change a promise, audited with what changed. Another way of counting folds its history anew, another kind counts it anew.

    What is counted anew is not assessed until the next look, anything else at once.   Raises as add_objective.
    """
    check_can_change_objective(by, one)
    now = now or datetime.now(UTC)
    columns = checked(said, searched=one.flow_id is None)
    # a look holds the counters before it writes rows of objectives: the other way round the two would wait for each other
    holding = _touches_counters(one, _changed(one, columns))
    with one_writer() if holding else transaction.atomic():
        row = Objective.objects.select_for_update(of=("self",)).get(pk=one.pk)
        differ, before = _changed(row, columns), terms_of(row)
        if not holding and _touches_counters(row, differ):
            raise Conflict(f"“{row.name}” was changed meanwhile: look at it again")
        for name, value in columns.items():
            setattr(one, name, value)
        anew = _is_counted_anew(one, differ)
        folded = not anew and not set(FOLDED_ANEW).isdisjoint(differ)
        moved = _counted_from(one, row.filled_since, now, anew=anew, folded=folded)
        try:
            with transaction.atomic():
                Objective.objects.filter(pk=one.pk).update(**columns, **moved, updated_at=now)
        except IntegrityError as error:
            raise name_taken(one.environment, columns["name"]) from error
        one.refresh_from_db()
        audit(by, "objective.changed", one, details={"changed": differ, **terms_that_differ(before, terms_of(one))})
        if anew:
            forget_counted(one)
        elif folded:
            fold_again([one])
    if differ:  # not in the transaction above: a look has standings and objectives locked in either order
        assess_again(Objective.objects.filter(pk=one.pk), now, anew=anew)
    return one


def _counted_from(one: Objective, filled_since: datetime, now: datetime, *, anew: bool, folded: bool) -> dict[str, Any]:
    """Return the columns that say from where a changed promise is counted, and how far back its history goes."""
    begun = minute_of(now)
    begins = history_from(one, begun)
    if anew:
        moved = dict.fromkeys(("begun_at", "filled_since", "counted_to"), begun)
        return {**moved, "fill_from": begins, "meant": "", "kept_before": None}
    minutes_since = hour_of(now - MINUTES_KEPT)
    if folded and begins < minutes_since and one.flow_id is not None and one.kind in OF_ROLLUPS:
        # hours of its window whose minutes are gone cannot be folded: they are counted once more
        return {"fill_from": min(begins, filled_since), "filled_since": max(filled_since, minutes_since)}
    return {"fill_from": min(begins, filled_since)}  # a shorter window needs no more than it needs


def _changed(one: Objective, columns: Mapping[str, Any]) -> list[str]:
    return [name for name, value in columns.items() if getattr(one, name) != value]


def _touches_counters(one: Objective, differ: Collection[str]) -> bool:
    return _is_counted_anew(one, differ) or not set(FOLDED_ANEW).isdisjoint(differ)


def _is_counted_anew(one: Objective, differ: Collection[str]) -> bool:
    """Whether what was counted is of another promise. A time zone is that of the window; of a volume it also says when its periods are."""
    return not set(COUNTED_ANEW).isdisjoint(differ) or (one.kind == Objective.Kind.VOLUME and "time_zone" in differ)


def remove_objective(one: Objective, *, by: Actor, reason: str = "") -> None:
    """Remove a promise with its counters, audited; breaches are told that nothing of it holds any more. Raises Forbidden."""
    check_can_change_objective(by, one)
    conditions = gone(one)
    standing = Standing.objects.filter(objective=one).first()
    last = {"flow": one.flow_id, "owner": one.owner_id, "attained": standing.adjusted if standing else None}
    with transaction.atomic():
        audit(by, "objective.removed", one, reason=_line(reason), details=last)
        Objective.objects.filter(pk=one.pk).delete()
    observe(conditions)


def audit(by: Actor, action: str, one: Objective, *, reason: str = "", details: dict[str, Any] | None = None) -> None:
    team = one.flow.team_id if one.flow else one.team_id
    told = {"kind": one.kind, "target": str(one.target), "window": f"{one.unit} {one.days}"} | (details or {})
    if not one.flow and not team:  # nobody else reads what it is called, nor why
        record_audit(by, action, one, environment=one.environment, label="an objective of one’s own", details=told)
        return
    record_audit(by, action, one, environment=one.environment, team_id=team, reason=reason, details=told)


def _line(text: str) -> str:
    return " ".join(text.replace("\x00", "").split())[:500]
