"""A client of Redis, and what can be asked before anything is done."""

from __future__ import annotations

from typing import Any

import redis

from messages.connectors.base import Address, Check


def connect(address: Address, *, timeout_s: float = 10) -> Any:
    """Return a client; nothing is sent before its first command. Raises ValueError for an address with options that Redis has not."""
    credentials = {"username": address.username or None, "password": address.secret} if address.secret else {}
    try:
        client = redis.Redis.from_url(address.url, socket_timeout=timeout_s, socket_connect_timeout=5, **credentials)
        client.connection_pool.make_connection()  # not connected: else only the first command would say what is wrong
    except (TypeError, ValueError) as error:
        raise ValueError(f"the address is not like redis://host:6379/0: {says(error)}") from error
    return client


def says(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__


def reached(client: Any) -> list[Check]:
    try:
        client.ping()
    except redis.AuthenticationError as error:
        return [
            Check(question="reached", answer=True, detail="Redis answers"),
            Check(question="authenticated", answer=False, detail=says(error)),
        ]
    except redis.RedisError as error:
        return [Check(question="reached", answer=False, detail=f"Redis does not answer: {says(error)}")]
    return [
        Check(question="reached", answer=True, detail="Redis answers"),
        Check(question="authenticated", answer=True, detail="the login is accepted"),
    ]
