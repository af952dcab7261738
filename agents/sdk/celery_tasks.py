"""Failed tasks of Celery as dead letters: Celery itself leaves nothing of them on the broker.

    from agents.sdk import Waybill
    from agents.sdk.celery_tasks import report_failed_tasks

    report_failed_tasks(Waybill(system="erp", spool="/var/lib/erp/spool"), broker="celery-eu")

Called once where the Celery app is made. It needs Celery, and no other part of this folder does.
"""

from __future__ import annotations

import logging
from typing import Any

from .client import Waybill

log = logging.getLogger("waybill")
CONTENT_TYPE = "application/json"


def report_failed_tasks(waybill: Waybill, *, broker: str, default_queue: str = "celery", flush_s: float = 2.0) -> None:
    """Report every task that fails for good, and that a replayed one went well, which proves the replay.

    broker   the console finds the connection for replays by it.   default_queue  when a failure does not say where it came from.
    flush_s  how long a failed task may wait for the console, or for the client's spool; then it goes on and the client sends it later.
    """
    from celery import signals

    def failed(sender: Any, task_id: str, exception: BaseException, args: Any, kwargs: Any, **more: Any) -> None:
        try:
            letter = letter_of(sender, task_id, args, kwargs, default_queue=default_queue)
            if exception.__traceback__ is None:
                exception = exception.with_traceback(more.get("traceback"))
            waybill.dead_letter(
                f"{broker}/{letter['queue']}/{task_id}", broker=broker, family="celery", error=exception, **letter
            )
            waybill.flush(flush_s)
        except Exception as error:
            if waybill.strict:
                raise
            log.warning("task %s was not reported: %s: %s", task_id, type(error).__name__, error)

    def succeeded(sender: Any, **_: Any) -> None:
        request = sender.request
        headers = request.headers or {}
        if headers.get("replay-id"):
            queue = queue_of(sender, request, default_queue)
            waybill.event(
                "process", destination=queue, message_id=str(request.id), traceparent=headers.get("traceparent")
            )
            waybill.flush(flush_s)

    signals.task_failure.connect(failed, weak=False)
    signals.task_success.connect(succeeded, weak=False)


def letter_of(task: Any, task_id: str, args: Any, kwargs: Any, *, default_queue: str) -> dict[str, Any]:
    """Return what a dead letter says of this task. A worker that died under it knows its arguments and nothing else of it."""
    request = task.request if task.request.id == task_id else None
    queue = queue_of(task, request, default_queue)
    headers = dict(request.headers or {}) if request is not None else {}
    letter: dict[str, Any] = {
        "queue": queue,
        "origin": queue,
        "route": {"routing_key": queue},
        "reason": "the task failed",
        "reason_code": "target_error",
        "message_id": str(task_id),
        "content_type": CONTENT_TYPE,
        "body": body_of_task(task.name, args, kwargs),
        "headers": headers,
        "replay_id": str(headers.get("replay-id") or "")[:36],
    }
    if request is not None:
        letter["attempts"] = int(request.retries or 0) + 1
        letter["correlation_id"] = str(request.root_id or "")
    return letter


def queue_of(task: Any, request: Any, default: str) -> str:
    """Return the queue that the worker took it from: the one that is bound with its routing key, else the key itself."""
    key = str((getattr(request, "delivery_info", None) or {}).get("routing_key") or "")
    for queue in task.app.amqp.queues.consume_from.values():
        if key and queue.routing_key == key:
            return str(queue.name)
    return key or default


def body_of_task(name: str, args: Any, kwargs: Any) -> str:
    """Return the task as JSON that can be sent again; arguments that JSON cannot say are shown as text, and cannot."""
    from kombu.utils import json

    try:
        return str(json.dumps({"task": name, "args": list(args or ()), "kwargs": dict(kwargs or {})}))
    except Exception:  # noqa: BLE001  whatever an argument's own code raises
        return str(json.dumps({"task": name, "args": repr(args)[:10_000], "kwargs": repr(kwargs)[:10_000]}))
