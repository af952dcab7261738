"""Agents that send: as fast as they are answered, or at a given rate. Each is a process with one connection."""

from __future__ import annotations

import http.client
import multiprocessing
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

AGENTS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """What a run took: bodies a second, and each request's ms, sorted."""

    per_s: float
    took_ms: list[float]

    def percentile(self, percent: float) -> float:
        return self.took_ms[min(len(self.took_ms) - 1, int(len(self.took_ms) * percent / 100))]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    port: int
    key: str

    def headers(self, encoding: str = "gzip") -> dict[str, str]:
        return {
            "Authorization": f"Bearer {self.key}",
            "Content-Type": "application/x-protobuf",
            "Content-Encoding": encoding,
        }


def send_all(target: Target, bodies: Sequence[bytes], *, agents: int = AGENTS) -> Sent:
    """Send these bodies as fast as they are answered."""
    return _run(target, bodies, agents, rate=None)


def send_at(target: Target, bodies: Sequence[bytes], *, rate: float, agents: int = 8) -> Sent:
    """Send so many bodies a second, whether answers come or not: a request that had to wait for its turn took as long from when it was due."""
    return _run(target, bodies, agents, rate=rate)


def _run(target: Target, bodies: Sequence[bytes], agents: int, rate: float | None) -> Sent:
    ready = multiprocessing.Barrier(agents + 1)
    results: multiprocessing.Queue[list[float]] = multiprocessing.Queue()
    begin = multiprocessing.Value("d", 0.0)
    processes = [
        multiprocessing.Process(
            target=_agent, args=(target, bodies[n::agents], ready, begin, results, rate and (n / rate, agents / rate))
        )
        for n in range(agents)
    ]
    for process in processes:
        process.start()
    ready.wait()
    begin.value = started = time.monotonic() + 0.05
    ready.wait()
    took = sorted(ms for _ in processes for ms in results.get())
    seconds = time.monotonic() - started
    for process in processes:
        process.join()
    if len(took) != len(bodies):
        raise SystemExit("a request was refused")
    return Sent(per_s=len(bodies) / seconds, took_ms=took)


def _agent(
    target: Target, bodies: Sequence[bytes], ready: Any, begin: Any, results: Any, pace: tuple[float, float] | None
) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", target.port, timeout=60)
    headers, took = target.headers(), []
    ready.wait()
    ready.wait()
    for number, body in enumerate(bodies):
        due = begin.value + pace[0] + number * pace[1] if pace else time.monotonic()
        time.sleep(max(0.0, due - time.monotonic()))
        connection.request("POST", "/v1/traces", body, headers)
        answer = connection.getresponse()
        answer.read()
        if answer.status != 200:
            break
        took.append((time.monotonic() - due) * 1000)
    results.put(took)
