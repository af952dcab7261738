"""What became of the promises themselves since a period began: which were changed, what they were before, and which were removed. Reads only.

The audit list says it: an entry has kind, target and window after it, and what was otherwise before. Entries of before 2026-11-28 have not the latter:
kind, target and window are then those of the entry before, and of anything else is told that it was changed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from alerts.models import Objective
from alerts.objectives.terms import TERMS
from alerts.reports.access import removed_that_may_be_told
from alerts.reports.content import Audience, Content, Period, Removed
from alerts.reports.measuring import NAME
from alerts.reports.saying import Says, clean
from console.audit.models import AuditEntry
from console.core.calendars import clock_text, day_words
from console.core.ids import uuid7_floor
from console.core.words import age_words
from console.identity.actor import Actor

MOST_CHANGES = 2_000  # of all promises of a report
MOST_TOLD = 5  # of a promise, the newest
MOST_REMOVED = 300
LABELS = {
    "kind": "kind",
    "target": "promised",
    "window": "window",
    "limit_ms": "limit",
    "limit_minutes": "limit",
    "recover_minutes": "lost after",
    "at_least": "at least in a period",
    "method": "counted",
    "slice_minutes": "slices of",
    "slice_target": "a slice is good from",
    "empty_is_good": "slices without messages",
    "time_zone": "time zone",
    "work_days": "working days",
    "from_minute": "from",
    "until_minute": "until",
    "holidays": "holidays",
}
METHOD_WORDS = {
    "occurrences": "by events",
    "timeslices": "by time slices",
    "ratio_timeslices": "by the ratio of time slices",
}
HEADS = ("kind", "target", "window")  # every entry has these


@dataclass(frozen=True, slots=True, kw_only=True)
class Altered:
    """changed: a sentence for each change, oldest first.   target_before: before the first of them; None where it is the one of now."""

    changed: tuple[str, ...]
    target_before: float | None = None


# changed -------------------------------------------------------------------------------------------------------------
def altered_since(objectives: Sequence[Objective], period: Period, says: Says) -> dict[int, Altered]:
    """Return {objective: what was changed of it since the period began}, of those that were changed; two queries."""
    mine = AuditEntry.objects.filter(object_kind="objective", object_id__in=[str(one.pk) for one in objectives])
    since = uuid7_floor(period.since)
    changes = mine.filter(action="objective.changed", id__gte=since, details__changed__has_any_keys=list(TERMS))
    rows = list(changes.order_by("-id").values_list("object_id", "at", "details")[:MOST_CHANGES])
    if not rows:
        return {}
    whose = {pk for pk, *_ in rows}
    old = AuditEntry.objects.filter(object_kind="objective", object_id__in=whose)
    made = old.filter(action="objective.added", id__gte=since).order_by().values_list("object_id", "details")
    older = old.filter(action__in=["objective.added", "objective.changed"], id__lt=since).order_by("object_id", "-id")
    known = {**dict(made), **dict(older.distinct("object_id").values_list("object_id", "details"))}
    found: dict[str, list[tuple[datetime, dict[str, Any]]]] = {}
    for pk, at, details in reversed(rows):
        found.setdefault(pk, []).append((at, details))
    return {
        one.pk: _altered(one, found[pk], known.get(pk, {}), says) for one in objectives if (pk := str(one.pk)) in found
    }


def _altered(
    one: Objective, entries: Sequence[tuple[datetime, dict[str, Any]]], known: Mapping[str, Any], says: Says
) -> Altered:
    told, targets, before = [], [], {name: known[name] for name in HEADS if name in known}
    for at, details in entries:
        after = {name: details[name] for name in HEADS if name in details}
        was, now = details.get("was"), details.get("now")
        if was is None or now is None:
            was = {name: value for name, value in before.items() if after.get(name) != value}
            now = dict.fromkeys(_names(details["changed"])) | {name: after[name] for name in was if name in after}
        if parts := [
            _part(name, was.get(name), now.get(name), after.get("kind", one.kind), says)
            for name in LABELS
            if name in was or name in now
        ]:
            told.append(f"Changed on {says.at(at)}: {', '.join(parts)}.")
        targets += [was["target"]] if "target" in was else []
        before = after
    if more := len(told) - MOST_TOLD:
        told = [f"{says.number(more)} changes before that.", *told[-MOST_TOLD:]] if more > 0 else told
    first = _ratio(targets[0]) if targets else None
    return Altered(changed=tuple(told), target_before=first if first != float(one.target) else None)


def _names(changed: Collection[str]) -> Iterator[str]:
    """Yield the terms of columns that were changed."""
    for name in changed:
        if name in TERMS:
            yield "window" if name in ("unit", "days") else name


def _part(name: str, was: Any, now: Any, kind: str, says: Says) -> str:
    label = "a period of" if name == "limit_minutes" and kind == Objective.Kind.VOLUME else LABELS[name]
    if now is None and was is None:
        return f"{label} (what it was is not known any more)"
    before = term_words(name, was, says) if was is not None else ""
    if now is None:
        return f"no more {label} {before}"
    after = term_words(name, now, says)
    if before == after:
        return f"other {label}"
    return f"{label} {after} (was {before})" if before else f"{label} {after}"


def term_words(name: str, value: Any, says: Says) -> str:
    """Return the value of a term as a report says it."""
    match name:
        case "target":
            return says.promised(ratio) if (ratio := _ratio(value)) is not None else str(value)
        case "slice_target":
            return says.promised(float(value))
        case "kind":
            return str(value).replace("_", " ")
        case "window":
            unit, _, days = str(value).partition(" ")
            rolling = f"over {says.number(int(days or 0))} day{'s' if days != '1' else ''}"
            return rolling if unit == "rolling" else f"a calendar {unit}"
        case "limit_ms":
            return f"{says.number(value)} ms"
        case "limit_minutes" | "recover_minutes" | "slice_minutes":
            return age_words(timedelta(minutes=value)) if value else "a working day"
        case "at_least":
            return says.number(value)
        case "method":
            return METHOD_WORDS.get(value, str(value))
        case "empty_is_good":
            return "are good" if value else "are left out"
        case "work_days":
            return day_words(value or range(1, 8))
        case "from_minute" | "until_minute":
            return clock_text(value)
        case "holidays":
            return says.number(len(value))
    return clean(str(value), NAME)


def _ratio(text: object) -> float | None:
    try:
        found = float(str(text))
    except ValueError:
        return None
    return found if 0 < found < 1 else None


# removed -------------------------------------------------------------------------------------------------------------
def removed_since(
    actor: Actor,
    audience: Audience,
    period: Period,
    *,
    earlier: Sequence[Content],
    promised: Collection[int] | None,
    says: Says,
) -> list[Removed]:
    """Return the promises that were removed since the period began, and were promised before it ended, oldest first; three queries.

    Those that the actor may know of and the audience is about.
    earlier  reports of the audience, which know what a promise was called whose entry does not say it.
    promised  of a revision: those that the report told of which it revises.
    """
    rows = AuditEntry.objects.filter(
        object_kind="objective", action="objective.removed", id__gte=uuid7_floor(period.since)
    )
    rows = rows.filter(environment=audience.environment)
    if promised is not None:
        rows = rows.filter(object_id__in=[str(pk) for pk in promised])
    names = {one.objective: one.name for content in earlier for one in content.promises}
    gone = list(rows.order_by("-id")[: 10 * MOST_REMOVED])
    if not gone:
        return []
    gone = removed_that_may_be_told(actor, gone)
    gone = [one for one in gone if promised is not None or _is_meant(one, audience, names)]
    late = AuditEntry.objects.filter(object_kind="objective", object_id__in=[one.object_id for one in gone])
    late = late.filter(action="objective.added", id__gte=uuid7_floor(period.until))
    new = set(late.order_by().values_list("object_id", flat=True))
    found = [_removed(one, names, says) for one in gone if one.object_id not in new]
    return found[:MOST_REMOVED][::-1]


def _is_meant(one: AuditEntry, audience: Audience, names: Mapping[int, str]) -> bool:
    if not audience.flow_ids and not audience.objective_ids:
        return True
    pk = int(one.object_id)
    return pk in audience.objective_ids or pk in names or one.details.get("flow") in audience.flow_ids


def _removed(one: AuditEntry, names: Mapping[int, str], says: Says) -> Removed:
    """Say what can still be said of it: its figures went with it, but for what it had attained of its own window."""
    told, pk = one.details, int(one.object_id)
    name = clean(names.get(pk) or one.object_label, NAME)
    terms = [term_words(name, told[name], says) for name in HEADS if name in told]
    words = f"“{name}” ({', '.join(terms)}) was removed on {says.at(one.at)}, and its figures went with it"
    target = _ratio(told.get("target")) or 0.99
    if (attained := told.get("attained")) is not None:
        words += f"; in its window it had attained {says.ratio(float(attained), target=target)} by then"
    return Removed(objective=pk, flow=told["flow"], name=name, at=one.at, words=f"{words}.")
