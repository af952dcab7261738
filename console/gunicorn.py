"""How the web process is served; `make run` and the container use the same file.

Threads, and an event loop that holds idle and slow connections: console/patience.py.
"""

import contextlib
import ctypes
from pathlib import Path
from typing import Any

from gunicorn.config import Config
from gunicorn.glogging import Logger

from console.core.config import WEB_THREADS, load_config
from console.core.garbage import collect_less_often
from console.core.logs import logging_config

M_MMAP_THRESHOLD, M_ARENA_MAX = -3, -8  # malloc.h
_config = load_config()


class JSONLines(Logger):
    """What the server itself says, a request that is no HTTP for one, goes where and how everything else is logged."""

    def setup(self, cfg: Config) -> None:
        super().setup(cfg)
        logging_config(_config.log_level)
        self.error_log.handlers.clear()
        self.error_log.propagate = True


bind = f"{_config.bind}:{_config.port}"
workers = _config.web_processes
worker_class = "console.serving.BalancedWorker"
threads = WEB_THREADS
timeout = 60
graceful_timeout = 8
keepalive = 15
max_requests = 0
limit_request_line = 8190
worker_tmp_dir = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108  heartbeats must not wait for a disk; macOS has none
accesslog = None
loglevel = "warning"
logger_class = JSONLines
control_socket_disable = True


def post_fork(server: object, worker: object) -> None:
    _give_memory_back()


def post_worker_init(worker: object) -> None:
    """The application is loaded by now."""
    collect_less_often()


def _give_memory_back() -> None:
    """Let glibc keep one heap for all threads and give blocks over 256 KiB back at once: each thread's own would keep a large body's room."""
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None)
        libc.mallopt(M_ARENA_MAX, 1)
        libc.mallopt(M_MMAP_THRESHOLD, 256 * 1024)


def child_exit(server: object, worker: Any) -> None:
    """Give the dead worker's gauges back, so that /metrics stays right, and its connections."""
    from prometheus_client import multiprocess

    from console.serving import forget

    forget(worker)

    if _config.metrics.is_dir():
        multiprocess.mark_process_dead(worker.pid, path=str(_config.metrics))  # type: ignore[attr-defined]
