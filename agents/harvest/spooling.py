"""Letters on the harvester's own disk while the console is away: for brokers that would let them expire meanwhile."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path

from agents.sdk.spool import Spool

ENDPOINT = "/ingest/v1/dead-letters"
Letter = dict[str, object]


class LetterSpool:
    """One queue's spool: what is in it the broker has let go of, so it goes only when the console has it.

    letters  how many are in it.
    """

    def __init__(self, folder: Path, most_bytes: int) -> None:
        self.spool = Spool(folder, most_bytes)
        self.letters = self.spool.items()

    def keep(self, letters: Sequence[Letter]) -> bool:
        """Write these behind the others, on the disk itself when this returns; False when there is no room. Raises OSError."""
        lines = [json.dumps(letter, ensure_ascii=False).encode("utf-8", "surrogatepass") for letter in letters]
        if self.spool.size() + sum(map(len, lines)) > self.spool.most_bytes:
            return False
        self.spool.write([(ENDPOINT, line) for line in lines])
        self.letters += len(letters)
        return True

    def oldest(self) -> tuple[Path, list[Letter]] | None:
        """Return the batch that was written first."""
        for path in self.spool.files():
            return path, [json.loads(line.decode("utf-8", "surrogatepass")) for _, line in self.spool.read(path)]
        return None

    def done(self, path: Path, count: int) -> None:
        """The console has this batch."""
        path.unlink(missing_ok=True)
        self.letters = max(0, self.letters - count)

    def put_aside(self, letter: Letter) -> Path:
        """Keep a letter that the console will never have in a file of its own, for a person; raises OSError."""
        data = json.dumps(letter, ensure_ascii=False).encode("utf-8", "surrogatepass")
        aside = self.spool.folder / f"{hashlib.sha256(str(letter.get('id')).encode()).hexdigest()[:16]}.refused.json"
        with aside.open("wb") as out:
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
        return aside
