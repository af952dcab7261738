"""How the promises of a report stood in earlier ones. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from alerts.reports.content import Content, Period, Promise, Stands
from alerts.reports.periods import before

FARTHEST = 40  # reports back


def remembered(promises: Iterable[Promise], period: Period, earlier: Sequence[Content]) -> list[Promise]:
    """Return the promises with what reports of the periods just before say of them; a gap between two reports ends what is known.

    Of several revisions of one period the last counts.
    """
    newest: dict[Period, Content] = {}
    for one in sorted(earlier, key=lambda content: content.revision):
        newest[one.period] = one
    chain: list[Content] = []
    at = before(period)
    while at in newest and len(chain) < FARTHEST:
        chain.append(newest[at])
        at = before(at)
    stood = [{one.objective: one.stands for one in content.promises} for content in chain]
    return [_remembered(one, chain, stood) for one in promises]


def _remembered(promise: Promise, chain: Sequence[Content], stood: Sequence[dict[int, Stands]]) -> Promise:
    known, in_a_row, missed_before = 0, 0, None
    for content, stands in zip(chain, stood, strict=True):
        if promise.objective not in stands:
            break
        missed = stands[promise.objective] is Stands.MISSED
        if missed and in_a_row == known:
            in_a_row += 1
        if missed and missed_before is None:
            missed_before = content.period.since
        known += 1
    return msgspec.structs.replace(promise, known=known, missed_in_a_row=in_a_row, missed_before=missed_before)
