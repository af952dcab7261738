"""Reading a list of business keys: one a line, a column of a CSV, or values as they are. Pure, in bounded memory, and nothing is dropped in silence.

A line is a record: what spans lines is no key. Every line is a key, blank, or bad with its number and the reason.
"""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from console.core.errors import ConsoleError, Invalid

MOST_KEYS = 1_000_000
MOST_BYTES = 128 * 1024 * 1024
KEY_BYTES = 256  # a message's key is no longer, see messages.ingest.clean
LINE_BYTES = 64 * 1024
BAD_KEPT = 100
DELIMITERS = "\t;,"
SEP = re.compile(r'sep=([^\w\s"]|\t)', re.IGNORECASE)  # Excel's own first line: what stands between two values
QUOTE = '"'
AS_TEXT = re.compile(r'="([^"]*)"')  # how Excel is kept from making a number of it

T = TypeVar("T")


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
    _width: int = 0  # cells of the header
    _least: int = 0  # the fewest cells of a row that could be read: programs cut empty ones at the end
    _is_torn: bool = False  # a value began that goes on in the next line

    def read(self, chunks: Iterable[bytes]) -> Iterator[tuple[int, str]]:
        """Yield (line number from 1, key); raises Invalid and ListTooLarge."""
        return self._numbered(self._split(chunks), self._key)

    def read_values(self, values: Iterable[str]) -> Iterator[tuple[int, str]]:
        """Yield (number from 1, key) of values that are keys as they are: none is a header, and no sign in them means anything."""
        return self._numbered(values, lambda value: self._checked(value.strip()))

    def _numbered(self, lines: Iterable[T], key_of: Callable[[T], str | None]) -> Iterator[tuple[int, str]]:
        for line in lines:
            self._number += 1
            key = key_of(line)
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
            if not self._delimiter and (sep := SEP.fullmatch(text)):
                self._delimiter = sep[1]
                self.blank += 1
                return None
            header = self._cells(text) or []
            if self._is_header(header):
                self._width = len(header)
                if self._width > 1:
                    self._delimiter = self._delimiter or _delimiter_of(text)
                return None
            self._place = -1
        cells = self._cells(text if self._width > 1 else text.strip())
        if cells is None:
            self._is_torn = True
            return self._is_bad("a quotation mark is not closed")
        return self._of_cells(text, cells)

    def _of_cells(self, text: str, cells: list[str]) -> str | None:
        if not self._width and self.key_name.casefold() in (cell.strip().casefold() for cell in cells):
            raise Invalid(f"line {self._number} is a header, and other lines stand above it: take them out")
        if len(cells) > 1 and self._width <= 1:
            return self._is_bad(
                f"it has {len(cells)} values: a list of several columns needs a header that names the key"
            )
        is_rest = self._is_torn and len(cells) < (self._least or self._width)
        self._is_torn = is_rest and text.count('"') % 2 == 0
        if is_rest:
            return self._is_bad("it is the rest of a value that began in a line above")
        place = max(0, self._place or 0)
        cell = cells[place] if place < len(cells) else ""
        key = cell.strip()
        if as_text := AS_TEXT.fullmatch(key):
            key = as_text[1].strip()
        elif '"' in key and f'"{cell.replace(QUOTE, QUOTE * 2)}"' not in text:
            return self._is_bad("a quotation mark stands in the key")
        self._least = min(self._least or len(cells), len(cells))
        return self._checked(key)

    def _checked(self, key: str) -> str | None:
        if not key:
            return self._is_bad("there is no value in the column")
        if len(key.encode()) > KEY_BYTES:
            return self._is_bad(f"the key has more than {KEY_BYTES} bytes: no message carries such a one")
        if any(ord(one) < 32 or ord(one) == 127 for one in key):
            return self._is_bad("the key has control characters")
        self.lines += 1
        return key

    def _is_header(self, cells: list[str]) -> bool:
        """Look for the column in the first line that says something; raises Invalid when one was asked for and is not there, or is there twice."""
        names = [cell.strip().casefold() for cell in cells]
        wanted = (self.column.strip() or self.key_name).casefold()
        if names.count(wanted) > 1:
            raise Invalid(
                f"line {self._number} has the column “{wanted[:80]}” {names.count(wanted)} times: leave one of them"
            )
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
            return next(csv.reader([text], delimiter=delimiter, strict=True, skipinitialspace=True), [])
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
