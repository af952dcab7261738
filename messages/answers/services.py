"""Carrying a request out once, however often it is sent: the Idempotency-Key of REST (draft-ietf-httpapi-idempotency-key-header-07)."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.db import OperationalError, connection, transaction
from psycopg.errors import LockNotAvailable

from console.core.errors import Conflict, Invalid
from console.identity.actor import Actor
from console.identity.models import Environment
from messages.models import KeptAnswer

KEPT_HOURS = 24
KEY = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]{0,178}[\x21-\x7e])?")
OLD = "created_at < now() - make_interval(hours => %s)"
CLAIM = """
INSERT INTO messaging_keptanswer (user_id, environment_id, key, request_sha256, status, answer, location, created_at)
VALUES (%s, %s, %s, %s, 0, '{}', '', now()) ON CONFLICT (user_id, environment_id, key) DO NOTHING RETURNING id
"""


class KeyReused(Conflict):
    """This Idempotency-Key came with another request within the last 24 hours: each request needs a key of its own."""

    code = "idempotency_key_reused"
    again = "With another key, if it is meant."


class KeyInUse(Conflict):
    """A request with this Idempotency-Key is being carried out now."""

    code = "idempotency_key_in_use"
    again = "Yes, with the same key, in some seconds."


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What was answered. data: JSON. repeated: it is that of an earlier request with the same key."""

    status: int
    data: Any
    location: str = ""
    repeated: bool = False


def parse_key(text: str) -> str:
    """Return the key of the header, with or without the quotes of the draft; raises Invalid."""
    key = text.strip()
    if len(key) > 1 and key[0] == key[-1] == '"':
        key = key[1:-1]
    if not KEY.fullmatch(key):
        raise Invalid("an Idempotency-Key has 1 to 180 printable ASCII characters")
    return key


def once(key: str, *, by: Actor, environment: Environment, request_sha256: bytes, act: Callable[[], Answer]) -> Answer:
    """Return what `act` answers, carried out in one transaction, or what it answered to the same key before.

    A refusal, an error or a kill undoes the key with everything else: the request may come again.
    Raises KeyReused, KeyInUse, and whatever `act` raises.
    """
    assert by.user_id is not None, "every REST caller is a person"
    asked = [by.user_id, environment.pk, key]
    with transaction.atomic():
        claimed = _claim(asked, request_sha256)
        if claimed is None:
            return _kept(asked, request_sha256)
        answer = act()
        KeptAnswer.objects.filter(pk=claimed).update(
            status=answer.status, answer=answer.data or {}, location=answer.location
        )
    return answer


def _claim(asked: list[Any], request_sha256: bytes) -> int | None:
    """Return the id of the new row; None when the key was answered before. Waits for one that is carried out at this moment."""
    with connection.cursor() as cursor:
        try:
            cursor.execute(
                f"DELETE FROM messaging_keptanswer WHERE user_id = %s AND environment_id = %s AND key = %s AND {OLD}",  # noqa: S608  a constant of ours
                [*asked, KEPT_HOURS],
            )
            cursor.execute(CLAIM, [*asked, request_sha256])
        except OperationalError as error:
            if isinstance(error.__cause__, LockNotAvailable):
                raise KeyInUse("the same request is being carried out now: ask again with the same key") from error
            raise
        row = cursor.fetchone()
    return row[0] if row else None


def _kept(asked: list[Any], request_sha256: bytes) -> Answer:
    user_id, environment_id, key = asked
    kept = KeptAnswer.objects.filter(user_id=user_id, environment_id=environment_id, key=key).first()
    if kept is None:  # it grew old between the two statements
        raise KeyInUse("this key grew old at this very moment: send the request again")
    if bytes(kept.request_sha256) != request_sha256:
        raise KeyReused(f"the key {key[:60]} came with another request: each request needs a key of its own")
    return Answer(status=kept.status, data=kept.answer, location=kept.location, repeated=True)


def expire_answers() -> int:
    """Forget what was answered more than a day ago, in chunks that hold no lock for long; return how many went."""
    gone = 0
    while True:
        with connection.cursor() as cursor:
            cursor.execute(
                f"DELETE FROM messaging_keptanswer WHERE id IN (SELECT id FROM messaging_keptanswer WHERE {OLD} LIMIT 5000)",  # noqa: S608
                [KEPT_HOURS],
            )
            gone += cursor.rowcount
            if cursor.rowcount < 5000:
                return gone
