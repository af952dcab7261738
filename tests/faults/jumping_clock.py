"""gunicorn's configuration for a web process whose clock is off by as many hours as a file says; that of PostgreSQL is not.

The wall clock alone, as when NTP or a person sets it: monotonic time goes on.
"""

from __future__ import annotations

import os
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import time_machine

import console.gunicorn
from console.gunicorn import *  # noqa: F403

CLOCK = Path(os.environ["TESTS_CLOCK_FILE"])


def post_fork(server: object, worker: object) -> None:
    console.gunicorn.post_fork(server, worker)
    threading.Thread(target=_follow, daemon=True).start()


def _follow() -> None:
    hours, traveller = 0.0, None
    while True:
        wanted = float(CLOCK.read_text() or 0)
        if wanted != hours:
            if traveller is not None:
                traveller.stop()
            hours = wanted
            traveller = time_machine.travel(datetime.now(UTC) + timedelta(hours=hours), tick=True)
            traveller.start()
        time.sleep(0.05)
