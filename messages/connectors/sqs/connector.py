"""Sending to queues of SQS and topics of SNS, in batches of ten."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from messages.connectors.base import (
    Address,
    BrokerUnavailable,
    Check,
    Found,
    Move,
    Outgoing,
    Published,
    Redrivable,
    Result,
)
from messages.connectors.sqs import redrive as moving
from messages.connectors.sqs.asking import find_dead_letter_queues, hints_of_queue, hints_of_topic
from messages.connectors.sqs.attributes import Unsendable
from messages.connectors.sqs.client import TROUBLES, Cloud, found, kind_of, kind_of_answer, words_of
from messages.connectors.sqs.deaths import region_at, service_of
from messages.connectors.sqs.outgoing import QUEUE_BYTES, TOPIC_BYTES, Ready, Target, batches, make_ready
from messages.connectors.sqs.redrive import FASTEST


class SQSConnector:
    """SendMessageBatch and PublishBatch. A destination is a queue's name or ARN, or a topic's ARN.

    What died in an SNS subscription goes to the queue of that subscription, as SNS would have put it there: the topic would send it to
    everybody. options  region.
    """

    kind = "sqs"
    at_once = 100  # ten batches
    redriver = "SQS"
    fastest = FASTEST

    def __init__(self, address: Address) -> None:
        self.address = address
        self._cloud: Cloud | None = None
        self._answers_in_s = 0.0

    def _open(self, timeout_s: float) -> Cloud:
        """Return clients of which one call takes at most three quarters of the time; raises TROUBLES."""
        if self._cloud is None or self._answers_in_s != timeout_s:
            self.close()
            self._cloud = Cloud(self.address, timeout_s=timeout_s / 2, connect_s=timeout_s / 4)
            self._answers_in_s = timeout_s
        return self._cloud

    def publish(self, items: Sequence[Outgoing], *, timeout_s: float) -> list[Published]:
        last_start = time.monotonic() + timeout_s / 4
        results: dict[int, Published] = {}
        ready: dict[Target, list[tuple[int, Ready]]] = {}
        targets: dict[object, Target | Exception] = {}  # each is looked for once, not once a message
        for number, item in enumerate(items):
            key = (item.destination, *sorted(item.route.items()))
            if key not in targets:
                if time.monotonic() > last_start:
                    results[number] = _unsent(item.id)
                    continue
                targets[key] = self._found(item, timeout_s)
            try:
                target = _raised(targets[key])
                ready.setdefault(target, []).append((number, make_ready(item, target)))
            except Unsendable as error:
                results[number] = Published(id=item.id, result="refused", detail=str(error))
            except TROUBLES as error:
                results[number] = _judged(item.id, error, f"destination {item.destination[:200]}", asked=True)
        for target, numbered in ready.items():
            most = TOPIC_BYTES if target.service == "sns" else QUEUE_BYTES
            sent: list[Published] = []
            for run in batches([one for _, one in numbered], most):
                sent += self._send(target, run, timeout_s, last_start)
            results |= {number: one for (number, _), one in zip(numbered, sent, strict=True)}
        return [results[number] for number in range(len(items))]

    def _found(self, item: Outgoing, timeout_s: float) -> Target | Exception:
        try:
            return self._target(item, timeout_s)
        except TROUBLES as error:  # and Unsendable, which is a ValueError
            return error

    def _target(self, item: Outgoing, timeout_s: float) -> Target:
        """Return where this message goes; the queue is looked for now, so that its absence is known before anything is sent."""
        route = item.route
        if "holds" in route:
            raise Unsendable(f"what is stored of it is {route['holds']}")
        if "subscription" in route:
            return self._subscribed(route, timeout_s)
        where = route.get("queue") or route.get("topic") or route.get("target") or item.destination
        service = service_of(where)
        if service == "sns":
            return Target(service="sns", name=where)
        if service and service != "sqs":
            raise Unsendable(f"{where[:200]} is neither a queue nor a topic: choose one as the destination")
        self._open(timeout_s).queue(where)
        return Target(service="sqs", name=where)

    def _subscribed(self, route: Mapping[str, str], timeout_s: float) -> Target:
        """Return the queue of the subscription that failed."""
        subscription, topic = route["subscription"], route.get("topic", "")
        everybody = f"to publish to the topic for every subscriber, choose {topic} as the destination"
        if not subscription:
            raise Unsendable(f"the notification does not tell which subscription failed; {everybody}")
        cloud = self._open(timeout_s)
        client = cloud.client("sns", region_at(subscription))
        told = client.get_subscription_attributes(SubscriptionArn=subscription)["Attributes"]
        if told.get("Protocol") != "sqs":
            raise Unsendable(
                f"the subscription that failed delivers to {told.get('Protocol')}, not to a queue; {everybody}"
            )
        queue = str(told.get("Endpoint"))
        cloud.queue(queue)
        raw = str(told.get("RawMessageDelivery")).lower() == "true"
        return Target(service="sqs", name=queue, wrapped=not raw, via="for the one subscription that failed")

    def _send(self, target: Target, run: list[Ready], timeout_s: float, last_start: float) -> list[Published]:
        if time.monotonic() > last_start:
            return [_unsent(one.id) for one in run]
        try:
            answer = self._ask(target, [one.entry | {"Id": str(n)} for n, one in enumerate(run)], timeout_s)
        except TROUBLES as error:
            if kind_of(error) == "content" and len(run) > 1:  # one of them is wrong, and none was sent
                return [one for alone in run for one in self._send(target, [alone], timeout_s, last_start)]
            return [_judged(one.id, error, target.words) for one in run]
        taken = {entry["Id"]: entry for entry in answer.get("Successful") or ()}
        failed = {entry["Id"]: entry for entry in answer.get("Failed") or ()}
        return [_answered(one, target, taken.get(str(n)), failed.get(str(n))) for n, one in enumerate(run)]

    def _ask(self, target: Target, entries: list[dict[str, Any]], timeout_s: float) -> Mapping[str, Any]:
        cloud = self._open(timeout_s)
        if target.service == "sns":
            client = cloud.client("sns", region_at(target.name))
            return dict(client.publish_batch(TopicArn=target.name, PublishBatchRequestEntries=entries))
        client, url = cloud.queue(target.name)
        return dict(client.send_message_batch(QueueUrl=url, Entries=entries))

    def check(self, destination: str | None) -> list[Check]:
        """Ask by looking for the queue or topic, or for any queue; leaves nothing behind."""
        kind = "topic" if destination and service_of(destination) == "sns" else "queue"
        what = f"{kind} {destination}" if destination else "SQS"
        cloud: Cloud | None = None
        try:
            cloud = Cloud(self.address, timeout_s=5)
            if not destination:
                cloud.client("sqs").list_queues(MaxResults=1)
            elif kind == "topic":
                cloud.client("sns", region_at(destination)).get_topic_attributes(TopicArn=destination)
            else:
                cloud.queue(destination)
            return [*found(what), _may_publish(cloud, destination, what)] if destination else found(what)[:2]
        except TROUBLES as error:
            known = not destination and kind_of(error) == "denied"  # not allowed to list queues, but a login it is
            return found(what)[:2] if known else found(what, error)
        finally:
            if cloud is not None:
                cloud.close()

    def hints(self, item: Outgoing, *, died_in: str, timeout_s: float) -> list[str]:
        """Say what the queue or topic makes of it: who gets it, where it goes if it fails, how long it is kept, FIFO's windows."""
        until = time.monotonic() + timeout_s
        what = f"destination {item.destination[:200]}"
        try:
            target = self._target(item, timeout_s)
            what = target.words
            cloud = self._open(timeout_s)
            if target.service == "sns":
                return hints_of_topic(cloud, target.name, until=until)
            return hints_of_queue(cloud, target.name, item, died_in=died_in, until=until)
        except Unsendable as error:
            return [f"it cannot be sent so: {error}"]
        except TROUBLES as error:
            if kind_of(error) in ("busy", "unreachable", "lost"):
                raise BrokerUnavailable(words_of(error, what)) from error
            return [words_of(error, what)]

    def discover(self, *, timeout_s: float) -> list[Found]:
        """Ask the queues of this region and account, and its SNS subscriptions, for their redrive policies; then go by names."""
        cloud: Cloud | None = None
        try:
            cloud = Cloud(self.address, timeout_s=timeout_s)
            return find_dead_letter_queues(cloud, until=time.monotonic() + timeout_s)
        except TROUBLES as error:
            raise BrokerUnavailable(words_of(error, "the list of queues")) from error
        finally:
            if cloud is not None:
                cloud.close()

    def redrivable(self, queue: str, *, timeout_s: float) -> Redrivable:
        return moving.redrivable(self.address, queue, timeout_s=timeout_s)[0]

    def redrive(self, queue: str, *, per_second: int | None, timeout_s: float) -> None:
        moving.redrive(self.address, self._arn(queue, timeout_s), per_second=per_second, timeout_s=timeout_s)

    def redrives(self, queue: str, *, timeout_s: float) -> list[Move]:
        return moving.redrives(self.address, self._arn(queue, timeout_s), timeout_s=timeout_s)

    def cancel_redrive(self, queue: str, handle: str, *, timeout_s: float) -> None:
        moving.cancel_redrive(self.address, self._arn(queue, timeout_s), handle, timeout_s=timeout_s)

    def _arn(self, queue: str, timeout_s: float) -> str:
        return queue if service_of(queue) else moving.redrivable(self.address, queue, timeout_s=timeout_s)[1]

    def close(self) -> None:
        if self._cloud is not None:
            self._cloud.close()
        self._cloud = None


def _raised(found: Target | Exception) -> Target:
    if isinstance(found, Exception):
        raise found
    return found


def _may_publish(cloud: Cloud, destination: str, what: str) -> Check:
    """Ask SQS to send nothing: who may not send hears that first. SNS has no such question."""
    if service_of(destination) == "sns":
        return Check(question="may publish", answer=None, detail="only a real message would tell")
    client, url = cloud.queue(destination)
    try:
        client.send_message_batch(QueueUrl=url, Entries=[])
    except TROUBLES as error:
        if kind_of(error) != "content":
            answer = False if kind_of(error) == "denied" else None
            return Check(question="may publish", answer=answer, detail=words_of(error, what))
    return Check(question="may publish", answer=True, detail="a batch of nothing was looked at and not denied")


def _unsent(item_id: str) -> Published:
    return Published(
        id=item_id, result="unavailable", detail="time ran out before it was sent: the broker answers slowly"
    )


def _judged(item_id: str, error: Exception, what: str, *, asked: bool = False) -> Published:
    """Return what an error of a whole request means for a message; `asked`: of a question before anything was sent."""
    kind = kind_of(error)
    results: dict[str, Result] = {
        "busy": "unavailable",
        "unreachable": "unavailable",
        "lost": "unavailable" if asked else "unknown",
    }
    doubt = "; it may have been taken" if kind == "lost" and not asked else ""
    return Published(id=item_id, result=results.get(kind, "refused"), detail=words_of(error, what) + doubt)


def _answered(
    one: Ready, target: Target, taken: Mapping[str, Any] | None, failed: Mapping[str, Any] | None
) -> Published:
    if taken is not None:
        room = f"; there was no room for {', '.join(one.dropped)} beside its own ten attributes" if one.dropped else ""
        detail = f"{target.words} took it{f' {target.via}' if target.via else ''}{room}"
        return Published(id=one.id, result="confirmed", detail=detail, broker_id=str(taken.get("MessageId", "")))
    if failed is None:
        return Published(
            id=one.id, result="unknown", detail=f"{target.words} said nothing of it; it may have been taken"
        )
    code = str(failed.get("Code", "")).rpartition(".")[2]
    theirs = not failed.get("SenderFault") and not code.startswith("Invalid")
    kind = kind_of_answer(code, 500 if theirs else 400)
    words = " ".join(f"{code}: {failed.get('Message', '')}".split())[:300]
    if kind in ("busy", "lost"):
        return Published(id=one.id, result="unavailable", detail=f"{target.words} is busy or failing ({words})")
    return Published(id=one.id, result="refused", detail=f"{target.words} refused it ({words})")
