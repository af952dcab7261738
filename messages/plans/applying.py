"""Edits applied to one message: what is sent instead of what was stored. Never raises but EditFailed; bounded in time and memory.

A packed body is unpacked, edited and packed again as it was. Numbers keep every digit; a body that no step changes stays byte for byte.
"""

from __future__ import annotations

import gzip
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import jsonpatch
import msgspec
import zstandard
from jsonpointer import resolve_pointer

from console.core.nesting import deeper_than
from messages.masking.bodies import charset_of
from messages.masking.rules import MOST_WORK
from messages.masking.trees import Unreadable, read_json, write_json
from messages.payloads.seal import Content
from messages.payloads.unpack import MOST_BYTES, Packed, declared_encoding, unpack
from messages.plans.edits import (
    AnyStep,
    Body,
    Edits,
    Jq,
    JsonPatch,
    Regex,
    RemoveHeader,
    SetHeader,
    Xslt,
    compile_replacement,
    kind_of,
    whole_body,
)
from messages.programs.runner import ProgramFailed, Runner

MOST_DEPTH = 64
LARGEST_RESULT = 8 * 1024 * 1024
MOST_COPIED = 200_000  # values that all `copy` of a patch may make: 40 of them can make a billion


class EditFailed(Exception):
    """A step cannot be applied to this message. `words` have nothing of it in them; `detail` may, for who may read payloads."""

    def __init__(self, words: str, detail: str = "") -> None:
        super().__init__(words)
        self.words, self.detail = words, detail or words


class _NotThis(Exception):
    """The step fails: (words without values, the whole)."""

    def __init__(self, words: str, detail: str = "") -> None:
        super().__init__(words)
        self.words, self.detail = words, detail or words


@dataclass(slots=True)
class _Message:
    body: bytes
    headers: list[dict[str, object]]
    content_type: str


def apply_edits(edits: Edits, content: Content, content_type: str, runner: Runner) -> Content:
    """Return the content as it is sent, the same object when nothing changes; raises EditFailed."""
    layers: Sequence[str] | None = None
    message = _Message(content.body, [dict(one) for one in content.headers], content_type)
    for number, step in enumerate(edits, 1):
        try:
            if layers is None and not isinstance(step, SetHeader | RemoveHeader):
                layers, message.body = _unpacked(content, whole=isinstance(step, Body))
            _apply(step, message, runner)
        except _NotThis as failure:
            place = f"step {number} ({kind_of(step)})"
            raise EditFailed(f"{place}: {failure.words}"[:400], f"{place}: {failure.detail}"[:1000]) from failure
    changed = Content(_packed(message.body, layers or (), content), message.headers, content.properties)
    return content if changed == content else changed


def _unpacked(content: Content, *, whole: bool) -> tuple[Sequence[str], bytes]:
    """Return (how the body is packed, the body in it). whole: it is replaced, whatever it is."""
    try:
        plain = unpack(content.body, declared_encoding(content.headers, content.properties))
    except Packed as error:
        if whole:
            return (), content.body
        raise _NotThis(str(error)) from error
    if not whole and (plain.cut or len(plain.body) > MOST_BYTES):
        raise _NotThis(f"its body is larger than {MOST_BYTES // 1024 // 1024} MiB")
    return plain.layers, plain.body if plain.layers else content.body


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda body: gzip.compress(body, mtime=0),
    "deflate": zlib.compress,
    "zstd": lambda body: zstandard.ZstdCompressor().compress(body),
}


def _packed(body: bytes, layers: Sequence[str], content: Content) -> bytes:
    """Return the body packed as the original was; the original's own bytes when it is the same in them."""
    if not layers:
        return body
    try:
        if unpack(content.body, declared_encoding(content.headers, content.properties)).body == body:
            return content.body
    except Packed:
        pass
    for layer in layers:
        body = PACKERS[layer.removeprefix("x-")](body)
    return body


def _apply(step: AnyStep, message: _Message, runner: Runner) -> None:
    if isinstance(step, SetHeader):
        message.headers = list(_with_header(message.headers, step))
    elif isinstance(step, RemoveHeader):
        message.headers = [one for one in message.headers if not _is_named(one, step.name)]
    else:
        body = _new_body(step, message, runner)
        if len(body) > LARGEST_RESULT:
            raise _NotThis("it makes more than 8 MiB of it")
        message.body = body


def _is_named(header: dict[str, object], name: str) -> bool:
    return str(header.get("name", "")).lower() == name.lower()


def _with_header(headers: Sequence[dict[str, object]], step: SetHeader) -> Iterator[dict[str, object]]:
    new: dict[str, object] = {"name": step.name, "type": step.type, "value": step.value}
    placed = False
    for one in headers:
        if not _is_named(one, step.name):
            yield one
        elif not placed:
            placed = True
            yield new
    if not placed:
        yield new


def _new_body(step: AnyStep, message: _Message, runner: Runner) -> bytes:
    if isinstance(step, JsonPatch):
        return _patched(bytes(step.patch), message.body)
    if isinstance(step, Jq):
        return _by_jq(step.program, message.body, runner)
    if isinstance(step, Xslt):
        return _run(runner, "xslt", step.stylesheet, message.body)
    if isinstance(step, Regex):
        return _replaced(step, message)
    assert isinstance(step, Body)
    try:
        return whole_body(step, charset_of(message.body, message.content_type) or "utf-8")
    except ValueError as error:
        raise _NotThis("its charset has not all of these characters") from error


def _tree(body: bytes) -> Any:
    if deeper_than(MOST_DEPTH, body):
        raise _NotThis(f"its body is nested deeper than {MOST_DEPTH} levels")
    try:
        return read_json(body)
    except Unreadable as error:
        raise _NotThis(str(error).replace("it is", "its body is", 1)) from error


def _written(tree: Any) -> bytes:
    try:
        return write_json(tree)
    except (Unreadable, TypeError, ValueError) as error:
        raise _NotThis("what it makes cannot be written as JSON") from error


def _patched(patch: bytes, body: bytes) -> bytes:
    before = _tree(body)
    if before is None or isinstance(before, str | bool | msgspec.Raw):
        raise _NotThis("its body is JSON, but neither an object nor a list")
    tree, room = deepcopy(before), MOST_COPIED
    for at, operation in enumerate(_tree(patch), 1):
        words = f"operation {at} ({operation.get('op')}) does not fit"
        try:
            if operation.get("op") == "copy":
                room -= _places(resolve_pointer(tree, operation["from"]), room)
            if room > 0:
                tree = jsonpatch.JsonPatch([operation]).apply(tree, in_place=True)
        except Exception as error:
            if operation.get("op") == "test":
                raise _NotThis(f"{words}: the value is another") from error
            said = " ".join(str(error).split())[:300]
            raise _NotThis(f"{words}: there is no such place", f"{words}: {said}") from error
        if room <= 0:
            raise _NotThis(f"operation {at} makes it too large")
    return body if tree == before else _written(tree)


def _places(tree: Any, most: int) -> int:
    """Return how many values a tree holds, counted up to `most`."""
    count, waiting = 0, [tree]
    while waiting and count < most:
        one = waiting.pop()
        count += 1
        if isinstance(one, dict | list):
            waiting += one.values() if isinstance(one, dict) else one
    return count


def _by_jq(program: str, body: bytes, runner: Runner) -> bytes:
    before = _tree(body)
    text = body.removeprefix(b"\xef\xbb\xbf")
    made = _run(runner, "jq", program, text)
    if deeper_than(MOST_DEPTH + 1, made):
        raise _NotThis(f"what it makes is nested deeper than {MOST_DEPTH} levels")
    after = _with_digits(_tree_of_jq(made)[0], _digits_of(before))
    return body if _by_value(after) == _by_value(before) else _written(after)


def _by_value(tree: Any) -> Any:
    """Return the tree for comparing: 0 and 0.0 are one number, which no true is equal to."""
    if isinstance(tree, dict):
        return {name: _by_value(one) for name, one in tree.items()}
    if isinstance(tree, list):
        return [_by_value(one) for one in tree]
    return ("number", Decimal(bytes(tree).decode())) if isinstance(tree, msgspec.Raw) else tree


def _tree_of_jq(made: bytes) -> Any:
    try:
        return read_json(made)
    except Unreadable as error:
        raise _NotThis("what it makes is not JSON") from error


def _digits_of(tree: Any) -> dict[float, set[str]]:
    """Return how each number of the body is written: jq holds numbers as doubles and writes them anew."""
    found: dict[float, set[str]] = defaultdict(set)
    waiting = [tree]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict | list):
            waiting += one.values() if isinstance(one, dict) else one
        elif isinstance(one, msgspec.Raw):
            digits = bytes(one).decode()
            found[float(digits)].add(digits)
    if found.keys() & {float("inf"), float("-inf")}:
        raise _NotThis("its body has a number that jq cannot hold: use json_patch")
    return found


def _with_digits(tree: Any, digits: dict[float, set[str]]) -> Any:
    """Return the tree with the numbers of the body as they were written there."""
    if isinstance(tree, dict):
        return {name: _with_digits(one, digits) for name, one in tree.items()}
    if isinstance(tree, list):
        return [_with_digits(one, digits) for one in tree]
    if not isinstance(tree, msgspec.Raw):
        return tree
    written = digits.get(float(bytes(tree)))
    if not written or (bytes(tree).decode() in written and len(written) == 1):
        return tree
    if len(written) == 1:
        return msgspec.Raw(next(iter(written)).encode())
    if len({Decimal(one) for one in written}) > 1:
        raise _NotThis("its body has numbers of so many digits that jq cannot tell them apart: use json_patch")
    return tree


def _run(runner: Runner, kind: Any, program: str, body: bytes) -> bytes:
    try:
        return runner.run(kind, program.encode("utf-8", "replace"), body)
    except ProgramFailed as error:
        words = "it cannot be applied to this body"
        raise _NotThis(words, f"{words}: {error}") from error


def _replaced(step: Regex, message: _Message) -> bytes:
    body = message.body
    charset = charset_of(body, message.content_type)
    if charset is None:
        raise _NotThis("its body is not text")
    pattern, pieces = compile_replacement(step.find, step.replace)
    data = body if charset == "utf-8" else body.decode(charset).encode()
    if len(data) * pattern.programsize > MOST_WORK:
        raise _NotThis("its body is too large for this expression")
    made: list[bytes] = []
    end = size = 0
    for match in pattern.finditer(data):
        new = b"".join(one.encode() if isinstance(one, str) else match.group(one) or b"" for one in pieces)
        made += [data[end : match.start()], new]
        size += match.start() - end + len(new)
        end = match.end()
        if size > LARGEST_RESULT:
            raise _NotThis("it makes more than 8 MiB of it")
    if not made:
        return body
    result = b"".join([*made, data[end:]])
    if charset != "utf-8":
        try:
            result = result.decode().encode(charset)
        except UnicodeError as error:
            raise _NotThis("its charset has not all of these characters") from error
    _check_still(body, result)
    return result


def _check_still(before: bytes, after: bytes) -> None:
    """Refuse to make broken JSON of JSON by text alone."""
    try:
        read_json(before)
    except Unreadable:
        return
    try:
        read_json(after)
    except Unreadable as error:
        raise _NotThis("its body was JSON and is none after it") from error
