"""Mails about plans: by what the outbox knows them, to whom they go, where they lead."""

from __future__ import annotations

from urllib.parse import urlencode

from django.conf import settings
from django.urls import reverse

from console.identity.models import User
from messages.models import OutboxMail, Plan
from messages.plans.access import can_see_plan_now


def about_of(plan: Plan) -> str:
    """Return by what the outbox knows the mails of a plan."""
    return f"plan:{plan.pk}"


def address_of(plan: Plan) -> str:
    """Return where a plan is, for a mail."""
    return f"{settings.CONSOLE_URL}{reverse('plan', args=[plan.reference])}?{urlencode({'environment': plan.environment.slug})}"


def author_address(plan: Plan) -> str:
    """Return the mail address of a plan's author, or of its rule's: "" for who has none, may not sign in, or may not see the plan any more."""
    user = plan.created_by_user
    return "" if user is None else person_address(user, plan)


def why_not_now(mail: OutboxMail, pk: int) -> str:
    """Return why a mail about this plan must not be sent any more, in words: its receiver lost the right since it was written."""
    plan = Plan.objects.select_related("environment").filter(pk=pk).first()
    people = list(User.objects.filter(email=mail.to))
    if not people:
        return "nobody has this mail address any more"
    may = plan is not None and any(can_see_plan_now(one, plan) for one in people)
    return "" if may else "its receiver may not see the plan any more"


def person_address(user: User, plan: Plan) -> str:
    """Return the mail address of a person; "" for who has none, may not sign in, or may not see the plan any more."""
    return user.email if can_see_plan_now(user, plan) else ""
