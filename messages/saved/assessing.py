"""Looking at subscriptions: claim one that is due, look with its owner's rights as they are now, write what it means and the mail."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import structlog
from django.conf import settings
from django.db import transaction

from console.audit.services import record_audit
from console.identity.actor import SYSTEM, Actor, actor_of
from messages.models import Subscription
from messages.saved.access import visible_saved_searches
from messages.saved.due import claim_due, look_at_due
from messages.saved.judge import BROKEN, CALM, RAISED, STOPPED, Known, judge
from messages.saved.matching import Found, TooSlow, find_matches
from messages.saved.outbox import queue_mail, withdraw_mails
from messages.saved.words import calendar_of, letter_of
from messages.search.query import BadQuery
from messages.search.window import BadWindow

log = structlog.get_logger(__name__)
EVERY = timedelta(minutes=1)
SLOW_EVERY = timedelta(minutes=10)  # a search that was given up, or cannot be read
MOST_IN_VAIN = 6  # looks: an hour without an answer is told
BUDGET_S = 40.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What one look found. state: None when it cannot say, and the last one stands.   in_vain: because it took too long."""

    state: str | None
    in_vain: bool = False
    found: Found | None = None
    problem: str = ""
    again_in: timedelta = EVERY


def look_at_subscriptions(*, now: datetime | None = None, budget_s: float = BUDGET_S) -> int:
    """Look at every subscription that is due, for at most so many seconds; return how many mails were written."""
    return look_at_due(claim, lambda one, at: settle(one, look_at(one, at), at), now=now, budget_s=budget_s)


def claim(now: datetime) -> Subscription | None:
    """Take the subscription that is due longest, None when none is."""
    return claim_due(Subscription.objects.select_related("search__environment", "search__team", "owner"), now)


def look_at(subscription: Subscription, now: datetime) -> Look:
    """Return what the search finds for its subscriber now. Writes nothing."""
    owner = subscription.owner
    actor = actor_of(owner, via="system")
    if not owner.is_active:
        return Look(state=STOPPED, problem="its owner's account is switched off")
    if not visible_saved_searches(actor).filter(pk=subscription.search_id).exists():
        return Look(state=STOPPED, problem="you may not see this saved search any more: your rights have changed")
    try:
        return _silence(subscription, actor, now) if subscription.minutes else _matches(subscription, actor)
    except (BadQuery, BadWindow) as error:
        return Look(state=BROKEN, problem=f"the query cannot be read: {error}", again_in=SLOW_EVERY)
    except TooSlow as error:
        return Look(state=None, problem=str(error), again_in=SLOW_EVERY, in_vain=True)


def _matches(subscription: Subscription, actor: Actor) -> Look:
    found = find_matches(actor, subscription.search)
    return Look(state=RAISED if found.count else CALM, found=found)


def _silence(subscription: Subscription, actor: Actor, now: datetime) -> Look:
    """Outside of working time nothing is looked at: the next look is when it begins."""
    calendar = calendar_of(subscription)
    opening = calendar.next_opening(now)
    if opening > now:
        return Look(state=None, again_in=opening - now)
    found = find_matches(actor, subscription.search, since=calendar.back(now, int(subscription.minutes or 0)))
    return Look(state=CALM if found.count else RAISED, found=found)


def _queue(row: Subscription, subscription: Subscription, look: Look, telling: str) -> None:
    """Write the mail of what is told now. row: the subscription as it is written; subscription: with its search and its owner."""
    letter = letter_of(subscription, telling, look.found, look.problem, base=settings.CONSOLE_URL)
    queue_mail(
        about_of(row.pk),
        f"{about_of(row.pk)}:{row.told_count}",
        to=subscription.owner.email if subscription.owner.is_active else "",
        subject=letter.subject,
        body=letter.body,
        flows=look.found.flows if look.found else (),
    )


@transaction.atomic
def settle(subscription: Subscription, look: Look, now: datetime) -> bool:
    """Write what a look found, and the mail that tells it; return whether one was written. Nothing if somebody else has it now."""
    row = (
        Subscription.objects.select_for_update(of=("self",))
        .filter(pk=subscription.pk, attempt=subscription.attempt, next_look_at__isnull=False)
        .first()
    )
    if row is None:
        return False
    row.in_vain = min(row.in_vain + 1, MOST_IN_VAIN) if look.in_vain else 0
    look = _given_up(look) if row.in_vain == MOST_IN_VAIN else look
    state = look.state or row.state
    fingerprint = look.found.fingerprint if look.found else row.fingerprint
    known = Known(
        state=row.state,
        told=row.told,
        told_at=row.told_at,
        fingerprint=row.fingerprint,
        digest_minutes=row.digest_minutes,
    )
    telling = judge(known, state, fingerprint, now=now).telling if look.state is not None else ""
    row.problem = look.problem[:500]
    row.state_since = now if state != row.state else row.state_since
    row.state, row.last_looked_at = state, now
    row.next_look_at = None if state == STOPPED else now + look.again_in
    if look.found is not None:
        row.count = look.found.count
        row.last_matched_at = now if look.found.count else row.last_matched_at
    if state == STOPPED:
        withdraw_mails(about_of(row.pk), look.problem)
    if subscription.owner.is_active and not subscription.owner.email:
        telling = ""  # what lasts until there is an address is told then
    if telling:
        row.told, row.told_at, row.told_count, row.fingerprint = state, now, row.told_count + 1, fingerprint
        _queue(row, subscription, look, telling)
    if state == STOPPED:
        _audit_stop(subscription, look.problem)
    row.save(
        update_fields=[
            "problem", "state_since", "state", "last_looked_at", "next_look_at", "count", "last_matched_at", "told", "told_at",
            "told_count", "fingerprint", "in_vain",
        ]
    )  # fmt: skip
    return bool(telling)


def _given_up(look: Look) -> Look:
    words = f"{MOST_IN_VAIN} looks one after the other found no answer: {look.problem}"
    return replace(look, state=BROKEN, problem=words)


def _audit_stop(subscription: Subscription, problem: str) -> None:
    search = subscription.search
    log.info("subscription_stopped", subscription=subscription.pk, reason=problem)
    record_audit(
        SYSTEM,
        "subscription.stopped",
        subscription,
        environment=search.environment,
        team_id=search.team_id,
        label=f"of {subscription.owner}",
        details={"search": search.pk},
    )


def about_of(pk: int) -> str:
    """Return by what the outbox knows the mails of a subscription."""
    return f"subscription:{pk}"
