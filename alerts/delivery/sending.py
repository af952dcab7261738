"""Sending: claim, tell outside of any transaction, mark. At least once, always under the same key.

A worker's task begins what is due and goes after some seconds: what is slow, such as a mail server that takes a minute, ends in a thread of its
process, of which there are few; mail has some of its own, so that a slow server holds up no other channel. A thread that dies with its process
leaves a lease behind, and another worker sends the same again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from datetime import UTC, datetime, timedelta
from functools import partial

import structlog
from django.conf import settings

from alerts.delivery.claim import (
    Claimed,
    claim,
    claim_repeat,
    due_channels,
    give_up_old,
    is_due_soon,
    is_untold,
    mark,
    opened_of,
)
from alerts.delivery.frozen import thaw
from alerts.delivery.notifiers import notifiers
from alerts.delivery.notifiers.base import BadChannel, Notifier, Telling, Told
from alerts.delivery.rooms import Room
from alerts.delivery.secrets import opened, said_of, scrubbed
from alerts.delivery.templates import Words, worded
from alerts.models import ApprovedHost, Channel, NoticeDelivery

log = structlog.get_logger(__name__)
LOOK_S = 4.0
MOST_THREADS, MOST_SLOW = 8, 4
SLOW_S = 60.0  # a kind of channel that may take longer, as mail, has threads of its own
ROOM, SLOW_ROOM = Room(MOST_THREADS), Room(MOST_SLOW)
SOON = timedelta(seconds=2)
Begin = Callable[[Claimed], threading.Thread | None]


def look(*, budget_s: float = LOOK_S, begin: Begin | None = None) -> int:
    """Begin what is due, for at most so many seconds; return how many were begun. May run many times at once, and die anywhere."""
    begin, until, threads, begun = begin or in_thread, time.monotonic() + budget_s, [], 0
    give_up_old(datetime.now(UTC))
    while time.monotonic() < until:
        now = datetime.now(UTC)  # one for both questions, or a channel that becomes ready between them is neither
        claimed = _claim_any(now, _kinds_without_room() if begin is in_thread else ())
        if claimed is not None:
            begun += 1
            threads.append(begin(claimed))
        elif is_due_soon(now, SOON):
            time.sleep(0.1)
        else:
            break
    for thread in threads:
        if thread is not None:
            thread.join(max(0.0, until - time.monotonic()))
    return begun


def _claim_any(now: datetime, without: Collection[str]) -> Claimed | None:
    for channel_id in due_channels(now, without=without):
        if (claimed := claim(channel_id)) is not None:
            return claimed
    return None if without and not ROOM.has_room() else claim_repeat()


def _kinds_without_room() -> list[str]:
    if ROOM.has_room() and SLOW_ROOM.has_room():
        return []
    return [one.kind for one in notifiers(settings.CONSOLE_NOTIFIERS) if not _room_of(one).has_room()]


def _room_of(notifier: Notifier | None) -> Room:
    return SLOW_ROOM if notifier is not None and notifier.longest_s > SLOW_S else ROOM


def in_thread(claimed: Claimed) -> threading.Thread:
    """Deliver in a thread that does not hold up the end of its process."""
    return _room_of(claimed.notifier).begin(partial(deliver, claimed), name=f"notice {claimed.delivery.pk}")


def at_once(claimed: Claimed) -> None:
    """Deliver here and now."""
    deliver(claimed)


def deliver(claimed: Claimed) -> Told:
    """Tell one claimed delivery and mark what became of it; a repetition leaves no attempt behind."""
    at, started = datetime.now(UTC), time.monotonic()
    told = _tell(claimed)
    response = scrubbed(told.answer, _secrets(claimed.channel)).replace("\x00", "")
    duration_ms = round((time.monotonic() - started) * 1000)
    if not claimed.again:
        mark(claimed, told, at=at, duration_ms=duration_ms, response=response)
    if told.result != "taken":
        log.warning(
            "notice_not_delivered", delivery=claimed.delivery.pk, channel=claimed.channel.pk, kind=claimed.channel.kind,
            attempt=claimed.delivery.attempt, again=claimed.again, result=told.result, status=told.status,
        )  # fmt: skip
    return told


def _tell(claimed: Claimed) -> Told:
    notifier = claimed.notifier
    if notifier is None:
        return Told(result="refused", answer=f"there is no channel kind “{claimed.channel.kind}” any more")
    try:
        said = said_of(claimed.channel)
        return notifier.tell(telling_of(claimed.delivery, claimed.channel), said, allowed_hosts())
    except BadChannel as error:
        return Told(result="refused", answer=str(error))
    except Exception as error:
        log.exception("notifier_failed", delivery=claimed.delivery.pk, kind=claimed.channel.kind)
        return Told(result="later", answer=f"the notifier failed: {type(error).__name__}")


def _secrets(channel: Channel) -> list[str]:
    try:
        return list(opened(channel).values())
    except BadChannel:
        return []


def telling_of(delivery: NoticeDelivery, channel: Channel) -> Telling:
    """Return what is told of a delivery now."""
    notice = thaw(delivery.notice)
    title, text = worded(Words(title=channel.title_template, text=channel.text_template), notice)
    opening = opened_of(delivery)
    return Telling(
        notice=notice, title=title, text=text, key=f"waybill-{delivery.pk}", untold=is_untold(delivery), now=datetime.now(UTC),
        opened=notice if opening.pk == delivery.pk else thaw(opening.notice), only=tuple(delivery.notice.get("only", ())),
    )  # fmt: skip


def allowed_hosts() -> frozenset[str]:
    """Return the hosts that an administrator of the console approved; the vendors' own are with their notifiers."""
    return frozenset(ApprovedHost.objects.values_list("host", flat=True))
