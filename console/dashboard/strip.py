"""What the overview adds to its list: the figures above the chart, and the change that the largest failure may come from."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.urls import reverse

from console.core.words import age_words
from console.dashboard.overview import Failing
from messages.changes.present import label_of, page_of, touches
from messages.figures.queries import Figures
from messages.models import Change

SUSPECTED = timedelta(hours=6)  # a change that long before the first failure explains it no more
WENT = {"deployment": "went out", "configuration": "was changed", "maintenance": "began"}


def strip_of(figures: Figures, window: str) -> dict[str, Any]:
    """Return the figures of the chart's time: counts, the share that failed in per cent, p95 in ms, and where each leads."""
    total = figures.total
    events = total.delivered + total.failed
    return {
        "delivered": total.delivered,
        "failed": total.failed,
        "share": f"{total.failed / events * 100:.1f} %" if events else "none",
        "p95_ms": total.latency_ms("p95"),
        "replays": total.replays,
        "words": "last hour" if window == "1h" else "24 h",
        "failed_url": f"{reverse('messages')}?q=error:*&window={window}",
        "figures_url": f"{reverse('figures')}?window={window}",
    }


def suspect_of(group: Failing | None, changes: Sequence[Change]) -> dict[str, str] | None:
    """Return the last change to the group's flow or system before its first failure: how long before, its name, what it did, its page.

    changes  oldest first; one that was cancelled, or that is more than six hours older, is none.
    """
    if group is None:
        return None
    for change in reversed(changes):
        at = min(change.ended_at or change.started_at, group.oldest_at)
        if (
            change.started_at <= group.oldest_at
            and group.oldest_at - at <= SUSPECTED
            and change.outcome != Change.Outcome.CANCELLED
            and touches(change, systems=group.systems, flows=[group.flow])
        ):
            return {
                "after": age_words(group.oldest_at - at, long=True),
                "label": label_of(change),
                "did": WENT[change.kind],
                "url": page_of(change),
            }
    return None
