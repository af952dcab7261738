"""What a step sends, and what it was answered, as they lie in its row: values of bodies are in them, so they are sealed as payloads are.

CompensationStep.action = id of the data key (8 bytes) ‖ nonce ‖ ciphertext ‖ tag; the associated data names the environment and the step,
so that the action of one step is refused in the row of another. CompensationStep.answer = nonce ‖ ciphertext ‖ tag under the same key,
which is kept as long as the action is.
"""

from __future__ import annotations

import hashlib
import hmac
from datetime import UTC, datetime

import msgspec

from console.core.ids import framed
from messages.compensation.fill import Action
from messages.models import CompensationStep
from messages.payloads.seal import Content, PayloadUnreadable, seal, unseal
from messages.payloads.services import data_key_for, open_data_key

KEY_BYTES = 8
ANSWER = b" answer"  # so that neither opens as the other


def sealed_action(action: Action, *, environment_id: int, step_id: bytes) -> bytes:
    """Return what is stored in CompensationStep.action."""
    key_id, key = data_key_for(environment_id, datetime.now(UTC).date(), kept=True)
    content = Content(msgspec.msgpack.encode(action))
    return key_id.to_bytes(KEY_BYTES, "big") + seal(key, content, environment_id=environment_id, row_id=step_id)


def opened_action(step: CompensationStep, environment_id: int) -> Action:
    """Return what a step sends; raises PayloadUnreadable when it cannot be opened or is not what its digest says."""
    stored = bytes(step.action)
    if not stored:
        raise PayloadUnreadable("nothing is stored of what this step sends")
    key = open_data_key(int.from_bytes(stored[:KEY_BYTES], "big"))
    content = unseal(key, stored[KEY_BYTES:], environment_id=environment_id, row_id=step.pk.bytes)
    action = msgspec.msgpack.decode(content.body, type=Action)
    if not hmac.compare_digest(digest_of(action), step.action_sha256):
        raise PayloadUnreadable("what this step sends is not what its digest says")
    return action


class Answered(msgspec.Struct, frozen=True, kw_only=True):
    """What the receiver, or the broker, said to one attempt. status: of HTTP; body: its begin, after masking."""

    at: datetime
    attempt: int
    words: str
    status: int | None = None
    content_type: str = ""
    body: bytes = b""


def sealed_answer(step: CompensationStep, answered: Answered, environment_id: int) -> bytes:
    """Return what is stored in CompensationStep.answer, of a step that has an action. Raises PayloadUnreadable."""
    key = open_data_key(int.from_bytes(bytes(step.action)[:KEY_BYTES], "big"))
    content = Content(msgspec.msgpack.encode(answered))
    return seal(key, content, environment_id=environment_id, row_id=step.pk.bytes + ANSWER)


def opened_answer(step: CompensationStep, environment_id: int) -> Answered | None:
    """Return what the step was answered, None when nobody has; raises PayloadUnreadable."""
    if not step.answer or not step.action:
        return None
    key = open_data_key(int.from_bytes(bytes(step.action)[:KEY_BYTES], "big"))
    content = unseal(key, bytes(step.answer), environment_id=environment_id, row_id=step.pk.bytes + ANSWER)
    return msgspec.msgpack.decode(content.body, type=Answered)


def digest_of(action: Action) -> str:
    """Return SHA-256, in hex, over everything that an action sends or asks, and where."""
    headers = [part for pair in action.headers for part in pair]
    parts = (action.kind, action.connection, action.destination, action.content_type, action.body, action.instructions)
    return hashlib.sha256(framed("waybill undo 1", *parts, len(headers), *headers)).hexdigest()
