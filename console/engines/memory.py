"""How much memory there is for the engines: that of the machine, or what the container may use of it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))  # cgroup 2 and 1


def memory_mb(limits: Sequence[Path] = LIMITS) -> int:
    """Return the MiB of memory that this process and its children may use together."""
    known = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for path in limits:
        try:
            known.append(int(path.read_text()))
        except (OSError, ValueError):  # there is no such file, or it says "max"
            continue
    return min(known) // 2**20
