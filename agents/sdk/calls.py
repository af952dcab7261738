"""A failed HTTP call as a dead letter of the family "http": docs/brokers/http.md has its shape. Pure but for random ids and the clock.

The call is read from whatever objects a program has: those of requests and httpx, or plain mappings. None of them is imported,
nothing that is not read yet is read, and nothing that they do can raise here.
"""

from __future__ import annotations

import itertools
import re
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from .answers import MOST_BODY, Verdict, judge
from .steps import Step, body_of, context_of, headers_of, words_of

Pairs = list[tuple[str, str]]
SECRET = frozenset({"authorization", "proxy-authorization", "cookie", "set-cookie", "x-api-key", "x-auth-token"})
SECRET_MARKS = ("secret", "password", "api-key", "apikey", "access-token", "security-token", "csrf")
OF_THE_LINE = frozenset({"host", "content-length", "connection", "transfer-encoding", "accept-encoding", "keep-alive"})
MESSAGE_IDS = ("message-id", "idempotency-key", "webhook-id", "x-github-delivery", "x-request-id")
USER_IN_URL = re.compile(r"(?<=://)[^/@\s]{1,500}@")
MOST_HEADERS, MOST_LINE = 100, 65_536  # what http.client takes
MOST_EXCERPT, MOST_VALUE = 4096, 2000  # of an answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """body: None when it cannot be read again, as of a stream.   status: None when no answer came."""

    method: str
    url: str
    headers: Pairs
    body: bytes | None
    status: int | None
    answer_headers: Pairs
    answer: bytes

    def header(self, name: str) -> str:
        return next((value for key, value in self.headers if key.lower() == name), "")


class _Answered:
    """Headers as the judge asks for them."""

    def __init__(self, pairs: Pairs) -> None:
        self.pairs = pairs

    def items(self) -> Iterable[tuple[str, str]]:
        return self.pairs


def call_of(response: Any, request: Any, error: BaseException | None) -> Call:
    """Return what is known of a call: given, else from the answer and the error that hold their request and answer themselves."""
    response = response if response is not None else _of(error, "response")
    for holder in (response, error):
        request = request if request is not None else _of(holder, "request")
    status = _of(response, "status_code", "status", "code")
    unread = (
        _of(response, "_content") is False
    )  # requests with stream=True: to ask for .content would wait for the network
    return Call(
        method=str(_of(request, "method") or "POST").upper()[:20],
        url=str(_of(request, "url") or ""),
        headers=_pairs(_of(request, "headers")),
        body=_body(request, "body", "content"),
        status=status if isinstance(status, int) else None,
        answer_headers=_pairs(_of(response, "headers")),
        answer=(b"" if unread else _body(response, "content", "body") or b"")[:MOST_BODY],
    )


def verdict_of(call: Call, error: BaseException | None) -> Verdict:
    """Return what became of it; kind "taken" when it did not fail."""
    if call.status is not None:
        return judge(call.status, _Answered(call.answer_headers), call.answer)
    name = type(error).__name__ if error is not None else "no answer"
    words = USER_IN_URL.sub("", words_of(error))[:300] if error is not None else "no answer came"
    return Verdict(kind="later", words=words, reason=name, reason_code="target_error")


def letter_of(
    call: Call, said: Verdict, error: BaseException | None, *, system: str, origin: str = ""
) -> dict[str, Any]:
    """Return the dead letter of a call that failed, all but its broker; what a header says of secrets is left out.

    origin  names the flow; the path when it is not given.
    """
    path, query = _path_of(call.url)
    origin = (origin or path)[:300]
    letter: dict[str, Any] = {
        "id": uuid.uuid4().hex,
        "family": "http",
        "queue": origin,
        "origin": origin,
        "route": {"method": call.method, "path": path + query},
        "system": system,
        "reason": said.reason,
        "reason_code": said.reason_code,
        "message_id": next((value for name in MESSAGE_IDS if (value := call.header(name))), "")[:512],
        "replay_id": call.header("replay-id")[:64],
        "failed_at": datetime.now(UTC).isoformat(),
        "headers": headers_of(_without_secrets(call.headers)),
        "content_type": call.header("content-type")[:200],
        "content_encoding": call.header("content-encoding")[:100],
        "error": _error(call, said, error),
        "properties": {"response": _response(call)} if call.status is not None else {},
    }
    if context := context_of(call.header("traceparent")):
        letter["trace_id"], letter["span_id"] = context
    return letter | body_of(call.body) if call.body is not None else letter


def _error(call: Call, said: Verdict, error: BaseException | None) -> dict[str, str]:
    """Return the answer's own words when one came, with the stack of what was raised."""
    raised: dict[str, str] = {}
    if error is not None:
        step = Step("", "send", {}, None, None)
        step.raised(error)
        raised = {name: USER_IN_URL.sub("", text) for name, text in (step.error or {}).items()}
    if call.status is None and raised:
        return raised
    return raised | {"type": said.reason, "message": said.words}


def _response(call: Call) -> dict[str, Any]:
    excerpt = call.answer[:MOST_EXCERPT].decode("utf-8", "replace").replace("\0", "")
    headers = {name: value[:MOST_VALUE] for name, value in _without_secrets(call.answer_headers).items()}
    return {"status": call.status, "headers": headers, "body": excerpt}


def _without_secrets(pairs: Pairs) -> dict[str, str]:
    kept: dict[str, str] = {}
    for name, value in pairs:
        low = name.lower()
        if (
            low not in SECRET
            and low not in OF_THE_LINE
            and not any(mark in low.replace("_", "-") for mark in SECRET_MARKS)
        ):
            kept[name] = f"{kept[name]}, {value}" if name in kept else value
    return kept


def _path_of(url: str) -> tuple[str, str]:
    """Return (path, query with its mark)."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "/", ""
    return parts.path or "/", f"?{parts.query}" if parts.query else ""


def _of(thing: Any, *names: str) -> Any:
    """Return the first of these that a mapping or an object has; whatever its properties raise, it has none."""
    for name in names:
        try:
            found = thing.get(name) if isinstance(thing, Mapping) else getattr(thing, name, None)
        except Exception:  # noqa: BLE001, S112  httpx raises RuntimeError and its own for what is not there or not read
            continue
        if found is not None:
            return found
    return None


def _pairs(headers: Any) -> Pairs:
    try:
        found = headers.items() if hasattr(headers, "items") else headers or ()
        return [(_text(name), _text(value)) for name, value in itertools.islice(found, MOST_HEADERS)]
    except Exception:  # noqa: BLE001  no headers, whatever this is
        return []


def _text(value: Any) -> str:
    return value[:MOST_LINE].decode("latin-1") if isinstance(value, bytes) else str(value)[:MOST_LINE]


def _body(thing: Any, *names: str) -> bytes | None:
    """Return a body that is here; b"" for a call without one; None for a stream, which is gone once it was sent."""
    found = _of(thing, *names)
    if found is None:
        return None if thing is None or _of(thing, "stream") is not None else b""
    if isinstance(found, str):
        return found.encode("utf-8", "replace")
    return bytes(found) if isinstance(found, bytes | bytearray | memoryview) else None
