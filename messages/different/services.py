"""What is different about failed messages of a flow: sampled, compared, kept for five minutes, and audited as a look at payloads."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache, partial
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from django.db.models import QuerySet

from console.audit.models import AuditEntry
from console.audit.services import record_audit
from console.core.kept import keep, kept
from console.identity.actor import Actor
from messages.access import can_read_payload, get_visible_flow, rights_in, visible_dead_letters, visible_flows
from messages.compare.lines import Work
from messages.different.about import about, add_headers
from messages.different.features import Features, features_of, text_value
from messages.different.found import Differences
from messages.different.sample import (
    Body,
    OneMessage,
    Sampled,
    delivered_sample,
    events_of,
    failed_messages,
    failed_sample,
    of_letters,
    of_messages,
    with_room,
)
from messages.different.station import Station, station_of
from messages.different.traits import MOST_TESTED, Difference, differences_of
from messages.ingest.catalog import rules_of
from messages.masking.shown import keys_shown
from messages.models import DeadLetter, Event, Flow, Message, Payload, Schema
from messages.payloads.master import open_text, seal_text
from messages.payloads.queries import AUDITED_EVERY, stored_contents
from messages.payloads.readable import mask_attributes, masked_headers, readable
from messages.payloads.seal import Content
from messages.schemas.queries import schemas_for_reading
from messages.search.window import Window

KEPT_S = 300
READ_S = 4.0  # seconds in which bodies are opened and read; what is left then is not in the sample
LARGEST_BYTES = 256 * 1024
AT_ONCE = 25
AUDITED = "payloads.sampled"


class Read(NamedTuple):
    """What is in a body, and the headers that came with it; None of a letter's, whose are the broker's."""

    body: Features
    headers: Sequence[Mapping[str, Any]] | None


def find_differences(
    actor: Actor,
    flow: Flow,
    failed_letters: QuerySet[DeadLetter] | Collection[UUID],
    window: Window,
    failed: QuerySet[Message] | None = None,
) -> Differences:
    """Return what these failed messages have and messages that were delivered where they failed, in the window, do not.

    failed_letters  a queryset that starts at access.visible_dead_letters, or ids; others than of this flow are left out.
    failed          messages of this flow without a letter; a queryset that starts at access.visible_messages.
    Raises          NotFound for a flow that the actor may not see. Without the right to its payloads nothing of bodies and headers is read.
    """
    flow = get_visible_flow(actor, flow.pk)
    letters = failed_sample(failed_letters, flow, visible_dead_letters(actor))
    others = failed_messages(failed, letters)
    with_bodies = can_read_payload(actor, flow)
    ids = [*(letter.pk for letter in letters), *(one.id for one in others)]
    name = _name(actor, flow, ids, window, with_bodies=with_bodies)
    found = _known(name)
    if found is None:
        found = _find(actor, flow, letters, others, window, with_bodies=with_bodies)
        keep(name, seal_text(msgspec.json.encode(found).decode()), KEPT_S)
    if found.bodies_failed or found.bodies_delivered:
        _audit(actor, flow, found)
    return found


def _find(
    actor: Actor,
    flow: Flow,
    letters: Sequence[DeadLetter],
    others: Sequence[OneMessage],
    window: Window,
    *,
    with_bodies: bool,
) -> Differences:
    died = {letter.message_uid for letter in letters if letter.message_uid}
    events = events_of(actor, died, window)
    letters, others = with_room(letters, others, events)
    events |= events_of(actor, [one.id for one in others], window)
    died |= {one.id for one in others}
    station = station_of(flow, letters, {one.id: one.group_id for one in others}, events, window)
    delivered = [one for one in delivered_sample(flow.environment_id, station, window) if one.id not in died]
    events |= events_of(actor, [one.id for one in delivered], window)
    mask_attributes(flow.environment_id, (one for several in events.values() for one in several))
    for seen in (one for several in events.values() for one in several):
        seen.keys = keys_shown(actor, flow.environment_id, seen.keys)
    readers = _read_flows(actor, flow, events)
    failed_ones = [*of_letters(letters, events, readers), *of_messages(others, events, readers)]
    delivered_ones = of_messages(delivered, events, readers)
    everyone = [*failed_ones, *delivered_ones]
    sizes = _sizes(flow, everyone)
    # of bodies that letters brought, sizes and headers are the broker's
    alike = not any(one.events and one.body and one.body.from_letter for one in everyone)
    work = Work(left=MOST_TESTED)
    found = Differences(
        at=datetime.now(UTC), failed=len(failed_ones), delivered=len(delivered_ones), since=window.since, until=window.until,
        with_bodies=with_bodies, nameless=sum(letter.message_uid is None for letter in letters),
    )  # fmt: skip
    known = sizes if alike else {}
    told_failed, told_delivered = _abouts(failed_ones, known, station), _abouts(delivered_ones, known, station)
    found.events_failed, found.events_delivered = len(told_failed), len(told_delivered)
    found.of_messages = differences_of(told_failed, told_delivered, work)
    if with_bodies:
        until = time.monotonic() + READ_S
        # by turns, so that a budget that ends leaves both sides with some
        one, other, found.left_out = _bodies(readers, failed_ones, delivered_ones, sizes, until)
        found.bodies_failed, found.bodies_delivered = len(one), len(other)
        found.read_of = sorted({one.body.flow_id for one in everyone if one.body and one.body.flow_id in readers})
        found.of_bodies = _of_bodies(one, other, work)
    found.cut = work.spent
    return found


def _read_flows(actor: Actor, flow: Flow, events: Mapping[UUID, Sequence[Event]]) -> dict[int, Flow]:
    """Return the flows of these events, and this one, whose payloads the actor may read: a message passes through several."""
    passed = {event.flow_id for several in events.values() for event in several} | {flow.pk}
    flows = visible_flows(actor).filter(pk__in=passed, environment=flow.environment_id)
    return {one.pk: one for one in flows if can_read_payload(actor, one)}


Sizes = Mapping[UUID, tuple[int, str]]  # row id → (bytes, content type)


def _sizes(flow: Flow, sample: Sequence[Sampled]) -> Sizes:
    places = [one.body for one in sample if one.body]
    rows = Payload.objects.filter(
        id__in=[place.id for place in places],
        stored_on__in={place.day for place in places},
        environment_id=flow.environment_id,
    )
    return {pk: (size, kind) for pk, size, kind in rows.values_list("id", "size_bytes", "content_type")}


def _abouts(sample: Sequence[Sampled], sizes: Sizes, station: Station) -> list[Features]:
    """Return what is known of each message that an event told of: of a letter alone neither sender nor beginning are known."""
    found = []
    for one in sample:
        if not one.events:
            continue
        size, kind = sizes.get(one.body.id, (None, "")) if one.body else (None, "")
        found.append(about(one.events, at=one.at, size_bytes=size, content_type=kind, is_here=station.has))
    return found


def _bodies(
    flows: Mapping[int, Flow],
    failed: Sequence[Sampled],
    delivered: Sequence[Sampled],
    sizes: Sizes,
    until: float,
) -> tuple[list[Read], list[Read], int]:
    """Return (what is in failed bodies, in delivered ones, how many bodies were too large, unreadable, or came too late)."""
    sides: tuple[list[Read], list[Read]] = [], []
    queues = [
        [one.body for one in side if one.body and one.body.id in sizes and one.body.flow_id in flows]
        for side in (failed, delivered)
    ]
    there = len(queues[0]) + len(queues[1])
    environment_id = next(iter(flows.values())).environment_id
    schemas = lru_cache(maxsize=1)(partial(schemas_for_reading, environment_id))
    for at in range(0, max(map(len, queues), default=0), AT_ONCE):
        for side, queue in zip(sides, queues, strict=True):
            if time.monotonic() < until:
                small = [body for body in queue[at : at + AT_ONCE] if sizes[body.id][0] <= LARGEST_BYTES]
                side.extend(_read(flows, environment_id, small, sizes, until, schemas))
    return *sides, there - len(sides[0]) - len(sides[1])


def _read(
    flows: Mapping[int, Flow],
    environment_id: int,
    bodies: Sequence[Body],
    sizes: Sizes,
    until: float,
    schemas: Callable[[], Sequence[Schema]],
) -> list[Read]:
    contents = stored_contents(environment_id, {body.id: body.day for body in bodies})
    found = []
    for place in bodies:
        content = contents.get(place.id)
        if not isinstance(content, Content) or time.monotonic() > until:
            continue
        shown = readable(
            flows[place.flow_id], content.body, sizes[place.id][1], content.headers, content.properties, place.destinations,
            mask_again=True, schemas=schemas,
        )  # fmt: skip
        if shown.withheld or len(shown.body) > 4 * LARGEST_BYTES:
            continue
        features = features_of(shown.body, shown.content_type, cut=shown.cut)
        for step in shown.steps:
            if "schema id" in step:
                features.add("schema", "", text_value(step))
        headers = None if place.from_letter else masked_headers(flows[place.flow_id], content.headers)
        found.append(Read(features, headers))
    return found


def _of_bodies(failed: Sequence[Read], delivered: Sequence[Read], work: Work) -> list[Difference]:
    """Return how bodies differ, and headers: apart where not every body has any, else together, as what is the same of the same messages is told once."""
    apart = any(one.headers is None for one in failed)
    brought: tuple[list[Features], list[Features]] = [], []
    for side, several in zip(brought, (failed, delivered), strict=True):
        for one in several:
            if one.headers is not None:
                side.append(Features() if apart else one.body)
                add_headers(side[-1], one.headers)
    found = differences_of([one.body for one in failed], [one.body for one in delivered], work)
    return [*found, *differences_of(*brought, work)] if apart else found


def _audit(actor: Actor, flow: Flow, found: Differences) -> None:
    """Write one entry for the look at many bodies, the first within an hour, as for a look at one; one of each flow that they are of."""
    flows = visible_flows(actor).filter(pk__in=[flow.pk, *found.read_of]).order_by("pk")
    said = AuditEntry.objects.filter(
        object_kind="flow", action=AUDITED, actor=actor.name, at__gte=datetime.now(UTC) - AUDITED_EVERY
    ).values_list("object_id", flat=True)
    known = set(said.filter(object_id__in=[str(one.pk) for one in flows]))
    details = {"failed": found.bodies_failed, "delivered": found.bodies_delivered}
    for one in flows:
        if str(one.pk) not in known:
            record_audit(actor, AUDITED, one, environment=one.environment, team_id=one.team_id, details=details)


def _name(actor: Actor, flow: Flow, failed: Sequence[UUID], window: Window, *, with_bodies: bool) -> str:
    """Return the name under which an answer is kept: who has the same rights and asks the same, while the same masking rules hold, has the same answer."""
    asked = [
        flow.pk,
        with_bodies,
        rights_in(actor, flow.environment_id),  # events of its messages may be of other flows, which others do not see
        [rule.id for rule in rules_of(flow.environment_id).masking.rules],
        _minutes(window.since),
        _minutes(window.until),
        [pk.hex for pk in failed],
    ]
    return "different:3:" + hashlib.sha256(msgspec.json.encode(asked)).hexdigest()


def _minutes(at: datetime) -> int:
    return int(at.timestamp()) // int(timedelta(minutes=5).total_seconds())


def _known(name: str) -> Differences | None:
    """Return an answer that is kept; it has words of payloads in it, so it is sealed."""
    token = kept(name)
    text = open_text(token) if token is not None else None
    return msgspec.json.decode(text, type=Differences) if text is not None else None
