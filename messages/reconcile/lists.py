"""Reading a list of business keys: one a line, or a column of a CSV. Pure, in bounded memory, and nothing is dropped in silence.

A line is a record: what spans lines is no key. Every line is a key, blank, or bad with its number and the reason.
"""

from __future__ import annotations

import codecs
import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from console.core.errors import ConsoleError, Invalid

MOST_KEYS = 1_000_000
MOST_BYTES = 128 * 1024 * 1024
KEY_BYTES = 256  # a message's key is no longer, see messages.ingest.clean
LINE_BYTES = 64 * 1024
BAD_KEPT = 100
DELIMITERS = "\t;,"


class ListTooLarge(ConsoleError):
    """A list has more keys or bytes than are compared at once."""

    status = 413
    code = "list_too_large"
    again = "In smaller parts."


@dataclass(slots=True, kw_only=True)
class ListReader:
    """Reads chunks of bytes; `lines`, `blank` and `bad` count what was read so far.

    column    the header of the column to read, empty for a header that is called like the key, or a list without any.
    key_name  the business key of the list.
    """

    key_name: str
    column: str = ""
    lines: int = 0
    blank: int = 0
    bad_count: int = 0
    bad: list[dict[str, object]] = field(default_factory=list)
    _number: int = 0
    _bytes: int = 0
    _keys: int = 0
    _place: int | None = None  # of the column; None before the first line, -1 without a header
    _delimiter: str = ""  # that of the header; without one, or with one column, every delimiter makes a second value

    def read(self, chunks: Iterable[bytes]) -> Iterator[tuple[int, str]]:
        """Yield (line number from 1, key); raises Invalid and ListTooLarge."""
        for raw in self._split(chunks):
            self._number += 1
            key = self._key(raw)
            if key is None:
                continue
            self._keys += 1
            if self._keys > MOST_KEYS:
                raise ListTooLarge(f"a list has at most {MOST_KEYS:,} keys: compare it in parts, or a shorter period")
            yield self._number, key

    def _split(self, chunks: Iterable[bytes]) -> Iterator[bytes | None]:
        """Yield lines without their end, None for one that is too long: its rest is skipped, not kept."""
        rest, skipping = b"", False
        for part in _with_one_line_end(_begun_whole(chunks)):
            chunk = part if self._bytes else self._without_mark(part)
            self._bytes += len(chunk)
            if self._bytes > MOST_BYTES:
                raise ListTooLarge(f"a list has at most {MOST_BYTES // 1024 // 1024} MiB")
            *whole, rest = (rest + chunk).split(b"\n")
            for line in whole:
                yield None if skipping or len(line) > LINE_BYTES else line
                skipping = False
            if len(rest) > LINE_BYTES:
                rest, skipping = b"", True
        if rest or skipping:
            yield None if skipping else rest

    def _without_mark(self, chunk: bytes) -> bytes:
        if chunk.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            raise Invalid("this list is UTF-16: save it as CSV UTF-8")
        return chunk.removeprefix(codecs.BOM_UTF8)

    def _key(self, raw: bytes | None) -> str | None:
        if raw is None:
            return self._is_bad(f"it has more than {LINE_BYTES // 1024} KiB")
        try:
            text = raw.decode().strip(" ")  # no tab: before a line's first cell it is an empty one
        except UnicodeDecodeError:
            return self._is_bad("it is not UTF-8")
        if all(one in DELIMITERS or one.isspace() for one in text):
            self.blank += 1
            return None
        if self._place is None:
            header = self._cells(text) or []
            if self._is_header(header):
                self._delimiter = _delimiter_of(text) if len(header) > 1 else ""
                return None
            self._place = -1
        cells = self._cells(text if self._delimiter else text.strip())
        if cells is None:
            return self._is_bad("a quotation mark is not closed")
        return self._of_cells(cells)

    def _of_cells(self, cells: list[str]) -> str | None:
        if len(cells) > 1 and not self._delimiter:
            return self._is_bad(
                f"it has {len(cells)} values: a list of several columns needs a header that names the key"
            )
        place = max(0, self._place or 0)
        key = cells[place].strip() if place < len(cells) else ""
        if not key:
            return self._is_bad("there is no value in the column")
        if len(key.encode()) > KEY_BYTES:
            return self._is_bad(f"the key has more than {KEY_BYTES} bytes: no message carries such a one")
        if any(ord(one) < 32 or ord(one) == 127 for one in key):
            return self._is_bad("the key has control characters")
        self.lines += 1
        return key

    def _is_header(self, cells: list[str]) -> bool:
        """Look for the column in the first line that says something; raises Invalid when a column was asked for and is not there."""
        names = [cell.strip().casefold() for cell in cells]
        wanted = (self.column.strip() or self.key_name).casefold()
        if wanted in names:
            self._place = names.index(wanted)
            return True
        if self.column.strip():
            known = ", ".join(cell.strip()[:40] for cell in cells[:20])
            raise Invalid(f"line {self._number} has no column “{self.column[:80]}”: it has {known or 'none'}")
        return False

    def _cells(self, text: str) -> list[str] | None:
        """Return the cells of a line, None when a quote in it is not closed."""
        delimiter = self._delimiter or _delimiter_of(text)
        if '"' not in text:
            return text.split(delimiter)
        try:
            return next(csv.reader([text], delimiter=delimiter, strict=True), [])
        except csv.Error:
            return None

    def _is_bad(self, why: str) -> str | None:
        self.lines += 1
        self.bad_count += 1
        if len(self.bad) < BAD_KEPT:
            self.bad.append({"line": self._number, "why": why})
        return None


def _begun_whole(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the chunks, the first one with what a mark of the encoding may be, however small they come."""
    begin, left = b"", iter(chunks)
    for chunk in left:
        begin += chunk
        if len(begin) >= len(codecs.BOM_UTF8):
            break
    yield begin
    yield from left


def _with_one_line_end(chunks: Iterable[bytes]) -> Iterator[bytes]:
    r"""Yield the chunks with \n for \r\n and for \r alone, which older spreadsheets write."""
    held = b""
    for part in chunks:
        chunk = held + part
        held = b"\r" if chunk.endswith(b"\r") else b""  # its \n may be the first of the next chunk
        yield chunk.removesuffix(held).replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    yield held.replace(b"\r", b"\n")


def _delimiter_of(text: str) -> str:
    return max(DELIMITERS, key=text.count)
