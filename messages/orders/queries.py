"""Reads of agents that may send replays."""

from __future__ import annotations

from console.identity.access import visible_agents
from console.identity.actor import Actor
from console.identity.models import Agent, Environment
from messages.access import get_one
from messages.models import OrderSecret

MOST_AGENTS = 200


def order_secret_of(agent: Agent) -> OrderSecret | None:
    """Return when and by whom the agent's order secret was made; None: it may not send replays."""
    return OrderSecret.objects.filter(agent=agent).defer("secret").first()


def agents_to_live_with(actor: Actor, environment: Environment) -> list[Agent]:
    """Return the agents of an environment with which a connection may live, by name."""
    return list(visible_agents(actor).filter(environment=environment).order_by("name")[:MOST_AGENTS])


def get_visible_agent_named(actor: Actor, environment: Environment, name: str) -> Agent:
    return get_one(visible_agents(actor), "agent", environment=environment, name=name.replace("\x00", ""))
