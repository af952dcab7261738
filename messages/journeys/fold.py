"""A journey of thousands of events folded: one fold for each system × operation × destination × outcome, failures first. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from uuid import UUID

from console.core.paging import encode_cursor
from messages.journeys.evidence import Evidence
from messages.journeys.hops import Figures, figures
from messages.journeys.seen import OPERATION_WORDS, OUTCOME_WORDS, Seen, Timed

WHOLE = 200  # events; a journey up to this size is shown event by event
# Of a folded journey, how many events of each fold, and how many failures, are read in full.
OF_EACH, OF_FAILED = 3, 100
MOST_FOLDS = 200
MANY = "many destinations"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fold:
    """Events that did the same with the same outcome; times in µs from the journey's start; `events` in order of time."""

    ref: str
    system: str
    operation: str
    destination: str
    outcome: str
    count: int
    start_us: int
    end_us: int
    took: Figures
    queue: Figures | None
    ties: tuple[str, ...]
    events: tuple[Timed, ...]

    @property
    def label(self) -> str:
        return " ".join(part for part in (self.system, self.operation, self.destination) if part)


def folds_of(
    events: Iterable[Timed],
    systems: Mapping[int, str],
    evidence: Mapping[UUID, Evidence],
    waits: Mapping[UUID, int],
) -> list[Fold]:
    """Return the folds of a journey: failed ones first, then in order of their first event.

    Where each message has a destination of its own, as replies to temporary queues have, destinations are not told apart.
    """
    known = list(events)
    found = _by_key(known, apart=True)
    if len(found) > MOST_FOLDS:
        found = _by_key(known, apart=False)
    folds = [_fold(key, many, systems, evidence, waits) for key, many in found.items()]
    return sorted(folds, key=lambda fold: (fold.outcome != "error", fold.start_us))


def _by_key(events: Iterable[Timed], *, apart: bool) -> dict[tuple[int, int, str, int], list[Timed]]:
    found: dict[tuple[int, int, str, int], list[Timed]] = {}
    for one in events:
        destination = (one.seen.destination or "") if apart else MANY
        found.setdefault((one.seen.system_id, one.seen.operation, destination, one.seen.outcome), []).append(one)
    return found


def _fold(
    key: tuple[int, int, str, int],
    many: list[Timed],
    systems: Mapping[int, str],
    evidence: Mapping[UUID, Evidence],
    waits: Mapping[UUID, int],
) -> Fold:
    system_id, operation, destination, outcome = key
    system = systems.get(system_id, "")
    waited = [waits[one.seen.id] for one in many if one.seen.id in waits]
    ties = dict.fromkeys(evidence[one.seen.id].tie for one in many if one.seen.id in evidence)
    return Fold(
        ref=ref_of(system, operation, destination, outcome),
        system=system,
        operation=OPERATION_WORDS[operation],
        destination=destination,
        outcome=OUTCOME_WORDS[outcome],
        count=len(many),
        start_us=many[0].start_us,
        end_us=max(one.end_us for one in many),
        took=figures(one.seen.duration_us for one in many),
        queue=figures(waited) if waited else None,
        ties=tuple(ties),
        events=tuple(many),
    )


def ref_of(system: str, operation: int, destination: str, outcome: int) -> str:
    """Return the name of a fold in addresses: the same for the same journey tomorrow, and nothing to quote."""
    return hashlib.sha256(repr((system, operation, destination, outcome)).encode()).hexdigest()[:12]


def opened_at(fold: Fold, event: Seen) -> str:
    """Return what opens a fold at one of its events, in addresses: its ref, and the cursor just before that event."""
    return f"{fold.ref}&after={encode_cursor(event.occurred_at, UUID(int=event.id.int - 1))}"


def chosen(folds: Sequence[Fold], own: Collection[UUID]) -> set[UUID]:
    """Return the ids of the events of a folded journey that are read in full.

    The failures of every fold in turn, so that one that failed ten thousand times does not hide the one that failed once; of every
    fold the first and the last; and what the page is about.
    """
    failed = [[one.seen.id for one in fold.events] for fold in folds if fold.outcome == "error"]
    in_turn = (one for round_ in zip_longest(*failed) for one in round_ if one is not None)
    ids = {one for one, _ in zip(in_turn, range(OF_FAILED), strict=False)}
    for fold in folds[:MOST_FOLDS]:
        ids |= {one.seen.id for one in (*fold.events[: OF_EACH - 1], fold.events[-1])}
    return ids | set(list(own)[:WHOLE])
