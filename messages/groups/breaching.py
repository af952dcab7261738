"""When the budget of a flow's promises will be gone: asked of whoever knows promises, for groups know nothing of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime

from django.conf import settings
from django.utils.module_loading import import_string

from messages.models import FailureGroup
from messages.models.groups import NO_BREACH


def next_breaches(flow_ids: Collection[int]) -> Mapping[int, datetime]:
    """Return {flow: when the budget of one of its promises is gone at the present pace}, of those that have such a moment."""
    path = settings.CONSOLE_NEXT_BREACHES
    if not path or not flow_ids:
        return {}
    ask: Callable[[Collection[int]], Mapping[int, datetime]] = import_string(path)
    return ask(flow_ids)


def note_next_breaches(groups: Iterable[FailureGroup]) -> None:
    """Set `next_breach_at` of each of these groups, None where nothing is to be broken; one query for all."""
    rows = list(groups)
    found = next_breaches({one.flow_id for one in rows})
    for one in rows:
        one.next_breach_at = found.get(one.flow_id)


def next_breach_of(group: FailureGroup) -> datetime | None:
    """Return when the next promise of its flow is broken; asked once for each row in memory."""
    if not hasattr(group, "next_breach_at"):
        note_next_breaches([group])
    return group.next_breach_at


def order_by_breach(groups: Iterable[FailureGroup], *, waiting: Collection[int]) -> int:
    """Write down, for the order of the list, when the next promise of each group's flow is broken; return how many changed.

    To the minute, so that a moment which hardly moves is not written each time. waiting: the groups of which something waits; others have none.
    """
    rows = list(groups)
    found = next_breaches({one.flow_id for one in rows if one.pk in waiting})
    changed: dict[int, list[int]] = defaultdict(list)
    for one in rows:
        at = found.get(one.flow_id) if one.pk in waiting else None
        seconds = int(at.timestamp()) // 60 * 60 if at else NO_BREACH
        if seconds != one.next_breach_s:
            changed[seconds].append(one.pk)
    for seconds, pks in sorted(changed.items()):
        FailureGroup.objects.filter(pk__in=pks).update(next_breach_s=seconds)
    return sum(map(len, changed.values()))
