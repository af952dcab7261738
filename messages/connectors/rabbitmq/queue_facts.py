"""What only RabbitMQ's management API tells of a queue: where its dead letters go, when its messages expire, how many it holds.

AMQP's passive declare tells none of it. Asked when the address has an option `management`, "http://host:15672".
Source: RabbitMQ's HTTP API, GET /api/queues/{vhost}/{name}; a policy's keys are the arguments' without `x-`.
"""

from __future__ import annotations

import base64
import http.client
import json
import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from messages.connectors.base import Address, Check

ANSWER_BYTES = 1_000_000
TIMEOUT_S = 5.0


def looked_up(address: Address, queue: str | None) -> list[Check]:
    """Return what the management API says of the queue, in words; nothing when it is not to be asked."""
    url = str(address.options.get("management") or "")
    if not url or not queue:
        return []
    try:
        found = _ask(address, url, queue)
    except (OSError, http.client.HTTPException, ValueError) as error:
        words = " ".join(str(error).split())[:200] or type(error).__name__
        return [Check(question="queue exists", answer=None, detail=f"the management API could not be asked: {words}")]
    return [Check(question="queue exists", answer=True, detail=f"queue {queue}: {words_of(found)}")]


def words_of(found: Mapping[str, Any]) -> str:
    """Return what a sender should know of this queue, from the API's object for it; odd values never raise. Pure."""
    policy = found.get("effective_policy_definition")
    arguments = found.get("arguments")
    given = {
        **{f"x-{name}": value for name, value in (policy.items() if isinstance(policy, dict) else ())},
        **(arguments if isinstance(arguments, dict) else {}),
    }
    words = [str(found.get("type") or "classic")[:20]]
    if isinstance(consumers := found.get("consumers"), int):
        words.append(f"{consumers} consumers" if consumers else "nobody consumes from it")
    if "x-dead-letter-exchange" in given:
        exchange = given["x-dead-letter-exchange"] or "the default exchange"
        key = given.get("x-dead-letter-routing-key")
        words.append(f"its dead letters go to {exchange}" + (f" with key {key}" if key else ""))
    if "x-message-ttl" in given:
        words.append(f"messages expire in it after {given['x-message-ttl']} ms")
    for name, unit in (("x-max-length", "messages"), ("x-max-length-bytes", "bytes")):
        if name in given:
            full = {"reject-publish": "then it refuses", "reject-publish-dlx": "then it refuses"}
            words.append(
                f"it holds at most {given[name]} {unit}, {full.get(str(given.get('x-overflow')), 'then the oldest leave')}"
            )
    if "x-delivery-limit" in given:
        words.append(f"a message dies after {given['x-delivery-limit']} deliveries")
    return "; ".join(words)[:1000]


def _ask(address: Address, url: str, queue: str) -> Mapping[str, Any]:
    broker, parts = urlsplit(address.url), urlsplit(url)
    vhost = unquote(broker.path[1:]) or "/"
    name = address.username or unquote(broker.username or "guest")
    secret = address.secret if address.username else unquote(broker.password or "guest")
    login = base64.b64encode(f"{name}:{secret}".encode()).decode()
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("its address is not like http://host:15672")
    more: dict[str, Any] = {"context": ssl.create_default_context()} if parts.scheme == "https" else {}
    kind: Any = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname, parts.port, timeout=TIMEOUT_S, **more)
    try:
        path = f"{parts.path.rstrip('/')}/api/queues/{quote(vhost, safe='')}/{quote(queue, safe='')}"
        connection.request("GET", path, headers={"Authorization": f"Basic {login}"})
        answer = connection.getresponse()
        body = answer.read(ANSWER_BYTES)
        if answer.status != 200:
            raise ValueError(f"it answered {answer.status}")
        found = json.loads(body)
    finally:
        connection.close()
    if not isinstance(found, dict):
        raise ValueError("its answer is no object")
    return found
