"""Data keys: one per environment, day and use, wrapped by the master key, kept open in this process."""

from __future__ import annotations

import secrets
from datetime import date

from django.db import connection

from messages.models import DataKey
from messages.payloads.master import unwrap, wrap
from messages.payloads.seal import PayloadUnreadable

_open_keys: dict[tuple[int, date, bool], tuple[int, bytes]] = {}  # a cache of immutable, committed rows
MOST_OPEN = 512


def data_key_for(environment_id: int, day: date, *, kept: bool = False) -> tuple[int, bytes]:
    """Return (row id, 32-byte key) of this environment's day, made now when it is the first payload of the day.

    kept  for what outlives its day (dead letters, refused items): retention destroys the day's other key without them.
    """
    known = _open_keys.get((environment_id, day, kept))
    if known is None:
        wrapped = wrap(secrets.token_bytes(32))
        row, _ = DataKey.objects.get_or_create(
            environment_id=environment_id, day=day, kept=kept, defaults={"wrapped": wrapped}
        )
        known = row.pk, unwrap(bytes(row.wrapped))
        if not connection.in_atomic_block:  # else it may be rolled back, and bodies sealed with it later would be lost
            _remember((environment_id, day, kept), known)
    return known


def _remember(whose: tuple[int, date, bool], key: tuple[int, bytes]) -> None:
    if len(_open_keys) >= MOST_OPEN:
        _open_keys.clear()
    _open_keys[whose] = key


def open_data_key(pk: int) -> bytes:
    """Return the key of a payload's `data_key`; raises PayloadUnreadable when it was destroyed."""
    row = DataKey.objects.filter(pk=pk).first()
    if row is None:
        raise PayloadUnreadable("the key of this payload was destroyed")
    return unwrap(bytes(row.wrapped))
