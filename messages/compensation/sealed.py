"""What a step sends as it lies in its row: values of bodies are in it, so it is sealed as payloads are.

CompensationStep.action = id of the data key (8 bytes) ‖ nonce ‖ ciphertext ‖ tag; the associated data names the environment and the step,
so that the action of one step is refused in the row of another.
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


def digest_of(action: Action) -> str:
    """Return SHA-256, in hex, over everything that an action sends or asks, and where."""
    headers = [part for pair in action.headers for part in pair]
    parts = (action.kind, action.connection, action.destination, action.content_type, action.body, action.instructions)
    return hashlib.sha256(framed("waybill undo 1", *parts, len(headers), *headers)).hexdigest()
