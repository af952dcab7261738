"""Batches that the console could not take, in files: written whole or not at all, sent oldest first, gone when the console has them."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

SUFFIX = ".batch"


class Spool:
    """A folder of batches. Several processes may share it: a batch that two of them send is stored once, by its items' ids."""

    def __init__(self, folder: Path, most_bytes: int) -> None:
        self.folder, self.most_bytes = folder, most_bytes
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def files(self) -> list[Path]:
        """Return the batches, oldest first."""
        return sorted(self.folder.glob(f"*{SUFFIX}"))

    def is_full(self) -> bool:
        return self.size() >= self.most_bytes

    def size(self) -> int:
        """Return how many bytes it takes."""
        size = 0
        for path in self.files():
            with suppress(FileNotFoundError):  # another process sent it meanwhile
                size += path.stat().st_size
        return size

    def items(self) -> int:
        count = 0
        for path in self.files():
            with suppress(FileNotFoundError):
                count += len(self.read(path))
        return count

    def write(self, batch: Sequence[tuple[str, bytes]]) -> None:
        """Write one batch of one endpoint; it is on the disk when this returns. Raises OSError."""
        name = f"{time.time_ns():020d}-{uuid.uuid4().hex[:8]}"
        unfinished = self.folder / f"{name}.part"
        with unfinished.open("xb") as out:
            out.write(b"\n".join((batch[0][0].encode(), *(data for _, data in batch))))
            out.flush()
            os.fsync(out.fileno())
        unfinished.rename(self.folder / f"{name}{SUFFIX}")
        folder = os.open(self.folder, os.O_RDONLY)
        try:
            os.fsync(folder)  # else the name may be lost with the power
        finally:
            os.close(folder)

    @staticmethod
    def read(path: Path) -> list[tuple[str, bytes]]:
        """Return the batch; JSON has no line breaks of its own, so that a line is an item."""
        endpoint, *lines = path.read_bytes().split(b"\n")
        return [(endpoint.decode(), line) for line in lines]
