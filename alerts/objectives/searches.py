"""Counters of objectives on saved searches: filled as messages are written, in the minutes that were touched and nowhere else.

A look takes the touched minutes and counts them again in the transaction that writes the counters: it costs what happened since the last one,
whatever is stored. Beside these: minutes that are over since then (messages whose time is up), what could not be counted
before, and, because a set of a reconciliation changes without a message being written, one minute of the last week in turn.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

import structlog
from django.db import OperationalError, transaction

from alerts.models import Objective, Standing, Uncounted
from alerts.objectives.asking import SEARCH_PROBLEM, CannotAsk, TooSlow, asked_of, found_in, meaning, shift_of
from alerts.objectives.counters import MINUTES_KEPT, hour_of, minute_of, one_writer, write_minutes
from alerts.objectives.search_silence import Silences, silence_words, silences_of
from alerts.objectives.volumes import judged_periods
from alerts.objectives.windows import HOUR, MINUTE, Span, clipped, merge, portions
from messages.queries import Searched, counted_again_since, note_touched, note_touched_no_more, take_touched

log = structlog.get_logger(__name__)
Kind = Objective.Kind
LOOK_S = 5.0  # after so long the rest waits for the next look
TURN = timedelta(seconds=15)
WEEK_MINUTES = 7 * 24 * 60
# What came into the catalogue since then may be of a clock ahead, or of a transaction that was open.
SETTLED = timedelta(minutes=5)
NAMES_READ_AGAIN = timedelta(minutes=10)
UNKNOWN = "unknown"  # what was counted may have missed something: it is counted again
MOST_MINUTES, DAY_MINUTES = 60, 1440  # by one query, of what was touched and of history
QUICK_S = 0.5


def count_searches(now: datetime, *, look_s: float = LOOK_S) -> None:
    """Bring the counters of every objective on a search up to `now`. May run twice at once, and die anywhere."""
    if not _touches_are_noted():
        return
    with one_writer(wait=False) as mine:
        if not mine:
            return
        touched = take_touched()
        # read after the lock was given: whatever was promised until now and is not among them has not been counted at all
        searches = list(Objective.objects.filter(flow=None).select_related("environment", "owner").order_by("pk"))
        ends, silences = time.monotonic() + look_s, silences_of(searches, now)
        for one in _in_turn(searches, now):
            _count_one(one, touched.get(one.environment_id, ()), silences, now, ends)
        for one in searches:  # at the end: until then somebody may want to change one
            Objective.objects.filter(pk=one.pk).update(counted_to=one.counted_to, step_minutes=one.step_minutes)


def _touches_are_noted() -> bool:
    """See to it that touched minutes are noted while something is promised about a search, and only then; False: not yet, or no more."""
    try:
        with transaction.atomic():
            if not Objective.objects.filter(flow=None).exists():
                note_touched_no_more()
                return False
            if note_touched():
                Objective.objects.filter(flow=None).exclude(meant="").update(meant=UNKNOWN)
            return True
    except OperationalError as error:  # the lock was not to be had in time: the next look
        log.warning("touches_not_noted", reason=str(error)[:200])
        return False


def _in_turn(searches: Sequence[Objective], now: datetime) -> list[Objective]:
    """Return them beginning with another one at each look, so that one that takes all the time does not starve the others."""
    first = int(now.timestamp() // TURN.total_seconds()) % len(searches) if searches else 0
    return [*searches[first:], *searches[:first]]


def _count_one(one: Objective, touched: Collection[datetime], silences: Silences, now: datetime, ends: float) -> None:
    problem, asked = "", None
    try:
        asked = asked_of(one)
        _see_what_it_means(one, asked, now)
    except CannotAsk as error:
        problem, asked = str(error), None
    whole = Span(since=max(one.filled_since, whole_since(one, now) + shift_of(one)), until=end_of(one, now))
    left = changed = clipped(merge(_changed(one, touched, whole.until, now)), whole)
    if asked is not None:
        again = _minute_from(minute_again(one, now))
        left, problem = _count_waiting(one, asked, merge([*changed, *clipped([again], whole)]), now, ends)
        left = left if clipped(changed, again) else _without(left, again)
    _leave(one, left)
    one.counted_to = max(minute_of(now) + MINUTE, one.counted_to or one.begun_at)
    if problem:
        say(one, problem)
    elif asked is not None and not left and time.monotonic() < ends:
        say(one, silence_words(one, asked, silences))


def end_of(one: Objective, now: datetime) -> datetime:
    """Return the end of the last minute that is decided: what is judged when its time is up waits until the minute is over."""
    return minute_of(now) if one.kind in (Kind.FRESHNESS, Kind.VOLUME) else minute_of(now) + MINUTE


def minute_again(one: Objective, now: datetime) -> datetime:
    """Return the minute of the last week that is counted again at this look though nothing touched it: each has its turn in 42 hours."""
    turn = int(now.timestamp() // TURN.total_seconds()) + one.pk
    last = minute_of(now) - MINUTE
    # 61 and a week's minutes have no factor in common
    return last - (int(last.timestamp()) // 60 - 61 * turn) % WEEK_MINUTES * MINUTE


def _changed(one: Objective, touched: Collection[datetime], end: datetime, now: datetime) -> list[Span]:
    """Return what may have changed since it was counted, of whole minutes: what cannot be counted now waits."""
    shift, ran = shift_of(one), minute_of(now) + MINUTE - end
    spans = [_minute_from(at + shift) for at in touched]
    spans.append(Span(since=(one.counted_to or one.begun_at) - ran, until=end))
    for row in Uncounted.objects.filter(objective=one):
        spans += [Span(since=since, until=until) for since, until in zip(row.since, row.until, strict=True)]
    return spans


def _minute_from(at: datetime) -> Span:
    return Span(since=at, until=at + MINUTE)


def _without(spans: Sequence[Span], minute: Span) -> list[Span]:
    """Return these without a minute whose turn it was, and no more: it does not wait, it has its turn again."""
    before = [Span(since=one.since, until=min(one.until, minute.since)) for one in spans]
    after = [Span(since=max(one.since, minute.until), until=one.until) for one in spans]
    return merge([*before, *after])


def whole_since(one: Objective, now: datetime) -> datetime:
    """Return the hour since when all messages are still there, and all minutes: an hour without its other minutes is not counted again."""
    return max(hour_of(counted_again_since(one.environment_id, now)), hour_of(now - MINUTES_KEPT)) + HOUR


def _count_waiting(
    one: Objective, asked: Searched, waiting: Sequence[Span], now: datetime, ends: float
) -> tuple[list[Span], str]:
    """Count the newest first; return what could not be counted, and why if that is for somebody to know."""
    parts = list(portions(waiting, most=min(MOST_MINUTES, one.step_minutes)))
    for number, part in enumerate(parts):
        problem = ""
        try:
            if time.monotonic() < ends:
                _count_portion(one, asked, part, now)
                continue
        except TooSlow as error:
            problem = _take_less(one, error)
        except CannotAsk as error:
            problem = str(error)
        return [span for rest in parts[number:] for span in rest], problem
    return [], ""


def _count_portion(one: Objective, asked: Searched, spans: Sequence[Span], now: datetime) -> None:
    found = found_in(asked, spans)
    if one.kind == Kind.VOLUME:
        spans, counts = judged_periods(one, spans, {row.minute: row.good for row in found}, now)
    else:
        counts = {row.minute: (row.good, row.late, row.lost) for row in found}
    if spans:
        write_minutes([one], spans, {one.pk: counts})


def _take_less(one: Objective, error: TooSlow) -> str:
    """Have fewer minutes counted by one query from now on; return the problem when there are no fewer."""
    if one.step_minutes == 1:
        return str(error)
    one.step_minutes = max(1, min(one.step_minutes, MOST_MINUTES * 4) // 4)
    return ""


def _leave(one: Objective, left: Sequence[Span]) -> None:
    if not left:
        Uncounted.objects.filter(objective=one).delete()
        return
    spans = merge(left)
    columns = {"since": [span.since for span in spans], "until": [span.until for span in spans]}
    Uncounted.objects.update_or_create(objective=one, defaults=columns)


def say(one: Objective, problem: str) -> None:
    """Say on an objective's page why its search cannot be counted, or that it can. What is said already is neither written nor logged again."""
    rows, problem = Standing.objects.filter(objective=one), problem[:300]
    if not problem:
        rows.filter(problem__startswith=SEARCH_PROBLEM).update(problem="")
    elif rows.exclude(problem=problem).update(problem=problem):
        log.warning("objective_without_data", objective=one.pk, problem=problem)


def _see_what_it_means(one: Objective, asked: Searched, now: datetime) -> None:
    """Have everything counted again when the search means something else now: a flow has another name or team, its owner other rights."""
    names_of = now - SETTLED
    means = meaning(asked, names_of)  # before the comparison: what changes between the two is seen by the comparison
    known = one.meant_at is not None and one.meant not in ("", UNKNOWN) and meaning(asked, one.meant_at) == one.meant
    if known and names_of - (one.meant_at or now) < NAMES_READ_AGAIN:
        return
    moved: dict[str, object] = {"meant": means, "meant_at": names_of}
    if known and one.counted_to and one.meant_at:
        # no digest knows a flow that is younger than it: it may have been given a team or another name since
        moved["counted_to"] = min(one.counted_to, minute_of(one.meant_at))
    if not known:
        Uncounted.objects.filter(objective=one).delete()
        moved |= _again_from(one, now) if one.meant else {"counted_to": one.begun_at}
    # unless the promise was changed meanwhile: then it is counted anew, from the next look on
    Objective.objects.filter(pk=one.pk, meant=one.meant).update(**moved)
    for name, value in moved.items():
        setattr(one, name, value)


def _again_from(one: Objective, now: datetime) -> dict[str, object]:
    """Return the columns that have an objective counted again back to its beginning; what is not all there any more stays as it was counted."""
    begun = minute_of(now)
    was_filled = one.filled_since <= one.fill_from
    return {
        "begun_at": begun,
        "filled_since": begun,
        "counted_to": begun,
        "kept_before": whole_since(one, now) + shift_of(one) if was_filled else one.kept_before,
    }


def count_back(one: Objective, now: datetime) -> bool:
    """Count one step of an objective's history; False when it cannot be counted now. The caller reads the row again."""
    if not one.meant:  # touches are not noted yet
        return False
    if one.kept_before is not None and one.filled_since <= one.kept_before:
        Objective.objects.filter(pk=one.pk, filled_since=one.filled_since).update(filled_since=one.fill_from)
        return True
    bottom = max(filter(None, (one.fill_from, one.kept_before)))
    span = Span(since=max(bottom, one.filled_since - one.step_minutes * MINUTE), until=one.filled_since)
    started, problem = time.monotonic(), ""
    try:
        asked = asked_of(one)
        with one_writer():
            # only from where it stood: another worker may have come here first, and a method may have begun anew
            still = Objective.objects.filter(pk=one.pk, filled_since=span.until, meant=one.meant)
            if not still.update(filled_since=span.since):
                return True
            one.refresh_from_db()  # another way of counting is no other meaning
            for part in portions([span], most=DAY_MINUTES):
                _count_portion(one, asked, part, now)
    except TooSlow as error:
        problem = _take_less(one, error)
    except CannotAsk as error:
        problem = str(error)
    else:
        if time.monotonic() - started < QUICK_S and one.step_minutes < DAY_MINUTES:
            Objective.objects.filter(pk=one.pk).update(step_minutes=min(DAY_MINUTES, one.step_minutes * 2))
        return True
    Objective.objects.filter(pk=one.pk).update(step_minutes=one.step_minutes)
    if problem:
        say(one, problem)
    return False
