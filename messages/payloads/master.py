"""The master key and the one before it: what they wrap and seal. docs/operations.md says how the key is changed."""

from __future__ import annotations

import base64
import hashlib

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap
from django.conf import settings

from messages.payloads.seal import PayloadUnreadable


def master_keys() -> list[bytes]:
    """Return the master key and, when there is one, the one before it."""
    previous = settings.CONFIG.previous_master_key()
    return [settings.CONFIG.master_key(), *([previous] if previous else [])]


def wrap(key: bytes) -> bytes:
    """Return a data key wrapped by the master key (AES key wrap, RFC 3394)."""
    return aes_key_wrap(master_keys()[0], key)


def unwrap(wrapped: bytes) -> bytes:
    """Return a data key; raises PayloadUnreadable when no master key fits."""
    for master in master_keys():
        if (key := unwrap_with(master, wrapped)) is not None:
            return key
    raise PayloadUnreadable(
        "the master key does not fit: is WAYBILL_MASTER_KEY the one this data was stored with, or the one that replaced it?"
    )


def unwrap_with(master: bytes, wrapped: bytes) -> bytes | None:
    try:
        return aes_key_unwrap(master, wrapped)
    except InvalidUnwrap:
        return None


def seal_text(text: str) -> bytes:
    """Return a connection's secret as a Fernet token under the master key."""
    return _fernet(master_keys()[0]).encrypt(text.encode())


def open_text(token: bytes) -> str | None:
    """Return a connection's secret, None when no master key opens it."""
    opened = (open_with(master, token) for master in master_keys())
    return next((text for text in opened if text is not None), None)


def open_with(master: bytes, token: bytes) -> str | None:
    try:
        return _fernet(master).decrypt(token).decode()
    except InvalidToken:
        return None


def _fernet(master: bytes) -> Fernet:
    return Fernet(base64.urlsafe_b64encode(hashlib.sha256(b"connection secrets" + master).digest()))
