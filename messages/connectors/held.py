"""Names for messages that have none of their own, kept from their receipt until the broker has let go of them.

Two such messages may be the same byte for byte, so a name is made, and it must be the same when the message is delivered again
after a crash: else it would be shown twice. docs/agents.md says why this is enough.
"""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Collection
from pathlib import Path

GIVEN_BACK_S = 120.0  # by then the broker has noticed that a line is dead (two heartbeats) and gave back what it held
DOUBT_S = 600.0  # after that a name is worth less than the risk of giving it to another message


class Held:
    """The names in hand, by what the messages hold, in the order of receipt.

    doubtful  those of a line or process that ended: the broker gives these messages back, unless it had let go of some. What it
              let go of is what was received first, so names are taken from the end.
    """

    def __init__(self, file: Path | None) -> None:
        self.file = file
        self.in_hand: dict[str, list[str]] = {}
        self.doubtful: dict[str, list[str]] = {}
        self.doubt_until = 0.0
        self.loaded = file is None

    @property
    def in_doubt(self) -> bool:
        """Is there any name that is still needed?"""
        return bool(self.in_hand or self.doubtful)

    @property
    def may_come_back(self) -> bool:
        """Is there any name of a line that ended whose message the broker may still give back?"""
        return any(self.doubtful.values()) and time.monotonic() < self.doubt_until

    def load(self) -> None:
        """Read what the process before us had in hand, once; raises OSError."""
        if self.loaded or self.file is None:
            return
        try:
            self.doubtful = json.loads(self.file.read_text())
        except FileNotFoundError:
            pass
        except ValueError as error:
            raise OSError(
                f"{self.file} cannot be read: move it away, and letters without an id may be shown twice"
            ) from error
        self.loaded, self.doubt_until = True, time.monotonic() + DOUBT_S

    def name(self, content: str, *, delivered_before: bool) -> str:
        """Return the name of a message with this content; a new one, unless it may have had one before."""
        known = self.doubtful.get(content, []) if delivered_before and time.monotonic() < self.doubt_until else []
        name = known.pop() if known else f"{content}/{secrets.token_hex(8)}"
        self.in_hand.setdefault(content, []).append(name)
        return name

    def forget(self, names: Collection[str]) -> None:
        """Drop names whose messages the broker has let go of."""
        gone = set(names)
        left = {content: [name for name in kept if name not in gone] for content, kept in self.in_hand.items()}
        self.in_hand = {content: kept for content, kept in left.items() if kept}

    def nothing_waits(self) -> None:
        """The queue is empty: what has not been given back by now the broker had let go of."""
        if time.monotonic() > self.doubt_until - DOUBT_S + GIVEN_BACK_S:
            self.doubtful = {}

    def line_ended(self) -> None:
        for content, names in self.in_hand.items():
            self.doubtful[content] = self.doubtful.get(content, []) + names
        self.in_hand, self.doubt_until = {}, time.monotonic() + DOUBT_S

    def save(self) -> None:
        """Write every name down, to the disk itself; raises OSError."""
        if self.file is None:
            return
        every = {content: list(names) for content, names in self.doubtful.items()}
        for content, names in self.in_hand.items():
            every[content] = every.get(content, []) + names
        self.file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        fresh = self.file.with_suffix(".new")
        with fresh.open("w") as out:
            json.dump(every, out)
            out.flush()
            os.fsync(out.fileno())
        fresh.replace(self.file)
