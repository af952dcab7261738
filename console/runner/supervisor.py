"""Keeps the processes of a Procfile running and stops them together.

Own code in place of honcho, which ends everything when one process dies: a console whose worker crashed must go on
taking events while the worker comes back.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from console.core.config import ROOT

LONGEST_PAUSE_S = 30.0
GRACE_S = 10.0


def read_procfile(path: Path = ROOT / "Procfile") -> dict[str, list[str]]:
    """Return {name: argument vector}; `python` means the interpreter that runs us."""
    commands = {}
    for line in path.read_text().splitlines():
        name, colon, command = line.partition(":")
        if colon and not line.startswith("#"):
            words = shlex.split(command)
            commands[name.strip()] = [sys.executable, *words[1:]] if words[0] == "python" else words
    return commands


def _die_with_parent() -> None:
    """On Linux, ask the kernel to end this child when the runner dies without having stopped it."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


def adopt_orphans() -> None:
    """On Linux, become the parent of daemons that we start (the engines), so that their end can be waited for."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(36, 1)  # PR_SET_CHILD_SUBREAPER


def bury_orphans(known: set[int]) -> None:
    """On Linux, take leave of adopted processes that have ended: as a zombie, a killed engine looks alive to its own launcher.

    known: children that a Popen waits for; the rest is nobody's.
    """
    if sys.platform != "linux":
        return
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) and ended.si_pid not in known:
            os.waitpid(ended.si_pid, 0)


def wait_for_orphans(seconds: float) -> None:
    """Wait until every child has ended, adopted ones too; call it when no Popen is waited for any more."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            ended, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not ended:
            time.sleep(0.02)


@dataclass(slots=True)
class Child:
    name: str
    command: list[str]
    process: subprocess.Popen[bytes] | None = None
    deaths: int = 0
    started_at: float = 0.0
    due_at: float = 0.0

    def start(self, environ: Mapping[str, str]) -> None:
        # Its own session: Ctrl-C reaches the runner alone, which stops the children in order.
        self.process = subprocess.Popen(
            self.command,
            cwd=ROOT,
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=_die_with_parent,  # noqa: PLW1509
        )
        self.started_at = time.monotonic()

    def signal(self, signum: int) -> None:
        if self.process:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signum)


@dataclass(slots=True)
class Supervisor:
    """Starts children, restarts those that die with a growing pause, stops them all."""

    environ: Mapping[str, str]
    children: list[Child] = field(default_factory=list)
    grace_s: float = GRACE_S

    def start(self, commands: Mapping[str, list[str]]) -> None:
        for name, command in commands.items():
            child = Child(name=name, command=command)
            self.children.append(child)
            child.start(self.environ)

    def tend(self) -> None:
        """Restart whoever died and whose pause is over."""
        now = time.monotonic()
        bury_orphans({child.process.pid for child in self.children if child.process})
        for child in self.children:
            if child.process and child.process.poll() is not None:
                child.deaths = 1 if now - child.started_at > 60 else child.deaths + 1
                pause = min(LONGEST_PAUSE_S, 0.5 * 2 ** (child.deaths - 1))
                child.signal(signal.SIGKILL)  # what it left behind
                with contextlib.suppress(OSError):  # whoever listened may be gone
                    print(
                        f"waybill: {child.name} ended ({child.process.returncode}), starts again in {pause:.1f} s",
                        file=sys.stderr,
                        flush=True,
                    )
                child.process, child.due_at = None, now + pause
            elif child.process is None and now >= child.due_at:
                child.start(self.environ)

    def first_dead(self) -> Child | None:
        return next((c for c in self.children if c.process is None or c.process.poll() is not None), None)

    def stop(self) -> None:
        """End every child: politely, newest first, then for good."""
        alive = [child for child in reversed(self.children) if child.process]
        for child in alive:
            assert child.process is not None
            # Not the whole group: a worker's own children would end in the middle of the task that it waits for.
            child.process.terminate()
        until = time.monotonic() + self.grace_s
        for child in alive:
            assert child.process is not None
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.process.wait(timeout=max(0.0, until - time.monotonic()))
            child.signal(signal.SIGKILL)
            child.process.wait()
        self.children.clear()
