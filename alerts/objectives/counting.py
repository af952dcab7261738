"""Counting: what came in the last minutes, an older hour again at each look, and the history of a new objective bit by bit.

Late events of a flow land in their minute: the last ten minutes are counted at every look, each hour of the last day within ten minutes, each
hour of the last week within three hours, from the minute rollups, so that it does not cost more with more messages. Of a freshness whose messages
may be late for longer than a week each hour of that time within two days. Of searches: see searches.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Sequence
from datetime import datetime, timedelta

import structlog
from django.db import IntegrityError
from django.db.models import F, Min, Q

from alerts.models import Objective
from alerts.objectives.asking import shift_of
from alerts.objectives.counters import hour_of, minute_of, one_writer, write_minutes
from alerts.objectives.searches import TURN, count_back, count_searches
from alerts.objectives.sources import counts_of
from alerts.objectives.windows import HOUR, MINUTE, Span
from messages.queries import counted_again_since, letters_whole_since

log = structlog.get_logger(__name__)
LATELY = timedelta(minutes=10)
STEP = timedelta(hours=1)  # of catching up after the worker was away
HISTORY_STEP = timedelta(days=1)
# primes, as DAY_HOURS, 139 and EVERY are, so that each hour has its turn when only every second or third look is in time, too
DAY_HOURS, WEEK_HOURS = 29, 7 * 24
EVERY = 5  # turns
HISTORY_S = 4.0  # a look spends so long on the history of new objectives


def count(now: datetime, *, history_s: float = HISTORY_S) -> bool:
    """Bring the counters up to `now`; False when another worker is at it. May run twice at once, and die anywhere."""
    try:
        if not count_flows(now):
            return False
        count_searches(now)
    except IntegrityError:
        # an objective was removed meanwhile: what was begun is taken back whole, and the next look counts the others
        log.warning("not_counted", exc_info=True)
    _count_history(history_s, now)
    return True


def count_flows(now: datetime) -> bool:
    """Bring the counters of objectives on flows up to `now`; False when another worker is at it."""
    if not _count_lately(minute_of(now) + MINUTE, now):
        return False
    _count_an_older_hour(now)
    return True


def _on_flows() -> list[Objective]:
    """Return the objectives on flows. To be asked once the counters are held: who waited for them would count what was promised before."""
    return list(Objective.objects.exclude(flow=None).order_by("pk"))


def _count_lately(until: datetime, now: datetime) -> bool:
    """Count what came since the last look and a little before; after a long absence step by step."""
    counted = Objective.objects.exclude(flow=None).aggregate(first=Min("counted_to"))["first"]
    since = min(until - LATELY, counted - 2 * MINUTE) if counted else until - LATELY
    while since < until:
        step = until if until - since <= STEP else since + STEP
        with one_writer(wait=False) as mine:
            if not mine:
                return False
            objectives = _on_flows()
            _count(objectives, since, step, now)
            ids = [one.pk for one in objectives]
            Objective.objects.filter(Q(counted_to=None) | Q(counted_to__lt=step), pk__in=ids).update(counted_to=step)
        since = step
    return True


def hours_again(now: datetime) -> list[int]:
    """Return how many hours ago the hours began that are counted again at this look: one of the last day, in turn one of the week."""
    number = int(now.timestamp() // TURN.total_seconds())
    found = [number % DAY_HOURS]
    if number % EVERY == 0:
        found.append(DAY_HOURS + number // EVERY % (WEEK_HOURS - DAY_HOURS))
    return found


def hour_of_the_late(objectives: Sequence[Objective], now: datetime) -> int | None:
    """Return how many hours ago an hour began in which a message may still become late, one in turn of those before the last week."""
    number = int(now.timestamp() // TURN.total_seconds())
    longest = max(map(_late_for, objectives), default=0)
    if longest <= WEEK_HOURS or number % EVERY != 2:
        return None
    # of so many that each has its turn when only every second or third look is in time, too
    hours = next(hours for hours in itertools.count(longest - WEEK_HOURS) if math.gcd(hours, 6) == 1)
    return WEEK_HOURS + number // EVERY % hours


def _late_for(one: Objective) -> int:
    """Return for how many hours after its time was up a message may still become late, not lost."""
    if one.kind != Objective.Kind.FRESHNESS:
        return 0
    return ((one.recover_minutes or 0) - (one.limit_minutes or 0)) // 60 + 2


def _count_an_older_hour(now: datetime) -> None:
    with one_writer():
        objectives = _on_flows()
        for ago in hours_again(now):
            _count_hour(objectives, ago, now)
        late = hour_of_the_late(objectives, now)
        if late is not None:
            _count_hour([one for one in objectives if _late_for(one) > late], late, now)


def _count_hour(objectives: Sequence[Objective], ago: int, now: datetime) -> None:
    since = hour_of(now) - ago * HOUR
    until = min(since + HOUR, minute_of(now) + MINUTE)
    whole = [one for one in objectives if since >= max(one.filled_since, _whole_since(one, now))]
    _count(whole, since, until, now)


def _whole_since(one: Objective, now: datetime) -> datetime:
    """Return since when everything is there that an objective is counted from: counted again without, it would lose what retention let go."""
    if one.kind == Objective.Kind.DEAD_LETTER_AGE:
        return letters_whole_since(one.environment_id, now)
    return counted_again_since(one.environment_id, now) + shift_of(one)


def _count_history(budget_s: float, now: datetime) -> None:
    """Count back from each new objective's beginning, a day at a time, in turn, for so many seconds."""
    filling = Objective.objects.filter(filled_since__gt=F("fill_from"))
    waiting = list(filling.order_by("pk").values_list("pk", flat=True))
    ends = time.monotonic() + budget_s
    while waiting and time.monotonic() < ends:
        for pk in tuple(waiting):
            # read anew before each step: it may have been changed, or removed
            one = filling.select_related("environment", "owner").filter(pk=pk).first()
            if one is None or not (count_back(one, now) if one.flow_id is None else _count_back(one, now)):
                waiting.remove(pk)
            if time.monotonic() > ends:
                return


def _count_back(one: Objective, now: datetime) -> bool:
    with one_writer():
        # as it is once the counters are held: another worker may have come here first, and another kind have begun anew
        for held in Objective.objects.filter(pk=one.pk, filled_since__gt=F("fill_from")):
            # by whole hours: minutes of one that is older than they are kept may be gone before the next step
            since = max(held.fill_from, hour_of(held.filled_since) - HISTORY_STEP)
            Objective.objects.filter(pk=one.pk).update(filled_since=since)
            _count([held], since, held.filled_since, now)
    return True


def _count(objectives: Sequence[Objective], since: datetime, until: datetime, now: datetime) -> None:
    """Count one stretch of time of these objectives and write it."""
    if objectives and since < until:
        found = counts_of(objectives, since, until, now)
        write_minutes(objectives, [Span(since=since, until=until)], found)
