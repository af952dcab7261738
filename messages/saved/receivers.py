"""Whether a mail that waited may still go. Rights are asked when it is sent: a mail is tried for a day, and rights change meanwhile."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from django.db.models import F

from console.identity.actor import Actor, actor_of
from console.identity.models import User
from messages.access import visible_flows
from messages.models import OutboxMail, ReconciliationCheck, Subscription
from messages.plans import telling
from messages.saved.access import visible_saved_searches
from messages.saved.assessing import about_of
from messages.saved.judge import CALM, RAISED, STOPPED
from messages.saved.outbox import NO_ADDRESS

ABOUT = re.compile(r"([a-z-]+):([1-9]\d{0,17})", re.ASCII)
OFF = "its receiver’s account is switched off"
NARROWED = "its receiver may not see all that it tells of any more"
TOLD_BEFORE = {CALM: RAISED}  # nobody is told that it is over without having been told that it began


def why_not_now(mail: OutboxMail) -> str:
    """Return why a mail must not be sent any more, in words; "" when it may.

    News of a subscription that are held back are looked at again at once, and told as its owner may see them now.
    """
    match = ABOUT.fullmatch(mail.about)
    if match is None or match[1] not in ASKED:
        return ""  # not of this console's: whoever wrote it knew to whom
    return ASKED[match[1]](mail, int(match[2]))


def _of_subscription(mail: OutboxMail, pk: int) -> str:
    row = Subscription.objects.select_related("owner").filter(pk=pk).first()
    if row is None:
        return "the subscription has ended"
    if row.state == STOPPED:
        return _why_not_reached(row.owner, mail)  # the one mail left says that it stopped, and names nothing
    why = _why_not(row.owner, mail)
    if not why and not visible_saved_searches(_actor(row.owner)).filter(pk=row.search_id).exists():
        why = "its receiver may not see the saved search any more"
    if why:
        _look_again(row, mail)
    return why


def _look_again(row: Subscription, mail: OutboxMail) -> None:
    """Forget that this was told, and have it looked at now; not when something newer was told since."""
    if mail.occurrence != f"{about_of(row.pk)}:{row.told_count}":
        return
    rows = Subscription.objects.filter(pk=row.pk, told_count=row.told_count, next_look_at__isnull=False)
    rows.update(
        told=TOLD_BEFORE.get(row.told, ""),
        told_at=None,
        fingerprint="",
        next_look_at=datetime.now(UTC),
        attempt=F("attempt") + 1,
    )


def _of_check(mail: OutboxMail, pk: int) -> str:
    row = ReconciliationCheck.objects.select_related("owner").filter(pk=pk).first()
    return _why_not(row.owner, mail) if row else "the check has been removed"


def _why_not(owner: User, mail: OutboxMail) -> str:
    if why := _why_not_reached(owner, mail):
        return why
    seen = visible_flows(_actor(owner)).filter(pk__in=mail.flows).count()
    return NARROWED if seen < len(set(mail.flows)) else ""


def _why_not_reached(owner: User, mail: OutboxMail) -> str:
    """Return why a mail cannot go to its owner; has it go to the address that they have now, not to the one of when it was written."""
    if not owner.is_active:
        return OFF
    if owner.email and mail.to != owner.email:
        OutboxMail.objects.filter(pk=mail.pk).update(to=owner.email)
        mail.to = owner.email
    return "" if owner.email else NO_ADDRESS


def _actor(owner: User) -> Actor:
    return actor_of(owner, via="system")


ASKED: Mapping[str, Callable[[OutboxMail, int], str]] = {
    "plan": telling.why_not_now,
    "subscription": _of_subscription,
    "reconciliation-check": _of_check,
}
