"""Reads of teams and people: all of them for administrators of the whole console, one's own for everybody."""

from __future__ import annotations

from django.db.models import QuerySet

from console.core.errors import NotFound
from console.identity.actor import Actor
from console.identity.models import Membership, Team, User


def find_teams() -> QuerySet[Team]:
    """Return every team with its members, three queries in all."""
    return Team.objects.prefetch_related("memberships__user", "memberships__environment")


def find_users() -> QuerySet[User]:
    return User.objects.filter(is_active=True).order_by("username")


def get_user(pk: int, *, of: QuerySet[User] | None = None) -> User:
    """Return a person by their id, with an account that is off too; raises NotFound. of: how to read the row."""
    found = (User.objects.all() if of is None else of).filter(pk=pk).first()
    if found is None:
        raise NotFound("there is no such person")
    return found


def get_team(pk: str) -> Team:
    """Return a team by the id that a form sent; raises NotFound."""
    found = Team.objects.filter(pk=int(pk)).first() if pk.isdecimal() and len(pk) < 18 else None
    if found is None:
        raise NotFound("choose a team")
    return found


def roles_of(actor: Actor) -> QuerySet[Membership]:
    """Return the roles that this person holds, environment by environment."""
    held = Membership.objects.filter(user__username=actor.name).select_related("team", "environment")
    return held.order_by("environment__position", "environment__slug", "team__name")
