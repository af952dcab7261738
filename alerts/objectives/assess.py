"""Assessment: every 15 s the figures of every objective, its rules, and what breaches are told. From counters alone.

Two at once: one has the advisory lock, the other goes away. Repeated, it writes the same rows and says the same conditions.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any

import msgspec
import structlog
from django.db import OperationalError, connection, transaction
from django.db.models import QuerySet
from django.urls import reverse

from alerts.breaches.services import observe
from alerts.breaches.states import OPEN
from alerts.conditions import Condition, Holds, Severity
from alerts.models import Breach, Objective, Standing
from alerts.objectives import counters, counting
from alerts.objectives.agents import (
    agents_heard,
    harvesters_heard,
    is_unheard,
    late_of,
    learn_agents,
    silence_words,
)
from alerts.objectives.burn import left_words, percent
from alerts.objectives.judging import Verdict, judge, rule_words
from alerts.objectives.reading import Read, read_figures
from alerts.objectives.shapes import window_of
from alerts.objectives.windows import HOUR, Span

log = structlog.get_logger(__name__)
SOURCE = "objective"  # of its breaches; the key is the objective's id
LOCK = 7_219_061  # advisory: one assessment at a time
TOGETHER = 1_000  # objectives whose figures are in memory at once
State = Standing.State
LETTERS = Objective.Kind.DEAD_LETTER_AGE


def _all_but(relation: str, *names: str) -> list[str]:
    """Return the columns of what an objective points at that are none of these, as `defer` takes them."""
    model: Any = Objective._meta.get_field(relation).related_model
    return [f"{relation}__{one.name}" for one in model._meta.concrete_fields if one.name not in names]


UNREAD = _all_but("flow", "id", "name", "team")
UNREAD += _all_but("standing", "objective", "state", "state_since", "problem", "last_event_at")
NOT_ASSESSED = {
    one.name: one.get_default()
    for one in Standing._meta.concrete_fields
    if one.name not in ("objective", "environment", "state_since")
}
FIGURES = ("good", "late", "lost", "attained", "adjusted", "budget", "spent", "left", "burn", "gone_at")


def run(now: datetime | None = None) -> list[Condition]:
    """Count what came, assess every objective, tell breaches; return what they were told. May run twice at once, and die anywhere."""
    now = now or datetime.now(UTC)
    counting.count(now)
    if now.minute == 0:
        counters.forget_old(now)
    learn_agents(now)
    conditions = [*assess(now), *of_removed()]
    observe(conditions)
    return conditions


def assess(now: datetime) -> list[Condition]:
    """Write how each objective stands, and return its conditions, one a severity. Nothing, at once, where another assesses."""
    found: list[Condition] = []
    after = 0
    while True:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [LOCK])
            if not cursor.fetchone()[0]:
                return found
            objectives = list(_read().filter(pk__gt=after)[:TOGETHER])
            if not objectives:
                return found
            found += _assess(objectives, now)
            after = objectives[-1].pk


def assess_again(these: QuerySet[Objective], now: datetime, *, anew: bool = False) -> None:
    """Write how these stand after they, or what does not count of them, were changed. Breaches are told by the next look.

    Each in a statement of its own, so that it waits for a look or a look for it, and never both: of one that a look has for too long, that look or
    the next one says it.   anew  nothing of it is counted yet.
    """
    try:
        if anew:
            Standing.objects.filter(objective__in=these).update(**NOT_ASSESSED, state_since=now)
            return
        for one in _read().filter(pk__in=these.order_by().values("pk")):
            _assess([one], now)
    except OperationalError as error:  # what was asked for is done
        log.warning("not_assessed_again", reason=str(error)[:200])


def _read() -> QuerySet[Objective]:
    rows = Objective.objects.select_related("flow", "standing").prefetch_related("flow__team", "team")
    return rows.defer(*UNREAD).order_by("pk")


def _assess(objectives: Sequence[Objective], now: datetime) -> list[Condition]:
    spans = {one.pk: window_of(one).span_at(now) for one in objectives}
    figures = read_figures(objectives, now, spans)
    heard = agents_heard({one.flow_id for one in objectives if one.flow_id})
    harvesters = harvesters_heard({one.flow_id for one in objectives if one.flow_id and one.kind == LETTERS})
    late, late_of_letters = late_of(heard, now), late_of([*heard, *harvesters], now)
    rows, conditions = [], []
    for one in objectives:
        read = figures[one.pk]
        verdict = judge(one, read, spans[one.pk], now=now)
        newest = _last_event_at(one, read)
        which = late_of_letters if one.kind == LETTERS else late
        silent, unheard = (found.get(one.flow_id or 0, ()) for found in which)
        problem = silence_words(silent, one, newest) or _kept_problem(one)
        rows.append(_standing(one, verdict, newest, problem, now))
        conditions += conditions_of(one, verdict, problem, unheard=is_unheard(unheard, one))
    _write(rows)
    return conditions


def _last_event_at(one: Objective, read: Read) -> datetime | None:
    """Return when something was counted last; never moved back: after six hours a minute is read as its hour."""
    known: Standing | None = getattr(one, "standing", None)
    return max(filter(None, (read.last_event_at, known.last_event_at if known else None)), default=None)


def _kept_problem(one: Objective) -> str:
    """Return what counting said of a search; a silent agent is judged anew at each look."""
    standing = getattr(one, "standing", None)
    problem: str = standing.problem if standing else ""
    return problem if one.flow_id is None else ""


def _standing(
    one: Objective, verdict: Verdict, last_event_at: datetime | None, problem: str, now: datetime
) -> dict[str, Any]:
    """Return the columns of a standing, which are those of the table."""
    known: Standing | None = getattr(one, "standing", None)
    state = state_of(one, verdict, problem)
    return {
        "objective_id": one.pk,
        "environment_id": one.environment_id,
        "state": state,
        "state_since": known.state_since if known and known.state == state else now,
        "assessed_at": now,
        "since": verdict.span.since,
        "until": verdict.span.until,
        "out": verdict.out,
        "severity": verdict.severity,
        "problem": problem[:300],
        "last_event_at": last_event_at,
        "rules": [rule.as_json() for rule in verdict.rules],
    } | {name: getattr(verdict, name) for name in FIGURES}


def state_of(one: Objective, verdict: Verdict, problem: str) -> str:
    """Return the state of a standing: what cannot be measured is said first, for everything else would be a guess."""
    if problem:
        return State.NO_DATA
    if one.is_filling:
        return State.FILLING
    if verdict.adjusted is None:
        return State.NO_DATA
    if verdict.left <= 0 and verdict.spent > 0:
        return State.SPENT
    return State.BURNING if verdict.severity else State.KEPT


COLUMNS = [(f'"{one.column}"', str(one.db_type(connection))) for one in Standing._meta.concrete_fields]
# One JSON for all rows: through Django's bulk_create each row's rules are escaped in Python (measured: a fifth of an assessment).
WRITE = f"""
INSERT INTO alerts_standing ({", ".join(name for name, _ in COLUMNS)})
SELECT {", ".join(f"r.{name}" for name, _ in COLUMNS)}
FROM jsonb_to_recordset(%s::jsonb) AS r({", ".join(f"{name} {kind}" for name, kind in COLUMNS)})
JOIN alerts_objective o ON o.id = r.objective_id
ON CONFLICT (objective_id) DO UPDATE SET {", ".join(f"{name} = excluded.{name}" for name, _ in COLUMNS[1:])}
"""  # noqa: S608  names of ours


def _write(rows: Sequence[dict[str, Any]]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(WRITE, [msgspec.json.encode(rows).decode()])


def conditions_of(one: Objective, verdict: Verdict, problem: str, *, unheard: bool = False) -> list[Condition]:
    """Return one condition a severity: it holds when any rule of that severity does.

    Unknown without data, and where the short window of a rule is excluded whole: nothing is resolved by what was not measured.
    unheard  too short a silence for no data, and long enough to empty a short window: what does not hold any more is not known to be well.
    """
    calm = Holds.UNKNOWN if unheard and one.kind != Objective.Kind.VOLUME else Holds.NO
    return [
        _condition(one, verdict, problem, severity, Holds.UNKNOWN if severity in verdict.unmeasured else calm)
        for severity in Severity
    ]


@cache
def _page(pk: int) -> str:
    return reverse("objective", args=[pk])


def _condition(one: Objective, verdict: Verdict, problem: str, severity: Severity, calm: Holds) -> Condition:
    held = [rule for rule in verdict.rules if rule.holds and rule.severity == severity]
    if one.is_filling and severity is Severity.TICKET:
        calm = Holds.UNKNOWN  # whether the budget is spent is not known of a part of the history
    holds = Holds.UNKNOWN if problem else Holds.YES if held else calm
    target = percent(float(one.target))
    left = f"{left_words(verdict.left).replace('none', 'nothing')} of the budget is left"
    # the rule that looks back least says what goes on; the objective's page has them all
    said = f"{rule_words(held[0], target)}; " if held and held[0].rule != "exhausted" else ""
    team = one.flow.team if one.flow else one.team
    return Condition(
        is_excluded=not problem and severity in verdict.unmeasured,
        environment_id=one.environment_id,
        source=SOURCE,
        key=str(one.pk),
        severity=severity,
        holds=holds,
        title=one.name,
        summary=f"no data: {problem}" if problem else f"{said}{left}.",
        url=_page(one.pk),
        flow_ids=(one.flow_id,) if one.flow_id else (),
        labels={
            "objective": one.name,
            "kind": one.kind,
            "target": target,
            "flow": one.flow.name if one.flow else "",
            "team": team.name if team else "",
            "rule": ",".join(rule.rule for rule in held),
        },
    )


def gone(one: Objective) -> list[Condition]:
    """Return what breaches are told of an objective that is being removed: nothing of it holds any more."""
    span = Span(since=one.created_at, until=one.created_at + HOUR)
    nothing = Verdict(
        span=span,
        good=0,
        late=0,
        lost=0,
        out=0,
        attained=None,
        adjusted=None,
        budget=0,
        spent=0,
        left=1,
        burn=0,
        gone_at=None,
    )
    return conditions_of(one, nothing, "")


def of_removed() -> list[Condition]:
    """Return that nothing holds any more of objectives that are gone and have a breach open.

    Said at each look, because a breach ends only after it was well for a while: said once, when the objective is removed, it would stay open for ever.
    """
    there = [str(pk) for pk in Objective.objects.order_by().values_list("pk", flat=True)]
    rows = Breach.objects.filter(source=SOURCE, state__in=OPEN).exclude(key__in=there).order_by("pk")
    return [
        Condition(
            environment_id=row.environment_id,
            source=SOURCE,
            key=row.key,
            severity=Severity(row.severity),
            holds=Holds.NO,
            title=row.title,
            summary="The objective was removed.",
            url=row.url,
            flow_ids=tuple(row.flow_ids),
            labels=row.labels,
        )
        for row in rows
    ]
