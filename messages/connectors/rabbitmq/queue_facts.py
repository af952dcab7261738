"""What only RabbitMQ's management API tells of a queue: where its dead letters go, when its messages expire, how many it holds.

AMQP's passive declare tells none of it. Asked when the address has an option `management`, "http://host:15672".
Source: RabbitMQ's HTTP API, GET /api/queues/{vhost}; a policy's keys are the arguments' without `x-`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from messages.connectors.base import Address, BrokerUnavailable, Check
from messages.connectors.rabbitmq.management import QUEUE_COLUMNS, Management

TIMEOUT_S = 5.0


def looked_up(address: Address, queue: str | None) -> list[Check]:
    """Return what the management API says of the queue, in words; nothing when it is not to be asked."""
    url = str(address.options.get("management") or "")
    if not url or not queue:
        return []
    try:
        queues = Management(url, address, timeout_s=TIMEOUT_S).get("queues", f"{QUEUE_COLUMNS},type")
    except BrokerUnavailable as error:
        return [Check(question="queue exists", answer=None, detail=str(error))]
    found = next((one for one in queues if one.get("name") == queue), None)
    if found is None:
        return [Check(question="queue exists", answer=None, detail=f"the management API does not list queue {queue}")]
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
