"""What a mirror has seen of one queue: a small SQLite file, so that a restart neither tells everything anew nor forgets what went."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

from messages.connectors.base import CanPeek, Received

GONE_AT_ONCE = 500  # letters in one report


class Seen:
    """The letters of one queue, and the round in which each was last there. Belongs to one thread.

    A letter is gone when a whole round went by without it: rounds that broke off say nothing. It is written down before the
    console hears of it (`told` 0), so that one which the console has is never forgotten; and told until the console has it.
    """

    def __init__(self, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.notes = sqlite3.connect(file, isolation_level=None)
        self.notes.execute("PRAGMA journal_mode = WAL")
        self.notes.execute(
            "CREATE TABLE IF NOT EXISTS seen (id TEXT PRIMARY KEY, round INTEGER NOT NULL, told INTEGER NOT NULL)"
        )
        [(last,)] = self.notes.execute("SELECT coalesce(max(round), 0) FROM seen")
        self.round = int(last)

    def look(self, source: CanPeek, limit: int) -> Iterator[list[Received]]:
        """Begin a round: yield what is new, page by page, to the end of the queue. Raises BrokerUnavailable."""
        self.round += 1
        after: object | None = None
        while page := source.peek(limit, after):
            after = page[-1].token
            known = self._still_there([str(one.letter["id"]) for one in page])
            if fresh := [one for one in page if str(one.letter["id"]) not in known]:
                self._write(fresh, told=0)
                yield fresh

    def _still_there(self, ids: Sequence[str]) -> set[str]:
        holes = ",".join("?" * len(ids))
        rows = self.notes.execute(
            f"UPDATE seen SET round = ? WHERE id IN ({holes}) RETURNING id, told",  # noqa: S608  question marks alone
            [self.round, *ids],
        )
        return {one for one, told in rows.fetchall() if told}

    def remember(self, received: Sequence[Received]) -> None:
        """The console has these now."""
        self._write(received, told=1)

    def _write(self, received: Sequence[Received], *, told: int) -> None:
        self._run(
            "INSERT OR REPLACE INTO seen VALUES (?, ?, ?)", [(str(r.letter["id"]), self.round, told) for r in received]
        )

    def gone(self) -> list[str]:
        """Return the ids of letters that this whole round has not met, up to 500 of them."""
        rows = self.notes.execute("SELECT id FROM seen WHERE round < ? LIMIT ?", [self.round, GONE_AT_ONCE])
        return [row[0] for row in rows]

    def forget(self, ids: Sequence[str]) -> None:
        """The console knows that these are gone."""
        self._run("DELETE FROM seen WHERE id = ?", [(one,) for one in ids])

    def _run(self, statement: str, rows: Sequence[tuple[object, ...]]) -> None:
        with self.notes:  # commits, or takes everything back
            self.notes.execute("BEGIN")
            self.notes.executemany(statement, rows)

    def close(self) -> None:
        self.notes.close()


def note_file(state: str, broker: str, queue: str) -> Path:
    """Return where a mirror's note of this queue lies."""
    return Path(state) / f"{queue_mark(broker, queue)}.seen"


def forget_note(file: Path) -> None:
    """Forget what a mirror has seen: its queue is moved from now on, so what leaves it is in the console alone, and is not gone."""
    for part in ("", "-wal", "-shm"):
        Path(f"{file}{part}").unlink(missing_ok=True)


def queue_mark(broker: str, queue: str) -> str:
    """Return a name for files that belong to this queue."""
    return hashlib.sha256(f"{broker}\0{queue}".encode()).hexdigest()[:16]
