"""One HTTP request to a host that an administrator approved: a pinned address, no redirects, no proxy, one deadline, a small answer.

An approved host is written `host` (its ports 80 and 443), `host:port`, or, of the vendors that ship, `*.suffix`.
"""

from __future__ import annotations

import http.client
import ipaddress
import re
import ssl
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import SplitResult, urlsplit

from agents.sdk.pauses import pause_s
from alerts.delivery.notifiers.base import BadChannel, Told
from messages.connectors.wire import ForbiddenTarget, Wire, connect, is_forbidden

TIMEOUT_S = 10.0
MOST_REPLY = 64 * 1024
MOST_ANSWER = 2_000
USUAL_PORTS = {"http": 80, "https": 443}
APPROVED = re.compile(
    r"(?:[a-z0-9_](?:[a-z0-9_.-]{0,251}[a-z0-9])?|\[[0-9a-f:.]{2,45}\])(?::([1-9][0-9]{0,4}))?", re.ASCII
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request. headers: complete but for Host and Content-Length."""

    url: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    method: str = "POST"


def parse_url(url: str, *, what: str = "the address") -> SplitResult:
    """Return the parts of an http(s) URL with a host; raises BadChannel, which does not quote it: a webhook's URL is a secret."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
        (host or "").encode("idna")
    except ValueError as error:
        raise BadChannel(f"{what} is not a URL") from error
    if parts.scheme not in USUAL_PORTS or not host:
        raise BadChannel(f"{what} starts with https:// or http:// and names a host")
    if parts.username or parts.password:
        raise BadChannel(f"{what}: user and password do not stand in it")
    if not url.isascii() or not url.isprintable() or " " in url or len(url) > 2000:
        raise BadChannel(f"{what} holds a character that no request line takes; write it percent-encoded")
    if is_forbidden(host):
        raise BadChannel(f"{what} leads where no request may go: clouds keep their machines' credentials there")
    return parts


def host_of(url: str) -> str:
    """Return how the host of this URL is written when it is approved; raises BadChannel."""
    parts = parse_url(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or ""
    return host if _port(parts) in USUAL_PORTS.values() else f"{host}:{_port(parts)}"


def parse_approved(text: str) -> str:
    """Return an approved host as it is kept; raises BadChannel for what is none."""
    host = text.strip().lower().removesuffix("/")
    found = APPROVED.fullmatch(host)
    if not found or int(found[1] or 1) > 65535:
        raise BadChannel(
            "write a host, such as hooks.example.com, or a host and port, such as alertmanager.example.com:9093"
        )
    if is_forbidden(host.partition("]")[0].strip("[") if host.startswith("[") else host.partition(":")[0]):
        raise BadChannel("no request may go there, whoever approves it")
    return host


def is_allowed(url: str, allowed: Collection[str]) -> bool:
    """Whether this URL leads to one of these hosts."""
    host = host_of(url)
    return host in allowed or any(one.startswith("*.") and host.endswith(one[1:]) for one in allowed)


def _port(parts: SplitResult) -> int:
    return parts.port or USUAL_PORTS[parts.scheme]


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def send(call: Call, allowed: Collection[str], *, timeout_s: float = TIMEOUT_S) -> Told:
    """Send one request; never raises for what the other side does."""
    started = time.monotonic()
    try:
        parts = parse_url(call.url)
        if not is_allowed(call.url, allowed):
            return Told(
                result="refused",
                answer=f"{host_of(call.url)} is not approved: an administrator of the console approves hosts",
            )
        wire = connect(
            parts, 80, started + timeout_s, refused=lambda address: _is_refused(parts.hostname or "", address)
        )
    except (ForbiddenTarget, BadChannel) as error:
        return Told(result="refused", answer=str(error))
    except ssl.SSLCertVerificationError as error:
        return Told(result="refused", answer=f"its certificate is not trusted: {error.verify_message}")
    except OSError as error:
        return Told(result="later", answer=f"{parts.netloc} cannot be reached: {error.strerror or error}")
    try:
        return _exchange(call, parts, wire)
    except (OSError, http.client.HTTPException) as error:
        return Told(
            result="later",
            answer=f"no answer from {parts.netloc}, it may have taken it: {error or type(error).__name__}"[
                :MOST_ANSWER
            ],
        )
    finally:
        wire.hang_up()


def _is_refused(host: str, address: str) -> bool:
    """Whether a name leads where it must not: to metadata services, or, when it is another's name, to this machine."""
    plain = address.split("%", maxsplit=1)[0]
    mapped = getattr(ipaddress.ip_address(plain), "ipv4_mapped", None)
    return is_forbidden(address) or (is_loopback(str(mapped or plain)) and not is_loopback(host))


def _exchange(call: Call, parts: SplitResult, wire: Wire) -> Told:
    connection = http.client.HTTPConnection(parts.hostname or "", wire.port)
    connection.sock = wire  # type: ignore[assignment]
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    connection.request(
        call.method, path, body=call.body, headers={"User-Agent": "waybill", "Connection": "close", **call.headers}
    )
    answer = connection.getresponse()
    try:
        body = answer.read(MOST_REPLY)
    except (OSError, http.client.HTTPException):
        body = b""  # its status is known, and decides
    return judge(answer.status, dict(answer.headers.items()), body)


def judge(status: int, headers: Mapping[str, str], body: bytes) -> Told:
    """Return what an answer means: 2xx taken, 408, 425, 429 and 5xx later, anything else refused. Pure."""
    told = {name.lower(): value for name, value in headers.items()}
    words = " ".join(body[: 4 * MOST_ANSWER].decode("utf-8", "replace").replace("\x00", "").split())[:MOST_ANSWER]
    answer = f"HTTP {status}: {words}" if words else f"HTTP {status}"
    if 200 <= status < 300:
        return Told(result="taken", status=status, answer=answer)
    if status in (408, 425, 429) or status >= 500:
        return Told(
            result="later",
            status=status,
            answer=answer,
            retry_after_s=pause_s(told, failed=True, now=datetime.now(UTC)),
        )
    if 300 <= status < 400:
        answer = f"HTTP {status}: it redirects, and redirects are not followed: give the address that it leads to"
    return Told(result="refused", status=status, answer=answer)
