"""What the triggers cost that note touched minutes: CPU time of PostgreSQL, with and without them, in turns."""

from __future__ import annotations

import os
import statistics
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

from django.db import connection, transaction

TURNS, BATCHES = 6, 400
MESSAGES, EVENTS = 125, 500  # of a batch, as bench-ingest sends them: four events a message


def cpu_s() -> float:
    """Return the CPU time that this session of PostgreSQL has used: what a busy machine cannot lengthen."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        stat = Path(f"/proc/{cursor.fetchone()[0]}/stat")
    used = stat.read_text().rsplit(")", 1)[1].split() if stat.exists() else []
    return (int(used[11]) + int(used[12])) / os.sysconf("SC_CLK_TCK") if used else 0.0


def trigger_us() -> tuple[float, float]:
    """Return (µs of CPU an event without the triggers, with them) of writing the messages of batches; medians of turns."""
    from messages.touched import note_touched, note_touched_no_more

    spent: dict[bool, list[float]] = {False: [], True: []}
    for turn in range(2 * TURNS):
        noted = turn % 4 in (1, 2)
        (note_touched if noted else note_touched_no_more)()
        spent[noted].append(_batches_us())
    note_touched_no_more()
    return statistics.median(spent[False]), statistics.median(spent[True])


def _batches_us() -> float:
    """Write new messages and then the same ones again, each a batch and a transaction; return µs of CPU an event."""
    from console.identity.models import Environment
    from messages.ingest.messages_sql import UPSERT, json, run_set_based
    from messages.models import Flow

    flow, keys = Flow.objects.order_by("pk").first(), json({"order_no": "4711"})
    assert flow is not None
    environment = Environment.objects.get(pk=flow.environment_id)
    before = cpu_s()
    for _ in range(BATCHES // 2):
        now = datetime.now(UTC)
        rows = [
            (now.date(), uid, environment.pk, flow.pk, str(uid), None, uid, at, at, 1, at, None, 4, keys, None, None, at, None, None)
            for uid, at in sorted((uuid4(), now - n * timedelta(milliseconds=8)) for n in range(MESSAGES))
        ]  # fmt: skip
        for _ in range(2):
            with transaction.atomic():
                run_set_based(UPSERT, rows)
    return (cpu_s() - before) * 1e6 / (BATCHES * EVENTS)
