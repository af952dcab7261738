"""A task as its letter's body shows it, and as Celery's message protocol 2 carries it. Pure.

The body is JSON: {"task": name, "args": […], "kwargs": {…}}, with kombu's way of writing what JSON has no type for ({"__type__", "__value__"}).
Source: docs.celeryq.dev, "Message Protocol", version 2.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from celery.utils.saferepr import saferepr
from kombu.utils import json

LONGEST_REPR = 1024  # as Celery's own


class NotATask(ValueError):
    """This body cannot be sent as a task; the sentence says why."""


def read_task(body: bytes) -> tuple[str, list[Any], dict[str, Any]]:
    """Return (name, args, kwargs); raises NotATask."""
    try:
        found = json.loads(body)
    except (ValueError, TypeError, RecursionError, LookupError) as error:
        raise NotATask(f"the body is not JSON: {' '.join(str(error).split())[:200]}") from error
    if not isinstance(found, dict) or not isinstance(found.get("task"), str) or not found["task"]:
        raise NotATask('the body is not like {"task": "name", "args": [], "kwargs": {}}')
    args, kwargs = found.get("args"), found.get("kwargs")
    if not isinstance(args, list) or not isinstance(kwargs, dict):
        raise NotATask(
            "the task's args or kwargs were not JSON when it failed: they are shown, and cannot be sent again"
        )
    return found["task"], args, kwargs


def as_message(task_id: str, name: str, args: list[Any], kwargs: Mapping[str, Any]) -> tuple[bytes, dict[str, Any]]:
    """Return (body, headers) of a new task with these arguments: its first attempt, alone, without a result that anybody waits for."""
    embedded = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
    headers = {
        "lang": "py", "task": name, "id": task_id, "shadow": None, "eta": None, "expires": None, "group": None, "group_index": None,
        "retries": 0, "timelimit": [None, None], "root_id": task_id, "parent_id": None, "argsrepr": saferepr(args, LONGEST_REPR),
        "kwargsrepr": saferepr(dict(kwargs), LONGEST_REPR), "origin": "waybill", "ignore_result": False, "replaced_task_nesting": 0,
        "stamped_headers": None, "stamps": {},
    }  # fmt: skip
    return json.dumps([args, kwargs, embedded]).encode(), headers
