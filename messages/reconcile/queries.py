"""Reads of reconciliations: the list, the keys of a set page by page, the letters behind failed keys, checks."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Sequence
from datetime import datetime
from uuid import UUID

import msgspec
from django.db.models import Q, QuerySet

from console.core.errors import Conflict
from console.core.paging import InvalidCursor, Page, decode_number_cursor, decode_uuid_cursor, encode_cursor
from console.identity.actor import Actor
from console.identity.models import Environment
from messages.access import flows_to_narrow_to, visible_dead_letters
from messages.masking.shown import key_shown
from messages.models import DeadLetter, Message, ReconciledKey, Reconciliation, ReconciliationCheck
from messages.payloads.master import open_text, seal_text
from messages.reconcile.access import visible_checks, visible_reconciliations
from messages.reconcile.sets import KeySet

EXPORTED = 5_000  # keys a query of the CSV


class ComparedAgain(Conflict):
    """The list was compared again, or removed, since the first page, so that a key could be missed or come twice: begin with the first page again."""

    code = "compared_again"
    again = "From the first page on, without a cursor."


def find_reconciliations(
    actor: Actor,
    *,
    environments: Sequence[Environment],
    check: ReconciliationCheck | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> Page[Reconciliation]:
    """Return reconciliations, the newest first. Raises InvalidCursor."""
    rows = visible_reconciliations(actor).filter(environment__in=environments)
    if check is not None:
        rows = rows.filter(of_check=check)
    if cursor:
        rows = rows.filter(pk__lt=decode_uuid_cursor(cursor))
    found = list(rows.order_by("-pk")[: limit + 1])
    return Page(found[:limit], encode_cursor(found[limit - 1].pk) if len(found) > limit else None)


def find_checks(
    actor: Actor, *, environments: Sequence[Environment], limit: int = 50, cursor: str | None = None
) -> Page[ReconciliationCheck]:
    """Return scheduled checks, the newest first. Raises InvalidCursor."""
    rows = visible_checks(actor).filter(environment__in=environments)
    if cursor:
        rows = rows.filter(pk__lt=decode_number_cursor(cursor))
    found = list(rows.order_by("-pk")[: limit + 1])
    return Page(found[:limit], encode_cursor(found[limit - 1].pk) if len(found) > limit else None)


def keys_of_set(one: Reconciliation, key_set: KeySet) -> QuerySet[ReconciledKey]:
    """Return the keys of a set in its order, by kind and key; the caller has checked that the reconciliation may be seen."""
    first, last = key_set.kinds
    rows = ReconciledKey.objects.filter(reconciliation_id=one.pk, kind__gte=first, kind__lte=last)
    if key_set.twice:
        rows = rows.filter(messages__gt=1, listed__gt=0)
    if key_set.repeated:
        rows = rows.filter(listed__gt=1)
    return rows.order_by("reconciliation_id", "kind", "key")


def find_keys(
    one: Reconciliation, key_set: KeySet, *, limit: int = 50, cursor: str | None = None
) -> Page[ReconciledKey]:
    """Return a page of the keys of a set. Raises InvalidCursor, ComparedAgain."""
    rows, evaluated_at = keys_of_set(one, key_set), one.evaluated_at
    if cursor:
        evaluated_at, kind, key = _position(cursor)
        rows = _after(rows, kind, key)
    found = list(rows[: limit + 1])
    if cursor:
        _check_comparison(one, evaluated_at)
    last = found[limit - 1] if len(found) > limit else None
    return Page(
        found[:limit],
        encode_cursor(evaluated_at, last.kind, seal_text(last.key).decode()) if last is not None else None,
    )


def as_shown(actor: Actor, one: Reconciliation, rows: Sequence[ReconciledKey]) -> Sequence[ReconciledKey]:
    """Return these keys of a reconciliation as the actor may know them."""
    for row in rows:
        row.key = key_shown(actor, one.environment_id, row.key)
    return rows


def _after(rows: QuerySet[ReconciledKey], kind: int, key: str) -> QuerySet[ReconciledKey]:
    # The first bound is implied by the second; it is there so that the index is entered where the page begins.
    return rows.filter(kind__gte=kind).filter(Q(kind__gt=kind) | Q(kind=kind, key__gt=key))


def _position(cursor: str) -> tuple[datetime, int, str]:
    """Return where a cursor points. Its key is sealed: one that a reader makes would ask, digit by digit, for the hash of a masked value."""
    try:
        data = base64.b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        evaluated_at, kind, key = msgspec.json.decode(data, type=tuple[str, str, str])
        if "\x00" in key:
            raise ValueError("no key has that")
        at = datetime.fromisoformat(evaluated_at)
        if at.tzinfo is None:
            raise ValueError("no time of ours is without a zone")
        opened = open_text(key.encode())
        if opened is None:
            raise ValueError("not sealed by us")
        return at, min(9, max(0, int(kind[:2]))), opened
    except (UnicodeError, binascii.Error, ValueError, msgspec.DecodeError) as error:
        raise InvalidCursor("this cursor was not made here: start again without one") from error


def _check_comparison(one: Reconciliation, evaluated_at: datetime | None) -> None:
    """Raise ComparedAgain unless this comparison is still the last one; asked after a page was read, for the page is then of it."""
    if not Reconciliation.objects.filter(pk=one.pk, removed_at=None, evaluated_at=evaluated_at).exists():
        raise ComparedAgain("the list was compared again, or removed, meanwhile: begin with the first page again")


def every_key(one: Reconciliation, key_set: KeySet | None = None) -> Iterator[ReconciledKey]:
    """Yield the keys of a set, or of all, of one comparison in bounded memory: one query for each 5,000. Raises ComparedAgain on the way."""
    whole = key_set or KeySet(slug="", label="", meaning="", kinds=(1, 5))
    rows = keys_of_set(one, whole)
    page = list(rows[:EXPORTED])
    while page:
        _check_comparison(one, one.evaluated_at)
        yield from page
        if len(page) < EXPORTED:
            return
        page = list(_after(rows, page[-1].kind, page[-1].key)[:EXPORTED])
    _check_comparison(one, one.evaluated_at)


def of_its_system(one: Reconciliation) -> Q:
    """Which dead letters of a message count: with a receiving system those of it, and of none."""
    return Q() if one.system_id is None else Q(system=one.system_id) | Q(system=None)


def has_letters(actor: Actor, one: Reconciliation, key_set: KeySet) -> bool:
    """Whether one of the first 5,000 keys of a set has a dead letter that the actor may see."""
    keys = keys_of_set(one, key_set)
    messages = keys.filter(message_uid__isnull=False).values("message_uid")[:EXPORTED]
    letters = visible_dead_letters(actor).filter(of_its_system(one)).order_by()
    own = keys.filter(letter_id__isnull=False).values("letter_id")[:EXPORTED]
    return letters.filter(message_uid__in=messages).exists() or letters.filter(pk__in=own).exists()


def letters_of_keys(actor: Actor, one: Reconciliation, keys: Sequence[ReconciledKey]) -> dict[UUID, DeadLetter]:
    """Return the dead letters behind these keys that the actor may see, by what decided: of a message its newest, or the letter itself; two queries."""
    messages = [key.message_uid for key in keys if key.message_uid is not None]
    own = [key.letter_id for key in keys if key.letter_id is not None]
    visible = visible_dead_letters(actor).filter(of_its_system(one))
    newest = visible.filter(message_uid__in=messages).order_by("message_uid", "-pk").distinct("message_uid")
    found = list(newest) if messages else []  # one may have died thousands of times
    found += visible.filter(pk__in=own) if own else []
    return {letter.message_uid or letter.pk: letter for letter in found}


def out_of_sight(actor: Actor, keys: Sequence[ReconciledKey]) -> set[UUID]:
    """Return those of the messages that decided these keys which the actor may not see: a flow counts what another told of first."""
    messages = [one.message_uid for one in keys if one.message_uid is not None]
    flows = flows_to_narrow_to(actor) if messages else None
    if flows is None:
        return set()
    hidden = Message.objects.filter(id__in=messages).exclude(flow_id__in=flows.order_by().values("pk"))
    return set(hidden.values_list("id", flat=True))
