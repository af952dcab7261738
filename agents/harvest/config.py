"""harvest.toml: one console, several brokers, several queues each. Secrets come from the environment or from files."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from messages.connectors import families
from messages.connectors.base import Address


class BadConfig(Exception):
    """The file cannot be used; the sentence says what is wrong where."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """One dead-letter queue of one broker."""

    broker: str
    kind: str
    address: Address
    name: str
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class HarvestConfig:
    console: str
    key: str
    name: str
    queues: tuple[Queue, ...]
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
    if not queues:
        raise BadConfig(f"{path}: no queue is named; add [[broker]] with [[broker.queue]]")
    name = str(raw.get("name") or "harvester")
    batch = raw.get("batch", 200)
    if not isinstance(batch, int) or not 1 <= batch <= 1000:
        raise BadConfig(f"{path}: batch is a whole number from 1 to 1000")
    # Of this harvester alone: a second one of the same file has a name of its own.
    state = Path(str(raw.get("state") or f"{path}.state")).expanduser() / quote(name, safe="")
    return HarvestConfig(console=console, key=key, name=name, queues=queues, batch=batch, state=str(state))


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
    if kind not in kinds:
        raise BadConfig(f"{path}: broker {name}: kind is one of {', '.join(kinds)}, not “{kind}”")
    url = _secret(broker, "address", environ, path)
    if not url:
        raise BadConfig(f"{path}: broker {name} needs an address")
    options = broker.get("options", {})
    if not isinstance(options, dict):
        raise BadConfig(f"{path}: broker {name}: options is a table, [broker.options]")
    address = Address(
        url=url,
        username=str(broker.get("username", "")),
        secret=_secret(broker, "secret", environ, path),
        options=options,
    )
    found = []
    for queue in broker.get("queue", []):
        if not queue.get("name"):
            raise BadConfig(f"{path}: a [[broker.queue]] of {name} needs a name")
        options = {k: v for k, v in queue.items() if k != "name"}
        found.append(Queue(broker=name, kind=kind, address=address, name=str(queue["name"]), options=options))
    return found
