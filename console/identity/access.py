"""Who may see and change environments, agents, users and keys: the only way to fetch them for an actor."""

from __future__ import annotations

from django.db.models import QuerySet

from console.core.errors import Forbidden, NotFound
from console.identity.actor import Actor
from console.identity.models import Agent, Environment, Role


def visible_environments(actor: Actor) -> QuerySet[Environment]:
    """Return the environments this actor has any role in."""
    every = Environment.objects.all()
    return every if actor.is_superuser else every.filter(pk__in=list(actor.grants))


def get_visible_environment(actor: Actor, slug: str) -> Environment:
    """Return one environment by its slug; raises NotFound for a stranger as for a wrong name."""
    found = visible_environments(actor).filter(slug=slug).first() if "\x00" not in slug else None
    if found is None:
        raise NotFound(f"there is no environment “{slug[:40]}” that you may see")
    return found


def visible_agents(actor: Actor) -> QuerySet[Agent]:
    """Return the agents of every environment that the actor may see."""
    agents = Agent.objects.select_related("environment")
    return agents if actor.is_superuser else agents.filter(environment_id__in=list(actor.grants))


def get_visible_agent(actor: Actor, pk: int) -> Agent:
    found = visible_agents(actor).filter(pk=pk).first()
    if found is None:
        raise NotFound("there is no such agent that you may see")
    return found


def check_superuser(actor: Actor) -> None:
    if not actor.is_superuser:
        raise Forbidden("only administrators of the whole console change teams and who belongs to them")


def can_administer(actor: Actor, environment: Environment) -> bool:
    """Whether the actor may change what an environment consists of: rules, connections, agents and their keys."""
    return actor.has_role(environment.pk, None, Role.ADMINISTRATOR)


def check_can_administer(actor: Actor, environment: Environment) -> None:
    if not can_administer(actor, environment):
        raise Forbidden(f"you are not an administrator of {environment.slug}; ask one of its administrators")
