"""A new master key: made here when it is kept here, and everything that the old one wrapped or sealed is wrapped anew.

No payload is touched: a payload's data key is wrapped by another key, that is all. Readers open with both keys meanwhile.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import chain
from typing import Any

from django.apps import apps
from django.conf import settings
from django.db import transaction
from django.db.models import Model, QuerySet

from console.audit.services import record_audit
from console.core.errors import ConfigurationError
from console.identity.actor import Actor
from messages.models import Connection, DataKey, Mapping, OrderSecret
from messages.payloads.master import master_keys, open_text, open_with, seal_text, unwrap, unwrap_with, wrap
from messages.payloads.seal import PayloadUnreadable

CHUNK = 500


@dataclass(slots=True, kw_only=True)
class Rotation:
    """How many were wrapped anew, and how many no key opens: those need the key that they were made with."""

    data_keys: int = 0
    connections: int = 0
    mappings: int = 0
    order_secrets: int = 0
    others: int = 0
    unreadable: int = 0


def rotate_master_key(*, by: Actor, make: bool) -> Rotation:
    """Wrap everything by the present master key; harmless when it runs again, and when it dies on the way.

    make  put a new key into the data folder first, unless a rotation is under way; raises ConfigurationError when the environment gives it.
    """
    if make:
        _make_master_key()
    done = Rotation()
    for row in _in_chunks(DataKey.objects.all(), _rewrap):
        done.data_keys += row is True
        done.unreadable += row is None
    for row in _in_chunks(Connection.objects.exclude(secret=b""), _reseal):
        done.connections += row is True
        done.unreadable += row is None
    for row in _in_chunks(Mapping.objects.exclude(secret=b""), _reseal):
        done.mappings += row is True
        done.unreadable += row is None
    for row in _in_chunks(OrderSecret.objects.all(), _reseal):
        done.order_secrets += row is True
        done.unreadable += row is None
    for model in _sealed_elsewhere():
        for row in _in_chunks(model._default_manager.exclude(secret=b""), _reseal):
            done.others += row is True
            done.unreadable += row is None
    details = asdict(done)
    record_audit(by, "master_key.rotated", DataKey(), object_id="master key", label="master key", details=details)
    return done


def _sealed() -> list[type[Model]]:
    return [Connection, Mapping, OrderSecret, *_sealed_elsewhere()]


def _sealed_elsewhere() -> list[type[Model]]:
    """Return the models of apps above this one that keep a `secret` under the master key: those that say `seals`."""
    return [model for model in apps.get_models() if getattr(model, "seals", "") == "secret"]


def _make_master_key() -> None:
    config = settings.CONFIG
    if config.given_master_key:
        raise ConfigurationError(
            "the environment gives the master key: set the new one in WAYBILL_MASTER_KEY and the old one in "
            "WAYBILL_MASTER_KEY_PREVIOUS, restart every process, and run this without --make"
        )
    master_keys()  # made now when there was none
    if config.previous_master_key_file.exists() and _is_under_way():
        return
    new = config.master_key_file.with_name("master_key.new")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_hex(32))
        file.flush()
        os.fsync(file.fileno())
    config.previous_master_key_file.unlink(missing_ok=True)
    os.link(config.master_key_file, config.previous_master_key_file)
    new.replace(config.master_key_file)


def _is_under_way() -> bool:
    """Whether the key before the present one still wraps or seals something."""
    present, previous = master_keys()
    wrapped = DataKey.objects.values_list("wrapped", flat=True)
    if any(unwrap_with(present, bytes(w)) is None and unwrap_with(previous, bytes(w)) for w in wrapped):
        return True
    tokens = chain(*(rows._default_manager.exclude(secret=b"").values_list("secret", flat=True) for rows in _sealed()))
    return any(open_with(present, bytes(t)) is None and open_with(previous, bytes(t)) is not None for t in tokens)


def _in_chunks(rows: QuerySet[Any], renew: Callable[[Any], bool | None]) -> list[bool | None]:
    """Renew every row, so many a transaction; return what became of each: True renewed, False it was, None unreadable."""
    became: list[bool | None] = []
    after = 0
    while True:
        with transaction.atomic():
            chunk = list(rows.select_for_update().filter(pk__gt=after).order_by("pk")[:CHUNK])
            became += [renew(row) for row in chunk]
        if len(chunk) < CHUNK:
            return became
        after = chunk[-1].pk


def _rewrap(row: DataKey) -> bool | None:
    wrapped = bytes(row.wrapped)
    if unwrap_with(master_keys()[0], wrapped) is not None:
        return False
    try:
        row.wrapped = wrap(unwrap(wrapped))
    except PayloadUnreadable:
        return None
    row.save(update_fields=["wrapped"])
    return True


def _reseal(row: Any) -> bool | None:
    token = bytes(row.secret)
    if open_with(master_keys()[0], token) is not None:
        return False
    text = open_text(token)
    if text is None:
        return None
    row.secret = seal_text(text)
    row.save(update_fields=["secret"])
    return True
