"""Reads of many plans: the list, how many run, what stops replays."""

from __future__ import annotations

from collections.abc import Sequence

from console.core.paging import Page, decode_number_cursor, encode_cursor
from console.identity.actor import Actor
from console.identity.models import Environment
from messages.models import Plan, ReplayStop
from messages.plans.access import visible_plans, visible_stops
from messages.plans.states import ENDED, STATES

SHOWN = ("open", "ended", "all")


def find_plans(
    actor: Actor,
    *,
    environments: Sequence[Environment],
    show: str = "all",
    state: str = "",
    limit: int = 50,
    cursor: str | None = None,
) -> Page[Plan]:
    """Return plans, newest first. show: open, ended or all. state: one of states.STATES, "" for any. Raises InvalidCursor."""
    rows = visible_plans(actor).filter(environment__in=environments).order_by("-pk")
    if state:
        rows = rows.filter(state=state)
    elif show != "all":
        rows = rows.filter(state__in=[one for one in STATES if (one in ENDED) == (show == "ended")])
    if cursor:
        rows = rows.filter(pk__lt=decode_number_cursor(cursor))
    found = list(rows[: limit + 1])
    return Page(found[:limit], encode_cursor(found[limit - 1].pk) if len(found) > limit else None)


def count_running(actor: Actor, environment: Environment) -> int:
    """Return how many plans that the actor may see are under way or about to begin there; one query where none is."""
    at_work = Plan.objects.filter(environment=environment, state__in=["scheduled", "running"])
    if not at_work.exists():
        return 0
    return visible_plans(actor).filter(pk__in=at_work.values("pk")).count()


def stops_of(actor: Actor, environment: Environment) -> list[ReplayStop]:
    """Return what stops replays there now, the oldest first."""
    return list(visible_stops(actor, [environment])[:20])


def plans_of_group(actor: Actor, group_id: int, *, most: int = 5) -> list[Plan]:
    """Return the newest plans that were made of a failure group."""
    return list(visible_plans(actor).filter(group_id=group_id).order_by("-pk")[:most])
