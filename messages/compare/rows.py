"""The rows of a comparison: lines side by side, what changed within a line, what stayed the same folded away. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

CONTEXT = 3
MOST_ROWS = 1_500
LONGEST_LINE = 1_200
LEAD = 160  # characters shown before the change in a line that is too long


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """A line: its number from 1, and its text in three parts, of which the middle one differs from the other side."""

    line: int
    before: str
    differs: str = ""
    after: str = ""

    @property
    def text(self) -> str:
        return self.before + self.differs + self.after


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """kind: same, changed, removed, added, or gap: `hidden` lines that are the same."""

    kind: str
    left: Side | None = None
    right: Side | None = None
    hidden: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Rows ready to draw; cut: there are more than 1,500."""

    rows: list[Row]
    added: int
    removed: int
    changed: int
    cut: bool


def rows_of(left: Sequence[str], right: Sequence[str], common: Sequence[tuple[int, int]]) -> Rows:
    """Return the rows of two texts that have these pairs of lines in common."""
    rows: list[Row] = []
    counts = {"added": 0, "removed": 0, "changed": 0}
    cut = False
    run_from = i = j = 0  # of a run of common pairs, where it began in `common`
    pairs = [*common, (len(left), len(right))]
    for at, (x, y) in enumerate(pairs):
        if x > i or y > j:
            if not cut:
                rows += _same(left, common, run_from, at, last=False)
            run_from = at
            cut = _differ(rows, counts, left, right, (i, x), (j, y), cut=cut)
        i, j = x + 1, y + 1
    if not cut:
        rows += _same(left, common, run_from, len(common), last=True)
    cut = cut or len(rows) > MOST_ROWS
    return Rows(
        rows=rows[:MOST_ROWS], added=counts["added"], removed=counts["removed"], changed=counts["changed"], cut=cut
    )


def _differ(
    rows: list[Row],
    counts: dict[str, int],
    left: Sequence[str],
    right: Sequence[str],
    of_left: tuple[int, int],
    of_right: tuple[int, int],
    *,
    cut: bool,
) -> bool:
    """Add what differs between two common lines and count it; whether there was no room."""
    one, other = range(*of_left), range(*of_right)
    both = min(len(one), len(other))
    counts["changed"] += both
    counts["removed"] += len(one) - both
    counts["added"] += len(other) - both
    for at in range(max(len(one), len(other))):
        if cut or len(rows) >= MOST_ROWS:
            return True
        if at < both:
            a, b = _sides(left[one[at]], right[other[at]], one[at] + 1, other[at] + 1)
            rows.append(Row(kind="changed", left=a, right=b))
        elif at < len(one):
            rows.append(Row(kind="removed", left=Side(line=one[at] + 1, before=_cut(left[one[at]]))))
        else:
            rows.append(Row(kind="added", right=Side(line=other[at] + 1, before=_cut(right[other[at]]))))
    return cut


def _same(left: Sequence[str], common: Sequence[tuple[int, int]], begin: int, end: int, *, last: bool) -> list[Row]:
    """Return a run of common lines: three after what differs, three before what differs next, a gap between."""
    head = 0 if begin == 0 and common[:1] == [(0, 0)] else CONTEXT
    tail = 0 if last else CONTEXT
    length = end - begin
    if length <= head + tail + 1:
        return [_common_row(left, common[at]) for at in range(begin, end)]
    gap = Row(kind="gap", hidden=length - head - tail)
    first = [_common_row(left, common[at]) for at in range(begin, begin + head)]
    return [*first, gap, *(_common_row(left, common[at]) for at in range(end - tail, end))]


def _common_row(left: Sequence[str], pair: tuple[int, int]) -> Row:
    text = _cut(left[pair[0]])
    return Row(kind="same", left=Side(line=pair[0] + 1, before=text), right=Side(line=pair[1] + 1, before=text))


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_LINE else f"{text[:LONGEST_LINE]}…"


def _sides(a: str, b: str, line: int, other: int) -> tuple[Side, Side]:
    """Return both lines with what differs in them: between the beginning and the end that they share."""
    begin = _shared(a, b)
    rest_a, rest_b = a[begin:], b[begin:]
    end = _shared(rest_a[::-1], rest_b[::-1])
    lead = begin if begin <= LEAD or max(len(a), len(b)) <= LONGEST_LINE else LEAD
    dots = "" if lead == begin else "…"
    before = dots + a[begin - lead : begin]
    room = LONGEST_LINE - lead
    return _side(line, before, rest_a, end, room), _side(other, before, rest_b, end, room)


def _side(line: int, before: str, rest: str, end: int, room: int) -> Side:
    differs, after = rest[: len(rest) - end], rest[len(rest) - end :]
    if len(differs) > room:
        return Side(line=line, before=before, differs=f"{differs[:room]}…")
    room -= len(differs)
    return Side(line=line, before=before, differs=differs, after=after if len(after) <= room else f"{after[:room]}…")


def _shared(a: str, b: str) -> int:
    """Return how many characters two texts share at their beginning; by halves, for a line may be megabytes long."""
    low, high = 0, min(len(a), len(b))
    while low < high:
        middle = (low + high + 1) // 2
        if a[low:middle] == b[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
