"""Message attributes of SQS and SNS as headers and back, their types kept. Pure.

An attribute has a type (String, Number, Binary), which may go on after a dot as its sender likes: `Number.int`, `Binary.png`,
`String.Array`. Source: Amazon SQS Developer Guide, "Amazon SQS message metadata".
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from messages.connectors.base import Header
from messages.connectors.headers import header_of, value_of

MOST = 10  # attributes of one message
OURS = ("replay-id", "traceparent", "replay-of", "replay-attempt", "replay-by")  # the first matter most
NAME = re.compile(r"(?!(?:aws|amazon)\.)(?!\.)[A-Za-z0-9_.-]{1,256}(?<!\.)", re.ASCII | re.I)
# What SQS and SNS take of Unicode, as XML 1.0 does.
FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class Unsendable(ValueError):
    """SQS cannot carry this; the sentence says why."""


def headers_of(attributes: object) -> tuple[list[Header], dict[str, str]]:
    """Return the headers of received attributes, and by name the types that a header does not tell; odd ones never raise.

    A Number that is not written as an integer is kept as text: it may have 38 digits, and its way of writing is the sender's.
    """
    headers: list[Header] = []
    types: dict[str, str] = {}
    for name, attribute in attributes.items() if isinstance(attributes, Mapping) else ():
        if not isinstance(attribute, Mapping):
            continue
        header = _header(whole(str(name))[:1024], attribute)
        label = whole(str(attribute.get("DataType") or "String"))
        headers.append(header)
        if label != _label(header):
            types[header.name] = label[:256]
    return headers, types


def _header(name: str, attribute: Mapping[str, Any]) -> Header:
    binary, text = attribute.get("BinaryValue"), attribute.get("StringValue")
    if isinstance(binary, bytes):
        return header_of(name, binary)
    text = "" if text is None else whole(str(text))
    if str(attribute.get("DataType")).partition(".")[0] == "Number" and len(text) < 19 and _is_integer(text):
        return header_of(name, int(text))
    return header_of(name, text)


def whole(text: str) -> str:
    """Return the text without halves of surrogate pairs, which no UTF-8 can say."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _is_integer(text: str) -> bool:
    try:
        return str(int(text)) == text
    except ValueError:
        return False


def _label(header: Header) -> str:
    """Return the type that a header of this type goes out with when nothing else is known."""
    return {"bytes": "Binary", "int": "Number", "float": "Number"}.get(header.type, "String")


def attributes_of(
    headers: Iterable[Header], types: Mapping[str, object]
) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Return the attributes to send, and the names of our own marks for which there was no room; raises Unsendable.

    A message has at most ten. Its own go first, all of them; our marks fill what is left, the most important first.
    """
    found = {header.name: header for header in headers if header.type != "null"}
    own = [name for name in found if name not in OURS]
    marks = [name for name in OURS if name in found and found[name].value != ""]
    if len(own) > MOST:
        raise Unsendable(f"it has {len(own)} headers, and a message there carries at most {MOST} attributes")
    sent = own + marks[: MOST - len(own)]
    made = {name: _attribute(found[name], str(types.get(name) or _label(found[name]))) for name in sent}
    return made, marks[MOST - len(own) :]


def _attribute(header: Header, label: str) -> dict[str, Any]:
    if not NAME.fullmatch(header.name) or ".." in header.name:
        raise Unsendable(f"its header “{header.name[:60]}” has a name that no attribute there may have")
    value = value_of(header)
    if label.partition(".")[0] == "Binary":
        return {"DataType": label, "BinaryValue": value if isinstance(value, bytes) else _text(header, value).encode()}
    return {"DataType": label, "StringValue": _text(header, value)}


def _text(header: Header, value: object) -> str:
    if header.type == "json":
        text = json.dumps(header.value, ensure_ascii=False)
    elif isinstance(value, bool):
        text = str(value).lower()
    elif isinstance(value, bytes):
        text = base64.b64encode(value).decode()
    else:
        text = value.isoformat() if isinstance(value, datetime) else str(value)
    if not text or FORBIDDEN.search(text):
        raise Unsendable(f"its header “{header.name[:60]}” is empty or has characters that no attribute there may have")
    return text


def size_of(body: str, attributes: Mapping[str, Mapping[str, Any]]) -> int:
    """Return what counts against the limit, in bytes: the body, and names, types and values of its attributes."""
    size = len(body.encode())
    for name, attribute in attributes.items():
        value = attribute.get("BinaryValue") or str(attribute.get("StringValue", "")).encode()
        size += len(name.encode()) + len(str(attribute["DataType"]).encode()) + len(value)
    return size
