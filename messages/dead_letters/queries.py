"""Reads of what was done to dead letters."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from uuid import UUID

from console.audit.models import AuditEntry
from console.audit.queries import object_history
from console.identity.actor import Actor
from console.identity.models import Environment
from messages.access import visible_dead_letters
from messages.models import DeadLetter, Replay

MOST = 100


def first_letter_since(actor: Actor, environment: Environment, broker: str, since: datetime) -> DeadLetter | None:
    """Return the first letter of this broker that was stored since then. Ids are time-ordered, so that only newer ones are read."""
    least = UUID(int=int(since.timestamp() * 1000) << 80)
    letters = visible_dead_letters(actor).filter(environment=environment, id__gte=least, broker=broker)
    return letters.order_by("id").first()


def history_of_letters(letters: Sequence[DeadLetter]) -> list[AuditEntry]:
    """Return the audit entries of these letters, newest first; the caller has checked that they may be seen."""
    if not letters:
        return []
    return list(
        AuditEntry.objects.filter(
            object_kind="deadletter", object_id__in=[str(letter.pk) for letter in letters]
        ).order_by("-id")[:MOST]
    )


def history_of_letter(letter: DeadLetter) -> list[AuditEntry]:
    return list(object_history("deadletter", str(letter.pk))[:MOST])


def find_selected(actor: Actor, environment: Environment, ids: Collection[UUID]) -> list[DeadLetter]:
    """Return the letters of these ids that the actor may see in this environment, longest waiting first, with their replays."""
    letters = visible_dead_letters(actor).filter(environment=environment, pk__in=ids)
    return list(letters.prefetch_related("replays").order_by("failed_at", "pk"))


def last_done_to(letters: Sequence[DeadLetter], actions: Collection[str]) -> dict[str, AuditEntry]:
    """Return the newest audit entry of these actions for each letter by its id; the caller has checked that they may be seen."""
    ids = [str(letter.pk) for letter in letters]
    entries = AuditEntry.objects.filter(object_kind="deadletter", object_id__in=ids, action__in=actions)
    return {entry.object_id: entry for entry in entries.order_by("object_id", "-id").distinct("object_id")}


def replays_of(letter: DeadLetter) -> list[Replay]:
    """Return the replays of a letter, newest first."""
    return list(letter.replays.select_related("connection__agent", "plan").defer("plan__edits")[:20])


def later_of(actor: Actor, letter: DeadLetter) -> DeadLetter | None:
    """Return the letter that a replay of this one died into, if the actor may see it: it may have died in another team's flow."""
    return visible_dead_letters(actor).filter(previous=letter).order_by("-pk").first()
