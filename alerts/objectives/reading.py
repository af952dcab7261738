"""What the counters say of many objectives at once: three queries, a fourth where time slices are counted,
however many messages there were.

Windows of up to six hours are read by the minute, longer ones by the hour, the period of the promise by days and the hours before the first whole
day. So the time does not grow with messages, and with the period hardly. A slice that runs is left out: how it will end nobody knows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from django.db import connection
from django.db.models import F

from alerts.models import Objective, ObjectiveSum
from alerts.objectives.budgeting import EMPTY, Counted, Method, Minutes, Sums, counted, fold
from alerts.objectives.counters import excluded_spans, hour_of, minute_of, read_hours, read_these_hours
from alerts.objectives.exclusions import flags
from alerts.objectives.shapes import method_of, window_of
from alerts.objectives.windows import DAY, HOUR, MINUTE, Span, clipped, length_of

NEAR = timedelta(hours=6)  # the longest window that is read by the minute
LONGEST_PAUSE = timedelta(days=31)  # between two periods of a calendar
FAR = (timedelta(days=1), timedelta(days=3))

HOURS = """
SELECT objective_id,
       {columns},
       max(at) FILTER (WHERE good + late + lost > 0)
FROM alerts_objectivesum WHERE objective_id = ANY(%s) AND span = 1 AND at >= %s AND at < %s GROUP BY 1
"""
LAST = """
SELECT DISTINCT ON (objective_id) objective_id, at FROM alerts_objectivesum
WHERE objective_id = ANY(%s) AND span = 1 AND at >= %s AND at < %s AND kept_good + kept_lost > 0 ORDER BY objective_id, at DESC
"""
PERIODS = """
SELECT p.objective_id, sum(s.good)::int8, sum(s.late)::int8, sum(s.lost)::int8, sum(s.slices)::int8, sum(s.slices_good)::float8,
       sum(s.kept_good)::int8, sum(s.kept_late)::int8, sum(s.kept_lost)::int8, sum(s.kept_slices)::int8, sum(s.kept_slices_good)::float8
FROM unnest(%s::int8[], %s::timestamptz[], %s::timestamptz[], %s::timestamptz[], %s::timestamptz[])
     AS p(objective_id, since, first_day, last_day, until)
JOIN LATERAL (
    SELECT * FROM alerts_objectivesum d WHERE d.objective_id = p.objective_id AND d.span = 24 AND d.at >= p.first_day AND d.at < p.last_day
    UNION ALL
    SELECT * FROM alerts_objectivesum h WHERE h.objective_id = p.objective_id AND h.span = 1
       AND (h.at >= p.since AND h.at < least(p.first_day, p.until) OR h.at >= greatest(p.last_day, p.since) AND h.at < p.until AND p.last_day >= p.first_day)
) s ON true GROUP BY 1
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Both:
    """Sums of a time as they came, and without what is excluded."""

    raw: Sums = field(default_factory=Sums)
    kept: Sums = field(default_factory=Sums)

    def __add__(self, other: Both) -> Both:
        return Both(raw=self.raw + other.raw, kept=self.kept + other.kept)


@dataclass(slots=True)
class Near:
    """The last hours of one objective by the minute, without what is excluded.

    out  which minutes are; None when none is.   over  how many of the minutes can be judged: not those of a slice that runs.
    """

    method: Method
    good: list[int]
    late: list[int]
    lost: list[int]
    out: list[bool] | None
    over: int

    def sums(self, minutes: int, *, until: int = 0) -> Sums:
        """Return the sums of the last so many minutes that are over, or of those that end `until` minutes before, by whole slices."""
        part = self._part(minutes, until)
        found = Minutes(good=self.good[part], late=self.late[part], lost=self.lost[part])
        if not self.method.counts_time:
            return Sums(good=sum(found.good), late=sum(found.late), lost=sum(found.lost))
        return fold(found, self.method)

    def newest(self, until: datetime) -> datetime | None:
        """Return the last minute in which something was counted, None when nothing was."""
        for ago, counts in enumerate(
            zip(reversed(self.good), reversed(self.late), reversed(self.lost), strict=True), 1
        ):
            if any(counts):
                return until - ago * MINUTE
        return None

    def counted(self, minutes: int, *, until: int = 0) -> Counted:
        """Return what the budget counts of the last so many minutes, or of those that end `until` minutes before the end."""
        part = self._part(minutes, until)
        kept = part.stop - part.start - (sum(self.out[part]) if self.out else 0)
        return counted(self.sums(minutes, until=until), self.method, slices_in_time=kept / self.method.slice_minutes)

    def is_out(self, minutes: int) -> bool:
        """Whether all of the last so many minutes is excluded: nothing can be measured there."""
        return self.out is not None and all(self.out[self._part(minutes, 0)])

    def _part(self, minutes: int, until: int) -> slice:
        end = self.over - until
        first = max(0, end - minutes)
        if self.method.counts_time:  # the minutes begin at a full hour, as slices do
            first -= first % self.method.slice_minutes
        return slice(first, end)


@dataclass(slots=True)
class Read:
    """Everything that is read of one objective for an assessment."""

    near: Near
    far: dict[timedelta, Sums] = field(default_factory=dict)
    period: Both = field(default_factory=Both)
    nominal: Sums | None = None  # of a rolling time as long as a calendar's period; None: the same as the period
    last_event_at: datetime | None = None  # its minute, or its hour where it is older; of the last three days
    excluded: list[Span] = field(default_factory=list)  # within the period
    stood: bool = False  # whether there are figures of before the time that is counted by now: it is counted anew
    missed: bool = False  # of a volume: whether its last period that counts had too few messages


def read_figures(objectives: Sequence[Objective], now: datetime, spans: Mapping[int, Span]) -> dict[int, Read]:
    """Return what the counters hold of each objective. spans: {objective id: the window of its promise}."""
    until = minute_of(now) + MINUTE
    oldest = hour_of(min((one.since for one in spans.values()), default=until - NEAR))
    newest = max((one.until for one in spans.values()), default=until)
    out = excluded_spans(objectives, Span(since=min(oldest, until - FAR[-1] - HOUR), until=max(newest, until)))
    near = _near(objectives, now, out)
    found = {one.pk: Read(near=near[one.pk], excluded=out.get(one.pk, [])) for one in objectives}
    running = running_hours(objectives, now, out)
    in_time = {one.pk for one in objectives if method_of(one).counts_time}
    _read_far({pk: read for pk, read in found.items() if pk not in in_time}, until, until, running)
    _read_far({pk: found[pk] for pk in in_time}, until, hour_of(now), running)
    for pk, both in sums_of_spans(objectives, spans, now, running).items():
        found[pk].period = both
    calendars = [one for one in objectives if one.unit != "rolling"]
    nominal = {one.pk: Span(since=hour_of(until - window_of(one).period), until=until) for one in calendars}
    for pk, both in sums_of_spans(calendars, nominal, now, running).items():
        found[pk].nominal = both.kept
    for pk in _counted_before([one.pk for one in objectives if one.is_filling]):
        found[pk].stood = True
    _read_last_periods({one.pk: found[one.pk] for one in objectives if one.kind == Objective.Kind.VOLUME}, until, out)
    return found


def _counted_before(filling: Sequence[int]) -> list[int]:
    """Return those of these that were counted before; one query, none where no history is being counted."""
    if not filling:
        return []
    before = ObjectiveSum.objects.filter(objective__in=filling, span=24, at__lt=F("objective__filled_since") - DAY)
    return list(before.values_list("objective_id", flat=True).distinct())


def _read_last_periods(volumes: Mapping[int, Read], until: datetime, out: Mapping[int, list[Span]]) -> None:
    """Find whether the last period of each was missed: it may be of yesterday, or of the last working day. Two queries, none without volumes."""
    if not volumes:
        return
    with connection.cursor() as cursor:
        cursor.execute(LAST, [list(volumes), until - LONGEST_PAUSE, until])
        hours: dict[int, datetime] = dict(cursor.fetchall())
    if not hours:
        return
    for row in read_these_hours(hours):
        gone = flags(out.get(row.objective_id, []), row.hour) or [False] * 60
        periods = [
            lost
            for good, lost, excluded in zip(row.good, row.lost, gone, strict=True)
            if (good or lost) and not excluded
        ]
        volumes[row.objective_id].missed = bool(periods and periods[-1])


def judged_until(one: Objective, now: datetime) -> datetime:
    """Return up to when an objective can be judged: the end of the minute that runs, or of the last time slice that is over."""
    method = method_of(one)
    minute = minute_of(now)
    return minute - minute.minute % method.slice_minutes * MINUTE if method.counts_time else minute + MINUTE


def running_hours(objectives: Sequence[Objective], now: datetime, out: Mapping[int, list[Span]]) -> dict[int, Both]:
    """Return what the hour that runs holds of those that count time slices: of slices those that are over. One query, none without such."""
    in_time = {one.pk: one for one in objectives if method_of(one).counts_time}
    if not in_time:
        return {}
    hour, found = hour_of(now), {}
    for row in read_hours(list(in_time), hour, hour + HOUR):
        one = in_time[row.objective_id]
        minutes, over = Minutes(good=row.good, late=row.late, lost=row.lost), (judged_until(one, now) - hour) // MINUTE
        gone = flags(out.get(one.pk, []), hour)
        raw, kept = (fold(minutes, method_of(one), excluded=marks, over=over) for marks in (None, gone))
        found[one.pk] = Both(raw=raw, kept=kept)
    return found


def _near(objectives: Sequence[Objective], now: datetime, out: Mapping[int, list[Span]]) -> dict[int, Near]:
    """Return the minutes of the last six hours, from the full hour in which the first slice of them begins, the one that runs among them."""
    first, until = hour_of(minute_of(now) - NEAR), minute_of(now) + MINUTE
    rows: dict[int, dict[datetime, tuple[Sequence[int], ...]]] = {}
    for row in read_hours([one.pk for one in objectives], first, until):
        rows.setdefault(row.objective_id, {})[row.hour] = (row.good, row.late, row.lost)
    hours = [first + number * HOUR for number in range((until - first - MINUTE) // HOUR + 1)]
    length = (until - first) // MINUTE
    nothing = (EMPTY, EMPTY, EMPTY)
    found = {}
    for one in objectives:
        mine = rows.get(one.pk, {})
        columns: list[list[int]] = [[], [], []]
        for hour in hours:
            for column, part in zip(columns, mine.get(hour, nothing), strict=True):
                column.extend(part)
        for column in columns:
            del column[length:]
        gone = marked(out.get(one.pk), first, length)
        if gone:
            columns = [
                [0 if is_out else count for count, is_out in zip(column, gone, strict=True)] for column in columns
            ]
        good, late, lost = columns
        found[one.pk] = Near(method_of(one), good, late, lost, gone, (judged_until(one, now) - first) // MINUTE)
    return found


def marked(spans: Sequence[Span] | None, first: datetime, length: int) -> list[bool] | None:
    """Return which of so many minutes from a full hour on lie in these spans; None when none does."""
    if not spans:
        return None
    found: list[bool] = []
    while len(found) < length:
        found.extend(flags(spans, first + len(found) * MINUTE) or [False] * 60)
    return found[:length] if any(found[:length]) else None


def _read_far(found: Mapping[int, Read], until: datetime, read_to: datetime, running: Mapping[int, Both]) -> None:
    """Read the windows that end with `until`, by whole hours before `read_to`, and add the hour that runs."""
    if not found:
        return
    names = ("kept_good", "kept_late", "kept_lost", "kept_slices", "kept_slices_good")
    since = [hour_of(until - span) for span in FAR]
    columns = ", ".join(f"coalesce(sum({name}) FILTER (WHERE at >= %s), 0)::float8" for _ in FAR for name in names)
    values = [at for at in since for _ in names]
    with connection.cursor() as cursor:
        cursor.execute(HOURS.format(columns=columns), [*values, list(found), since[-1], read_to])
        for pk, *row in cursor.fetchall():
            for number, span in enumerate(FAR):
                found[pk].far[span] = _sums(row[number * 5 : number * 5 + 5])
            found[pk].last_event_at = row[-1]
    for pk, read in found.items():
        for span in FAR if pk in running else ():
            read.far[span] = read.far.get(span, Sums()) + running[pk].kept
        read.last_event_at = read.near.newest(until) or read.last_event_at


def sums_of_spans(
    objectives: Sequence[Objective], spans: Mapping[int, Span], now: datetime, running: Mapping[int, Both]
) -> dict[int, Both]:
    """Return {objective id: sums} of spans up to now, {objective id: span}; one query. A span is read by whole hours: it begins at one.

    running  what `running_hours` says of them: of who counts time slices the hour that runs is read by the minute.
    """
    hour = hour_of(now)
    until = {one.pk: hour if method_of(one).counts_time else minute_of(now) + MINUTE for one in objectives}
    read = {pk: Span(since=spans[pk].since, until=min(spans[pk].until, end)) for pk, end in until.items()}
    found = _whole_hours(read)
    for pk in running.keys() & until.keys():
        if hour_of(spans[pk].since) <= hour < spans[pk].until:
            found[pk] = found.get(pk, Both()) + running[pk]
    return found


def _whole_hours(spans: Mapping[int, Span]) -> dict[int, Both]:
    if not spans:
        return {}
    columns: list[list[object]] = [[], [], [], [], []]
    for pk, span in spans.items():
        since = hour_of(span.since)
        first_day = since if since == _day_of(since) else _day_of(since) + DAY
        # the day of the end is read as a whole where nothing of it lies behind the end yet: its row holds what was counted up to now
        last_day = _day_of(span.until)
        row = (pk, since, first_day, last_day, span.until)
        for column, value in zip(columns, row, strict=True):
            column.append(value)
    with connection.cursor() as cursor:
        cursor.execute(PERIODS, columns)
        return {pk: Both(raw=_sums(row[:5]), kept=_sums(row[5:])) for pk, *row in cursor.fetchall()}


def _sums(row: Sequence[float]) -> Sums:
    good, late, lost, slices, slices_good = row
    return Sums(good=int(good), late=int(late), lost=int(lost), slices=int(slices), slices_good=float(slices_good))


def _day_of(at: datetime) -> datetime:
    return at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def count_kept(one: Objective, sums: Sums, span: Span, excluded: Sequence[Span], *, now: datetime) -> Counted:
    """Return what the budget counts of these sums of a span: its slices without events are known by its length, where they are good."""
    method = method_of(one)
    until = min(span.until, judged_until(one, now))
    return counted(sums, method, slices_in_time=_slices_in(Span(since=span.since, until=until), excluded, method))


def _slices_in(span: Span, excluded: Sequence[Span], method: Method) -> float:
    """Return how many slices a span holds, without what is excluded; from its full hour on, as sums are read."""
    read = Span(since=hour_of(span.since), until=span.until)
    return max(0.0, (read.length - length_of(clipped(excluded, read))) / (method.slice_minutes * MINUTE))


def budgeted(one: Objective, kept: Counted, span: Span, excluded: Sequence[Span]) -> float:
    """Return what the budget of a span is a share of: what there was so far; of time that is counted whole, all of it, which is known ahead."""
    method = method_of(one)
    if not (method.counts_time and method.empty_is_good):
        return kept.total
    return max(kept.total, _slices_in(span, excluded, method))


Burn = Callable[[timedelta], Counted]


def counted_in(one: Objective, read: Read, *, now: datetime) -> Burn:
    """Return a function that says what the budget counts of the last so much time, without what is excluded."""

    def of(window: timedelta) -> Counted:
        if window > NEAR:
            until = minute_of(now) + MINUTE
            return count_kept(
                one,
                read.far.get(window, Sums()),
                Span(since=hour_of(until - window), until=until),
                read.excluded,
                now=now,
            )
        return read.near.counted(window // MINUTE)

    return of
