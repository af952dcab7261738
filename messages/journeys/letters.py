"""The dead letters of a journey: those of its traces and messages, and those that name no message, by a document number that both have."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from uuid import UUID

from django.db.models import Q, QuerySet

from console.identity.actor import Actor
from console.identity.models import Environment
from messages.access import visible_dead_letters
from messages.groups.figures import numbers_of
from messages.groups.nameless import Numbered, is_of_document
from messages.journeys.evidence import KEY, WEAK, Evidence, NotFollowed, brought
from messages.journeys.gather import (
    KEY_AROUND,
    MOST_OF_A_KEY,
    Gathered,
    any_of,
    document_numbers,
    messages_with,
    tie_of,
)
from messages.models import DeadLetter, Message, MessageStatus

MOST_LETTERS = 50
MOST_NUMBERS = 3  # of a journey
MOST_WITH_A_NUMBER = 1_000  # letters, of any time and environment


def told_letters(actor: Actor) -> QuerySet[DeadLetter]:
    """Return the dead letters of journeys with what their log names: who harvested each."""
    return visible_dead_letters(actor).select_related("agent")


def letters_of(actor: Actor, environments: Sequence[Environment], found: Gathered) -> list[DeadLetter]:
    """Return the letters of these traces and messages, at most one more than MOST_LETTERS."""
    tied = Q(any_of(DeadLetter, "message_uid", found.uids)) | Q(any_of(DeadLetter, "trace_id", found.traces))
    if not DeadLetter.objects.filter(tied, environment__in=environments).exists():
        return []
    return list(told_letters(actor).filter(tied, environment__in=environments).order_by("pk")[: MOST_LETTERS + 1])


def letters_by_number(
    actor: Actor, environments: Sequence[Environment], found: Gathered, *, but: Collection[UUID]
) -> dict[UUID, tuple[DeadLetter, Evidence]]:
    """Return {id: (letter, evidence)} of those that name no message and died within a day of the journey, by its document numbers: the one by
    which its events are tied, and others by which the letter's events would be. A number of too many ties none, and `found` is told so.

    but  letters that are here already.
    """
    since, until = _span(found)
    numbers = document_numbers(found.keys)[:MOST_NUMBERS]
    tied: dict[UUID, tuple[DeadLetter, Evidence]] = {}
    for number in numbers:
        # By the index of keys alone, whatever the planner thinks of the rest.
        having = DeadLetter.objects.filter(keys__contains=dict([number])).order_by()
        rows = list(
            having.values_list("pk", "keys", "message_uid", "first_failed_at", "failed_at")[: MOST_WITH_A_NUMBER + 1]
        )
        ids = [
            pk
            for pk, keys, uid, first, last in rows
            if uid is None
            and (first or last) <= until
            and last >= since
            and pk not in tied
            and pk not in but
            and number in (numbers[0], document_numbers(keys)[0])
        ]
        if not ids:
            continue
        letters = told_letters(actor).filter(any_of(DeadLetter, "id", ids), environment__in=environments)
        near = list(letters.order_by("pk")[: MOST_LETTERS + 1])
        if not near:
            continue
        tie, q = tie_of(actor, environments, number)
        if (
            len(rows) > MOST_WITH_A_NUMBER
            or len(near) > MOST_LETTERS
            or len(messages_with(actor, environments, number, since, until)) > MOST_OF_A_KEY
        ):
            words = f"{tie} is of more messages or dead letters than a number ties: it brings no dead letter"
            found.not_followed.append(NotFollowed(kind=KEY, value=tie, words=words, q=q))
            continue
        tied |= {one.pk: (one, brought(KEY, tie)) for one in near}
    return tied


def is_one_failure(letter: DeadLetter, message: Message) -> bool:
    """Whether a letter that names no message may be that of this one, which failed: of its flow and its document, as failures are counted."""
    died, failed = (Numbered(flow_id=one.flow_id, numbers=numbers_of(one.keys)) for one in (letter, message))
    return message.status == MessageStatus.FAILED and died.flow_id == failed.flow_id and is_of_document(died, failed)


def _span(found: Gathered) -> tuple[datetime, datetime]:
    """Return (since when, until when) letters are of this journey: within a day of what is here by more than a number."""
    times = [one.occurred_at for one in found.seen.values() if found.evidence[one.id].strength != WEAK]
    assert found.around is not None
    times.append(found.around)
    return min(times) - KEY_AROUND, max(times) + KEY_AROUND
