"""observe: whoever looks at something says what holds, and breaches open, fire and end by it.

Any number of conditions cost the same few statements. One observer at a time acts on an environment, and under its lock the time is
read: two that say the same at once make one breach, and one notice. The partial unique constraint stands behind the lock.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db import connection, transaction
from django.db.models import F

from alerts.breaches.held import hold_back
from alerts.breaches.moves import lock_breaches, lock_environment, look_at_tellings, move, now_utc, write
from alerts.breaches.policies import route_breaches
from alerts.breaches.routing import KNOWS
from alerts.breaches.rules import FLAP_WINDOW, LONGEST_PENDING, WATCHED, Clocks, Judgement, judge
from alerts.breaches.silences import end_silences_made_on, end_silences_of
from alerts.breaches.states import FIRED, OPEN
from alerts.conditions import Condition, Holds
from alerts.models import AlertPolicy, Breach, BreachEntry, Silence, Telling

Identity = tuple[str, str, str]  # source, key, severity
LONGEST_KEY = 200
LONGEST_SUMMARY = 2_000
MOST_FLOWS = 1_000
MOST_LABELS = 50
KEPT = timedelta(days=400)  # as the hours of objectives: a breach of the same month last year is there
AT_ONCE = 1_000


def observe(conditions: Sequence[Condition], *, now: datetime | None = None) -> None:
    """Take what was looked at: at most one open breach for each of it. The last of several about the same thing counts.

    A transaction for each environment, in order of their ids. May run several times at once, and die anywhere: the next look finds the
    same. now  for tests; else the time under the lock.
    """
    by_environment: dict[int, dict[Identity, Condition]] = defaultdict(dict)
    for one in conditions:
        by_environment[one.environment_id][identity_of(one)] = one
    for environment_id in sorted(by_environment):
        with transaction.atomic():
            lock_environment(environment_id)
            _observe(environment_id, by_environment[environment_id], now or now_utc())


def identity_of(condition: Condition) -> Identity:
    """Return what tells a condition from others of its environment; a key of more than 200 characters is cut and kept apart by its hash."""
    key = _clean(condition.key, None)
    if len(key) > LONGEST_KEY:
        key = f"{key[:160]}…{hashlib.sha256(key.encode()).hexdigest()[:32]}"
    return _clean(condition.source, 20), key, condition.severity.value


def _clean(text: str, most: int | None) -> str:
    return text.replace("\x00", "").strip()[:most]


def _observe(environment_id: int, conditions: Mapping[Identity, Condition], now: datetime) -> None:
    known = _open_ids(environment_id, conditions)
    new = [one for one, said in conditions.items() if said.holds is Holds.YES and one not in known]
    if new:
        _open(environment_id, {one: conditions[one] for one in sorted(new)}, now)
        known = _open_ids(environment_id, conditions)
    if not known:
        return
    rows = lock_breaches(known.values())
    judged: dict[int, Judgement] = {}
    told: dict[int, Condition] = {}
    for identity, pk in known.items():
        row = rows.get(pk)
        if row is not None and row.state in OPEN:
            clocks = Clocks(fires_at=row.fires_at, clear_since=row.clear_since, frozen_at=row.frozen_at)
            judged[pk], told[pk] = judge(row.state, clocks, conditions[identity].holds, now), conditions[identity]
    _refresh(rows, judged, told, now)
    _tell_of_excluded(rows, told, now)
    _happen(environment_id, rows, judged, now)


def _open_ids(environment_id: int, identities: Collection[Identity]) -> dict[Identity, int]:
    sources, keys = {one[0] for one in identities}, {one[1] for one in identities}
    rows = Breach.objects.filter(environment=environment_id, state__in=OPEN, source__in=sources, key__in=keys)
    found = {
        (source, key, severity): pk for source, key, severity, pk in rows.values_list("source", "key", "severity", "pk")
    }
    return {one: pk for one, pk in found.items() if one in identities}  # fmt: skip


def _open(environment_id: int, conditions: Mapping[Identity, Condition], now: datetime) -> None:
    """Insert pending breaches, unless somebody else just did."""
    rows = [
        Breach(
            environment_id=environment_id,
            source=source,
            key=key,
            severity=severity,
            opened_at=now,
            last_seen_at=now,
            fires_at=now + min(max(said.pending, timedelta()), LONGEST_PENDING),
            **_words(said),
        )
        for (source, key, severity), said in conditions.items()
    ]
    Breach.objects.bulk_create(rows, ignore_conflicts=True, batch_size=1000)


def _words(said: Condition) -> dict[str, Any]:
    """Return what a condition says, cut to what is stored."""
    url = _clean(said.url, 500)
    return {
        "title": _clean(said.title, 200) or "something without a name",
        "summary": _clean(said.summary, LONGEST_SUMMARY),
        "url": url if url.startswith("/") and not url.startswith(("//", "/\\")) else "",
        "flow_ids": sorted(set(said.flow_ids))[:MOST_FLOWS],
        "labels": {_clean(name, 100): _clean(value, 200) for name, value in list(said.labels.items())[:MOST_LABELS]},
    }


REFRESH = """
UPDATE alerts_breach b SET title = v.title, summary = v.summary, url = v.url, flow_ids = v.flow_ids, labels = v.labels,
    fires_at = v.fires_at, clear_since = v.clear_since, frozen_at = v.frozen_at, is_excluded = v.is_excluded, last_seen_at = %s,
    unwatched_since = NULL
FROM jsonb_to_recordset(%s::jsonb) AS v(id bigint, title text, summary text, url text, flow_ids bigint[], labels jsonb,
    fires_at timestamptz, clear_since timestamptz, frozen_at timestamptz, is_excluded boolean)
WHERE b.id = v.id
"""


def _words_now(row: Breach, said: Condition) -> dict[str, Any]:
    """Return what a breach says after this look: that it cannot be measured changes nothing, and that it is well the sentence alone."""
    kept = {name: getattr(row, name) for name in ("title", "summary", "url", "flow_ids", "labels")}
    if said.holds is Holds.UNKNOWN:
        return kept
    words = _words(said)
    return words if said.holds is Holds.YES else kept | {"summary": words["summary"]}


def _refresh(
    rows: Mapping[int, Breach], judged: Mapping[int, Judgement], told: Mapping[int, Condition], now: datetime
) -> None:
    """Write what was said of the open breaches, and their clocks. The rows are locked."""
    said = [
        {"id": pk, **_words_now(rows[pk], told[pk]), "fires_at": one.clocks.fires_at.isoformat(),
         "clear_since": one.clocks.clear_since.isoformat() if one.clocks.clear_since else None,
         "frozen_at": one.clocks.frozen_at.isoformat() if one.clocks.frozen_at else None,
         "is_excluded": _is_excluded(told[pk])}
        for pk, one in judged.items()
    ]  # fmt: skip
    if said:
        with connection.cursor() as cursor:
            cursor.execute(REFRESH, [now, json.dumps(said)])


def _is_excluded(said: Condition) -> bool:
    return said.holds is Holds.UNKNOWN and said.is_excluded


def _tell_of_excluded(rows: Mapping[int, Breach], told: Mapping[int, Condition], now: datetime) -> None:
    """Say in the timelines of what fires that its time is excluded, or is no more, and have its tellings looked at."""
    changed = [
        pk for pk, said in told.items() if rows[pk].state in FIRED and rows[pk].is_excluded != _is_excluded(said)
    ]
    begun = [pk for pk in changed if _is_excluded(told[pk])]
    write(begun, BreachEntry.Kind.HELD, now=now, text="its time is excluded: it is not measured, and nobody is told")
    over = [pk for pk in changed if pk not in begun]
    write(over, BreachEntry.Kind.HEARD, now=now, text="its time is no longer excluded")
    look_at_tellings(changed, now)


def _happen(environment_id: int, rows: Mapping[int, Breach], judged: Mapping[int, Judgement], now: datetime) -> None:
    by_happening: dict[str, list[int]] = defaultdict(list)
    for pk, one in judged.items():
        by_happening[one.happening].append(pk)
    end_silences_made_on(by_happening["calm"], now=now)
    move(by_happening["calm"], "calm", now=now)
    fired, again = _fire(environment_id, [rows[pk] for pk in by_happening["fire"]], now)
    cleared = move(by_happening["clear"], "clear", now=now)
    if not (fired or again or cleared):
        return
    write(fired, BreachEntry.Kind.FIRED, now=now)
    write(again, BreachEntry.Kind.FLAPPED, now=now)
    write(cleared, BreachEntry.Kind.RESOLVED, now=now)
    end_silences_of(environment_id, cleared, now=now)
    hold_back(environment_id, now=now)
    route_breaches(environment_id, [*fired, *again], now=now)
    look_at_tellings([*again, *cleared], now)


def _fire(environment_id: int, due: Sequence[Breach], now: datetime) -> tuple[list[int], list[int]]:
    """Return (breaches that fire now, breaches that were over a moment ago and fire again in the place of the new ones)."""
    if not due:
        return [], []
    recent = Breach.objects.filter(
        environment=environment_id, state="resolved", source__in={one.source for one in due}, key__in={one.key for one in due},
        resolved_at__gt=now - FLAP_WINDOW,
    )  # fmt: skip
    before = {(one.source, one.key, one.severity): one for one in recent.order_by("resolved_at", "pk")}
    flapping = {one.pk: before[key] for one in due if (key := (one.source, one.key, one.severity)) in before}
    # what was silenced, too, goes on in the row of the earlier one
    for pk, about in Silence.objects.filter(about__in=flapping).values_list("pk", "about"):
        Silence.objects.filter(pk=pk).update(about=flapping[about])
    Breach.objects.filter(pk__in=flapping, state="pending").delete()
    again = move([one.pk for one in flapping.values()], "again", now=now)
    fresh = {flapping[one.pk].pk: one for one in due if one.pk in flapping}
    for pk in again:
        new = fresh[pk]
        Breach.objects.filter(pk=pk).update(
            title=new.title, summary=new.summary, url=new.url, flow_ids=new.flow_ids, labels=new.labels
        )
    return move([one.pk for one in due if one.pk not in flapping], "fire", now=now), again


def flag_unwatched(*, now: datetime | None = None) -> int:
    """Flag breaches that fire and that nobody looked at for too long; return how many. They end neither by it nor by time.

    What had not fired yet is dropped: it would stay pending for ever, and whoever looks again finds it anew.
    """
    at = now or now_utc()
    old = Breach.objects.filter(state__in=OPEN, unwatched_since=None, last_seen_at__lt=at - WATCHED)
    by_environment: dict[int, list[int]] = defaultdict(list)
    for environment_id, pk in old.values_list("environment_id", "pk"):
        by_environment[environment_id].append(pk)
    return sum(_flag(environment_id, by_environment[environment_id], now) for environment_id in sorted(by_environment))


def _flag(environment_id: int, pks: Sequence[int], now: datetime | None) -> int:
    with transaction.atomic():
        lock_environment(environment_id)
        at = now or now_utc()
        rows = [row for row in lock_breaches(pks).values() if _is_unwatched(row, at)]
        move([row.pk for row in rows if row.state == "pending"], "calm", now=at)
        flagged = [row.pk for row in rows if row.state != "pending"]
        Breach.objects.filter(pk__in=flagged).update(unwatched_since=F("last_seen_at"))
        write(flagged, BreachEntry.Kind.UNWATCHED, now=at)
    return len(flagged)


def _is_unwatched(row: Breach, now: datetime) -> bool:
    return row.state in OPEN and row.unwatched_since is None and row.last_seen_at < now - WATCHED


def expire(*, now: datetime | None = None) -> int:
    """Forget breaches that ended more than 400 days ago, with their timelines, some at a time; return how many. May run twice at once.

    And policies that were removed, once they owe nobody an end.
    """
    old = Breach.objects.filter(state="resolved", resolved_at__lt=(now or now_utc()) - KEPT).order_by("pk")
    forgotten = 0
    while some := list(old.values_list("pk", flat=True)[:AT_ONCE]):
        Breach.objects.filter(pk__in=some, state="resolved").delete()
        forgotten += len(some)
    told = Telling.objects.filter(said__in=KNOWS).values("policy")
    AlertPolicy.objects.filter(removed_at__isnull=False).exclude(pk__in=told).delete()
    return forgotten
