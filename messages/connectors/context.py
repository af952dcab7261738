"""Trace context in message headers. Pure.

Sources: W3C Trace Context level 1; B3 propagation (openzipkin/b3-propagation: the single header wins over the several); X-Ray's
tracing header, which SQS carries as `AWSTraceHeader`.
"""

from __future__ import annotations

import re
from collections.abc import Callable

TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.ASCII)
B3 = re.compile(r"([0-9a-f]{32}|[0-9a-f]{16})-([0-9a-f]{16})(?:-[01d](?:-[0-9a-f]{16})?)?", re.ASCII)
TRACE_ID = re.compile(r"[0-9a-f]{32}|[0-9a-f]{16}", re.ASCII)
SPAN_ID = re.compile(r"[0-9a-f]{16}", re.ASCII)
XRAY_ROOT = re.compile(r"1-([0-9a-f]{8})-([0-9a-f]{24})", re.ASCII)

Context = tuple[str, str]  # trace id of 32 and span id of 16 lower-case hex digits
Header = Callable[[str], str | None]  # a message's first header of this lower-case name, as text


def context_of(header: Header) -> Context | None:
    """Return the context that a message carries, from the first carrier that is valid: W3C, B3, X-Ray."""
    return (
        parse_traceparent(header("traceparent"))
        or parse_b3(header("b3"))
        or parse_b3_several(header("x-b3-traceid"), header("x-b3-spanid"))
        or parse_xray(header("awstraceheader") or header("x-amzn-trace-id"))
    )


def parse_traceparent(text: str | None) -> Context | None:
    """Return (trace id, span id) in lower-case hex, or None when the header is absent or invalid."""
    match = TRACEPARENT.fullmatch((text or "").strip().lower())
    if not match:
        return None
    version, trace_id, span_id, _, more = match.groups()
    if version == "ff" or (version == "00" and more):
        return None
    return _unless_zero(trace_id, span_id)


def parse_b3(text: str | None) -> Context | None:
    """Return the context of `b3: {trace}-{span}-{0|1|d}-{parent}`; its last two parts may be left out."""
    match = B3.fullmatch((text or "").strip().lower())
    return _unless_zero(match[1].zfill(32), match[2]) if match else None


def parse_b3_several(trace_id: str | None, span_id: str | None) -> Context | None:
    """Return the context of X-B3-TraceId (16 or 32 digits) and X-B3-SpanId."""
    trace, span = (trace_id or "").strip().lower(), (span_id or "").strip().lower()
    if not TRACE_ID.fullmatch(trace) or not SPAN_ID.fullmatch(span):
        return None
    return _unless_zero(trace.zfill(32), span)


def parse_xray(text: str | None) -> Context | None:
    """Return the context of `Root=1-{8 hex}-{24 hex};Parent={16 hex};Sampled=0|1`, in any order of its parts."""
    parts = dict(part.strip().partition("=")[::2] for part in (text or "")[:1000].lower().split(";"))
    root, parent = XRAY_ROOT.fullmatch(parts.get("root", "")), parts.get("parent", "")
    if not root or not SPAN_ID.fullmatch(parent):
        return None
    return _unless_zero(root[1] + root[2], parent)


def _unless_zero(trace_id: str, span_id: str) -> Context | None:
    return (trace_id, span_id) if trace_id.strip("0") and span_id.strip("0") else None


def make_traceparent(trace_id: str, span_id: str) -> str:
    """Return the header of a sampled span."""
    return f"00-{trace_id}-{span_id}-01"
