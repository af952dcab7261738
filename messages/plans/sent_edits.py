"""Edits while a window is sent: read and unsealed once, programs compiled once, and bounded in time for all of it together."""

from __future__ import annotations

import time
from collections.abc import Collection
from functools import cache

from messages.payloads.seal import Content, PayloadUnreadable
from messages.plans.applying import EditFailed, apply_edits
from messages.plans.edits import sha256_of
from messages.plans.sealed import edits_of_plans
from messages.programs.runner import Runner

WITHIN_S = 10.0  # for one window: its lease has to last for the sending too
MARK_CHARACTERS = 16


class NoTimeLeft(Exception):
    """The window has spent its time on edits: this message is edited and sent in a later one."""


class Editing:
    """The edits of the plans of one window."""

    def __init__(self, plan_ids: Collection[int]) -> None:
        self._edits = edits_of_plans(plan_ids)
        self._until = time.monotonic() + WITHIN_S

    def applied(self, plan_id: int | None, content: Content, content_type: str) -> tuple[Content, str]:
        """Return (what is sent, the mark of the edits, "" for none). Raises EditFailed, NoTimeLeft."""
        edits = self._edits.get(plan_id) if plan_id else None
        if edits is None:
            return content, ""
        if isinstance(edits, PayloadUnreadable):
            raise EditFailed(str(edits))
        if time.monotonic() > self._until:
            raise NoTimeLeft
        return apply_edits(edits, content, content_type, sending_runner()), sha256_of(edits)[:MARK_CHARACTERS]


@cache
def sending_runner() -> Runner:
    """Return this worker's own child for programs; it ends by itself when nothing is edited for a while, and with the worker."""
    return Runner()
