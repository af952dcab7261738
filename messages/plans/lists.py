"""Reads of many plans: the list, and how many run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.db.models import Q, QuerySet

from console.core.errors import Invalid
from console.core.paging import Page, decode_number_cursor, encode_cursor
from console.identity.actor import Actor
from console.identity.counted import count_up_to
from console.identity.models import Environment
from messages.models import Plan
from messages.plans.access import number_of, visible_plans
from messages.plans.states import ENDED, STATES

SHOWN = ("open", "ended", "all")


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanFilter:
    """q: a reference, that plan alone; else words of its reason, ticket, query or author.   state: one of STATES, "" for any.

    show  open, ended or all; of no meaning with a state.
    """

    q: str = ""
    state: str = ""
    show: str = "all"


def find_plans(
    actor: Actor, *, environments: Sequence[Environment], only: PlanFilter, limit: int = 50, cursor: str | None = None
) -> Page[Plan]:
    """Return the plans that the actor may see, newest first. Raises Invalid, InvalidCursor."""
    if only.state and only.state not in STATES:
        raise Invalid(f"a plan is {', '.join(STATES)}")
    rows = visible_plans(actor).filter(environment__in=environments)
    if only.state:
        rows = rows.filter(state=only.state)
    elif only.show != "all":
        rows = rows.filter(state__in=[one for one in STATES if (one in ENDED) == (only.show == "ended")])
    if only.q:
        rows = rows.filter(_said(only.q))
    if cursor:
        rows = rows.filter(pk__lt=decode_number_cursor(cursor))
    found = list(rows.order_by("-pk")[: limit + 1])
    return Page(found[:limit], encode_cursor(found[limit - 1].pk) if len(found) > limit else None)


def _said(q: str) -> Q:
    number = number_of(q)
    if number is not None:
        return Q(pk=number)
    words = q.replace("\x00", "").strip()[:200]
    return (
        Q(reason__icontains=words) | Q(ticket__icontains=words) | Q(q__icontains=words) | Q(created_by__icontains=words)
    )


def count_running(actor: Actor, environment: Environment) -> int:
    """Return how many plans that the actor may see are under way or about to begin there."""
    if not count_up_to(1, _at_work, actor, environment):
        return 0
    return visible_plans(actor).filter(pk__in=_at_work(actor, environment).values("pk")).count()


def _at_work(_: Actor, environment: Environment) -> QuerySet[Plan]:
    return Plan.objects.filter(environment=environment, state__in=["scheduled", "running"])
