"""A connection over AMQP 1.0 by python-qpid-proton, which is driven from here: nothing moves between our calls."""

from __future__ import annotations

import contextlib
import ssl
from typing import Any
from urllib.parse import urlsplit

from proton import ConnectionException, ProtonException, SSLDomain, SSLException, symbol
from proton.reactor import LinkOption
from proton.utils import BlockingConnection

from messages.connectors.activemq.names import misread
from messages.connectors.base import Address, Check

PORTS = {"amqp10": 5672, "amqp10+ssl": 5671}
BROKEN = (ProtonException, SSLException, OSError, AttributeError)  # the last: what is asked of a connection that ended


class LoginRefused(Exception):
    """The broker answers, and does not take these credentials."""


class Unreachable(Exception):
    """Nobody answers there: nothing was sent."""


class ToQueue(LinkOption):
    """Says that the address is a queue: Artemis makes a multicast address of an unknown one otherwise, and drops what comes."""

    def apply(self, link: Any) -> None:
        (link.target if link.is_sender else link.source).capabilities.put_object(symbol("queue"))


def connect(address: Address, *, timeout_s: float) -> BlockingConnection:
    """Return an open connection; raises LoginRefused or Unreachable."""
    parts = urlsplit(address.url)
    try:
        host, port = parts.hostname or "", parts.port or PORTS[parts.scheme]
    except (ValueError, KeyError) as error:
        raise Unreachable(f"{parts.scheme}:// with this port is no address of AMQP 1.0") from error
    secure = parts.scheme == "amqp10+ssl"
    login: dict[str, Any] = (
        {"user": address.username, "password": address.secret, "allowed_mechs": "PLAIN"}
        if address.username
        else {"allowed_mechs": "ANONYMOUS"}
    )
    try:
        return BlockingConnection(
            f"{'amqps' if secure else 'amqp'}://{host}:{port}", timeout=timeout_s, allow_insecure_mechs=not secure,
            ssl_domain=_trust(address) if secure else None, **login,
        )  # fmt: skip
    except ConnectionException as error:
        if "unauthorized-access" in str(error):
            raise LoginRefused("the broker does not take this user name and password") from error
        raise Unreachable(says(error)) from error
    except BROKEN as error:
        raise Unreachable(says(error)) from error


def _trust(address: Address) -> SSLDomain:
    domain = SSLDomain(SSLDomain.MODE_CLIENT)
    paths = ssl.get_default_verify_paths()
    domain.set_trusted_ca_db(str(address.options.get("ca") or paths.cafile or paths.capath))
    domain.set_peer_authentication(SSLDomain.VERIFY_PEER_NAME)
    return domain


def says(error: Exception) -> str:
    """Return the broker's own words of a condition, else the error's."""
    text = str(error)
    if "Condition('" in text:
        text = text.partition("Condition(")[2].rstrip(")").replace("', \"", ": ").replace("', '", ": ").strip("'\"")
    return " ".join(text.split())[:300] or type(error).__name__


def reached(address: Address) -> tuple[BlockingConnection | None, list[Check]]:
    """Return a connection and what connecting says of the broker; no connection when it was not to be had."""
    try:
        connection = connect(address, timeout_s=5)
    except LoginRefused as error:
        return None, [
            Check(question="reached", answer=True, detail="the broker answers"),
            Check(question="authenticated", answer=False, detail=str(error)),
        ]
    except Unreachable as error:
        return None, [Check(question="reached", answer=False, detail=f"the broker does not answer: {error}")]
    return connection, [
        Check(question="reached", answer=True, detail="the broker answers"),
        Check(question="authenticated", answer=True, detail="the login is accepted"),
    ]


def link_check(connection: BlockingConnection, name: str, *, sending: bool, words: str = "") -> list[Check]:
    """Answer by opening and closing a link, which makes a queue only where the broker makes queues by itself."""
    question: Any = "may publish" if sending else "may read"
    if why := misread(name):
        return [Check(question=question, answer=False, detail=why)]
    try:
        if sending:
            connection.create_sender(name, options=ToQueue()).close()
        else:
            connection.create_receiver(name, credit=0, options=ToQueue()).close()
    except BROKEN as error:
        missing = "not-found" in str(error)
        return [Check(question="queue exists" if missing else question, answer=False, detail=says(error))]
    return [Check(question=question, answer=True, detail=f"a link to {name} was opened{words}")]


def hang_up(connection: BlockingConnection) -> None:
    with contextlib.suppress(*BROKEN):  # it may have been broken before
        connection.close()
