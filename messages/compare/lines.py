"""What lines two texts have in common, in bounded time: patience on the lines that occur once, Myers between them. Pure.

Sources: Bram Cohen's patience diff (unique common lines, longest increasing run); E. Myers, "An O(ND) difference algorithm", 1986.
Neither is allowed more than a budget of steps: what is left then is shown as removed and added, which is true and no more than clumsy.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

MOST_STEPS = 3_000_000  # about one second
MOST_EDITS = 250  # of one stretch between lines that occur once


@dataclass(slots=True)
class Work:
    """Steps that may still be taken; spent: they were not enough, and a stretch is shown as wholly replaced."""

    left: int = MOST_STEPS
    spent: bool = False

    def take(self, steps: int) -> bool:
        self.left -= steps
        self.spent |= self.left < 0
        return self.left >= 0


def common_lines(left: Sequence[str], right: Sequence[str], work: Work | None = None) -> list[tuple[int, int]]:
    """Return the pairs (line of left, line of right) that are the same, both increasing; from 0."""
    numbers: dict[str, int] = {}
    a = [numbers.setdefault(line, len(numbers)) for line in left]
    b = [numbers.setdefault(line, len(numbers)) for line in right]
    return _common(a, b, work or Work())


def _common(a: list[int], b: list[int], work: Work) -> list[tuple[int, int]]:
    pairs: list[tuple[int, int]] = []
    waiting = [(0, len(a), 0, len(b))]
    while waiting:
        i, i_end, j, j_end = waiting.pop()
        while i < i_end and j < j_end and a[i] == b[j]:
            pairs.append((i, j))
            i, j = i + 1, j + 1
        while i < i_end and j < j_end and a[i_end - 1] == b[j_end - 1]:
            i_end, j_end = i_end - 1, j_end - 1
            pairs.append((i_end, j_end))
        if i == i_end or j == j_end or not work.take(i_end - i + j_end - j):
            continue
        anchors = _anchors(a, b, i, i_end, j, j_end)
        if not anchors:
            pairs += [(i + x, j + y) for x, y in _myers(a[i:i_end], b[j:j_end], work)]
            continue
        for x, y in anchors:
            waiting.append((i, x, j, y))
            pairs.append((x, y))
            i, j = x + 1, y + 1
        waiting.append((i, i_end, j, j_end))
    return sorted(pairs)


def _anchors(a: list[int], b: list[int], i: int, i_end: int, j: int, j_end: int) -> list[tuple[int, int]]:
    """Return the longest run of lines that occur once on either side and in the same order."""
    once_a, once_b = Counter(a[i:i_end]), Counter(b[j:j_end])
    at = {b[y]: y for y in range(j, j_end) if once_b[b[y]] == 1}
    candidates = [(x, at[a[x]]) for x in range(i, i_end) if once_a[a[x]] == 1 and a[x] in at]
    tails: list[int] = []  # right lines that end the best run of each length
    ends: list[int] = []
    before: list[int] = []
    for number, (_, y) in enumerate(candidates):
        length = bisect_left(tails, y)
        before.append(ends[length - 1] if length else -1)
        if length == len(tails):
            tails.append(y)
            ends.append(number)
        else:
            tails[length], ends[length] = y, number
    run, number = [], ends[-1] if ends else -1
    while number >= 0:
        run.append(candidates[number])
        number = before[number]
    return run[::-1]


def _myers(a: list[int], b: list[int], work: Work) -> list[tuple[int, int]]:
    """Return what a stretch without lines that occur once has in common; nothing when that takes too many edits."""
    n, m = len(a), len(b)
    furthest = {1: 0}
    trail: list[dict[int, int]] = []
    for edits in range(min(n + m, MOST_EDITS) + 1):
        trail.append(furthest.copy())
        for k in range(-edits, edits + 1, 2):
            down = k == -edits or (k != edits and furthest[k - 1] < furthest[k + 1])
            x = furthest[k + 1] if down else furthest[k - 1] + 1
            y, began = x - k, x
            while x < n and y < m and a[x] == b[y]:
                x, y = x + 1, y + 1
            furthest[k] = x
            if not work.take(2 + x - began):
                return []
            if x >= n and y >= m:
                return _back(trail, n, m)
        if not work.take(edits):
            return []
    work.spent = True
    return []


def _back(trail: list[dict[int, int]], x: int, y: int) -> list[tuple[int, int]]:
    pairs = []
    for edits in range(len(trail) - 1, -1, -1):
        furthest, k = trail[edits], x - y
        down = k == -edits or (k != edits and furthest[k - 1] < furthest[k + 1])
        from_k = k + 1 if down else k - 1
        from_x = furthest[from_k]
        from_y = from_x - from_k
        while x > max(from_x, 0) and y > max(from_y, 0):
            x, y = x - 1, y - 1
            pairs.append((x, y))
        x, y = from_x, from_y
    return pairs
