"""How much an agent may send a second: set by an administrator of its environment."""

from __future__ import annotations

from django.db import transaction

from console.audit.services import record_audit
from console.core.errors import Invalid
from console.identity.access import check_can_administer
from console.identity.actor import Actor
from console.identity.models import Agent

MOST_EVENTS, MOST_BYTES = 10_000_000, 10_000_000_000


@transaction.atomic
def set_quota(agent: Agent, *, events_per_s: int | None, bytes_per_s: int | None, by: Actor) -> None:
    """Set an agent's quota; None: what the settings give every agent. Takes effect within seconds.

    Raises Forbidden, and Invalid for a number outside 1 to ten million events or ten billion bytes.
    """
    check_can_administer(by, agent.environment)
    for value, most, what in ((events_per_s, MOST_EVENTS, "events"), (bytes_per_s, MOST_BYTES, "bytes")):
        if value is not None and not 1 <= value <= most:
            raise Invalid(f"a quota is 1 to {most:,} {what} a second, or nothing for that of the settings")
    Agent.objects.filter(pk=agent.pk).update(events_per_s=events_per_s, bytes_per_s=bytes_per_s)
    details = {"events_per_s": [agent.events_per_s, events_per_s], "bytes_per_s": [agent.bytes_per_s, bytes_per_s]}
    record_audit(by, "agent.quota_changed", agent, environment=agent.environment, details=details)
    agent.refresh_from_db()


def number_of(text: str) -> int | None:
    """Return what a form field says: a whole number, or None when it is empty; raises Invalid."""
    text = text.strip().replace(",", "")
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 15):
        raise Invalid(f"{text[:40]!r} is not a whole number")
    return int(text)
