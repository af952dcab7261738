"""Where the boxes and lines of a map stand: layers from left to right, after Sugiyama. Pure and deterministic.

Source: K. Sugiyama, S. Tagawa, M. Toda, Methods for visual understanding of hierarchical system structures (1981): cycles are cut, every
box gets a layer, long lines get a place in each layer that they pass, and the order in a layer follows the middle of the neighbours.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 168, 50
COLUMN, ROW = 252, 68
PASSING = 18  # a line that passes a layer takes so much of its height
MARGIN = 14
MOST_LAYERS = 7
SWEEPS = 6

Pair = tuple[str, str]
Way = list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A box of WIDTH × HEIGHT px; x and y are its upper left corner."""

    key: str
    x: int
    y: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """A line from one box to another: `path` as SVG has it, and its middle."""

    source: str
    target: str
    path: str
    x: int
    y: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    boxes: tuple[Box, ...]
    curves: tuple[Curve, ...]
    width: int
    height: int


def lay_out(keys: Sequence[str], lines: Iterable[Pair]) -> Layout:
    """Return places for boxes and the lines between them, in px; no two boxes overlap.

    keys   one for each box.   lines  (from, to); a line to itself or to a box that is not there is left out.
    """
    names = sorted(set(keys))
    known = set(names)
    pairs = sorted({(a, b) for a, b in lines if a != b and a in known and b in known})
    layer = _layers(names, _without_cycles(names, pairs))
    ways = {pair: _way(pair, layer) for pair in pairs}
    columns = _ordered(names, ways, layer)
    places, height = _places(columns, layer)
    boxes = tuple(Box(key=key, x=places[key][0], y=places[key][1] - HEIGHT // 2) for key in names)
    curves = tuple(_curve(pair, way, places, layer) for pair, way in ways.items())
    width = 2 * MARGIN + WIDTH + COLUMN * (len(columns) - 1) if names else 0
    loops = any(layer[a] == layer[b] == len(columns) - 1 for a, b in pairs)
    return Layout(boxes=boxes, curves=curves, width=width + 60 * loops, height=height)


def _without_cycles(names: Sequence[str], pairs: Sequence[Pair]) -> list[Pair]:
    """Return the lines, those turned round that close a cycle: found by a walk that starts where more goes out than comes in."""
    outgoing: dict[str, list[str]] = defaultdict(list)
    excess: dict[str, int] = defaultdict(int)
    for a, b in pairs:
        outgoing[a].append(b)
        excess[a] -= 1
        excess[b] += 1
    finished: set[str] = set()
    turned: set[Pair] = set()
    for start in sorted(names, key=lambda name: (excess[name], name)):
        if start in finished:
            continue
        on_way, stack = {start}, [(start, iter(outgoing[start]))]
        while stack:
            here, rest = stack[-1]
            following = next(rest, None)
            if following is None:
                stack.pop()
                on_way.discard(here)
                finished.add(here)
            elif following in on_way:
                turned.add((here, following))
            elif following not in finished:
                on_way.add(following)
                stack.append((following, iter(outgoing[following])))
    return [(b, a) if (a, b) in turned else (a, b) for a, b in pairs]


def _layers(names: Sequence[str], pairs: Iterable[Pair]) -> dict[str, int]:
    """Return each box's layer: one after the last of those before it, at most MOST_LAYERS of them."""
    outgoing: dict[str, set[str]] = defaultdict(set)
    before: dict[str, int] = dict.fromkeys(names, 0)
    for a, b in set(pairs):
        outgoing[a].add(b)
        before[b] += 1
    layer = dict.fromkeys(names, 0)
    ready = [name for name in names if not before[name]]
    while ready:
        here = ready.pop(0)
        for following in sorted(outgoing[here]):
            layer[following] = max(layer[following], layer[here] + 1)
            before[following] -= 1
            if not before[following]:
                ready.append(following)
    return {name: min(number, MOST_LAYERS - 1) for name, number in layer.items()}


def _way(pair: Pair, layer: dict[str, int]) -> Way:
    """Return what a line passes from its left end to its right one; the places between are added to `layer`."""
    left, right = sorted(pair, key=lambda name: layer[name])
    between = [f"{pair[0]}\x00{pair[1]}\x00{number}" for number in range(layer[left] + 1, layer[right])]
    for offset, key in enumerate(between, start=1):
        layer[key] = layer[left] + offset
    return [left, *between, right]


def _ordered(names: Sequence[str], ways: dict[Pair, Way], layer: dict[str, int]) -> list[list[str]]:
    """Return the keys of each layer from top to bottom, moved to the middle of their neighbours, from the left and from the right in turn."""
    beside: dict[str, list[str]] = defaultdict(list)
    for way in ways.values():
        for a, b in itertools.pairwise(way):
            beside[a].append(b)
            beside[b].append(a)
    columns: list[list[str]] = [[] for _ in range(max((layer[name] for name in names), default=-1) + 1)]
    passing = (key for way in ways.values() for key in way[1:-1])
    for key in (*sorted(names, key=lambda name: (-len(beside[name]), name)), *passing):
        columns[layer[key]].append(key)
    for sweep in range(SWEEPS):
        numbers = range(1, len(columns)) if sweep % 2 == 0 else range(len(columns) - 2, -1, -1)
        for number in numbers:
            fixed = columns[number - 1 if sweep % 2 == 0 else number + 1]
            at = {key: place / max(1, len(fixed) - 1) for place, key in enumerate(fixed)}
            here = columns[number]
            own = {key: place / max(1, len(here) - 1) for place, key in enumerate(here)}
            here.sort(key=lambda key, at=at, own=own: (_middle(beside[key], at, own[key]), own[key]))  # type: ignore[misc]
    return columns


def _middle(neighbours: Iterable[str], at: dict[str, float], own: float) -> float:
    places = [at[key] for key in neighbours if key in at]
    return sum(places) / len(places) if places else own


def _places(columns: Sequence[Sequence[str]], layer: dict[str, int]) -> tuple[dict[str, tuple[int, int]], int]:
    """Return (x of the left edge, y of the middle) of every key, each layer centred, and the height of it all."""

    def tall(key: str) -> int:
        return PASSING if "\x00" in key else ROW

    heights = [sum(tall(key) for key in column) for column in columns]
    height = max(heights, default=0)
    places: dict[str, tuple[int, int]] = {}
    for column, own in zip(columns, heights, strict=True):
        y = MARGIN + (height - own) // 2
        for key in column:
            places[key] = (MARGIN + layer[key] * COLUMN, y + tall(key) // 2)
            y += tall(key)
    return places, height + 2 * MARGIN if columns else 0


def _curve(pair: Pair, way: Way, places: dict[str, tuple[int, int]], layer: dict[str, int]) -> Curve:
    source, target = pair
    (left_x, left_y), (right_x, right_y) = places[way[0]], places[way[-1]]
    if layer[way[0]] == layer[way[-1]]:  # side by side in the last layer: round their right edges
        (x, from_y), (_, to_y) = places[source], places[target]
        x += WIDTH
        path = f"M{x},{from_y}C{x + 56},{from_y} {x + 56},{to_y} {x},{to_y}"
        return Curve(source=source, target=target, path=path, x=x + 42, y=(from_y + to_y) // 2)
    points = [(left_x + WIDTH, left_y)]
    for key in way[1:-1]:
        x, y = places[key]
        points += [(x, y), (x + WIDTH, y)]
    points.append((right_x, right_y))
    if source == way[-1]:
        points.reverse()
    path = f"M{points[0][0]},{points[0][1]}"
    for (ax, ay), (bx, by) in itertools.pairwise(points):
        bend = (ax + bx) // 2
        path += f"L{bx},{by}" if ay == by else f"C{bend},{ay} {bend},{by} {bx},{by}"
    (ax, ay), (bx, by) = points[0], points[1]
    return Curve(source=source, target=target, path=path, x=(ax + bx) // 2, y=(ay + by) // 2)
