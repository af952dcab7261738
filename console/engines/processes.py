"""Whether a daemon that wrote its process id into a file still runs."""

from __future__ import annotations

import os
from pathlib import Path


def process_of(file: Path) -> int | None:
    """Return the process id in the first line of this file, None when there is no such process any more."""
    try:
        pid = int(file.read_text().split("\n", 1)[0])
        os.kill(pid, 0)
    except PermissionError:  # it runs as another user
        return pid
    except (OSError, ValueError):
        return None
    return pid
