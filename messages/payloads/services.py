"""Data keys: one per environment, day and use, wrapped by the master key, kept open in this process."""

from __future__ import annotations

import secrets
from collections.abc import Collection
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


def open_data_keys(ids: Collection[int]) -> dict[int, bytes | PayloadUnreadable]:
    """Return the key of each payload's `data_key`, or why it cannot be had: it was destroyed, or no master key fits."""
    wrapped = dict(DataKey.objects.filter(pk__in=ids).values_list("pk", "wrapped"))
    return {pk: _unwrapped(bytes(wrapped[pk]) if pk in wrapped else b"") for pk in ids}


def _unwrapped(wrapped: bytes) -> bytes | PayloadUnreadable:
    try:
        return unwrap(wrapped) if wrapped else PayloadUnreadable("the key of this payload was destroyed")
    except PayloadUnreadable as error:
        return error


def open_data_key(pk: int) -> bytes:
    """Return the key of a payload's `data_key`; raises PayloadUnreadable."""
    key = open_data_keys([pk])[pk]
    if isinstance(key, PayloadUnreadable):
        raise key
    return key
