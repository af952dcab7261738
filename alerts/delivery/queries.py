"""Every read of channels and deliveries longer than a line."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count, Min, Q, QuerySet

from alerts.access import visible_channels, visible_deliveries
from alerts.delivery.notifiers.base import BadChannel
from alerts.delivery.secrets import opened
from alerts.delivery.states import OPEN
from alerts.models import Channel, NoticeDelivery
from alerts.notices import Happening
from console.core.paging import Page, decode_number_cursor, encode_cursor
from console.identity.actor import Actor
from console.identity.models import Environment

SHOWN = 50
MOST_COUNTED = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelLine:
    """A channel with its last delivery, None before the first."""

    channel: Channel
    last: NoticeDelivery | None


def find_channels(actor: Actor, environment: Environment) -> list[Channel]:
    """Return the channels of an environment by name: what a breach policy may choose from."""
    return list(visible_channels(actor).filter(environment=environment).order_by("name"))


def channel_lines(actor: Actor, environment: Environment) -> list[ChannelLine]:
    """Return every channel with its last delivery: three queries, the same for few as for many."""
    channels = find_channels(actor, environment)
    newest = (
        NoticeDelivery.objects.filter(channel__in=channels)
        .order_by("channel_id", "-pk")
        .distinct("channel_id")
        .defer("notice")
    )
    last = {one.channel_id: one for one in newest} if channels else {}
    return [ChannelLine(channel=one, last=last.get(one.pk)) for one in channels]


def deliveries_page(rows: QuerySet[NoticeDelivery], cursor: str | None, *, limit: int = SHOWN) -> Page[NoticeDelivery]:
    """Return a keyset page of deliveries, newest first."""
    if cursor:
        rows = rows.filter(pk__lt=decode_number_cursor(cursor))
    found = list(rows.order_by("-pk")[: limit + 1])
    return Page(found[:limit], encode_cursor(found[limit - 1].pk) if len(found) > limit else None)


def find_deliveries(
    actor: Actor, *, environment: Environment | None = None, channel: Channel | None = None, state: str = ""
) -> QuerySet[NoticeDelivery]:
    """Return the deliveries that the actor may see, of an environment, a channel, in a state."""
    rows = visible_deliveries(actor)
    if environment is not None:
        channels = Channel.objects.filter(environment=environment).values_list("pk", flat=True)
        rows = rows.filter(channel_id__in=list(channels))
    if channel is not None:
        rows = rows.filter(channel_id=channel.pk)
    return rows.filter(state=state) if state else rows


def deliveries_of(actor: Actor, threads: Mapping[str, Collection[int]], *, limit: int = 20) -> list[NoticeDelivery]:
    """Return what was told, newest first, in these threads over these channels, that the actor may see: {thread: ids of channels}."""
    own = Q(pk__in=[])
    for thread, channels in threads.items():
        own |= Q(thread=thread, channel_id__in=list(channels))
    return list(visible_deliveries(actor).filter(own).defer("notice").order_by("-pk")[:limit]) if threads else []


def find_dead(actor: Actor, environment: Environment) -> QuerySet[NoticeDelivery]:
    """Return what was given up in an environment; of a test the person who sent it knows."""
    return find_deliveries(actor, environment=environment, state="dead").exclude(happening=Happening.TEST)


def count_dead(actor: Actor, environment: Environment) -> int:
    """Return how many notices were given up, counted up to 1,000."""
    return find_dead(actor, environment)[:MOST_COUNTED].count()


def secrets_set(channel: Channel) -> list[str]:
    """Return the names of the secrets that are stored; never their values."""
    try:
        return sorted(opened(channel))
    except BadChannel:
        return []


def waiting_by_channel() -> list[tuple[str, str, int, datetime]]:
    """Return (environment, channel, how many wait to be told, since when the oldest does)."""
    rows = NoticeDelivery.objects.filter(state__in=OPEN).order_by()
    grouped = rows.values_list("channel__environment__slug", "channel__name")
    return list(grouped.annotate(Count("id"), Min("queued_at")))


def dead_by_channel() -> list[tuple[str, str, int]]:
    """Return (environment, channel, how many were given up and are kept)."""
    rows = NoticeDelivery.objects.filter(state="dead").exclude(happening=Happening.TEST).order_by()
    return list(rows.values_list("channel__environment__slug", "channel__name").annotate(Count("id")))
