"""What every ingest endpoint does before it looks at its items: key, method, type, size, compression."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from io import BytesIO

import zstandard
from django.http import HttpRequest
from zlib_ng import zlib_ng

from console.core.bodies import is_chunked, refusal_of
from console.core.errors import ConsoleError
from console.identity.keys import find_key
from console.identity.models import Agent
from messages.ingest import gate

WIRE_BYTES = 8 * 1024 * 1024
INFLATED_BYTES = 20 * 1024 * 1024
STEP_BYTES = 1024 * 1024
ZSTD_WINDOW_BYTES = 8 * 1024 * 1024  # what RFC 9659 lets a sender use, and so what a frame may have us hold
MOST_ITEMS = 5_000
MOST_OTLP_ITEMS = (
    10_000  # a Collector's batch has 8,192 where nobody says otherwise, and it drops what is refused for good
)
MOST_DEPTH = 64
KEY_FRESH_S = 3.0  # a revoked key is refused after this at the latest
SEEN_EVERY = timedelta(seconds=10)


class Malformed(ConsoleError):
    """The body is not what its headers say; nothing of it was stored. Do not send it again unchanged."""

    status = 400
    code = "malformed"
    again = "Not unchanged."


class WrongType(ConsoleError):
    """The content type or encoding is not one this endpoint takes."""

    status = 415
    code = "unsupported_media_type"
    again = "With a type that the sentence names."


class TooLarge(ConsoleError):
    """Over 8 MiB on the wire, 20 MiB inflated or 5,000 items; send smaller batches."""

    status = 413
    code = "too_large"
    again = "In smaller parts."


class WrongMethod(ConsoleError):
    """This address answers other methods: see Allow."""

    status = 405
    code = "method_not_allowed"
    again = "With a method that Allow names."


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """An inflated request body, its media type, and the identity of the batch."""

    data: bytes
    media_type: str
    wire_bytes: int
    sha256: bytes
    batch_id: str | None  # from Idempotency-Key
    headers: Mapping[str, str] = field(default_factory=dict)  # lower-case


_agents: dict[str, tuple[float, Agent]] = {}


def authenticate_agent(header: str) -> Agent:
    """Return the agent of an Authorization header's key; raises InvalidKey. A key is looked up again after 3 s."""
    known = _agents.get(header)
    if known is not None and time.monotonic() - known[0] < KEY_FRESH_S:
        return known[1]
    _agents.pop(header, None)
    key = find_key(header, "agent")
    assert key.agent is not None
    if len(_agents) > 10_000:
        _agents.clear()
    _agents[header] = (time.monotonic(), key.agent)
    return key.agent


def finish(agent: Agent, body: Body, items: int) -> None:
    """Charge the request to the agent's quota, and note, at most every 10 s, that the agent was heard."""
    gate.charge(agent, events=items, wire_bytes=body.wire_bytes)
    now = datetime.now(UTC)
    if agent.last_seen_at is None or now - agent.last_seen_at > SEEN_EVERY:
        Agent.objects.filter(pk=agent.pk).update(last_seen_at=now)
        agent.last_seen_at = now


def receive(request: HttpRequest, *, media_types: frozenset[str] | None) -> tuple[Agent, Body]:
    """Return who sent and what; every refusal is raised before the body is parsed. media_types: None for any."""
    if request.method != "POST":
        raise WrongMethod("only POST is answered here")
    gate.check_open()
    authorization = request.META.get("HTTP_AUTHORIZATION", "")
    agent = authenticate_agent(authorization)
    request.ingest_agent = agent  # type: ignore[attr-defined]
    gate.check_agent(agent)
    media_type = (request.content_type or "").lower()
    if media_types is not None and media_type not in media_types:
        raise WrongType(f"send one of {', '.join(sorted(media_types))}, not {media_type[:80] or 'nothing'}")
    encoding = request.META.get("HTTP_CONTENT_ENCODING", "").strip().lower()
    wire = _read(request)
    request.ingest_wire_bytes = len(wire)  # type: ignore[attr-defined]
    authenticate_agent(authorization)  # again: a body may take minutes, and its key may have been revoked meanwhile
    data = inflate(wire, encoding, before_large=partial(gate.take_room, request))
    batch_id = request.META.get("HTTP_IDEMPOTENCY_KEY", "").strip()
    if len(batch_id) > 180 or "\x00" in batch_id:
        raise Malformed("an Idempotency-Key has at most 180 characters")
    return agent, Body(
        data=data,
        media_type=media_type,
        wire_bytes=len(wire),
        headers={name.lower(): value for name, value in request.headers.items()} if media_types is None else {},
        sha256=hashlib.sha256(data).digest(),
        batch_id=batch_id or None,
    )


def _read(request: HttpRequest) -> bytes:
    declared = request.META.get("CONTENT_LENGTH") or ""
    if declared.isdigit() and int(declared) > WIRE_BYTES:
        raise TooLarge(f"the body has {int(declared):,} bytes; at most {WIRE_BYTES:,} are taken, send smaller batches")
    stream = request.META["wsgi.input"] if is_chunked(request.META) else request
    try:
        data: bytes = stream.read(WIRE_BYTES + 1)
    except OSError as error:
        raise (refusal_of(request) or error) from error
    if len(data) > WIRE_BYTES:
        raise TooLarge(f"the body has more than {WIRE_BYTES:,} bytes; send smaller batches")
    return data


def inflate(data: bytes, encoding: str, *, before_large: Callable[[], None] = lambda: None) -> bytes:
    """Return the body without its Content-Encoding, never more than 20 MiB of it; raises Malformed, WrongType, TooLarge.

    before_large  called once when there is more than 1 MiB of it, before the rest is inflated; may raise.
    """
    if encoding in ("", "identity"):
        if len(data) > STEP_BYTES:
            before_large()
        return data
    inflated, is_large = BytesIO(), False  # its value is handed out without a copy
    for chunk in inflated_chunks(data, encoding):
        if not is_large and inflated.tell() + len(chunk) > STEP_BYTES:
            is_large = True
            before_large()
        inflated.write(chunk)
        if inflated.tell() > INFLATED_BYTES:
            raise TooLarge(f"the body inflates to more than {INFLATED_BYTES:,} bytes; send smaller batches")
    return inflated.getvalue()


def inflated_chunks(data: bytes, encoding: str, *, raw: bool = False) -> Iterator[bytes]:
    """Yield the inflated body in steps of 1 MiB, so that a bomb is not inflated before it is refused; raises Malformed, WrongType.

    raw  deflate without zlib's header, which RFC 9110 asks for and some leave out.
    """
    try:
        yield from _chunks(data, encoding, 15 if not raw else -15)
    except (zlib_ng.error, zstandard.ZstdError, EOFError) as error:  # type: ignore[misc]  # its stub says Error is a value
        raise Malformed(f"the body is not {encoding}: {error}") from error


def _chunks(data: bytes, encoding: str, deflate_window: int) -> Iterator[bytes]:
    if encoding in ("gzip", "x-gzip"):
        yield from _unzipped(data, 31)
    elif encoding == "deflate":
        yield from _unzipped(data, deflate_window)
    elif encoding == "zstd":
        yield from _unpacked(data)
    else:
        raise WrongType(f"Content-Encoding {encoding[:40]} is not taken; use gzip, deflate, zstd or none")


def _unzipped(data: bytes, window: int) -> Iterator[bytes]:
    inflater = zlib_ng.decompressobj(window)
    chunk = inflater.decompress(data, STEP_BYTES)
    while chunk:
        yield chunk
        chunk = inflater.decompress(inflater.unconsumed_tail, STEP_BYTES)
    if not inflater.eof:
        raise Malformed("the compressed body is cut")
    if inflater.unused_data:
        raise Malformed("there are bytes after the compressed body")


def _unpacked(data: bytes) -> Iterator[bytes]:
    """Inflate a zstd frame. Unlike a reader this tells one that was cut; fed by 256 bytes, which hold 64 blocks of 128 KB at most."""
    inflater = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW_BYTES).decompressobj()
    fed = 0
    while fed < len(data) and not inflater.eof:
        yield inflater.decompress(data[fed : fed + 256])
        fed += 256
    if not inflater.eof:
        raise Malformed("the compressed body is cut")
    if inflater.unused_data or fed < len(data):
        raise Malformed("there are bytes after the compressed body")


def batch_identity(endpoint: str, batch_id: str | None, sha256: bytes) -> str:
    """Return the ledger's name of a batch: the sender's id, else the hash of its body."""
    return f"{endpoint}:{batch_id}" if batch_id else f"{endpoint}:sha256:{sha256.hex()}"
