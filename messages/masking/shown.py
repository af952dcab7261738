"""What of business keys their reader is told: the hash of a masked value only who may find by it. Everybody else sees that there is one."""

from __future__ import annotations

from collections.abc import Mapping

from console.identity.actor import Actor
from messages.access import can_find_by_hash
from messages.masking.hashes import is_hash
from messages.masking.rules import MARK


def key_shown(actor: Actor, environment_id: int, value: str) -> str:
    """Return the value of a business key as the actor may know it: with its hash they would see which messages share what was masked."""
    return MARK if is_hash(str(value)) and not can_find_by_hash(actor, environment_id) else value


def keys_shown(actor: Actor, environment_id: int, keys: Mapping[str, str]) -> dict[str, str]:
    return {name: key_shown(actor, environment_id, value) for name, value in keys.items()}
