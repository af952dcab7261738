"""SQS' own way back for everything in a dead-letter queue, unmodified: move tasks, which AWS runs for up to 36 hours.

The console cannot prove what became of each message that goes this way, and takes no part in it: it starts, watches and stops.
Source: Amazon SQS API reference, StartMessageMoveTask, ListMessageMoveTasks, CancelMessageMoveTask.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from messages.connectors.base import Address, BrokerUnavailable
from messages.connectors.sqs.client import TROUBLES, Cloud, kind_of, words_of
from messages.connectors.sqs.deaths import resource_of

FASTEST = 500  # messages a second


class RedriveRefused(Exception):
    """SQS will not do it; the sentence says why: no such queue, no dead-letter queue, one is running, a right is missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveTask:
    """One move of a queue's messages. status: RUNNING, COMPLETED, CANCELLING, CANCELLED or FAILED; only a running one has a handle."""

    status: str
    moved: int
    to_move: int
    destination_arn: str
    failure: str
    started_at: datetime
    handle: str


def redrive(address: Address, dlq_arn: str, *, destination_arn: str = "", per_second: int | None = None) -> str:
    """Start moving everything out of a dead-letter queue, each message to the queue it died in, or to one; return the task's handle.

    per_second  1 to 500; without it SQS goes as fast as it can.
    Raises      RedriveRefused, BrokerUnavailable.
    """
    more: dict[str, Any] = {"DestinationArn": destination_arn} if destination_arn else {}
    if per_second is not None:
        more["MaxNumberOfMessagesPerSecond"] = max(1, min(FASTEST, per_second))
    return str(
        _ask(address, dlq_arn, lambda client: client.start_message_move_task(SourceArn=dlq_arn, **more))["TaskHandle"]
    )


def redrives(address: Address, dlq_arn: str) -> list[MoveTask]:
    """Return the latest moves out of a queue, at most ten, newest first; raises RedriveRefused, BrokerUnavailable."""
    answer = _ask(address, dlq_arn, lambda client: client.list_message_move_tasks(SourceArn=dlq_arn, MaxResults=10))
    return [
        MoveTask(
            status=str(task.get("Status", "")),
            moved=int(task.get("ApproximateNumberOfMessagesMoved") or 0),
            to_move=int(task.get("ApproximateNumberOfMessagesToMove") or 0),
            destination_arn=str(task.get("DestinationArn") or ""),
            failure=str(task.get("FailureReason") or ""),
            started_at=datetime.fromtimestamp(int(task.get("StartedTimestamp") or 0) / 1000, UTC),
            handle=str(task.get("TaskHandle") or ""),
        )
        for task in answer.get("Results") or ()
    ]


def cancel_redrive(address: Address, dlq_arn: str, handle: str) -> int:
    """Stop a running move; return how many it has moved. Raises RedriveRefused, BrokerUnavailable."""
    answer = _ask(address, dlq_arn, lambda client: client.cancel_message_move_task(TaskHandle=handle))
    return int(answer.get("ApproximateNumberOfMessagesMoved") or 0)


def _ask(address: Address, dlq_arn: str, question: Callable[[Any], Any]) -> Any:
    what = f"queue {resource_of(dlq_arn)}"
    cloud = None
    try:
        cloud = Cloud(address, timeout_s=20)
        parts = dlq_arn.split(":")
        return question(cloud.client("sqs", parts[3] if len(parts) == 6 else ""))
    except TROUBLES as error:
        if kind_of(error) in ("busy", "unreachable", "lost"):
            raise BrokerUnavailable(words_of(error, what)) from error
        raise RedriveRefused(words_of(error, what)) from error
    finally:
        if cloud is not None:
            cloud.close()
