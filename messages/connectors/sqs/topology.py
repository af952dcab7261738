"""What to mind before a message goes to a queue or topic, and which queues hold dead letters, from what AWS says of them. Pure.

Source: Amazon SQS API reference, GetQueueAttributes; Amazon SNS API reference, GetSubscriptionAttributes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from messages.connectors.base import Found, Outgoing
from messages.connectors.naming import MOST_FOUND, why_dead_letters
from messages.connectors.spans import SOON_S, some, span
from messages.connectors.sqs.deaths import number_of, resource_of

WINDOW = "5 min"  # in which a FIFO queue or topic takes a deduplication id once
Attributes = Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscriber:
    """One subscription of a topic. filtered: it takes some messages only; None when that was not asked."""

    protocol: str
    endpoint: str
    filtered: bool | None = None


def policy_of(attributes: Attributes) -> tuple[str, int] | None:
    """Return (name of the dead-letter queue, receipts before a message goes there), None without a policy that can be read."""
    try:
        policy = json.loads(attributes.get("RedrivePolicy") or "{}")
        target, count = str(policy.get("deadLetterTargetArn") or ""), number_of(policy.get("maxReceiveCount"))
    except (ValueError, AttributeError, TypeError):
        return None
    return (resource_of(target), count or 0) if target else None


def queue_hints(
    item: Outgoing, name: str, attributes: Attributes, *, died_in: str, circle: Sequence[str] = ()
) -> list[str]:
    """Return what to mind of a queue. circle: the queues from it back to it, by their redrive policies, [] when there is none. Pure."""
    name = resource_of(name)
    return [
        *_dead_letters(name, attributes, resource_of(died_in), circle),
        *_kept(name, attributes),
        *(_fifo(item, name, attributes) if name.endswith(".fifo") else []),
        *_consumers(name, attributes),
    ]


def _dead_letters(name: str, attributes: Attributes, died_in: str, circle: Sequence[str]) -> list[str]:
    if circle:
        way = " → ".join(circle)
        return [f"dead letters go in a circle: {way}. If it fails again it comes back by itself, and so on"]
    policy = policy_of(attributes)
    if policy is None:
        return [
            f"queue {name} has no dead-letter queue: if it fails again it is tried until its retention ends, then it is gone"
        ]
    target, count = policy
    times = "after one receipt" if count == 1 else f"after {count} receipts"
    if target == died_in:
        return [f"if it fails again SQS puts it back into {target} {times}, where it is a new letter"]
    return [
        f"if it fails again SQS puts it into {target} {times}, not into {died_in} where this one died: is {target} harvested too?"
    ]


def _kept(name: str, attributes: Attributes) -> list[str]:
    found = []
    kept = number_of(attributes.get("MessageRetentionPeriod"))
    if kept is not None and kept <= SOON_S:
        found.append(f"queue {name} keeps a message for {span(kept)} only: what nobody has taken by then is gone")
    if delay := number_of(attributes.get("DelaySeconds")):
        found.append(f"queue {name} shows a message to its consumers only after {span(delay)}")
    return found


def _fifo(item: Outgoing, name: str, attributes: Attributes) -> list[str]:
    found = [
        f"queue {name} swallows a deduplication id that it has seen within {WINDOW}; a replay has an id of its own, so it passes, "
        "even if the same message was sent again by somebody else"
    ]
    group, busy = (
        item.properties.get("MessageGroupId"),
        number_of(attributes.get("ApproximateNumberOfMessagesNotVisible")),
    )
    if group and busy:
        found.append(
            f"it goes behind what group {str(group)[:60]} got meanwhile, and waits while another of that group is in a consumer's hand "
            f"({busy} of the queue are now)"
        )
    elif group:
        found.append(
            f"it goes behind what group {str(group)[:60]} got meanwhile: its old place in the order is not kept"
        )
    return found


def _consumers(name: str, attributes: Attributes) -> list[str]:
    waiting = number_of(attributes.get("ApproximateNumberOfMessages"))
    busy = number_of(attributes.get("ApproximateNumberOfMessagesNotVisible"))
    if waiting and busy == 0:
        return [
            f"about {waiting:,} wait in queue {name} and no consumer has one in hand: maybe nobody receives (SQS does not tell who does)"
        ]
    return []


def topic_hints(name: str, subscribers: Sequence[Subscriber], *, all_seen: bool) -> list[str]:
    """Return what to mind of a topic: how many get the message, some of them by a filter. Pure."""
    topic = resource_of(name)
    if not subscribers:
        return [f"nobody has subscribed to topic {topic}: SNS takes the message and drops it"]
    one = len(subscribers) == 1
    count = "1 subscriber" if one else f"{'' if all_seen else 'more than '}{len(subscribers)} subscribers"
    who = some([f"{sub.protocol} {resource_of(sub.endpoint)[:80]}" for sub in subscribers], 4)
    filtered = sum(sub.filtered is True for sub in subscribers)
    words = f", {filtered} of them by a filter policy" if filtered else ""
    again = "" if one else ": all get it, also those that did well with it before"
    found = [f"topic {topic} sends it on to {count} ({who}{words}){again}"]
    if topic.endswith(".fifo"):
        found.append(
            f"topic {topic} swallows a deduplication id that it has seen within {WINDOW}; a replay has an id of its own"
        )
    return found


def circle_of(start: str, policies: Mapping[str, str]) -> list[str]:
    """Return the way from a queue by redrive policies (queue → its dead-letter queue) back to it, [] when it does not lead back. Pure."""
    way = [start]
    while (following := policies.get(way[-1])) is not None:
        if following == start:
            return [*way, start]
        if following in way:
            return []
        way.append(following)
    return []


def dead_letter_queues(
    attributes: Mapping[str, Attributes], subscriptions: Sequence[tuple[str, Attributes]], names: Sequence[str]
) -> list[Found]:
    """Return the queues that redrive policies name, those of queues first, then of SNS subscriptions, then queues by their names. Pure.

    attributes     of the queues that were asked, by name.
    subscriptions  (what it delivers to, its attributes).
    names          of every queue, asked or not.
    """
    whys: dict[str, str] = {}
    for name, own in attributes.items():
        if (policy := policy_of(own)) and policy[0] != name:
            whys.setdefault(policy[0], f"{name} sends its dead letters there, after {policy[1]} receipts")
    for endpoint, own in subscriptions:
        if policy := policy_of(own):
            whys.setdefault(
                policy[0], f"the SNS subscription of {resource_of(endpoint)[:80]} sends its dead letters there"
            )
    sure = frozenset(whys)
    for name in names:
        if name not in whys and (why := why_dead_letters(name)):
            whys[name] = f"{why}; no redrive policy that was seen leads there" if name in attributes else why
    return [
        Found(
            queue=name,
            why=why,
            waiting=number_of(attributes.get(name, {}).get("ApproximateNumberOfMessages")),
            sure=name in sure,
        )
        for name, why in list(whys.items())[:MOST_FOUND]
    ]
