"""Who may see and change saved searches: one's own, and those shared with one's teams."""

from __future__ import annotations

from django.db.models import Q, QuerySet

from console.core.errors import Forbidden
from console.identity.actor import Actor
from console.identity.models import Environment, Role, Team
from messages.access import get_one
from messages.models import SavedSearch, Subscription


def visible_saved_searches(actor: Actor) -> QuerySet[SavedSearch]:
    """Return the actor's own saved searches and those shared with their teams, in the environments where they hold a role.

    An administrator of everything sees what is shared with any team, and nobody's own: it would stand above their lists.
    """
    searches = SavedSearch.objects.select_related("environment", "team", "owner")
    if actor.is_superuser:
        return searches.filter(Q(owner_id=actor.user_id) | Q(team_id__isnull=False))
    own = Q(pk__in=[])
    for environment_id, teams in actor.grants.items():
        own |= Q(environment_id=environment_id) & (Q(owner_id=actor.user_id) | Q(team_id__in=list(teams)))
    return searches.filter(own)


def get_visible_saved_search(actor: Actor, pk: int) -> SavedSearch:
    return get_one(visible_saved_searches(actor), "saved search", pk=pk)


def can_change_saved_search(actor: Actor, search: SavedSearch) -> bool:
    """Whether the actor may edit, rename or remove it: its owner, and the administrators of the team that it is shared with."""
    if actor.is_superuser or (search.owner_id == actor.user_id and search.environment_id in actor.grants):
        return True
    return search.team_id is not None and actor.has_role(search.environment_id, search.team_id, Role.ADMINISTRATOR)


def check_can_change_saved_search(actor: Actor, search: SavedSearch) -> None:
    if not can_change_saved_search(actor, search):
        raise Forbidden(f"only {search.owner}, or administrators of its team, may change this saved search")


def check_can_save(actor: Actor) -> int:
    """Return whose a new saved search or subscription is: a person's; raises Forbidden for a command or the system."""
    if actor.user_id is None:
        raise Forbidden("saved searches belong to people: sign in, or use a person's key")
    return actor.user_id


def teams_to_share_with(actor: Actor, environment: Environment) -> QuerySet[Team]:
    """Return the teams that the actor may share a saved search with: their own there."""
    teams = Team.objects.all()
    return teams if actor.is_superuser else teams.filter(pk__in=list(actor.grants.get(environment.pk, {})))


def own_subscriptions(actor: Actor) -> QuerySet[Subscription]:
    """Return the actor's own subscriptions: nobody else sees what a person wants to be told."""
    return Subscription.objects.filter(owner_id=actor.user_id).select_related("search", "owner")
