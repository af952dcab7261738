"""The state before a step was undone and after, where the payloads tell: what the event that completed it said, what its receiver answered,
and what the event that proves the undoing says. For those who may read payloads, audited as reading one is, masked as their flows say.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import Any
from uuid import UUID

from console.identity.actor import Actor
from messages.access import readable_flows, visible_events
from messages.compare.canonical import canonical
from messages.compare.changes import CHANGED, TYPED, Change, changes_between_trees
from messages.compare.queries import GONE
from messages.compensation.journey import first_bodies
from messages.compensation.sealed import opened_action, opened_answer
from messages.ingest.catalog import rules_of
from messages.journeys.gather import any_of
from messages.journeys.seen import OPERATION_WORDS
from messages.masking.bodies import mask_body
from messages.masking.rules import Budget, Work
from messages.models import CompensationStep, Event, Payload
from messages.payloads.queries import audit_read, stored_contents
from messages.payloads.readable import readable
from messages.payloads.render import RenderedBody, render_body
from messages.payloads.seal import Content, PayloadUnreadable
from messages.schemas.queries import schemas_for_reading

MOST_STEPS = 20  # of a page; the others have their own address
LARGEST_BYTES, MOST_BYTES = 512 * 1024, 2 * 1024 * 1024  # of one body, and of all that a page reads
SHOWN_BYTES, TOLD_BYTES = 4 * 1024, 256 * 1024  # of each on a page, and over REST
MOST_CHANGES = 6
ECHO = "it may repeat what was sent, and some of that comes from a flow whose payloads you may not read"


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """What was said at one moment. label: by whom; words: an answer's own; refusal: why nothing of it is shown; cut: there is more."""

    label: str
    at: datetime
    event_id: UUID | None = None
    words: str = ""
    status: int | None = None
    content_type: str = ""
    text: str = ""
    body: RenderedBody | None = None
    masked: bool = False
    cut: bool = False
    refusal: str = ""
    tree: Any = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class BeforeAfter:
    """changes: values that are there before and after, and are others: after what the proof says, or else the answer."""

    before: Side | None = None
    answered: Side | None = None
    after: Side | None = None
    changes: Sequence[Change] = ()

    @property
    def both_bodies(self) -> bool:
        """Whether the two bodies can be compared as a whole."""
        return bool(self.before and self.after and self.before.body and self.after.body)


def before_and_after(
    actor: Actor, steps: Sequence[CompensationStep], *, shown_bytes: int = SHOWN_BYTES
) -> dict[UUID, BeforeAfter]:
    """Return {step: what is told of it} of the first steps of one environment, without those of which nothing is.

    steps  with their compensations and flows. Nothing of a compensation whose payloads the actor may not read.
    """
    flows = set(readable_flows(actor).values_list("pk", flat=True))
    mine = [step for step in steps if step.compensation.flow_id in flows][:MOST_STEPS]
    if not mine:
        return {}
    events = _events_of(actor, mine)
    said = _sides(
        mine[0].compensation.environment_id, list({one.id: one for one in events.values()}.values()), flows, shown_bytes
    )
    sides = {pk: said[event.id] for pk, event in events.items() if event.id in said}
    answers = _answers(mine, flows, shown_bytes)
    found = {}
    for step in mine:
        before, after = sides.get(step.event_id), sides.get(step.proof_event_id) if step.proof_event_id else None
        answered = answers.get(step.pk)
        if before or after or answered:
            found[step.pk] = BeforeAfter(
                before=before, answered=answered, after=after, changes=_changes(before, after, answered)
            )
    for run in {step.compensation_id: step.compensation for step in mine if step.pk in found}.values():
        audit_read(actor, run.flow, run, run.pk)
    return found


def _events_of(actor: Actor, steps: Sequence[CompensationStep]) -> dict[UUID, Event]:
    """Return {id of a proving event: it, or, where it brought no body, the event that brought that of its message} of these steps and of
    their undoing; before and after of each step together, in this order. What undoes a step is not looked for: that is what was sent.
    """
    when = {step.event_id: step.event_at for step in steps}
    when |= {step.proof_event_id: step.proof_event_at for step in steps if step.proof_event_id and step.proof_event_at}
    rows = visible_events(actor).filter(
        any_of(Event, "id", when),
        environment_id=steps[0].compensation.environment_id,
        occurred_at__in=set(when.values()),
    )
    known = {event.id: event for event in rows.select_related("system", "flow")}
    proved = [known[step.event_id] for step in steps if step.event_id in known]
    known |= _bringers(actor, [event for event in proved if event.payload_on is None])
    order = [pk for step in steps for pk in (step.event_id, step.proof_event_id) if pk]
    return {pk: known[pk] for pk in order if pk in known}


def _bringers(actor: Actor, mute: Sequence[Event]) -> dict[UUID, Event]:
    """Return {id of an event without a body: the first event that brought one of its message}."""
    if not mute:
        return {}
    rows = visible_events(actor).filter(environment_id=mute[0].environment_id).select_related("system", "flow")
    first = first_bodies(rows, {event.message_uid: event.occurred_at for event in mute if event.message_uid})
    found = {event.message_uid: event for event in first}
    return {event.id: found[event.message_uid] for event in mute if event.message_uid in found}


def _sides(environment_id: int, events: Sequence[Event], flows: Collection[int], shown_bytes: int) -> dict[UUID, Side]:
    with_body = [event for event in events if event.payload_on]
    refusals = {
        event.id: f"only those who may read payloads of {event.flow.name} may read it"
        for event in with_body
        if event.flow_id not in flows
    }
    places = {event.id: event.payload_on for event in with_body if event.id not in refusals and event.payload_on}
    rows = Payload.objects.filter(environment_id=environment_id, id__in=places, stored_on__in=set(places.values()))
    stored = {pk: (size, kind) for pk, size, kind in rows.values_list("id", "size_bytes", "content_type")}
    read = 0
    for pk in list(places):
        size = stored.get(pk, (0, ""))[0]
        read += size if size <= LARGEST_BYTES else 0
        if size > LARGEST_BYTES or read > MOST_BYTES:
            refusals[pk] = "it is large: see it at its event"
            del places[pk]
    contents = stored_contents(environment_id, places)

    @cache
    def schemas() -> Any:
        return schemas_for_reading(environment_id)

    return {
        event.id: _side(event, refusals.get(event.id, ""), contents.get(event.id), stored.get(event.id, (0, ""))[1], schemas, shown_bytes)
        for event in with_body
    }  # fmt: skip


def _side(
    event: Event, refusal: str, content: Content | PayloadUnreadable | None, content_type: str, schemas: Any, shown_bytes: int
) -> Side:  # fmt: skip
    label = " ".join(one for one in (event.system.name, OPERATION_WORDS[event.operation], event.destination) if one)
    if not isinstance(content, Content):
        why = refusal or str(content or GONE)
        return Side(label=label, at=event.occurred_at, event_id=event.id, refusal=why)
    named = [event.destination] if event.destination else []
    shown = readable(
        event.flow, content.body, content_type, content.headers, content.properties, named, mask_again=True, schemas=schemas
    )  # fmt: skip
    return _of_body(
        Side(label=label, at=event.occurred_at, event_id=event.id, masked=bool(shown.masked), refusal=shown.withheld),
        shown.body, shown.content_type, shown_bytes, cut=shown.cut,
    )  # fmt: skip


def _of_body(side: Side, body: bytes, content_type: str, shown_bytes: int, *, cut: bool = False) -> Side:
    """Return the side with this body, which is masked already."""
    cut = cut or len(body) > shown_bytes
    return Side(
        label=side.label, at=side.at, event_id=side.event_id, words=side.words, status=side.status, masked=side.masked, refusal=side.refusal,
        content_type=content_type, text=body[:shown_bytes].decode("utf-8", "replace"), cut=cut,
        body=render_body(body[:shown_bytes], content_type, cut=cut) if body else None,
        tree=canonical(body, content_type, lines=False).tree if body[:1] in (b"{", b"[") else None,
    )  # fmt: skip


def _answers(steps: Sequence[CompensationStep], flows: Collection[int], shown_bytes: int) -> dict[UUID, Side]:
    """Return {step: what its receiver answered last}; one query, whatever was left out of the steps."""
    rows = CompensationStep.objects.filter(pk__in=[step.pk for step in steps]).exclude(answer=b"")
    environment_id = steps[0].compensation.environment_id
    rows = rows.only("id", "system", "sent_at", "event_at", "action", "action_sha256", "answer")
    return {row.pk: _answer(row, environment_id, flows, shown_bytes) for row in rows}


def _answer(step: CompensationStep, environment_id: int, flows: Collection[int], shown_bytes: int) -> Side:
    """A receiver may repeat what it was sent: its answer is for those who may read that."""
    try:
        answered, sent = opened_answer(step, environment_id), opened_action(step, environment_id)
        assert answered is not None
    except PayloadUnreadable as error:
        return Side(label="answered", at=step.sent_at or step.event_at, refusal=str(error))
    if not set(flows).issuperset(sent.flows):
        return Side(label="answered", at=answered.at, refusal=ECHO)
    rules = rules_of(environment_id).masking.of_unknown_flow()
    words, body, counts = answered.words, answered.body, 0
    if rules is not None:
        work = Work(rules, Budget())
        words, body = work.text(words) or "", mask_body(work, body, answered.content_type).body
        counts = sum(work.counts.values())
        if work.dropped:
            return Side(label="answered", at=answered.at, refusal="a masking rule cannot be applied to it")
    side = Side(
        label=f"attempt {answered.attempt}", at=answered.at, words=words, status=answered.status, masked=bool(counts)
    )
    return _of_body(side, body, answered.content_type, shown_bytes)


def _changes(before: Side | None, after: Side | None, answered: Side | None) -> list[Change]:
    """Return what has another value after; the proof's word counts, and where it has none to compare, the answer's."""
    last = next((one for one in (after, answered) if one is not None and isinstance(one.tree, dict)), None)
    if before is None or last is None or not isinstance(before.tree, dict):
        return []
    found, _ = changes_between_trees(before.tree, last.tree)
    return [one for one in found if one.kind in (CHANGED, TYPED)][:MOST_CHANGES]
