"""A report as one CSV: a row for each promise, cause, day and exclusion. Pure; no cell that a spreadsheet takes for a formula.

For programs and spreadsheets, so numbers have a point and times are ISO 8601 in UTC, whatever the audience's language is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from alerts.reports.content import Content
from messages.reconcile.sets import csv_line

COLUMNS = (
    *("row", "name", "flow", "since", "until", "judged_since", "judged_until", "stands", "target", "attained", "adjusted", "previous", "good", "late", "lost"),
    *("budget", "left", "overspent", "unit", "count", "replayed", "compensated", "discarded", "failed_again", "gone", "waiting"),
    *("later", "without_letter", "excluded", "note"),
)  # fmt: skip
PROMISE = ("name", "flow", "target", "attained", "adjusted", "previous", "good", "late", "lost", "budget", "unit", "replayed", "waiting")  # fmt: skip
JUDGED = ("judged_since", "judged_until")
CAUSE = (
    "flow",
    "count",
    "replayed",
    "compensated",
    "discarded",
    "failed_again",
    "gone",
    "waiting",
    "later",
    "without_letter",
)
LETTERS = ("replayed", "compensated", "discarded", "failed_again", "gone", "waiting")


def csv_of(content: Content) -> bytes:
    """Return the table, UTF-8, with lines as RFC 4180 has them."""
    lines = [csv_line([*COLUMNS])]
    for row in _rows(content):
        lines.append(csv_line([_cell(row.get(name)) for name in COLUMNS]))
    return "".join(lines).encode("utf-8", "replace")


def _cell(value: object) -> object:
    return "" if value is None else value


def _rows(content: Content) -> Iterator[Mapping[str, object]]:
    whole = {"since": content.period.since.isoformat(), "until": content.period.until.isoformat()}
    for promise in content.promises:
        told = {name: getattr(promise, name) for name in PROMISE}
        # a budget that is overspent is a number of its own: one with a minus sign would be guarded like a formula, and be text
        told |= {"left": max(0.0, promise.left), "overspent": max(0.0, -promise.left)}
        told |= {name: at.isoformat() for name in JUDGED if (at := getattr(promise, name)) is not None}
        said = [f"judged over {promise.over}"] if promise.over else []
        said += ["still being counted"] if promise.counting else []  # its figures are of a part, and judge nothing
        yield (
            told
            | whole
            | {
                "row": "promise",
                "stands": promise.stands.value,
                "note": "; ".join(filter(None, [*said, promise.words, *promise.changed])),
            }
        )
    for gone in content.removed:
        yield whole | {"row": "removed", "name": gone.name, "note": gone.words}
    for cause in content.causes:
        yield (
            {name: getattr(cause, name) for name in CAUSE}
            | whole
            | {"row": "cause", "name": cause.title, "note": cause.path}
        )
    letters = {name: getattr(content.letters, name) for name in LETTERS}
    yield (
        letters
        | whole
        | {"row": "letters", "count": content.letters.came, "note": f"{content.letters.older} from before wait"}
    )
    yield from _days(content)
    yield from _exclusions(content)
    if content.coverage is not None:
        covered = {"count": content.coverage.minutes, "good": content.coverage.covered}
        yield covered | whole | {"row": "coverage", "name": "minutes with data"}
    for sentence in content.quality:
        yield {"row": "quality", "note": sentence}
    yield {
        "row": "report",
        "name": content.audience.name,
        "note": f"revision {content.revision}, frozen {content.frozen_at.isoformat()}",
    } | whole


def _days(content: Content) -> Iterator[Mapping[str, object]]:
    for day in content.days:
        yield {
            "row": "day",
            "name": day.day.isoformat(),
            "good": day.good,
            "late": day.late,
            "lost": day.lost,
            "excluded": day.excluded,
        }


def _exclusions(content: Content) -> Iterator[Mapping[str, object]]:
    for one in content.exclusions:
        yield {
            "row": "exclusion",
            "name": one.reason,
            "flow": one.about,
            "since": one.since.isoformat(),
            "until": one.until.isoformat(),
            "count": one.events,
            "note": f"by {one.by}{'' if one.events is not None else '; how many events is not known any more'}",
        }
