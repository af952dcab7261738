"""Bearer keys: made, shown once, found again by digest.

Text form `wb_<kind>_<32 base62>_<6 base62 of CRC32>`: the prefix lets secret scanners find leaks, the checksum refuses
typing errors before the database is asked. Stored: HMAC-SHA-256 under a key derived from WAYBILL_SECRET_KEY.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import string
import zlib
from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from console.core.errors import Unauthenticated
from console.identity.models import Agent, Environment, Key, User

ALPHABET = string.digits + string.ascii_letters
SHAPE = re.compile(r"wb_(agent|api)_[0-9A-Za-z]{32}_[0-9A-Za-z]{6}", re.ASCII)
LAST_USED_EVERY = timedelta(minutes=1)


class InvalidKey(Unauthenticated):
    """No key was sent, or one that does not exist, has expired or was revoked."""

    code = "invalid_key"


def _base62(number: int, width: int) -> str:
    digits = ""
    for _ in range(width):
        number, digit = divmod(number, 62)
        digits = ALPHABET[digit] + digits
    return digits


def _checksum(text: str) -> str:
    return _base62(zlib.crc32(text.encode()), 6)


def digest_of(text: str) -> bytes:
    """Return the 32-byte keyed digest under which a key's text is stored."""
    pepper = hashlib.sha256(b"waybill key pepper" + settings.SECRET_KEY.encode()).digest()
    return hmac.new(pepper, text.encode(), hashlib.sha256).digest()


def new_key_text(kind: str) -> str:
    """Return a fresh key text of this kind: 190 random bits and a checksum."""
    body = f"wb_{kind}_" + "".join(secrets.choice(ALPHABET) for _ in range(32))
    return f"{body}_{_checksum(body)}"


@transaction.atomic
def create_agent_key(name: str, environment: Environment, *, by: str) -> tuple[Key, str]:
    """Make a key for the agent of this name, made with it when it is new; return the row and the text, shown once."""
    agent, _ = Agent.objects.get_or_create(environment=environment, name=name)
    text = new_key_text(Key.Kind.AGENT)
    key = Key.objects.create(
        kind=Key.Kind.AGENT, name=name, digest=digest_of(text), prefix=text[:13], agent=agent, created_by=by
    )
    return key, text


def create_api_key(name: str, user: User, *, by: str) -> tuple[Key, str]:
    """Make a key that acts as this user over REST; return the row and the text, shown once."""
    text = new_key_text(Key.Kind.API)
    key = Key.objects.create(
        kind=Key.Kind.API, name=name, digest=digest_of(text), prefix=text[:11], user=user, created_by=by
    )
    return key, text


def alive() -> Q:
    """Return what holds for keys that are neither revoked nor expired."""
    return Q(revoked_at__isnull=True) & (Q(expires_at__isnull=True) | Q(expires_at__gt=timezone.now()))


def find_key(authorization: str, kind: str) -> Key:
    """Return the live key of an Authorization header; raises InvalidKey in words that say what to do."""
    scheme, _, text = authorization.partition(" ")
    text = text.strip()
    if scheme.lower() != "bearer" or not text:
        raise InvalidKey("send the header `Authorization: Bearer <key>`")
    if not SHAPE.fullmatch(text) or _checksum(text[:-7]) != text[-6:]:
        raise InvalidKey("this is not a Waybill key: it was cut or mistyped")
    if not text.startswith(f"wb_{kind}_"):
        raise InvalidKey(
            f"this endpoint takes {'an agent' if kind == 'agent' else 'an API'} key, and this is another kind of key"
        )
    now = timezone.now()
    key = Key.objects.select_related("agent__environment", "user").filter(alive(), digest=digest_of(text)).first()
    if key is None or (key.user is not None and not key.user.is_active):
        raise InvalidKey("this key does not exist here, has expired or was revoked")
    if key.last_used_at is None or now - key.last_used_at > LAST_USED_EVERY:
        Key.objects.filter(pk=key.pk).update(last_used_at=now)
    return key


def revoke_key(key: Key) -> None:
    """End a key at once; every request after this one is refused."""
    Key.objects.filter(pk=key.pk, revoked_at__isnull=True).update(revoked_at=timezone.now())
