"""What really happened: a message's journey as matching and inputs need it. The console looks, not the person: what they may not see is undone too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from console.core.errors import Invalid
from console.identity.actor import SYSTEM
from messages.compensation.inputs import Part
from messages.compensation.matching import Completed, Happened
from messages.journeys.queries import journey_of_dead_letter, journey_of_message
from messages.journeys.stitch import Journey
from messages.models import DeadLetter, Message
from messages.payloads.queries import stored_contents
from messages.payloads.seal import Content, PayloadUnreadable

OURS = "waybill"  # the system of the console's own sends


class TooLarge(Invalid):
    """The journey has more events than are looked through for completed steps."""

    code = "journey_too_large"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What is compensated: a message, its dead letter, or both."""

    message: Message | None
    letter: DeadLetter | None


def events_of(target: Target) -> list[Happened]:
    """Return every event of the target's journey but the console's own. Raises TooLarge: a step that nobody saw would not be undone."""
    journey = _journey(target)
    if journey.folds or journey.truncated:
        raise TooLarge(
            f"its journey has {journey.total:,} events, more than are looked through: compensate the messages in it one by one"
        )
    return [
        Happened(
            id=step.event.id,
            at=step.event.occurred_at,
            system=step.system,
            operation=step.event.operation,
            outcome=step.event.outcome,
            destination=step.event.destination or "",
            name=step.event.name,
            attributes=step.event.attributes,
            keys=step.event.keys,
            owner=step.event.message_uid or (step.event.trace_id, step.event.span_id),
            trace_id=step.event.trace_id,
            payload_on=step.event.payload_on,
        )
        for step in journey.steps
        if step.system != OURS
    ]


def _journey(target: Target) -> Journey:
    if target.message is not None:
        return journey_of_message(SYSTEM, target.message, correct_clocks=False)
    assert target.letter is not None
    return journey_of_dead_letter(SYSTEM, target.letter, correct_clocks=False)


def parts_of(
    environment_id: int, completed: list[Completed], target: Target
) -> tuple[dict[object, Part], Mapping[str, Part]]:
    """Return ({id of a proving event: what inputs read of it}, {step name, or `message`: the same})."""
    places = {one.proof.id: one.proof.payload_on for one in completed if one.proof.payload_on}
    letter = target.letter
    if letter is not None and letter.payload_on:
        places[letter.pk] = letter.payload_on
    contents = stored_contents(environment_id, places)
    own: dict[object, Part] = {}
    named: dict[str, Part] = {}
    for one in completed:
        own[one.proof.id] = _part(contents.get(one.proof.id), one.proof.keys, one.proof.attributes)
        named.setdefault(one.step.name, own[one.proof.id])
    if letter is not None:
        named["message"] = _part(contents.get(letter.pk), letter.keys, {})
    elif target.message is not None:
        named["message"] = _part(None, target.message.keys, {})
    return own, named


def _part(
    content: Content | PayloadUnreadable | None, keys: Mapping[str, str], attributes: Mapping[str, object]
) -> Part:
    if isinstance(content, Content):
        return Part(body=content.body, keys=keys, attributes=attributes)
    return Part(body=None, keys=keys, attributes=attributes, no_body=str(content or "its body is not stored"))
