"""What was before a report: targets that were changed in its period, and how its promises stood in earlier reports."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from alerts.models import Objective
from alerts.reports.content import Content, Period, Promise, Stands
from alerts.reports.periods import before
from console.audit.models import AuditEntry
from console.core.ids import uuid7_floor

FARTHEST = 40  # reports back


def targets_before(objectives: Sequence[Objective], period: Period) -> dict[int, float]:
    """Return {objective: its target before the first change in the period}, of those that were changed; two queries.

    The audit list says which: an entry has the target after it.
    """
    rows = AuditEntry.objects.filter(object_kind="objective", action__in=["objective.added", "objective.changed"])
    mine = [str(one.pk) for one in objectives]
    changes = rows.filter(object_id__in=mine, action="objective.changed", details__changed__contains=["target"])
    changes = changes.filter(id__gte=uuid7_floor(period.since), id__lt=uuid7_floor(period.until))
    changed = set(changes.order_by().values_list("object_id", flat=True).distinct())
    if not changed:
        return {}
    older = rows.filter(object_id__in=changed, id__lt=uuid7_floor(period.since))
    found = older.order_by("object_id", "-id").distinct("object_id").values_list("object_id", "details__target")
    now = {str(one.pk): float(one.target) for one in objectives}
    return {int(pk): told for pk, text in found if (told := _ratio(text)) is not None and told != now[pk]}


def _ratio(text: object) -> float | None:
    try:
        found = float(str(text))
    except ValueError:
        return None
    return found if 0 < found < 1 else None


def remembered(promises: Iterable[Promise], period: Period, earlier: Sequence[Content]) -> list[Promise]:
    """Return the promises with what reports of the periods just before say of them; a gap between two reports ends what is known.

    Of several revisions of one period the last counts. Pure.
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
