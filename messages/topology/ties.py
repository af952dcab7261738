"""Flows that are one on their way: without a rule an exchange is one flow and each queue bound to it another, of the same messages. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

from messages.topology.sides import SENDS, TAKES, Cell, sent_of, shares, sides_of, united

Ties = Mapping[
    int, Mapping[int | None, int]
]  # flow that others fed → flow its messages were sent in, None for nobody knows which → how many of those that were read


def ties_of(cells: Collection[Cell], shared: Iterable[tuple[Collection[int], int]], ours: int | None) -> Ties:
    """Return in which flows the messages of those flows were sent in which nobody, or hardly anybody, sends.

    shared  (flows that the same messages passed, how many messages).

    Sent there it was by who took it before: nobody takes from a queue what they themselves send on. Of several flows in which the same message was
    sent it is the last before; where that is not one, or none of these cells, it is nobody's.
    """
    sending, fed = sending_and_fed(cells, ours)
    senders, takers = _systems(cells, SENDS, ours), _systems(cells, TAKES, ours)

    def may_feed(one: int, other: int) -> bool:
        return not senders[one] & takers[other]

    ties: dict[int, Counter[int | None]] = defaultdict(Counter)
    for flows, count in shared:
        sent, taken = sending.intersection(flows), fed.intersection(flows)
        for flow in taken:
            known = {one for one in sent if may_feed(one, flow)}
            took = {
                one: set.union(takers[one], *(takers[at] for at in taken - {flow} if may_feed(one, at)))
                for one in known
            }
            last = [one for one in known if not any(took[one] & senders[other] for other in known - {one})]
            ties[flow][last[0] if len(last) == 1 else None] += count
    return {flow: found for flow, found in ties.items() if set(found) != {None}}


def _systems(cells: Iterable[Cell], operations: Collection[int], ours: int | None) -> dict[int, set[int]]:
    found: dict[int, set[int]] = defaultdict(set)
    for cell in cells:
        if cell.operation in operations and cell.system_id != ours:
            found[cell.flow_id].add(cell.system_id)
    return found


def sending_and_fed(cells: Iterable[Cell], ours: int | None) -> tuple[set[int], set[int]]:
    """Return the flows in which somebody sends to where nobody takes, and those in which more than twice of what was sent there was taken.

    What the console sent again, another had sent before.
    """
    by_flow: dict[int, list[Cell]] = defaultdict(list)
    for cell in cells:
        by_flow[cell.flow_id].append(cell)
    sending, fed = set(), set()
    for flow_id, of_flow in by_flow.items():
        sent = united(sides_of([cell for cell in of_flow if cell.system_id != ours], SENDS))
        taken = max((side.count for side in united(sides_of(of_flow, TAKES)).values()), default=0)
        if sent_of(sent.values()) * 2 < taken:
            fed.add(flow_id)
        elif {cell.destination for cell in of_flow if cell.operation in SENDS} - {
            cell.destination for cell in of_flow if cell.operation in TAKES
        }:
            sending.add(flow_id)
    return sending, fed


def joined(cells: Collection[Cell], ties: Ties) -> list[Cell]:
    """Return the cells as those of the flows in which their messages were sent; by how many each has where these are several."""
    found: list[Cell] = []
    for cell in cells:
        into = sorted(ties.get(cell.flow_id, {}).items(), key=lambda part: part[0] or 0)
        if not into:
            found.append(cell)
            continue
        weights = [weight for _, weight in into]
        parts = zip(into, shares(cell.count, weights), shares(cell.failed, weights), strict=True)
        for (flow_id, _), count, failed in parts:
            part = replace(cell, count=count, failed=min(failed, count), about=len(into) > 1)
            if count:
                found.append(part if flow_id is None else replace(part, flow_id=flow_id, named_by=cell.flow_id))
    return found
