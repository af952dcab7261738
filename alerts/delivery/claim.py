"""Which delivery is next, and what becomes of it: under the lock of its channel's row, then of its own.

Order holds per thread and channel: of a thread only the oldest that is not told yet may be under way. What is over before it could be told
is told once: the notice that says so is sent, and those before it are superseded. What only some of its receivers have holds back
nothing but while a try is under way: a newer notice of the thread goes to all, and ends it. The locks are of the weaker kind, so that whoever
writes a notice for the channel, in a transaction of any length, neither waits nor is waited for.
"""

from __future__ import annotations

import random
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Case, Exists, F, OuterRef, Q, QuerySet, Value, When

from alerts.breaches.states import FIRED
from alerts.delivery.notifiers import UnknownNotifier, get_notifier
from alerts.delivery.notifiers.base import Notifier, Told
from alerts.delivery.pace import MOST_AGE, MOST_TRIES, OPENS_AT, next_try_s, rest_s
from alerts.delivery.states import OPEN, WAITING
from alerts.models import Channel, DeliveryAttempt, NoticeDelivery, Telling
from alerts.notices import Happening

SPARE_S = 15.0  # a lease outlasts the longest try by so much
MOST_CHANNELS = 200
OVER = "it was over before it could be told"
PARTLY_TOLD = Q(notice__has_key="only")  # some of its receivers have it
REPEATS = (Happening.FIRING, Happening.ACKNOWLEDGED, Happening.ESCALATED)
MOST_REPEATED = timedelta(days=30)  # without a breach that is open


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """A delivery that this worker has, under its attempt number. again: it was delivered, and is repeated."""

    delivery: NoticeDelivery
    channel: Channel
    notifier: Notifier | None
    again: bool = False


def notifier_of(channel: Channel) -> Notifier | None:
    """Return the channel's notifier, None when its kind is declared no more."""
    try:
        return get_notifier(channel.kind, settings.CONSOLE_NOTIFIERS)
    except UnknownNotifier:
        return None


def due_channels(now: datetime, *, without: Collection[str] = ()) -> list[int]:
    """Return the channels that have something due and may be sent to now, but those of these kinds."""
    may = Channel.objects.filter(_ready(now), enabled=True).exclude(kind__in=list(without))
    due = NoticeDelivery.objects.filter(channel=OuterRef("pk"), state__in=OPEN, next_at__lte=now)
    return list(may.filter(Exists(due)).order_by("next_at", "pk").values_list("pk", flat=True)[:MOST_CHANNELS])


def is_due_soon(now: datetime, within: timedelta) -> bool:
    """Whether a channel that only keeps its rate may be sent to soon."""
    due = NoticeDelivery.objects.filter(channel=OuterRef("pk"), state__in=OPEN, next_at__lte=now)
    return Channel.objects.filter(Exists(due), enabled=True, next_at__gt=now, next_at__lte=now + within).exists()


def _ready(now: datetime) -> Q:
    return (Q(next_at__isnull=True) | Q(next_at__lte=now)) & (Q(rests_until__isnull=True) | Q(rests_until__lte=now))


def claim(channel_id: int, *, now: datetime | None = None) -> Claimed | None:
    """Take the delivery of this channel that is next; None when there is none, or another worker looks at the channel at this moment."""
    now = now or datetime.now(UTC)
    with transaction.atomic():
        rows = Channel.objects.select_for_update(skip_locked=True, of=("self",), no_key=True).select_related(
            "environment"
        )
        channel = rows.filter(_ready(now), pk=channel_id, enabled=True).first()
        if channel is None:
            return None
        notifier = notifier_of(channel)
        at_once = 1 if notifier is None or channel.failures >= OPENS_AT else notifier.at_once
        under_way = NoticeDelivery.objects.filter(channel=channel, state="sending", next_at__gt=now)
        if under_way.count() >= at_once:
            return None
        delivery = _next_of(channel, now)
        if delivery is None:
            return None
        lease = timedelta(seconds=(notifier.longest_s if notifier else 0) + SPARE_S)
        NoticeDelivery.objects.filter(pk=delivery.pk).update(
            state="sending", attempt=F("attempt") + 1, tries=F("tries") + 1, next_at=now + lease
        )
        delivery.refresh_from_db()
        _pace(channel, notifier, now)
    return Claimed(delivery=delivery, channel=channel, notifier=notifier)


def _pace(channel: Channel, notifier: Notifier | None, now: datetime) -> None:
    if notifier is not None and notifier.a_second < 50:
        channel.next_at = now + timedelta(seconds=1 / notifier.a_second)
        Channel.objects.filter(pk=channel.pk).update(next_at=channel.next_at)


def _next_of(channel: Channel, now: datetime) -> NoticeDelivery | None:
    before = NoticeDelivery.objects.filter(
        channel=OuterRef("channel"), thread=OuterRef("thread"), pk__lt=OuterRef("pk"), state__in=OPEN
    ).exclude(PARTLY_TOLD, state__in=WAITING)
    due = NoticeDelivery.objects.filter(channel=channel, state__in=OPEN, next_at__lte=now).exclude(Exists(before))
    first = due.order_by("next_at", "pk").first()
    if first is None or first.state == "sending":  # a lease that ended: it may have been taken, so it is told again
        return first
    waiting = _of_thread(first).filter(state__in=WAITING)
    if _end_partly_told(waiting, now):
        return _next_of(channel, now)
    over = waiting.filter(happening=Happening.RESOLVED, pk__gt=first.pk).order_by("-pk").first()
    if over is None:
        return first
    waiting.filter(pk__lt=over.pk).update(state="superseded", next_at=None, finished_at=now, answer=OVER)
    return over


def _end_partly_told(waiting: QuerySet[NoticeDelivery], now: datetime) -> int:
    """End what only some of its receivers have, where a newer one of its thread waits to go to all; return how many."""
    ended = waiting.filter(PARTLY_TOLD, Exists(waiting.filter(pk__gt=OuterRef("pk"))))
    for one in ended:
        answer = f"the others have it; a newer notice goes to all, also to {', '.join(one.notice['only'])}"[:500]
        waiting.filter(pk=one.pk).update(state="superseded", next_at=None, finished_at=now, answer=answer)
    return len(ended)


def _of_thread(delivery: NoticeDelivery) -> QuerySet[NoticeDelivery]:
    return NoticeDelivery.objects.filter(channel_id=delivery.channel_id, thread=delivery.thread)


def opened_of(delivery: NoticeDelivery) -> NoticeDelivery:
    """Return the first delivery of the same thread in this channel."""
    return _of_thread(delivery).order_by("pk").first() or delivery


def is_untold(delivery: NoticeDelivery) -> bool:
    """Whether this says that something is over whose beginning this channel should have been told, and was not."""
    if delivery.happening != Happening.RESOLVED:
        return False
    rows = _of_thread(delivery).filter(pk__lt=delivery.pk).order_by("-pk")
    # since it was told that it was over before; what a part of the receivers has was told
    before = rows.values_list("happening", Case(When(PARTLY_TOLD, then=Value("delivered")), default="state"))
    states = [state for _, state in takewhile(lambda one: one != (Happening.RESOLVED, "delivered"), before[:100])]
    return bool(states) and "delivered" not in states


def mark(claimed: Claimed, told: Told, *, at: datetime, duration_ms: int, response: str) -> None:
    """Write what became of a try: the attempt always, the rest unless a later one has begun meanwhile."""
    delivery, now = claimed.delivery, datetime.now(UTC)
    with transaction.atomic():
        channel = Channel.objects.select_for_update(no_key=True).filter(pk=claimed.channel.pk).first()
        if channel is None:  # it was removed while it was told
            return
        attempt = DeliveryAttempt(
            delivery=delivery, number=delivery.attempt, at=at, duration_ms=min(duration_ms, 2**31 - 1), result=told.result,
            status=told.status if told.status is not None and 0 < told.status < 1000 else None, response=response[:2_000],
        )  # fmt: skip
        DeliveryAttempt.objects.bulk_create([attempt], ignore_conflicts=True)
        mine = NoticeDelivery.objects.filter(pk=delivery.pk, attempt=delivery.attempt, state="sending")
        mine.update(**_became(claimed, told, response, now))
        _note(channel, told, now)


def _became(claimed: Claimed, told: Told, response: str, now: datetime) -> dict[str, Any]:
    delivery = claimed.delivery
    ended = {"next_at": None, "finished_at": now, "answer": response[:500]}
    if told.result == "taken":
        return {**ended, "state": "delivered", "repeat_at": _repeat_at(claimed, now)}
    if told.result == "refused":
        return {**ended, "state": "dead"}
    wait = next_try_s(delivery.tries, asked_s=told.retry_after_s, chance=random.random())  # noqa: S311  spreads, keeps no secret
    left = {"notice": {**delivery.notice, "only": list(told.left)}} if told.left else {}
    if wait is None or now - delivery.queued_at > MOST_AGE:
        return {**ended, **left, "state": "dead", "answer": f"given up after {delivery.tries} tries: {response}"[:500]}
    return {**left, "state": "failed", "next_at": now + timedelta(seconds=wait), "answer": response[:500]}


def _repeat_at(claimed: Claimed, now: datetime) -> datetime | None:
    delivery, notifier = claimed.delivery, claimed.notifier
    if notifier is None or notifier.repeat_s is None or delivery.happening not in REPEATS:
        return None
    if _is_followed(delivery):
        return None
    return now + timedelta(seconds=notifier.repeat_s)


def _is_left(delivery: NoticeDelivery, now: datetime) -> bool:
    """Whether nobody will tell its end: it is old, and no breach of its thread is open of which a policy tells."""
    if now - delivery.created_at <= MOST_REPEATED:
        return False
    return not Telling.objects.filter(thread=delivery.thread, breach__state__in=FIRED).exists()


def _is_followed(delivery: NoticeDelivery) -> bool:
    """Whether a newer one speaks for its thread."""
    return _of_thread(delivery).filter(pk__gt=delivery.pk).exists()


def _note(channel: Channel, told: Told, now: datetime) -> None:
    """Count the channel's failures in a row; let it rest, or, when it answers again, send what waits at once."""
    if told.result != "later" or told.left:
        if channel.failures:
            Channel.objects.filter(pk=channel.pk).update(failures=0, rests_until=None)
            waiting = NoticeDelivery.objects.filter(channel=channel, state="failed", next_at__gt=now)
            waiting.exclude(PARTLY_TOLD).update(next_at=now)  # whom a server asked to come later, it takes no sooner
        return
    rest = rest_s(channel.failures + 1)
    columns: dict[str, Any] = {"failures": channel.failures + 1}
    if rest is not None:
        columns["rests_until"] = now + timedelta(seconds=rest)
    if told.retry_after_s:
        columns["next_at"] = now + timedelta(seconds=min(told.retry_after_s, 3_600))
    Channel.objects.filter(pk=channel.pk).update(**columns)


def claim_repeat(*, now: datetime | None = None) -> Claimed | None:
    """Take a delivery that its receiver would forget by now; its next repetition is set at once, so that nobody else takes it."""
    now = now or datetime.now(UTC)
    with transaction.atomic():
        due = (
            NoticeDelivery.objects.filter(repeat_at__lte=now)
            .order_by("repeat_at")
            .select_related("channel__environment")
        )
        delivery = due.select_for_update(skip_locked=True, of=("self",)).first()
        if delivery is None:
            return None
        notifier = notifier_of(delivery.channel) if delivery.channel.enabled else None
        over = notifier is None or notifier.repeat_s is None or _is_left(delivery, now)
        # the newer one may have been written while this one was marked: neither transaction saw the other
        over = over or _is_followed(delivery)
        delivery.repeat_at = None if over else now + timedelta(seconds=notifier.repeat_s or 0)  # type: ignore[union-attr]
        delivery.save(update_fields=["repeat_at"])
        if over:
            return None
    return Claimed(delivery=delivery, channel=delivery.channel, notifier=notifier, again=True)


def give_up_old(now: datetime) -> int:
    """Give up what could not be told within a day, whether its channel rests, is off, or has too many before it."""
    held = Q(state="sending", next_at__gte=now)
    old = NoticeDelivery.objects.filter(state__in=OPEN, queued_at__lt=now - MOST_AGE).exclude(held)
    given_up = old.update(
        state="dead", next_at=None, finished_at=now, answer="given up: it could not be told within a day"
    )
    left = NoticeDelivery.objects.filter(state="sending", next_at__lt=now, tries__gt=MOST_TRIES)
    answer = f"given up: {MOST_TRIES} workers ended while they told it"
    return given_up + left.update(state="dead", next_at=None, finished_at=now, answer=answer)
