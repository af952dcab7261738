"""SQS' own way back for everything in a dead-letter queue, unmodified: move tasks, which AWS runs for up to 36 hours.

The console cannot prove what became of each message that goes this way, and takes no part in it: it starts, watches and stops.
Source: Amazon SQS API reference, StartMessageMoveTask, ListMessageMoveTasks, CancelMessageMoveTask.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeVar

from messages.connectors.base import Address, BrokerUnavailable, Move, Redrivable, RedriveRefused
from messages.connectors.sqs.client import TROUBLES, Cloud, kind_of, words_of
from messages.connectors.sqs.deaths import number_of, resource_of

FASTEST = 500  # messages a second
MOST_SOURCES = 50
TIMEOUT_S = 20.0
A = TypeVar("A")


def redrivable(address: Address, dlq: str, *, timeout_s: float = TIMEOUT_S) -> tuple[Redrivable, str]:
    """Return (what a queue holds and whose dead letters they are, its ARN); raises RedriveRefused, BrokerUnavailable."""

    def ask(cloud: Cloud) -> tuple[Redrivable, str]:
        client, url = cloud.queue(dlq)
        names = ["QueueArn", "ApproximateNumberOfMessages"]
        told = client.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
        answer = client.list_dead_letter_source_queues(QueueUrl=url, MaxResults=MOST_SOURCES)
        sources = sorted(str(one).rpartition("/")[2] for one in answer.get("queueUrls") or ())
        waiting = number_of(told.get("ApproximateNumberOfMessages"))
        return Redrivable(waiting=waiting, sources=sources), str(told["QueueArn"])

    return _asked(address, f"queue {resource_of(dlq)}", ask, timeout_s)


def redrive(
    address: Address,
    dlq_arn: str,
    *,
    destination_arn: str = "",
    per_second: int | None = None,
    timeout_s: float = TIMEOUT_S,
) -> str:
    """Start moving everything out of a dead-letter queue, each message to the queue it died in, or to one; return the task's handle.

    per_second  1 to 500; without it SQS goes as fast as it can.
    Raises      RedriveRefused, BrokerUnavailable.
    """
    more: dict[str, Any] = {"DestinationArn": destination_arn} if destination_arn else {}
    if per_second is not None:
        more["MaxNumberOfMessagesPerSecond"] = max(1, min(FASTEST, per_second))
    return str(
        _ask(address, dlq_arn, lambda client: client.start_message_move_task(SourceArn=dlq_arn, **more), timeout_s)[
            "TaskHandle"
        ]
    )


def redrives(address: Address, dlq_arn: str, *, timeout_s: float = TIMEOUT_S) -> list[Move]:
    """Return the latest moves out of a queue, at most ten, newest first; raises RedriveRefused, BrokerUnavailable."""
    answer = _ask(
        address, dlq_arn, lambda client: client.list_message_move_tasks(SourceArn=dlq_arn, MaxResults=10), timeout_s
    )
    return [
        Move(
            status=str(task.get("Status", "")).lower(),
            moved=int(task.get("ApproximateNumberOfMessagesMoved") or 0),
            to_move=int(task.get("ApproximateNumberOfMessagesToMove") or 0),
            destination=str(task.get("DestinationArn") or ""),
            failure=str(task.get("FailureReason") or ""),
            started_at=datetime.fromtimestamp(int(task.get("StartedTimestamp") or 0) / 1000, UTC),
            handle=str(task.get("TaskHandle") or ""),
        )
        for task in answer.get("Results") or ()
    ]


def cancel_redrive(address: Address, dlq_arn: str, handle: str, *, timeout_s: float = TIMEOUT_S) -> int:
    """Stop a running move; return how many it has moved. Raises RedriveRefused, BrokerUnavailable."""
    answer = _ask(address, dlq_arn, lambda client: client.cancel_message_move_task(TaskHandle=handle), timeout_s)
    return int(answer.get("ApproximateNumberOfMessagesMoved") or 0)


def _ask(address: Address, dlq_arn: str, question: Callable[[Any], Any], timeout_s: float) -> Any:
    parts = dlq_arn.split(":")
    region = parts[3] if len(parts) == 6 else ""
    return _asked(
        address, f"queue {resource_of(dlq_arn)}", lambda cloud: question(cloud.client("sqs", region)), timeout_s
    )


def _asked(address: Address, what: str, question: Callable[[Cloud], A], timeout_s: float) -> A:
    cloud = None
    try:
        cloud = Cloud(address, timeout_s=timeout_s)
        return question(cloud)
    except TROUBLES as error:
        if kind_of(error) in ("busy", "unreachable", "lost"):
            raise BrokerUnavailable(words_of(error, what)) from error
        raise RedriveRefused(words_of(error, what)) from error
    finally:
        if cloud is not None:
            cloud.close()
