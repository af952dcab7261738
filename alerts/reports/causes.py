"""Why promises were not kept, and what was done: letters of the period by cause, folded so that everything adds up. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from alerts.reports.content import Cause, Letters
from alerts.reports.saying import clean
from messages.queries import Became, Failed, Told, Wait

MOST_CAUSES = 5  # the rest is one row
TITLE = 160
UNKNOWN = "No cause is known"
COUNTS = ("count", "replayed", "compensated", "discarded", "failed_again", "gone", "waiting", "later", "without_letter")


def causes_of(
    became: Sequence[Became], failed: Sequence[Failed], told: Mapping[int, Told], flows: Mapping[int, str]
) -> tuple[Cause, ...]:
    """Return the causes with most failures, one row for the rest; of all rows the letters add up to those of `letters_of`.

    failed  messages without letters.   told  of the groups in `largest`.   flows  {id: name}.
    """
    rows = _by_count(became, failed)
    made = [_cause_of(one, told, flows) for one in rows[:MOST_CAUSES]]
    rest = rows[MOST_CAUSES:]
    if rest:
        words = "1 other cause" if len(rest) == 1 else f"{len(rest):,} other causes"
        made.append(Cause(title=words, flow="", groups=len(rest), **_counts(rest)))
    return tuple(made)


def largest(became: Sequence[Became], failed: Sequence[Failed]) -> list[int]:
    """Return the groups whose titles `causes_of` shows."""
    return [one.group_id for one in _by_count(became, failed)[:MOST_CAUSES] if one.group_id is not None]


def _by_count(became: Sequence[Became], failed: Sequence[Failed]) -> list[Became | Failed]:
    rows: list[Became | Failed] = [*became, *failed]
    return sorted(rows, key=lambda one: (-one.count, one.flow_id, one.group_id or 0))


def _cause_of(one: Became | Failed, told: Mapping[int, Told], flows: Mapping[int, str]) -> Cause:
    said = told.get(one.group_id or 0)
    names: dict[str, Any] = {
        "title": clean(said.title, TITLE) or UNKNOWN if said else UNKNOWN,
        "flow": clean(flows.get(one.flow_id, ""), TITLE),
        "path": said.path if said else "",
    }
    if isinstance(one, Failed):
        return Cause(**names, **_counts((one,)))
    return Cause(**names, **_counts((one,)), late_by_s=one.after_s if one.processed else None)


def _counts(rows: Iterable[Became | Failed]) -> dict[str, Any]:
    found: dict[str, int] = defaultdict(int)
    for one in rows:
        found["count"] += one.count
        if isinstance(one, Failed):
            found["later"] += one.later
            found["without_letter"] += one.count - one.later
        else:
            found["replayed"] += one.processed
            for name in ("compensated", "discarded", "failed_again", "gone", "waiting"):
                found[name] += getattr(one, name)
    return {name: found[name] for name in COUNTS}


def letters_of(became: Iterable[Became], waits: Iterable[Wait]) -> Letters:
    """Return the letters of the period and what became of them, and what waits from before."""
    rows, waits = list(became), list(waits)
    counts = _counts(rows)
    return Letters(
        came=counts["count"],
        replayed=counts["replayed"],
        failed_again=counts["failed_again"],
        compensated=counts["compensated"],
        discarded=counts["discarded"],
        gone=counts["gone"],
        waiting=counts["waiting"],
        older=sum(one.older for one in waits),
        oldest=min((one.oldest_at for one in waits), default=None),
    )


def replayed_by_flow(became: Iterable[Became]) -> dict[int, int]:
    found: dict[int, int] = defaultdict(int)
    for one in became:
        found[one.flow_id] += one.processed
    return found
