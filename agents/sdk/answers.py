"""What an HTTP endpoint's answer means: taken, refused for good, or later. Pure, standard library only, never raises for what it is given.

One judge for who reports a failed call (`Waybill.failed_request`) and for who sends it again (messages/connectors/http). A body is
interpreted only when its content type says what it is: SOAP 1.1 and 1.2 faults, GraphQL errors, RFC 9457 problem details.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, Protocol

from .pauses import pause_s
from .soap import SoapFault, soap_fault

MOST_BODY = 256 * 1024
MOST_WORDS = 300
Kind = Literal["taken", "refused", "later"]
LATER = frozenset({408, 425, 429, 502, 503, 504})
MAYBE_THROTTLED = frozenset({403, 413})  # with Retry-After, or nothing left of a limit: RFC 9110, 15.5.14; GitHub's 403
AUTH = frozenset({401, 403, 407})
XML = frozenset({"text/xml", "application/soap+xml", "application/xml"})
GRAPHQL = "application/graphql-response+json"
PROBLEM = "application/problem+json"
SOAP_REFUSED = frozenset({"Client", "Sender", "MustUnderstand", "VersionMismatch", "DataEncodingUnknown"})
SOAP_LATER = frozenset({"Server", "Receiver"})
# Of Apollo's servers and those that took over its words; RATE_LIMITED is GitHub's, THROTTLED is Shopify's.
GRAPHQL_THROTTLED = frozenset({"THROTTLED", "RATE_LIMITED", "TOO_MANY_REQUESTS"})
GRAPHQL_LATER = frozenset({"INTERNAL_SERVER_ERROR", "SERVICE_UNAVAILABLE", "TIMEOUT"}) | GRAPHQL_THROTTLED
GRAPHQL_AUTH = frozenset({"UNAUTHENTICATED", "FORBIDDEN", "UNAUTHORIZED"})


class Headers(Protocol):
    """Of any client: a mapping, or what is like one and may say a name twice."""

    def items(self) -> Iterable[tuple[str, str]]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What an answer means.

    kind           taken; refused: sending it again changes nothing; later: it may pass another time.
    words          for an operator, at most some 400 characters, one line.
    reason         native: "HTTP 503", "SOAP soap:Server", "GraphQL FORBIDDEN"; "" when it was taken.
    reason_code    auth, throttled, target_error or rejected; "" when it was taken.
    retry_after_s  the receiver asks that nothing be sent for so long, whatever became of this one; from 1 to a day.
    """

    kind: Kind
    words: str
    reason: str = ""
    reason_code: str = ""
    retry_after_s: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fault:
    """A failure that the body tells of; kind "taken": a part was done."""

    kind: Kind
    words: str
    reason: str
    reason_code: str


def judge(status: int, headers: Headers, body: bytes, *, now: datetime | None = None) -> Verdict:
    """Return what this answer means; of the body the first MOST_BODY bytes are read."""
    told = _lower(headers)
    media, charset = _media(told.get("content-type", ""))
    body = body[:MOST_BODY]
    fault = _fault(media, charset, body)
    now = now or datetime.now(UTC)
    pause = pause_s(told, failed=status >= 400 or bool(fault and fault.kind == "later"), now=now)
    if 200 <= status < 300 and (fault is None or fault.kind == "taken"):
        done = f"HTTP {status}, done in part only: {fault.words}" if fault else f"the endpoint answered HTTP {status}"
        return Verdict(kind="taken", words=done, retry_after_s=pause)
    if fault and (200 <= status < 300 or status == 500):
        kind: Kind = "later" if fault.kind == "later" else "refused"
        code = fault.reason_code
    else:
        kind, code = _by_status(status, pause)
    said = fault.words if fault else _excerpt(media, body)
    words = f"HTTP {status}: {said}" if said else f"HTTP {status}"
    if 300 <= status < 400:
        words += " (redirects are not followed)"
    reason = fault.reason if fault else f"HTTP {status}"
    return Verdict(kind=kind, words=words, reason=reason, reason_code=code, retry_after_s=pause)


def _by_status(status: int, pause: int | None) -> tuple[Kind, str]:
    if status == 429 or (status in MAYBE_THROTTLED and pause):
        return "later", "throttled"
    if status in LATER:
        return "later", "target_error"
    return "refused", "auth" if status in AUTH else "target_error" if status >= 500 else "rejected"


def _fault(media: str, charset: str, body: bytes) -> _Fault | None:
    if media in XML:
        found = soap_fault(body, charset)
        return _of_soap(found) if found else None
    if media in (GRAPHQL, "application/json"):
        return _of_graphql(_json(body), surely=media == GRAPHQL)
    return None


def _of_soap(found: SoapFault) -> _Fault:
    """Sort a fault by the part of its code that SOAP defines; the dots of 1.1 (Client.Authentication) make it finer."""
    first = found.code.rpartition(":")[2].partition(".")[0]
    fine = f"{found.code} {found.subcode}".lower()
    kind: Kind = "later" if first in SOAP_LATER else "refused"
    code = "rejected" if first in SOAP_REFUSED else "target_error"
    if any(mark in fine for mark in ("authenti", "authoriz", "security", "accessdenied")):
        kind, code = "refused", "auth"
    named = _line(f"{found.code} {found.subcode}", 150) or "without a code"
    text = _line(found.text, MOST_WORDS)
    words = f"SOAP fault {named}: {text}" if text else f"SOAP fault {named}"
    return _Fault(kind=kind, words=words, reason=f"SOAP {named}", reason_code=code)


def _of_graphql(answer: Any, *, surely: bool) -> _Fault | None:
    """Return the failure of a GraphQL response: an object of data, errors and extensions, and of nothing else (GraphQL spec, 7.1).

    surely  the content type says that it is one; plain JSON has to look like it.
    """
    if not isinstance(answer, dict) or not isinstance(answer.get("errors"), list) or not answer["errors"]:
        return None
    errors = [error for error in answer["errors"][:20] if isinstance(error, dict)]
    if not surely and (set(answer) - {"data", "errors", "extensions"} or not all("message" in one for one in errors)):
        return None
    if not surely and not errors:
        return None
    codes = [_code(error) for error in errors]
    text = "; ".join(_line(str(error.get("message", "")), 100) for error in errors[:3])
    named = next((code for code in codes if code), "")
    words = f"GraphQL errors{f' {named}' if named else ''}: {_line(text, MOST_WORDS)}"
    kind: Kind = "later" if codes and all(code in GRAPHQL_LATER for code in codes) else "refused"
    if _has_data(answer.get("data")):
        kind = "taken"
    return _Fault(kind=kind, words=words, reason=f"GraphQL {named or 'errors'}", reason_code=_small_reason(named, kind))


def _small_reason(code: str, kind: Kind) -> str:
    if code in GRAPHQL_AUTH:
        return "auth"
    if code in GRAPHQL_THROTTLED:
        return "throttled"
    return "target_error" if kind == "later" else "rejected"


def _code(error: Mapping[str, Any]) -> str:
    more = error.get("extensions")
    code = more.get("code") if isinstance(more, dict) else None
    return _line(str(code or error.get("type") or ""), 60)


def _has_data(data: object) -> bool:
    """Whether anything was done: `{"createOrder": null}` is what a failed mutation of a nullable field looks like."""
    return any(value is not None for value in data.values()) if isinstance(data, dict) else data is not None


def _excerpt(media: str, body: bytes) -> str:
    """Return what the body says, as one line; of what is no text, only what it is."""
    if media == PROBLEM and isinstance(problem := _json(body), dict):
        parts = [str(problem[name]) for name in ("title", "detail") if isinstance(problem.get(name), str)]
        if parts:
            return _line(": ".join(parts), MOST_WORDS)
    if not media or media.startswith("text/") or media.endswith(("json", "xml")):
        return _line(body[: 4 * MOST_WORDS].decode("utf-8", "replace"), 200)
    return f"{len(body)} bytes of {media}" if body else ""


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _line(text: str, most: int) -> str:
    """Return text as one line without what no terminal should be given."""
    return " ".join("".join(c if c.isprintable() else " " for c in text[: 4 * most]).split())[:most]


def _media(value: str) -> tuple[str, str]:
    """Return (media type, charset) of a Content-Type, lower-case."""
    media, *parameters = value[:300].lower().split(";")
    named = dict(part.strip().partition("=")[::2] for part in parameters)
    return _line(media, 100), named.get("charset", "").strip("\"' ")


def _lower(headers: Headers) -> dict[str, str]:
    """Return the headers by lower-case name; one that is repeated is a list with commas (RFC 9110, 5.3)."""
    told: dict[str, str] = {}
    for name, value in headers.items():
        key = str(name).lower()
        told[key] = f"{told[key]}, {value}" if key in told else str(value)
    return told
