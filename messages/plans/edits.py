"""What a plan changes in each message before it is sent: a list of steps, read from JSON, checked, and written in one form. Pure.

Steps: JSON Patch (RFC 6902), jq 1.7, XSLT 1.0, a regular expression of RE2, a header set or removed, the whole body.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import msgspec
import re2

from console.core.errors import Invalid
from messages.connectors.base import Header
from messages.connectors.headers import value_of
from messages.connectors.hygiene import strip_headers
from messages.masking.paths import BadExpression
from messages.masking.rules import MOST_PROGRAM, compile_regex

MOST_STEPS = 20
LARGEST_EDITS = 1024 * 1024
LARGEST_PROGRAM = 64 * 1024
MOST_OPERATIONS = 200
LONGEST_NAME = 200
TYPES = ("string", "int", "float", "bool", "bytes", "timestamp", "null")
REFERENCE = re.compile(r"\\(.?)", re.S)


class BadEdits(Invalid):
    """An edit cannot be used; the sentence names its step and says why."""

    code = "bad_edits"


class Step(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"):
    """One change. `kind` says which."""


class JsonPatch(Step, frozen=True, kw_only=True, tag="json_patch"):
    """patch: the operations of RFC 6902, as JSON, digits as they were written."""

    patch: msgspec.Raw


class Jq(Step, frozen=True, kw_only=True, tag="jq"):
    """program: makes one value of the body."""

    program: str


class Xslt(Step, frozen=True, kw_only=True, tag="xslt"):
    """stylesheet: XSLT 1.0 that makes the new body of an XML body."""

    stylesheet: str


class Regex(Step, frozen=True, kw_only=True, tag="regex"):
    r"""find: RE2, over the whole body as text. replace: \1 to \9 stand for groups, \0 for the match, \\ for a backslash."""

    find: str
    replace: str = ""


class SetHeader(Step, frozen=True, kw_only=True, tag="set_header"):
    """All headers of this name, in any case of letters, become this one; it is added where there was none."""

    name: str
    value: Any = ""
    type: str = "string"


class RemoveHeader(Step, frozen=True, kw_only=True, tag="remove_header"):
    name: str


class Body(Step, frozen=True, kw_only=True, tag="body"):
    """The whole body, as text or in base64: of a plan of one message."""

    text: str | None = None
    body_base64: str | None = None


AnyStep = JsonPatch | Jq | Xslt | Regex | SetHeader | RemoveHeader | Body
Edits = tuple[AnyStep, ...]
KINDS = ("json_patch", "jq", "xslt", "regex", "set_header", "remove_header", "body")
_one: msgspec.json.Decoder[AnyStep] = msgspec.json.Decoder(AnyStep)
_list = msgspec.json.Decoder(list[msgspec.Raw])
_encoder = msgspec.json.Encoder(order="deterministic")


def parse_edits(data: bytes) -> Edits:
    """Return the steps of a JSON list such as [{"kind": "jq", "program": ".a = 1"}]; raises BadEdits."""
    if len(data) > LARGEST_EDITS:
        raise BadEdits(f"all edits together have at most {LARGEST_EDITS // 1024} KiB")
    try:
        given = _list.decode(data)
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        raise BadEdits(f"edits are a JSON list of steps: {error}"[:300]) from error
    if len(given) > MOST_STEPS:
        raise BadEdits(f"at most {MOST_STEPS} steps")
    return tuple(_parsed(number, bytes(one)) for number, one in enumerate(given, 1))


def _parsed(number: int, data: bytes) -> AnyStep:
    try:
        step = _one.decode(data)
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        raise BadEdits(f"step {number}: {_kind_words(str(error))}"[:400]) from error
    try:
        return _checked(step)
    except (BadExpression, ValueError, TypeError, ArithmeticError, msgspec.MsgspecError, RecursionError) as error:
        raise BadEdits(f"step {number} ({kind_of(step)}): {error}"[:400]) from error


def _kind_words(said: str) -> str:
    return f"a step's kind is one of {', '.join(KINDS)}" if "`$.kind`" in said or "field `kind`" in said else said


def kind_of(step: AnyStep) -> str:
    """Return the step's kind, as it is written."""
    return str(step.__struct_config__.tag)


def _checked(step: AnyStep) -> AnyStep:
    """Return the step in its one form; raises ValueError, BadExpression and what Python's own types raise."""
    if isinstance(step, JsonPatch):
        return JsonPatch(patch=_checked_patch(bytes(step.patch)))
    if isinstance(step, Jq | Xslt):
        text = step.program if isinstance(step, Jq) else step.stylesheet
        if not text.strip() or len(text.encode("utf-8", "replace")) > LARGEST_PROGRAM or "\x00" in text:
            raise ValueError(f"it has text, and at most {LARGEST_PROGRAM // 1024} KiB of it")
    elif isinstance(step, Regex):
        compile_replacement(step.find, step.replace)
    elif isinstance(step, SetHeader):
        _check_name(step.name)
        _check_value(step)
    elif isinstance(step, RemoveHeader):
        _check_name(step.name)
    else:
        if (step.text is None) == (step.body_base64 is None):
            raise ValueError("give text or body_base64")
        whole_body(step, "utf-8")
    return step


def _checked_patch(data: bytes) -> msgspec.Raw:
    operations = msgspec.json.decode(data)
    if not isinstance(operations, list) or not all(isinstance(one, dict) for one in operations):
        raise ValueError("a JSON Patch is a list of operations")
    if not 1 <= len(operations) <= MOST_OPERATIONS:
        raise ValueError(f"a JSON Patch has 1 to {MOST_OPERATIONS} operations")
    for at, one in enumerate(operations, 1):
        wanted = {"add": "value", "replace": "value", "test": "value", "move": "from", "copy": "from", "remove": "path"}
        name = one.get("op")
        if not isinstance(name, str) or name not in wanted:
            raise ValueError(f"operation {at}: op is one of {', '.join(wanted)}")
        for member in ("path", wanted[name]):
            if member not in one:
                raise ValueError(f"operation {at}: {name} needs {member}")
            if member != "value" and (not isinstance(one[member], str) or (one[member] and one[member][0] != "/")):
                raise ValueError(f"operation {at}: {member} is a JSON Pointer, such as /order/lines/0")
    return msgspec.Raw(msgspec.json.format(data, indent=-1))


def _check_name(name: str) -> None:
    if (
        not name.strip()
        or name != name.strip()
        or len(name) > LONGEST_NAME
        or not name.isprintable()
        or ":" in name[1:]
    ):
        raise ValueError(f"a header's name has 1 to {LONGEST_NAME} characters, no colon inside and no space around")
    if not strip_headers([Header(name=name, type="string", value="")]):
        raise ValueError(f"{name} is set or left out by every replay: it cannot be edited")


def _check_value(step: SetHeader) -> None:
    if step.type not in TYPES:
        raise ValueError(f"a header's type is one of {', '.join(TYPES)}")
    wanted: Any = {"int": int, "float": (int, float), "bool": bool, "null": type(None)}.get(step.type, str)
    is_bool = isinstance(step.value, bool)
    if not isinstance(step.value, wanted) or (is_bool and step.type != "bool"):
        raise ValueError(f"its value is not of the type {step.type}")
    if step.type == "string" and any(one in step.value for one in "\x00\r\n"):
        raise ValueError("a header's value is one line")
    if step.type == "bytes":
        base64.b64decode(step.value, validate=True)
    value_of(Header(name=step.name, type=step.type, value=step.value))


def whole_body(step: Body, charset: str) -> bytes:
    """Return the bytes of a whole body; raises ValueError when the charset has not all of its characters."""
    if step.text is not None:
        return step.text.encode(charset)
    try:
        return base64.b64decode(step.body_base64 or "", validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError("body_base64 is not base64") from error


@lru_cache(maxsize=64)
def compile_replacement(find: str, replace: str) -> tuple[Any, Sequence[str | int]]:
    """Return (the expression compiled, what stands for a match: texts and numbers of groups). Raises BadExpression, ValueError.

    The expression is what masking takes, within the same bounds, and groups besides.
    """
    if not find or len(find) > LARGEST_PROGRAM or "\x00" in find:
        raise ValueError("say what to find")
    compile_regex(find)
    options = re2.Options()
    options.log_errors = False
    pattern = re2.compile(find, options)
    if pattern.programsize > MOST_PROGRAM:
        raise ValueError("it repeats too much")
    pieces: list[str | int] = []
    end = 0
    for found in REFERENCE.finditer(replace):
        pieces.append(replace[end : found.start()])
        end = found.end()
        if found[1] == "\\":
            pieces.append("\\")
        elif not (found[1].isascii() and found[1].isdigit()) or int(found[1]) > pattern.groups:
            raise ValueError(f"{found[0]} stands for no group: there are {pattern.groups}; write \\\\ for a backslash")
        else:
            pieces.append(int(found[1]))
    return pattern, (*pieces, replace[end:])


def canonical(edits: Edits) -> bytes:
    """Return the edits in the one form that is stored and summed."""
    return _encoder.encode(edits)


def sha256_of(edits: Edits) -> str:
    """Return the sum that the plan's checksum has in it; "" for none."""
    return hashlib.sha256(canonical(edits)).hexdigest() if edits else ""
