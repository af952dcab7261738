"""harvest.toml: one console, several brokers, several queues each. Secrets come from the environment or from files."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from messages.connectors import families, why_no_mirror
from messages.connectors.base import Address

MODES = ("move", "mirror")
MOST_IN_HAND = 1000
OURS = {"name", "mode", "batch", "per_s", "look_every_s", "spool", "spool_mb"}  # of a queue; the rest is its source's


class BadConfig(Exception):
    """The file cannot be used; the sentence says what is wrong where."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """One dead-letter queue of one broker.

    batch         letters in hand at most; 0: that of the whole file.
    per_s         letters a second at most; 0: as fast as it goes.
    look_every_s  pause between two looks of a mirror.
    spool         folder for letters while the console is away; "": they stay on the broker.
    """

    broker: str
    kind: str
    address: Address
    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    mode: str = "move"
    batch: int = 0
    per_s: float = 0.0
    look_every_s: float = 30.0
    spool: str = ""
    spool_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayBroker:
    """A broker over which this agent sends what the console orders: `replay = true`."""

    name: str
    kind: str
    address: Address


@dataclass(frozen=True, slots=True, kw_only=True)
class HarvestConfig:
    console: str
    key: str
    name: str
    queues: tuple[Queue, ...]
    replays: tuple[ReplayBroker, ...] = ()
    order_secret: str = field(default="", repr=False)
    batch: int = 200
    heartbeat_s: float = 10.0
    state: str = ""  # folder


def load_config(path: Path, environ: Mapping[str, str] = os.environ) -> HarvestConfig:
    """Return the checked configuration; raises BadConfig."""
    try:
        raw = tomllib.loads(path.read_text())
    except OSError as error:
        raise BadConfig(f"{path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadConfig(f"{path} is not TOML: {error}") from error
    console = str(raw.get("console", "")).rstrip("/")
    if not console.startswith(("http://", "https://")):
        raise BadConfig(f'{path}: write console = "http://…", the address of the console')
    key = _secret(raw, "key", environ, path)
    if not key:
        raise BadConfig(f"{path}: write key_env, key_file or key: the agent key of this harvester")
    queues = tuple(queue for broker in raw.get("broker", []) for queue in _queues(broker, environ, path))
    replays = tuple(_replay_broker(one, environ, path) for one in raw.get("broker", []) if _sends(one, path))
    if not queues and not replays:
        raise BadConfig(f"{path}: no queue is named; add [[broker]] with [[broker.queue]]")
    order_secret = _secret(raw, "order_secret", environ, path)
    if replays and not order_secret:
        words = "the order secret of this agent, made on its page under Agents"
        raise BadConfig(f"{path}: replay = true needs order_secret_env, order_secret_file or order_secret: {words}")
    name = str(raw.get("name") or "harvester")
    batch = _number(raw, "batch", 200, 1, MOST_IN_HAND, str(path), whole=True)
    # Of this harvester alone: a second one of the same file has a name of its own.
    state = Path(str(raw.get("state") or f"{path}.state")).expanduser() / quote(name, safe="")
    return HarvestConfig(
        console=console, key=key, name=name, queues=queues, replays=replays, order_secret=order_secret, batch=int(batch), state=str(state)
    )  # fmt: skip


def _secret(table: Mapping[str, Any], name: str, environ: Mapping[str, str], path: Path) -> str:
    """Return `name`, or what `name`_env or `name`_file points at; empty when none is given."""
    if variable := table.get(f"{name}_env"):
        if not environ.get(str(variable)):
            raise BadConfig(f"{path}: {name}_env names {variable}, which is not set")
        return environ[str(variable)].strip()
    if file := table.get(f"{name}_file"):
        try:
            return Path(str(file)).expanduser().read_text().strip()
        except OSError as error:
            raise BadConfig(f"{path}: {name}_file {file} cannot be read: {error.strerror}") from error
    return str(table.get(name, ""))


def _queues(broker: Mapping[str, Any], environ: Mapping[str, str], path: Path) -> list[Queue]:
    name, kind = str(broker.get("name", "")), str(broker.get("kind", ""))
    if not name:
        raise BadConfig(f"{path}: a [[broker]] needs a name: the console finds the connection for replays by it")
    kinds = sorted(family.kind for family in families() if family.source)
    if kind not in kinds and (broker.get("queue") or not _sends(broker, path)):
        raise BadConfig(f"{path}: broker {name}: kind is one of {', '.join(kinds)}, not “{kind}”")
    address = _address(broker, environ, path)
    return [_queue(queue, name, kind, address, path) for queue in broker.get("queue", [])]


def _sends(broker: Mapping[str, Any], path: Path) -> bool:
    sends = broker.get("replay", False)
    if not isinstance(sends, bool):
        raise BadConfig(f"{path}: broker {broker.get('name', '')}: replay is true or false")
    return sends


def _replay_broker(broker: Mapping[str, Any], environ: Mapping[str, str], path: Path) -> ReplayBroker:
    name, kind = str(broker["name"]), str(broker.get("kind", ""))
    kinds = sorted(family.kind for family in families() if family.connector)
    if kind not in kinds:
        raise BadConfig(f"{path}: broker {name}: with replay = true, kind is one of {', '.join(kinds)}, not “{kind}”")
    return ReplayBroker(name=name, kind=kind, address=_address(broker, environ, path))


def _address(broker: Mapping[str, Any], environ: Mapping[str, str], path: Path) -> Address:
    name = broker["name"]
    url = _secret(broker, "address", environ, path)
    if not url:
        raise BadConfig(f"{path}: broker {name} needs an address")
    options = broker.get("options", {})
    if not isinstance(options, dict):
        raise BadConfig(f"{path}: broker {name}: options is a table, [broker.options]")
    return Address(
        url=url,
        username=str(broker.get("username", "")),
        secret=_secret(broker, "secret", environ, path),
        options=options,
    )


def _queue(table: Mapping[str, Any], broker: str, kind: str, address: Address, path: Path) -> Queue:
    if not table.get("name"):
        raise BadConfig(f"{path}: a [[broker.queue]] of {broker} needs a name")
    where = f"{path}: queue {table['name']} of {broker}"
    mode, spool = str(table.get("mode", "move")), str(table.get("spool", ""))
    if mode not in MODES:
        raise BadConfig(f'{where}: mode is "move" (take letters to the console) or "mirror" (look and leave them)')
    if mode == "mirror" and (why := why_no_mirror(kind)):
        raise BadConfig(f'{where}: mode = "mirror" is not possible here: {why}. Use mode = "move"')
    if mode == "mirror" and spool:
        raise BadConfig(f"{where}: a mirror takes nothing from the broker, so it needs no spool")
    if not spool and "spool_mb" in table:
        raise BadConfig(f'{where}: spool_mb without spool = "…", the folder')
    return Queue(
        broker=broker,
        kind=kind,
        address=address,
        name=str(table["name"]),
        options={name: value for name, value in table.items() if name not in OURS},
        mode=mode,
        batch=int(_number(table, "batch", 0, 1, MOST_IN_HAND, where, whole=True)),
        per_s=_number(table, "per_s", 0, 0.01, 1_000_000, where),
        look_every_s=_number(table, "look_every_s", 30, 0.1, 86_400, where),
        spool=str(Path(spool).expanduser()) if spool else "",
        spool_bytes=int(_number(table, "spool_mb", 200, 1, 1_000_000, where) * 1024 * 1024),
    )


def _number(
    table: Mapping[str, Any], name: str, default: float, least: float, most: float, where: str, *, whole: bool = False
) -> float:
    value = table.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int if whole else int | float) or not least <= value <= most:
        raise BadConfig(f"{where}: {name} is a {'whole ' if whole else ''}number from {least:g} to {most:,g}")
    return float(value)
