"""The report of a plan that ended, by mail to whoever asked for it. The wish is an audit entry; the outbox sends, once a person."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from django.conf import settings
from django.urls import reverse

from console.audit.queries import object_history
from console.core.errors import Conflict
from console.core.words import exact_words
from console.identity.actor import Actor, actor_of
from console.identity.models import User
from messages.models import Plan
from messages.plans.access import visible_plans
from messages.plans.present import heading_of, left_out_of, pieces_of
from messages.plans.queries import counts_of, total_of
from messages.plans.services import audit
from messages.plans.states import ENDED, WORDS
from messages.saved.outbox import queue_mail

WISHED = "plan.report_wished"
LOOKED_AT = timedelta(days=2)  # a plan that ended longer ago has told everybody


class NoAddress(Conflict):
    """There is no mail address to send this to: an administrator adds it to the person."""

    code = "no_mail_address"


def wish_report(plan: Plan, *, by: Actor) -> bool:
    """Mail `by` the report when the plan has ended, at once when it has; return whether it is on its way. Raises NoAddress."""
    user = User.objects.filter(pk=by.user_id).first() if by.user_id else None
    if user is None or not user.email:
        raise NoAddress("you have no mail address here: an administrator adds it")
    if not object_history("plan", str(plan.pk)).filter(action=WISHED, actor=by.name).exists():
        audit(by, WISHED, plan)
    if plan.state in ENDED:
        _queue(plan, user)
        return True
    return False


def queue_reports(*, now: datetime | None = None) -> int:
    """Put the reports of plans that have ended into the outbox, each once; return how many. May run twice at once."""
    since = (now or datetime.now(UTC)) - LOOKED_AT
    queued = 0
    for plan in Plan.objects.filter(state__in=list(ENDED), state_at__gt=since).select_related("environment"):
        for name in object_history("plan", str(plan.pk)).filter(action=WISHED).values_list("actor", flat=True):
            user = User.objects.filter(username=name, is_active=True).exclude(email="").first()
            if user and visible_plans(actor_of(user, via="system")).filter(pk=plan.pk).exists():
                queued += _queue(plan, user)
    return queued


def _queue(plan: Plan, user: User) -> bool:
    subject, body = letter_of(plan)
    about, occurrence = f"plan:{plan.pk}", f"plan:{plan.pk}:report:{user.pk}"
    return queue_mail(about, occurrence, to=user.email, subject=subject, body=body)


def letter_of(plan: Plan) -> tuple[str, str]:
    """Return the report's subject and text: counts that add up, and where the items are. Never a payload."""
    total = total_of(counts_of(plan))
    address = settings.CONSOLE_URL.rstrip("/") + reverse("plan", args=[plan.reference])
    lines = [
        f"{heading_of(plan)}, in {plan.environment.name}: {plan.state}, {WORDS[plan.state]}.",
        plan.why,
        "",
        *(f"{piece.count:>9,}  {piece.name}" for piece in pieces_of(plan, total) if piece.count),
        f"{plan.items_count:>9,}  in all",
        "",
        *(f"{one.count:>9,}  left out: {one.words}" for one in left_out_of(plan, {}) if one.count),
        "",
        f"Asked by {plan.created_by}: {plan.reason}" + (f" ({plan.ticket})" if plan.ticket else ""),
        f"Approved by {plan.approved_by}" if plan.approved_by else "",
        f"Started {exact_words(plan.started_at)}" if plan.started_at else "",
        f"Ended {exact_words(plan.finished_at)}" if plan.finished_at else "",
        f"Checksum {plan.checksum}",
        "",
        f"Every item with its evidence: {address}",
        f"The same as CSV: {address}csv",
    ]
    subject = f"{plan.reference} {plan.state}: {total['processed']:,} of {plan.items_count:,} processed"
    return subject, "\n".join(_once_blank(lines)) + "\n"


def _once_blank(lines: list[str]) -> list[str]:
    """Drop empty lines that follow each other, and those at the end."""
    kept: list[str] = []
    for line in lines:
        if line or (kept and kept[-1]):
            kept.append(line)
    return kept
