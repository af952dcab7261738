"""What SQS and SNS say of queues, subscriptions and their policies. Nothing is received or changed by asking."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

from messages.connectors.base import Found, Outgoing
from messages.connectors.sqs.client import TROUBLES, Cloud, kind_of
from messages.connectors.sqs.deaths import region_at, resource_of, service_of
from messages.connectors.sqs.topology import (
    Attributes,
    Subscriber,
    circle_of,
    dead_letter_queues,
    policy_of,
    queue_hints,
    topic_hints,
)

MOST_QUEUES, MOST_SUBSCRIPTIONS = 1000, 300  # looked through
MOST_SUBSCRIBERS = 200  # of one topic, counted
MOST_FILTERS = 10  # subscriptions of a topic that are asked for their filter
MOST_HOPS = 5
AT_ONCE = 8
FACTS = (
    "RedrivePolicy", "MessageRetentionPeriod", "DelaySeconds", "ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible",
)  # fmt: skip


def hints_of_queue(cloud: Cloud, name: str, item: Outgoing, *, died_in: str, until: float) -> list[str]:
    """Return what to mind of a queue, following its redrive policy; raises TROUBLES. until: of time.monotonic()."""
    attributes = _attributes(cloud, name)
    start = here = resource_of(name)
    policies: dict[str, str] = {}
    policy = policy_of(attributes)
    while policy is not None and here not in policies and len(policies) < MOST_HOPS and time.monotonic() < until:
        policies[here] = policy[0]
        here = policy[0]
        try:
            policy = policy_of(_attributes(cloud, _beside(name, here)))
        except TROUBLES:  # it is gone, or this login may not ask
            break
    return queue_hints(item, name, attributes, died_in=died_in, circle=circle_of(start, policies))


def _beside(name: str, other: str) -> str:
    """Return how the other queue is named where this one is: a dead-letter queue is of the same region and account."""
    return f"{name.rpartition(':')[0]}:{other}" if service_of(name) else other


def _attributes(cloud: Cloud, name: str) -> Attributes:
    client, url = cloud.queue(name)
    # one name at a time is not known to every queue: asked for all of them, SQS leaves out what does not apply
    told = client.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    return {name: str(told[name]) for name in FACTS if name in told}


def hints_of_topic(cloud: Cloud, arn: str, *, until: float) -> list[str]:
    """Return who gets what is published to a topic; raises TROUBLES."""
    client = cloud.client("sns", region_at(arn))
    found: list[Subscriber] = []
    more: dict[str, str] = {}
    while len(found) < MOST_SUBSCRIBERS:
        answer = client.list_subscriptions_by_topic(TopicArn=arn, **more)
        for one in answer.get("Subscriptions") or ():
            asked = len(found) < MOST_FILTERS and time.monotonic() < until
            filtered = _filtered(client, str(one.get("SubscriptionArn"))) if asked else None
            found.append(
                Subscriber(protocol=str(one.get("Protocol")), endpoint=str(one.get("Endpoint")), filtered=filtered)
            )
        if not (token := answer.get("NextToken")):
            break
        more = {"NextToken": token}
    return topic_hints(arn, found, all_seen=len(found) < MOST_SUBSCRIBERS)


def _filtered(client: Any, subscription: str) -> bool | None:
    try:
        told = client.get_subscription_attributes(SubscriptionArn=subscription)["Attributes"]
    except TROUBLES:  # it waits to be confirmed, or this login may not ask
        return None
    return bool(told.get("FilterPolicy"))


def find_dead_letter_queues(cloud: Cloud, *, until: float) -> list[Found]:
    """Ask every queue and SNS subscription for its redrive policy, as many as time allows; raises TROUBLES."""
    client = cloud.client("sqs")
    urls: dict[str, str] = {}
    for page in client.get_paginator("list_queues").paginate(
        PaginationConfig={"MaxItems": MOST_QUEUES, "PageSize": 500}
    ):
        for url in page.get("QueueUrls") or ():
            urls[url.rpartition("/")[2]] = url
    read = partial(client.get_queue_attributes, AttributeNames=["All"])
    asked = {name: partial(_of_url, read, url) for name, url in urls.items()}
    return dead_letter_queues(_in_parallel(asked, until), _subscriptions(cloud, until), sorted(urls))


def _of_url(read: Callable[..., Any], url: str) -> Attributes:
    told = read(QueueUrl=url)["Attributes"]
    return {name: str(told[name]) for name in FACTS if name in told}


def _subscriptions(cloud: Cloud, until: float) -> list[tuple[str, Attributes]]:
    """Return what subscriptions deliver to, with their attributes; [] when this login may not ask SNS."""
    found: dict[str, str] = {}
    try:
        client = cloud.client("sns")
        for page in client.get_paginator("list_subscriptions").paginate(
            PaginationConfig={"MaxItems": MOST_SUBSCRIPTIONS}
        ):
            for one in page.get("Subscriptions") or ():
                if service_of(str(one.get("SubscriptionArn"))):  # one that is not confirmed has no ARN
                    found[str(one["SubscriptionArn"])] = str(one.get("Endpoint"))
            if time.monotonic() > until:
                break
    except TROUBLES:
        return []
    read = client.get_subscription_attributes
    asked = {arn: partial(_of_subscription, read, arn) for arn in found}
    return [(found[arn], attributes) for arn, attributes in _in_parallel(asked, until).items()]


def _of_subscription(read: Callable[..., Any], arn: str) -> Attributes:
    told = read(SubscriptionArn=arn)["Attributes"]
    return {"RedrivePolicy": str(told["RedrivePolicy"])} if told.get("RedrivePolicy") else {}


def _in_parallel(asked: Mapping[str, Callable[[], Attributes]], until: float) -> dict[str, Attributes]:
    """Return the answers that came in time, in the order asked for; what may not be asked, or is gone meanwhile, is left out."""
    found: dict[str, Attributes] = {}
    with ThreadPoolExecutor(AT_ONCE) as pool:
        futures: dict[str, Future[Attributes]] = {
            key: pool.submit(_unless_late, ask, until) for key, ask in asked.items()
        }
        for key, future in futures.items():
            try:
                if told := future.result():
                    found[key] = told
            except TROUBLES as error:
                if kind_of(error) in ("login", "unreachable"):
                    pool.shutdown(cancel_futures=True)
                    raise
    return found


def _unless_late(ask: Callable[[], Attributes], until: float) -> Attributes:
    return ask() if time.monotonic() < until else {}
