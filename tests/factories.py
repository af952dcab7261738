"""Sentences of test data: people, agents, events, dead letters."""

from __future__ import annotations

import itertools
import json
from datetime import UTC, datetime, timedelta
from typing import Any

from django.test import Client

from console.identity.actor import Actor, actor_of
from console.identity.keys import create_agent_key, create_api_key
from console.identity.models import Agent, Environment, Membership, Role, Team, User
from messages.catalog.connections import approve_connection, create_connection
from messages.catalog.services import ensure_environment
from messages.models import Connection, DeadLetter

ROOT = Actor(name="root", via="command", is_superuser=True)
_numbers = itertools.count(1)


def environment(slug: str = "production") -> Environment:
    return ensure_environment(slug, name=slug, colour="red")


def agent_key(name: str = "shop agent", slug: str = "production") -> str:
    return create_agent_key(name, environment(slug), by="tests")[1]


def agent(name: str = "shop agent", slug: str = "production") -> Agent:
    return Agent.objects.get_or_create(environment=environment(slug), name=name)[0]


def person(name: str, role: Role | None = None, *, team: str = "Order team", slug: str = "production") -> User:
    """Return a user, a member of the team with this role when one is given."""
    user = User.objects.create_user(name, password="long-enough-Secret-1")
    if role is not None:
        Membership.objects.create(
            user=user, team=Team.objects.get_or_create(name=team)[0], environment=environment(slug), role=role
        )
    return user


def actor(user: User) -> Actor:
    return actor_of(user, via="web")


def api_key(user: User) -> str:
    return create_api_key("tests", user, by="tests")[1]


def event(**changes: Any) -> dict[str, Any]:
    number = next(_numbers)
    at = datetime.now(UTC) - timedelta(seconds=60)
    return {
        "id": f"event-{number}", "system": "shop", "operation": "send", "occurred_at": at.isoformat(), "destination": "orders",
        "message_id": f"message-{number:020d}",
    } | changes  # fmt: skip


def letter(**changes: Any) -> dict[str, Any]:
    number = next(_numbers)
    return {
        "id": f"death-{number}", "broker": "redis", "family": "redis-streams", "queue": "erp.orders.dlq", "origin": "erp.orders",
        "route": {"stream": "erp.orders"}, "system": "erp", "reason": "failed after 3 attempts", "reason_code": "delivery_limit",
        "message_id": f"message-{number:020d}", "error": {"type": "ErpTimeout", "message": "erp did not answer", "stack": ""},
        "attempts": 3, "headers": [{"name": "message-id", "type": "string", "value": f"message-{number:020d}"}],
        "content_type": "application/json", "body": json.dumps({"order_no": f"4711-{number}"}),
    } | changes  # fmt: skip


def push(path: str, body: Any, *, key: str, content_type: str = "application/json", **headers: str) -> Any:
    """POST to an ingest endpoint as an agent does; returns the response."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Client(raise_request_exception=False).post(
        path, data, content_type=content_type, HTTP_AUTHORIZATION=f"Bearer {key}", **headers
    )


def stored_letter(**changes: Any) -> DeadLetter:
    """Push one dead letter through ingest and return its row."""
    answer = push("/ingest/v1/dead-letters", [letter(**changes)], key=agent_key("harvester"))
    assert answer.json()["accepted"] == 1, answer.content
    return DeadLetter.objects.latest("id")


def memory_connection(name: str = "redis", **options: Any) -> Connection:
    """Return an approved connection of the in-memory double, with an address of its own."""
    found = create_connection(
        environment(), name=name, kind="memory", address=f"memory://{next(_numbers)}", options=options, by=ROOT
    )
    approve_connection(found, by=ROOT)
    return found
