"""Saying "look" to a worker. What there is to do lies in PostgreSQL."""

from __future__ import annotations

import structlog

from messages import tasks

log = structlog.get_logger(__name__)


def tell_worker(connection_id: int) -> None:
    """Say "look" to a worker; when the broker is away the sweep finds the rows."""
    try:
        tasks.send_replays.delay(connection_id)
    except Exception as error:  # noqa: BLE001  any broker failure means the same: the sweep will
        log.warning("replays_not_announced", connection=connection_id, reason=str(error)[:200])
