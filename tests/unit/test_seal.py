"""Sealed payloads: opened by their own key, in their own row and environment, unchanged; by nothing else."""

from __future__ import annotations

from uuid import UUID

import pytest

from messages.payloads.seal import Content, PayloadUnreadable, seal, unseal

KEY, ROW, OTHER = b"k" * 32, UUID(int=1).bytes, UUID(int=2).bytes
CONTENT = Content(b"\x00body", [{"name": "h", "type": "string", "value": "v"}], {"priority": 1})


def test_a_payload_is_opened_whole_and_says_nothing_while_it_is_sealed():
    sealed = seal(KEY, CONTENT, environment_id=1, row_id=ROW)

    assert unseal(KEY, sealed, environment_id=1, row_id=ROW) == CONTENT
    assert b"body" not in sealed
    assert seal(KEY, CONTENT, environment_id=1, row_id=ROW) != sealed


@pytest.mark.parametrize(
    ("key", "environment_id", "row_id"),
    [(b"x" * 32, 1, ROW), (KEY, 2, ROW), (KEY, 1, OTHER)],
    ids=["another key", "another environment", "another row"],
)
def test_bytes_that_were_moved_or_sealed_with_another_key_are_refused(key: bytes, environment_id: int, row_id: bytes):
    sealed = seal(KEY, CONTENT, environment_id=1, row_id=ROW)

    with pytest.raises(PayloadUnreadable):
        unseal(key, sealed, environment_id=environment_id, row_id=row_id)


def test_one_changed_bit_anywhere_is_refused():
    sealed = seal(KEY, CONTENT, environment_id=1, row_id=ROW)

    for at in range(len(sealed)):
        changed = bytearray(sealed)
        changed[at] ^= 1
        with pytest.raises(PayloadUnreadable):
            unseal(KEY, bytes(changed), environment_id=1, row_id=ROW)
