"""What the page asks of the estate's broker, and the one thing it changes there: a fault's switch."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import redis
from django.conf import settings
from django.db import transaction

from agents.demo import faults
from agents.demo.names import ALIVE_KEY, FAULTS, HOP_OF_CONSUMER, HOPS, PROCESSES, Fault
from console.audit.services import record_audit
from console.core.errors import NotFound, Unavailable
from console.demo.access import check_can_switch
from console.identity.actor import Actor
from console.identity.models import Environment
from messages.changes.services import note_change

TIMEOUT_S = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """One process of the estate. `since` is None when it is not running; figures are of the last 60 s.

    done, failed  messages it sent or processed, attempts that failed; None for the harvester, which says so on the agents' page.
    waiting       messages in its stream (None for the shop); for the harvester the dead letters it has not fetched.
    """

    name: str
    what: str
    since: datetime | None
    done: int | None
    failed: int | None
    waiting: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Switch:
    fault: Fault
    on: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Estate:
    """What the page shows; `running` when any service gives a sign of life."""

    processes: list[Process]
    switches: list[Switch]

    @property
    def running(self) -> bool:
        return any(process.since for process in self.processes)

    @property
    def any_on(self) -> bool:
        return any(switch.on for switch in self.switches)


def _client() -> Any:
    return redis.Redis.from_url(settings.REDIS_URL, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S)


def estate_state() -> Estate:
    """Return what each process does and how each fault stands; raises Unavailable when the broker is away."""
    try:
        with _client() as client:
            switches = faults.switches(client)
            signs = client.mget([ALIVE_KEY + name for name in PROCESSES])
            pipe = client.pipeline(transaction=False)
            for hop in HOPS:
                pipe.xlen(hop.stream)
                pipe.xlen(hop.dead_letters)
            lengths = [int(length) for length in pipe.execute()]
    except redis.RedisError as error:
        raise Unavailable("the demo's broker does not answer") from error
    waiting = Counter(harvester=sum(lengths[1::2]))
    for hop, length in zip(HOPS, lengths[::2], strict=True):
        waiting[hop.consumer] += length
    return Estate(
        processes=[_process(name, sign, waiting.get(name)) for name, sign in zip(PROCESSES, signs, strict=True)],
        switches=[Switch(fault=fault, on=switches[fault.name]) for fault in FAULTS],
    )


def _process(name: str, sign: bytes | None, waiting: int | None) -> Process:
    said: dict[str, Any] = json.loads(sign) if sign else {}
    since = datetime.fromtimestamp(said["since"], UTC) if said else None
    return Process(
        name=name, what=_what(name), since=since, done=said.get("done"), failed=said.get("failed"), waiting=waiting
    )


def _what(name: str) -> str:
    if name in HOP_OF_CONSUMER:
        return HOP_OF_CONSUMER[name].stream
    return "sells" if name == "shop" else "fetches dead letters"


def switch_fault(name: str, *, on: bool, by: Actor, environment: Environment) -> Fault:
    """Turn a fault on or off, audited; raises NotFound for an unknown one, Forbidden below operator, Unavailable."""
    fault = next((fault for fault in FAULTS if fault.name == name), None)
    if fault is None:
        raise NotFound("there is no such fault")
    check_can_switch(by, environment)
    label = f"{fault.title} {'on' if on else 'off'}"
    with transaction.atomic():
        record_audit(
            by,
            "demo.fault_switched",
            environment,
            environment=environment,
            label=label,
            details={"fault": name, "on": on},
        )
        try:  # last, so that a broker that is away takes both entries back; a second is the longest it may hold the rows
            with _client() as client:
                if faults.switches(client)[name] != on:
                    item = {"kind": "configuration", "title": label, "systems": [fault.system]}
                    note_change(environment, item, by=by)
                faults.switch(client, name, on=on)
        except redis.RedisError as error:
            raise Unavailable("the demo's broker does not answer; nothing was switched") from error
    return fault
