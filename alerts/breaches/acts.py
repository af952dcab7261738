"""What people do to breaches: take them, hand them over, write notes, close what would not end by itself. Each is audited."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.db import transaction

from alerts.breaches.access import audited_as, check_can_operate_breach, possible_owners
from alerts.breaches.held import hold_back
from alerts.breaches.moves import lock_breaches, lock_environment, look_at_tellings, move, now_utc, write
from alerts.breaches.rules import FROZEN_LONG
from alerts.breaches.silences import end_silences_of
from alerts.breaches.states import FIRED
from alerts.models import Breach, BreachEntry
from console.audit.services import record_audit
from console.core.errors import Conflict, Invalid, NotFound
from console.identity.actor import Actor

LONGEST_NOTE = 4_000
LONGEST_REASON = 1_000
A_PRESS = timedelta(seconds=30)
STILL_LOOKED_AT = (
    "is looked at: it ends by itself when what is wrong is over; close it when its time is excluded, "
    "or when it could not be measured for more than an hour"
)


class BreachState(Conflict):
    """The breach is not in a state in which this can be done: look at it again."""

    code = "breach_state"


def acknowledge(breach: Breach, *, by: Actor, reason: str = "") -> Breach:
    """Say that somebody is on it; who acknowledges a breach that nobody owns, owns it. Raises Forbidden, BreachState."""
    check_can_operate_breach(by, breach)
    now, reason = now_utc(), _clean(reason)
    with transaction.atomic():
        if not move([breach.pk], "acknowledge", now=now, by=by.name, user_id=by.user_id):
            raise _refused(breach, "is not firing: somebody was faster, or it is over")
        write([breach.pk], BreachEntry.Kind.ACKNOWLEDGED, reason, now=now, by=by.name)
        look_at_tellings([breach.pk], now)
        audit(by, "breach.acknowledged", breach, reason=reason)
    return fresh(breach)


def assign(breach: Breach, owner: str, *, by: Actor, reason: str = "") -> Breach:
    """Make an operator of all its flows the owner, or nobody with an empty name. Raises Forbidden, NotFound, BreachState."""
    check_can_operate_breach(by, breach)
    name, reason = owner.replace("\x00", "").strip()[:150], _clean(reason)
    found = possible_owners(breach).filter(username=name).first() if name else None
    if name and found is None:
        raise NotFound(f"no operator of all its flows is called {name}")
    with transaction.atomic():
        if not Breach.objects.filter(pk=breach.pk, state__in=FIRED).update(owner=found):
            raise _refused(breach, "is not firing: an owner is for what does")
        text = f"to {name or 'nobody'}{f': {reason}' if reason else ''}"
        write([breach.pk], BreachEntry.Kind.ASSIGNED, text, now=now_utc(), by=by.name)
        audit(by, "breach.assigned", breach, reason=reason, details={"owner": name or "nobody"})
    return fresh(breach)


def add_note(breach: Breach, text: str, *, by: Actor) -> BreachEntry:
    """Write a note. It stays in the timeline. Raises Forbidden, Invalid, BreachState."""
    check_can_operate_breach(by, breach)
    text = text.replace("\x00", "").strip()[:LONGEST_NOTE]
    if not text:
        raise Invalid("a note has words")
    with transaction.atomic():
        row = lock_breaches([breach.pk]).get(breach.pk)
        if row is None or row.state == "pending":
            raise _refused(breach, "has not fired")
        same = BreachEntry.objects.filter(breach=row, kind=BreachEntry.Kind.NOTE, by=by.name, text=text)
        if (before := same.filter(at__gt=now_utc() - A_PRESS).first()) is not None:
            return before  # the button was pressed twice
        entry = BreachEntry.objects.create(breach=row, at=now_utc(), kind=BreachEntry.Kind.NOTE, by=by.name, text=text)
        audit(by, "breach.noted", breach)
    return entry


def needs_a_person(breach: Breach, now: datetime) -> bool:
    """Whether a breach that fires may never end by itself: nobody looks at it any more, its time is excluded, or it could not be measured for an hour."""
    frozen = breach.frozen_at is not None and (breach.is_excluded or now - breach.frozen_at > FROZEN_LONG)
    return breach.state in FIRED and (frozen or breach.unwatched_since is not None)


def close(breach: Breach, *, by: Actor, reason: str) -> Breach:
    """End a breach that no look will end: what cannot be measured opens nothing anew. Raises Forbidden, Invalid, BreachState while one may."""
    check_can_operate_breach(by, breach)
    reason = _clean(reason)
    if not reason:
        raise Invalid("say why it is over")
    now = now_utc()
    with transaction.atomic():
        lock_environment(breach.environment_id)
        row = lock_breaches([breach.pk]).get(breach.pk)
        if row is None or row.state not in FIRED:
            raise _refused(breach, "is not firing")
        if not needs_a_person(row, now):
            raise _refused(breach, STILL_LOOKED_AT)
        move([breach.pk], "close", now=now)
        write([breach.pk], BreachEntry.Kind.RESOLVED, reason, now=now, by=by.name)
        end_silences_of(breach.environment_id, [breach.pk], now=now)
        hold_back(breach.environment_id, now=now)
        look_at_tellings([breach.pk], now)
        audit(by, "breach.closed", breach, reason=reason)
    return fresh(breach)


def _refused(breach: Breach, why: str) -> BreachState:
    return BreachState(f"{breach.reference} {why}")


def _clean(text: str) -> str:
    return " ".join(text.replace("\x00", "").split())[:LONGEST_REASON]


def audit(by: Actor, action: str, breach: Breach, *, reason: str = "", details: dict[str, Any] | None = None) -> None:
    team_id, label = audited_as(breach)
    told = {"label": label} if label else {"reason": reason}  # its own timeline keeps what was said of one's own
    record_audit(by, action, breach, environment=breach.environment, team_id=team_id, details=details, **told)


def fresh(breach: Breach) -> Breach:
    """Return the breach as it is now; the caller has checked that it may be seen."""
    return Breach.objects.select_related("environment", "owner", "inhibited_by", "silenced_by").get(pk=breach.pk)
