"""The dry run: what a run would let go now, how, how much that frees, and what stays because of what. Changes nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import Any

from django.db import connection

from console.core.words import size_words
from console.identity.actor import Actor
from messages.access import visible_flows
from messages.models import Flow
from messages.retention import rows_of_their_own
from messages.retention.policies import read_terms
from messages.retention.rules import LETTERS, PAYLOADS, RECONCILIATIONS, REJECTS, Policy, Terms, goings_of, is_due
from messages.retention.run import FEW, WRITTEN_ANEW
from messages.retention.tables import Part, condition, find_parts, measured

EMPTY = "(empty)"  # partitions made ahead in which nothing came
DELETED_PER_S = 40_000  # rows: 100,000 events took 1.8 s after a checkpoint, and vacuum 0.5 s
WAYS = {
    "drop": "dropped",
    "write anew": "written anew without them",
    "delete": "deleted row by row",
}


@dataclass(slots=True, kw_only=True)
class Line:
    """What goes of one table and environment in one way. rows and bytes: exact, or estimated where the flag says so."""

    environment: str
    kind: str
    table: str
    way: str
    days: list[date] = field(default_factory=list)
    rows: int = 0
    rows_exact: bool = True
    bytes: int = 0
    bytes_exact: bool = True


@dataclass(slots=True, kw_only=True)
class Kept:
    """What is past its days and stays all the same."""

    environment: str
    kind: str
    because: str
    days: list[date] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """lines by environment and table; freed_bytes of what gives disk back; deleted_rows are slow and give none back at once."""

    lines: list[Line]
    kept: list[Kept]
    keys: int
    freed_bytes: int
    exact: bool
    deleted_rows: int

    def as_json(self) -> dict[str, Any]:
        return {
            "freed_bytes": self.freed_bytes,
            "freed_bytes_exact": self.exact,
            "data_keys_destroyed": self.keys,
            "rows_deleted_one_by_one": self.deleted_rows,
            "lines": [_json(line) for line in self.lines],
            "kept": [_json(kept) for kept in self.kept],
        }


def _json(one: Line | Kept) -> dict[str, Any]:
    # asdict would copy; the days are what needs a word
    values = {name: getattr(one, name) for name in one.__dataclass_fields__}
    return values | {"days": [str(day) for day in one.days]}


class _Sums:
    """Lines and kept things, added up by environment, table and way while the parts are gone through."""

    def __init__(self) -> None:
        self.lines: dict[tuple[str, ...], Line] = {}
        self.kept: dict[tuple[str, ...], Kept] = {}
        self.freed, self.exact, self.deleted = 0, True, 0

    def add(
        self, environment: str, part: Part, way: str, rows: int, size: int, *, rows_exact: bool, exact: bool
    ) -> None:
        key = (environment, part.table.name, way)
        line = self.lines.setdefault(
            key, Line(environment=environment, kind=part.table.kind, table=part.table.name, way=way)
        )
        line.days.append(part.day)
        line.rows += rows
        line.bytes += size
        line.rows_exact &= rows_exact
        line.bytes_exact &= exact

    def keep(self, environment: str, kind: str, because: str, day: date) -> None:
        key = (environment, kind, because)
        kept = self.kept.setdefault(key, Kept(environment=environment, kind=kind, because=because))
        if day not in kept.days:
            kept.days.append(day)


def plan_retention(
    *,
    now: datetime,
    count: bool = True,
    instead: Mapping[int, Policy] | None = None,
    reader: Actor | None = None,
) -> Plan:
    """Return what a run would do now.

    count    True counts rows where a part of a day goes (seconds on large days); False estimates them.
    instead  policies to judge by in place of those in force: {environment id: policy}, for the preview of a change.
    reader   names of held flows that this actor does not see are left out; None sees all.
    """
    terms = [
        replace(one, policy=(instead or {})[one.environment_id], settled=True)
        if one.environment_id in (instead or {})
        else one
        for one in read_terms(now=now)
    ]
    sums = _Sums()
    touched = [part for part in find_parts() if any(is_due(part.table.kind, part.day, t, now=now) for t in terms)]
    touched += [
        part for part in find_parts() if part not in touched and goings_of(part.table.kind, part.day, terms, now=now)[0]
    ]
    names = _flow_names(terms, reader)
    for part in measured(touched):
        _judge(part, terms, names, sums, now=now, count=count)
    _rows_of_their_own(terms, sums, now)
    keys = _count_keys(terms, now) if count else 0
    lines = sorted(sums.lines.values(), key=lambda line: (line.environment, line.kind, line.table, line.way))
    kept = sorted(sums.kept.values(), key=lambda kept: (kept.environment, kept.kind, kept.because))
    return Plan(lines=lines, kept=kept, keys=keys, freed_bytes=sums.freed, exact=sums.exact, deleted_rows=sums.deleted)


def _flow_names(terms: Sequence[Terms], reader: Actor | None) -> dict[int, str]:
    held = [flow for one in terms for flow in one.held_flows]
    flows = Flow.objects.all() if reader is None else visible_flows(reader)
    return dict(flows.filter(pk__in=held).order_by().values_list("pk", "name")) if held else {}


def _judge(
    part: Part, terms: Sequence[Terms], names: Mapping[int, str], sums: _Sums, *, now: datetime, count: bool
) -> None:
    kind = part.table.kind
    goings, whole = goings_of(kind, part.day, terms, now=now)
    slugs = {one.environment_id: one.slug for one in terms}
    letters = _letters_that_stay(part, terms, now) if kind == PAYLOADS else {}
    _note_kept(part, terms, names, letters, sums, now)
    if not goings:
        return
    if whole and not letters:
        _add_drop(part, slugs, sums)
        return
    going, staying, exact = _counted(part, goings) if count or part.is_counted else _estimated(part, goings)
    go, stay = sum(going.values()), sum(staying.values())
    if not go:
        return
    if not stay:
        _add_drop(part, slugs, sums)
        return
    way = "delete" if stay > WRITTEN_ANEW or go <= FEW else "write anew"
    for environment_id, rows in going.items():
        size = round(part.bytes * rows / (go + stay)) if way == "write anew" else 0
        sums.add(slugs.get(environment_id, "?"), part, way, rows, size, rows_exact=exact, exact=False)
        sums.freed += size
    sums.exact = False
    sums.deleted += go if way == "delete" else 0


def _add_drop(part: Part, slugs: Mapping[int, str], sums: _Sums) -> None:
    alone = len(part.rows_by_environment) == 1
    sums.freed += part.bytes
    for environment_id, rows in part.rows_by_environment.items():
        size = part.bytes_by_environment[environment_id]
        sums.add(slugs.get(environment_id, "?"), part, "drop", rows, size, rows_exact=part.is_counted, exact=alone)
    if not part.rows_by_environment:
        sums.add(EMPTY, part, "drop", 0, part.bytes, rows_exact=part.is_counted, exact=True)


def _counted(part: Part, goings: Sequence[Any]) -> tuple[dict[int, int], dict[int, int], bool]:
    words, parameters = condition(part.table, part.day, goings)
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT environment_id, count(*) FILTER (WHERE ({words}) IS TRUE), count(*) FILTER (WHERE ({words}) IS NOT TRUE) "  # noqa: S608
            f"FROM {part.name} r GROUP BY 1",
            [*parameters, *parameters],
        )
        rows = cursor.fetchall()
    return {pk: go for pk, go, _ in rows if go}, {pk: stay for pk, _, stay in rows if stay}, True


def _estimated(part: Part, goings: Sequence[Any]) -> tuple[dict[int, int], dict[int, int], bool]:
    """By environment only: rows of single flows are not told apart without counting, and taken as staying."""
    whole = {going.environment_id for going in goings if going.only is None and not going.but}
    rows = part.rows_by_environment
    return {pk: n for pk, n in rows.items() if pk in whole}, {pk: n for pk, n in rows.items() if pk not in whole}, False


def _letters_that_stay(part: Part, terms: Sequence[Terms], now: datetime) -> dict[int, int]:
    """Return how many dead letters of each environment keep their payload in this day; a run lets go of the others first."""
    found = {}
    with connection.cursor() as cursor:
        for one in terms:
            count = rows_of_their_own.count_letters_on(cursor, one, part.day, now)
            if count:
                found[one.environment_id] = count
    return found


def _note_kept(
    part: Part, terms: Sequence[Terms], names: Mapping[int, str], letters: Mapping[int, int], sums: _Sums, now: datetime
) -> None:
    for one in terms:
        if one.environment_id not in part.rows_by_environment or not is_due(part.table.kind, part.day, one, now=now):
            continue
        if one.held:
            sums.keep(one.slug, part.table.kind, "a legal hold on the environment", part.day)
        elif not one.settled:
            sums.keep(one.slug, part.table.kind, "its policy was changed less than a minute ago", part.day)
        for flow in sorted(one.held_flows):
            sums.keep(
                one.slug, part.table.kind, f"a legal hold on {names.get(flow, 'a flow of another team')}", part.day
            )
        if letters.get(one.environment_id):
            sums.keep(one.slug, part.table.kind, "dead letters that are open, or not closed long enough", part.day)


def _rows_of_their_own(terms: Sequence[Terms], sums: _Sums, now: datetime) -> None:
    with connection.cursor() as cursor:
        for one in terms:
            for kind, table, counted in (
                (LETTERS, "messaging_deadletter", rows_of_their_own.count_letters),
                (LETTERS, "messaging_compensation", rows_of_their_own.count_compensations),
                (REJECTS, "messaging_ingestreject", rows_of_their_own.count_rejects),
                (RECONCILIATIONS, "messaging_reconciliation", rows_of_their_own.count_reconciliations),
            ):
                rows, size = counted(cursor, one, now)
                if rows:
                    sums.lines[(one.slug, table, "delete")] = Line(
                        environment=one.slug,
                        kind=kind,
                        table=table,
                        way="delete",
                        rows=rows,
                        bytes=size,
                        bytes_exact=False,
                    )
                    sums.deleted += rows


def _count_keys(terms: Sequence[Terms], now: datetime) -> int:
    """Return how many data keys a run would destroy, as far as nothing has to be deleted before."""
    found = 0
    for one in terms:
        for pk, day in rows_of_their_own.keys_of(one.environment_id):
            goings, _ = goings_of(PAYLOADS, day, [one], now=now)
            if goings and goings[0].only is None:
                with connection.cursor() as cursor:
                    found += rows_of_their_own.can_destroy_key(cursor, pk, day, goings)
    return found


def days_words(days: Sequence[date]) -> str:
    """Return days as "12 days, 2026-09-01 to 2026-09-12"."""
    if not days:
        return ""
    first, last, number = min(days), max(days), len(set(days))
    return f"{first}" if number == 1 else f"{number} days, {first} to {last}"


def lines_of(plan: Plan) -> list[str]:
    """Return the plan as text for a terminal; "~" before a figure says that it is an estimate."""
    if not plan.lines and not plan.keys:
        text = ["Nothing goes: nothing is older than its policy, or all of it is held."]
    else:
        text = [_line(line) for line in plan.lines]
        about = "" if plan.exact else "~"
        keys = f"{plan.keys} data key{'' if plan.keys == 1 else 's'}"
        text.append(f"It frees {about}{size_words(plan.freed_bytes)} of disk and destroys {keys}.")
    if plan.deleted_rows:
        seconds = max(1, plan.deleted_rows // DELETED_PER_S)
        text.append(
            f"{plan.deleted_rows:,} rows are deleted one by one, which takes about {seconds} s; their space is free inside the "
            "tables, and the disk gets it back when the day is dropped."
        )
    for kept in plan.kept:
        text.append(f"Kept: {kept.environment}, {kept.kind} of {days_words(kept.days)}: {kept.because}.")
    return text


def _line(line: Line) -> str:
    rows = f"{'' if line.rows_exact else '~'}{line.rows:,} row{'' if line.rows == 1 else 's'}"
    size = f"{'' if line.bytes_exact else '~'}{size_words(line.bytes)}"
    days = f"  {days_words(line.days)}" if line.days else ""
    return f"{line.environment:<14} {line.kind:<14} {line.table:<28} {rows:>16} {size:>10}  {WAYS[line.way]}{days}"
