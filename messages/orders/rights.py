"""Which agents may send replays: an administrator makes an order secret for one, shown once, and ends it."""

from __future__ import annotations

from django.db import transaction

from console.audit.services import record_audit
from console.core.errors import Forbidden, NotFound
from console.identity.access import check_can_administer
from console.identity.actor import Actor
from console.identity.keys import new_key_text
from console.identity.models import Agent
from messages.models import OrderSecret
from messages.orders.wire import Label, is_signed
from messages.payloads.master import open_text, seal_text


class OrdersNotAllowed(Forbidden):
    """This agent has no order secret, or its request is not signed with it: it may push, and not fetch replays."""

    code = "orders_not_allowed"
    again = "With the order secret."


@transaction.atomic
def make_order_secret(agent: Agent, *, by: Actor) -> str:
    """Let this agent send replays; return the secret, shown once. One that it had before holds no more."""
    check_can_administer(by, agent.environment)
    text = new_key_text("order")
    OrderSecret.objects.update_or_create(agent=agent, defaults={"secret": seal_text(text), "made_by": by.name})
    record_audit(by, "order_secret.made", agent, environment=agent.environment)
    return text


@transaction.atomic
def end_order_secret(agent: Agent, *, by: Actor) -> None:
    """Let this agent send no more replays; what it was handed before ends with its lease. Raises NotFound when it has no secret."""
    check_can_administer(by, agent.environment)
    ended, _ = OrderSecret.objects.filter(agent=agent).delete()
    if not ended:
        raise NotFound("this agent has no order secret")
    record_audit(by, "order_secret.ended", agent, environment=agent.environment)


def check_signed(agent: Agent, label: Label, data: bytes, signature: str) -> str:
    """Return the order secret of an agent whose request is signed with it; raises OrdersNotAllowed."""
    token = OrderSecret.objects.filter(agent_id=agent.pk).values_list("secret", flat=True).first()
    if token is None:
        raise OrdersNotAllowed(f"{agent.name} has no order secret: an administrator makes one on its page under Agents")
    secret = open_text(bytes(token))
    if secret is None:
        raise OrdersNotAllowed("the order secret cannot be opened with this master key: make a new one")
    if not is_signed(secret, label, data, signature):
        raise OrdersNotAllowed("this is not signed with the order secret of this agent")
    return secret
