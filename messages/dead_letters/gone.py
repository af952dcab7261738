"""Letters that left the queue which a harvester mirrors, and those that came back."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

from django.db import transaction

from console.audit.services import record_audit
from console.identity.actor import SYSTEM
from console.identity.models import Agent
from messages.ingest import messages_sql
from messages.ingest.identity import dead_letter_identity
from messages.ingest.status import DEAD, FAILED
from messages.models import DeadLetter

RESTORABLE = (DeadLetter.Resolution.DISCARDED, DeadLetter.Resolution.GONE)


@transaction.atomic
def close_gone(agent: Agent, ids: Sequence[str]) -> int:
    """Close the open letters that this agent reported under these ids; return how many. What is on its way back stays as it is."""
    identities = sorted({dead_letter_identity(agent.environment_id, one) for one in ids})
    letters = DeadLetter.objects.select_for_update(of=("self",)).select_related("flow", "environment")
    found = list(letters.filter(identity__in=identities, agent=agent, state=DeadLetter.State.OPEN).order_by("identity"))
    DeadLetter.objects.filter(pk__in=[letter.pk for letter in found]).update(
        state=DeadLetter.State.CLOSED, resolution=DeadLetter.Resolution.GONE, closed_at=datetime.now(UTC)
    )
    for letter in found:
        _note(letter, "dead_letter.gone", FAILED)
    return len(found)


def reopen_returned(identities: Sequence[UUID]) -> None:
    """Open letters again that had left their queue and are reported anew, inside the caller's transaction."""
    letters = DeadLetter.objects.select_for_update(of=("self",)).select_related("flow", "environment")
    found = list(letters.filter(identity__in=identities, resolution=DeadLetter.Resolution.GONE).order_by("identity"))
    DeadLetter.objects.filter(pk__in=[letter.pk for letter in found]).update(
        state=DeadLetter.State.OPEN, resolution=None, closed_at=None
    )
    for letter in found:
        _note(letter, "dead_letter.returned", DEAD)


def _note(letter: DeadLetter, action: str, status: int) -> None:
    if letter.message_uid:
        messages_sql.set_status(letter.message_uid, status)
    record_audit(SYSTEM, action, letter, environment=letter.environment, team_id=letter.flow.team_id)
