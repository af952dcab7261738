"""`check`: says in words, queue by queue, what would be done and what works, and changes nothing."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from agents.harvest.config import HarvestConfig, Queue, ReplayBroker
from agents.harvest.console import Console, ConsoleAway, ConsoleRefuses
from agents.harvest.loop import open_source
from messages.connectors import get_connector, get_family
from messages.connectors.base import CanTellAge, Source

MARKS = {True: "yes", False: "NO", None: "?"}
Answer = tuple[bool | None, str]


def check(config: HarvestConfig) -> int:
    """Ask the console and every queue; print one line an answer; return 1 when any answer is no."""
    print(f"console {config.console}")
    fine = _printed(_of_console(config))
    for queue in config.queues:
        print(f"{queue.broker} / {queue.name} ({get_family(queue.kind).label})")
        found: list[Answer] = []
        try:
            with contextlib.closing(open_source(config, queue)) as source:
                found = [(one.answer, f"{one.question}: {one.detail}") for one in source.check()]
                print(f"  {doing(config, queue)}{_waiting(source)}")
        except ValueError as error:  # an address that its client takes for none
            found = [(False, f"reached: {error}")]
        fine &= _printed(iter([*found, *_of_folders(config, queue)]))
    for broker in config.replays:
        print(f"{broker.name} ({get_family(broker.kind).label})")
        print("  would send the replays that the console orders over it, at most 100 at a time")
        fine &= _printed(_of_sending(broker))
    print("everything can be harvested" if fine else "not everything works: see the lines with NO")
    return 0 if fine else 1


def _of_sending(broker: ReplayBroker) -> Iterator[Answer]:
    try:
        with contextlib.closing(get_connector(broker.kind, broker.address)) as connector:
            for one in connector.check(None):
                yield one.answer, f"{one.question}: {one.detail}"
    except ValueError as error:  # an address that its client takes for none
        yield False, f"reached: {error}"


def _printed(answers: Iterator[Answer]) -> bool:
    """Print the answers; whether none is no."""
    fine = True
    for answer, words in answers:
        print(f"  {MARKS[answer]:3} {words}")
        fine &= answer is not False
    return fine


def _of_console(config: HarvestConfig) -> Iterator[Answer]:
    console = Console(config.console, config.key, timeout_s=10)
    try:
        console.push_dead_letters([])
    except ConsoleAway as error:
        yield False, f"reached: {error}"
    except ConsoleRefuses as error:
        yield True, "reached: the console answers"
        yield False, f"key accepted: {error}"
    else:
        yield True, "reached: the console answers"
        yield True, "key accepted: it may push here"
    finally:
        console.close()


def doing(config: HarvestConfig, queue: Queue) -> str:
    """Return what harvesting this queue would do, as a sentence without its end. Pure."""
    system = str(queue.options.get("system") or "")
    whose = f"letters that {system} failed to process" if system else "letters of whatever system each names"
    pace = f", at most {queue.per_s:g} a second" if queue.per_s else ""
    at_once = f"{queue.batch or config.batch} at a time{pace}"
    if queue.mode == "mirror":
        return f"would mirror it: look every {queue.look_every_s:g} s, tell the console of {whose}, {at_once}, and leave them there"
    spool = ""
    if queue.spool:
        spool = (
            f"; while the console is away keep up to {queue.spool_bytes // 1024 // 1024} MB of them in {queue.spool}"
        )
    return f"would move {whose} to the console, {at_once}, and let the broker forget them{spool}"


def _waiting(source: Source) -> str:
    depth = source.depth()
    age = source.oldest_age_s() if isinstance(source, CanTellAge) else None
    oldest = f", the oldest for {age:.0f} s" if age is not None else ""
    return "" if depth is None else f"; {depth} wait now{oldest}"


def _of_folders(config: HarvestConfig, queue: Queue) -> Iterator[Answer]:
    folders = {"its note": config.state, "the spool": queue.spool}
    for what, folder in folders.items():
        if folder and not _is_writable(Path(folder)):
            yield False, f"{what} can be written: {folder} cannot be made or written by this user"


def _is_writable(folder: Path) -> bool:
    """Whether files can be made there, or the folder itself can be made; nothing is made."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)
