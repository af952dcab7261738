"""What each system did on the two sides of a destination: who sent there, and who took from there. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise

from messages.models.stream import Operation

SENDS = (Operation.CREATE, Operation.SEND)
TAKES = (Operation.RECEIVE, Operation.PROCESS, Operation.SETTLE)


@dataclass(frozen=True, slots=True)
class Cell:
    """What one system did at one destination of one flow; `failed` of `count` events went wrong.

    named_by  the flow that its events name, where it is another.   about  its counts are a share.
    """

    flow_id: int
    system_id: int
    destination: str
    operation: int
    count: int
    failed: int
    named_by: int | None = None
    about: bool = False


@dataclass(slots=True)
class Side:
    """What a system did on one side of a destination, of several the busiest, by operation.

    about  it is a share of what was done, as nobody says for whom.
    """

    destination: str
    about: bool = False
    counts: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    failures: dict[int, int] = field(default_factory=lambda: defaultdict(int))

    @property
    def count(self) -> int:
        """Return how many tries: what is created, sent, received and processed once is one, so the largest of these counts."""
        return max(self.counts.values(), default=0)

    @property
    def failed(self) -> int:
        """Return how many tries failed, at least: what failed to be processed and to be settled is one, so the largest of these counts too."""
        return max(self.failures.values(), default=0)

    def parted(self, part: int, *, about: bool) -> tuple[Side, Side]:
        """Return so many of its tries, and the others; what failed is shared as they are."""
        both, weights = (Side(self.destination, about), Side(self.destination, about)), (part, self.count - part)
        for operation, count in self.counts.items():
            failures = shares(self.failures[operation], weights)
            for side, tried, bad in zip(both, shares(count, weights), failures, strict=True):
                side.counts[operation], side.failures[operation] = tried, bad
        return both


Sides = dict[str, dict[int, Side]]  # destination → system → what it did


def sides_of(cells: Iterable[Cell], operations: Collection[int]) -> Sides:
    """Return who did one of these operations where."""
    sides: Sides = defaultdict(dict)
    for cell in cells:
        if cell.operation in operations:
            side = sides[cell.destination].setdefault(cell.system_id, Side(cell.destination))
            side.counts[cell.operation] += cell.count
            side.failures[cell.operation] += cell.failed
            side.about |= cell.about
    return dict(sides)


def united(sides: Sides) -> dict[int, Side]:
    """Return what each system did at all of these destinations together, under the name of its busiest."""
    found: dict[int, Side] = {}
    parts = [part for by_system in sides.values() for part in by_system.items()]
    for system_id, side in sorted(parts, key=lambda part: (-part[1].count, part[1].destination)):
        into = found.setdefault(system_id, Side(side.destination))
        into.about |= side.about
        for operation, count in side.counts.items():
            into.counts[operation] += count
            into.failures[operation] += side.failures[operation]
    return found


def by_destination(sides: Mapping[int, Side]) -> Sides:
    found: Sides = defaultdict(dict)
    for system_id, side in sides.items():
        found[side.destination][system_id] = side
    return found


def sent_of(sides: Iterable[Side]) -> int:
    """Return how many tries of these did not fail."""
    return sum(side.count - side.failed for side in sides)


def shares(total: int, weights: Sequence[int]) -> list[int]:
    """Return a count in whole parts by weight, none above its weight while the count is not above theirs; equal parts without any."""
    weights = weights if any(weights) else [1] * len(weights)
    whole = sum(weights) or 1
    ends = [(2 * total * end + whole) // (2 * whole) for end in accumulate(weights, initial=0)]  # rounded, half up
    return [end - begin for begin, end in pairwise(ends)]
