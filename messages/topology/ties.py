"""Flows that are one on their way: without a rule an exchange is one flow and each queue bound to it another, of the same messages. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

from messages.topology.sides import SENDS, TAKES, Cell, sent_of, shares, sides_of, united

Ties = Mapping[
    int, Mapping[int, int]
]  # flow that others fed → flow its messages were sent in → how many of those that were read


def sending_and_fed(cells: Iterable[Cell], ours: int | None) -> tuple[set[int], set[int]]:
    """Return the flows in which somebody sends, and those in which more than twice of what was sent there was taken.

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
        elif sent:
            sending.add(flow_id)
    return sending, fed


def joined(cells: Collection[Cell], ties: Ties) -> list[Cell]:
    """Return the cells as those of the flows in which their messages were sent; by how many each has where these are several."""
    found: list[Cell] = []
    for cell in cells:
        into = sorted(ties.get(cell.flow_id, {}).items())
        if not into:
            found.append(cell)
            continue
        weights = [weight for _, weight in into]
        parts = zip(into, shares(cell.count, weights), shares(cell.failed, weights), strict=True)
        for (flow_id, _), count, failed in parts:
            if count:
                found.append(
                    replace(
                        cell,
                        flow_id=flow_id,
                        named_by=cell.flow_id,
                        count=count,
                        failed=min(failed, count),
                        about=len(into) > 1,
                    )
                )
    return found
