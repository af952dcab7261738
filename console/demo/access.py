"""Who may see the demo estate and switch its faults: members of environment demo, and its operators."""

from __future__ import annotations

from agents.demo.names import ENVIRONMENT
from console.core.errors import Forbidden
from console.identity.access import get_visible_environment
from console.identity.actor import Actor
from console.identity.models import Environment, Role


def get_demo_environment(actor: Actor) -> Environment:
    """Return environment demo; raises NotFound where there is none, and for a stranger to it."""
    return get_visible_environment(actor, ENVIRONMENT)


def can_switch(actor: Actor, environment: Environment) -> bool:
    return actor.has_role(environment.pk, None, Role.OPERATOR)


def check_can_switch(actor: Actor, environment: Environment) -> None:
    if not can_switch(actor, environment):
        raise Forbidden("only operators of the demo switch its faults; you may look")
