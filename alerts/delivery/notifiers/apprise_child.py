"""Run by apprise.py as a program of its own, with an empty environment: tell one Apprise URL, and reach nothing but the hosts it is given.

Names are looked up once, here, and only addresses that such a look-up gave are connected to. No redirects, 64 KB of an answer, a deadline,
bounded memory, no files written. Input and output: one JSON object.
"""

from __future__ import annotations

import io
import ipaddress
import json
import logging
import resource
import signal
import socket
import sys
from collections.abc import Iterator
from typing import Any, NoReturn

MOST_REPLY = 64 * 1024
MEMORY_BYTES = 1024 * 1024 * 1024
NEVER = [
    ipaddress.ip_network(net)
    for net in (
        "169.254.0.0/16",
        "fe80::/10",
        "fd00:ec2::254/128",
        "0.0.0.0/8",
        "224.0.0.0/4",
        "ff00::/8",
        "64:ff9b::a9fe:0/112",
    )
]


class NotAllowed(OSError):
    """It wanted to go where nobody approved."""


refusals: list[str] = []
looked_up: set[tuple[Any, Any]] = set()
original_getaddrinfo = socket.getaddrinfo


def refuse(words: str) -> NoReturn:
    refusals.append(words)
    raise NotAllowed(words)


def is_allowed(host: str, port: int, hosts: set[str]) -> bool:
    plain = f"[{host}]" if ":" in host else host
    written = plain if port in (80, 443) else f"{plain}:{port}"
    return written in hosts or any(one.startswith("*.") and written.endswith(one[1:]) for one in hosts)


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def guard(hosts: set[str]) -> None:
    """Let no socket of this process go anywhere else."""
    sockets: Any = socket

    def getaddrinfo(host: Any, port: Any, *rest: Any, **more: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else str(host)
        if not is_allowed(name.lower(), int(port or 0), hosts):
            refuse(f"{name}:{port} is not approved: an administrator of the console approves hosts")
        found = original_getaddrinfo(host, port, *rest, **more)
        for *_, where in found:
            address = ipaddress.ip_address(str(where[0]).split("%", maxsplit=1)[0])
            address = getattr(address, "ipv4_mapped", None) or address
            if any(address in net for net in NEVER if net.version == address.version) or (
                address.is_loopback and not is_loopback(name)
            ):
                refuse(f"{name} leads to {address}, where no request may go")
            looked_up.add((where[0], where[1]))
        return found

    connect = socket.socket.connect

    def guarded(self: Any, address: Any) -> Any:
        if self.family not in (socket.AF_INET, socket.AF_INET6) or tuple(address[:2]) not in looked_up:
            refuse("it wanted to connect past the look-up of names")
        return connect(self, address)

    def none(*_: Any, **__: Any) -> NoReturn:
        refuse("it wanted to connect in a way that is not allowed")

    sockets.getaddrinfo = getaddrinfo
    sockets.socket.connect = guarded
    sockets.socket.connect_ex = sockets.socket.sendto = sockets.gethostbyname = none


def bound_requests(timeout_s: float) -> None:
    """No proxy, no redirect, a time-out, and 64 KB of an answer."""
    import requests

    sessions: Any = requests.Session
    responses: Any = requests.Response

    send = sessions.request

    def request(self: Any, method: Any, url: Any, **more: Any) -> Any:
        self.trust_env = False
        more |= {"allow_redirects": False, "timeout": timeout_s, "verify": True}
        return send(self, method, url, **more)

    sessions.request = request
    contents = responses.iter_content

    def iter_content(self: Any, chunk_size: Any = 1, decode_unicode: bool = False) -> Iterator[Any]:
        read = 0
        for chunk in contents(self, min(chunk_size or 1024, 8192), decode_unicode):
            read += len(chunk)
            if read > MOST_REPLY:
                refuse("its answer has more than 64 KB")
            yield chunk

    responses.iter_content = iter_content


def main() -> None:
    asked = json.load(sys.stdin)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    sys.dont_write_bytecode = True
    written = sys.stdout
    sys.stdout = io.StringIO()
    import apprise

    guard(set(asked["hosts"]))
    bound_requests(asked["timeout_s"])
    signal.alarm(int(2 * asked["timeout_s"]))
    log = io.StringIO()
    handler = logging.StreamHandler(log)
    handler.setLevel(logging.WARNING)
    logging.getLogger("apprise").addHandler(handler)
    logging.getLogger("apprise").setLevel(logging.WARNING)
    asset = apprise.AppriseAsset(
        app_id="Waybill", app_desc="Waybill", plugin_paths=[], storage_mode=apprise.PersistentStoreMode.MEMORY
    )
    told = apprise.Apprise(asset=asset)
    answer: dict[str, Any] = {"ok": False, "log": ""}
    if not told.add(asked["url"]):
        answer["refused"] = "Apprise cannot read this URL"
    else:
        answer["ok"] = bool(
            told.notify(title=asked["title"], body=asked["body"], notify_type=asked["type"], body_format="text")
        )
    answer["log"] = log.getvalue()[:8000]
    if refusals and not answer["ok"]:
        answer["refused"] = refusals[0]
    json.dump(answer, written)
    written.flush()


if __name__ == "__main__":
    main()
