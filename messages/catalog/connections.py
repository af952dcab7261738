"""Connections: their secrets sealed, made, approved, tested and changed by administrators only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.db import IntegrityError, transaction

from console.audit.services import record_audit
from console.core.errors import Conflict, Invalid
from console.identity.access import check_can_administer
from console.identity.actor import Actor
from console.identity.models import Agent, Environment
from messages.connectors import UnknownFamily, families, get_connector, get_family
from messages.connectors.base import Address, BrokerUnavailable, CanDiscover, Connector, Family, Found, Option
from messages.connectors.wire import is_forbidden
from messages.models import Connection
from messages.payloads.master import open_text, seal_text

MOST_UNDOING = 32


class ConnectionInvalid(Invalid):
    """The address or kind of a connection cannot be used."""

    code = "connection_invalid"


class LivesWithAgent(ConnectionInvalid):
    """The console cannot ask this broker: the connection lives with an agent, which has address and credentials."""

    code = "lives_with_agent"


class CannotDiscover(Invalid):
    """The broker does not say which queues it has."""

    code = "cannot_discover"


class ConnectionExists(Conflict):
    """The environment has a connection of this name already."""

    code = "connection_exists"


def seal_secret(text: str) -> bytes:
    """Return the token under which a connection's secret is stored; empty stays empty."""
    return seal_text(text) if text else b""


def open_secret(token: bytes) -> str:
    text = open_text(bytes(token)) if token else ""
    if text is None:
        raise ConnectionInvalid("the secret cannot be opened with this master key: set it again")
    return text


def options_of(connection: Connection) -> list[tuple[Option, str]]:
    """Return what this connection may be told besides its address, and what it was told."""
    return [(one, str(connection.options.get(one.name) or "")) for one in _options_of_kind(connection.kind)]


def _options_of_kind(kind: str) -> tuple[Option, ...]:
    try:
        return get_family(kind, settings.CONSOLE_FAMILIES).options
    except UnknownFamily:  # it was declared when the connection was made, and is no more
        return ()


def connection_families() -> list[Family]:
    """Return the families that a connection may be of."""
    return [family for family in families(settings.CONSOLE_FAMILIES) if family.connector]


def harvested_families() -> list[Family]:
    """Return the families whose dead letters a harvester can read."""
    return [family for family in families() if family.source]


def check_address(kind: str, address: str) -> None:
    """Refuse an unknown kind, a scheme that does not fit, and credentials inside the address."""
    try:
        family = get_family(kind, settings.CONSOLE_FAMILIES)
    except UnknownFamily as error:
        raise ConnectionInvalid(str(error)) from error
    scheme, _, rest = address.partition("://")
    if family.schemes and scheme.lower() not in family.schemes:
        raise ConnectionInvalid(
            f"an address of kind {kind} starts with {' or '.join(f'{s}://' for s in family.schemes)}"
        )
    for host in rest.split(",") if family.several_hosts else [rest]:
        _check_host(f"{scheme}://{host}")


def _check_host(address: str) -> None:
    try:
        parts = urlsplit(address)
        host, _ = parts.hostname, parts.port
        (host or "").encode("idna")  # as looking it up does
    except ValueError as error:
        raise ConnectionInvalid("the address is not a URL") from error
    if not host:
        raise ConnectionInvalid("the address names no host")
    if is_forbidden(host):
        raise ConnectionInvalid(
            f"{host} is a place where no request may go: clouds keep their machines' credentials there"
        )
    if parts.username or parts.password or any(mark in parts.query.lower() for mark in ("password=", "secret=")):
        raise ConnectionInvalid(
            "put user and password into their own fields, not into the address: addresses are shown"
        )


def check_options(kind: str, options: Mapping[str, Any]) -> None:
    """Refuse an option that is no URL, or holds credentials; a family's options are addresses."""
    for option in _options_of_kind(kind):
        value = str(options.get(option.name) or "")
        if not value:
            continue
        try:
            parts = urlsplit(value)
            host, _ = parts.hostname, parts.port
        except ValueError as error:
            raise ConnectionInvalid(f"{option.label}: this is not a URL") from error
        if parts.scheme not in ("http", "https") or not host or len(value) > 500:
            raise ConnectionInvalid(f"{option.label} starts with http:// or https:// and names a host")
        if parts.username or parts.password:
            raise ConnectionInvalid(f"{option.label}: user and password stand in their own fields, for both addresses")


def create_connection(
    environment: Environment, *, name: str, kind: str, address: str = "", username: str = "", secret: str = "", by: Actor,
    options: Mapping[str, Any] | None = None, agent: Agent | None = None,
) -> Connection:  # fmt: skip
    """Make a connection, not yet approved; `name` is what agents call this broker.

    agent  it lives with this agent, which has the rest: address, credentials and options stay empty.
    """
    check_can_administer(by, environment)
    if agent is None:
        check_address(kind, address)
        check_options(kind, options or {})
    else:
        _check_place(environment, kind, agent)
        address, username, secret, options = "", "", "", {}
    if not name.strip() or "\x00" in name + address + username:
        raise ConnectionInvalid("a connection needs a name: what the harvester calls this broker")
    if agent is None:
        _connector(kind, Address(url=address)).close()  # asks nobody: it refuses what could never be asked
    try:
        with transaction.atomic():
            connection = Connection.objects.create(
                environment=environment, name=name.strip()[:120], kind=kind, address=address[:500], username=username[:200],
                secret=seal_secret(secret), options=dict(options or {}), agent=agent,
            )  # fmt: skip
            record_audit(
                by,
                "connection.created",
                connection,
                environment=environment,
                details={"kind": kind, "agent": agent.name} if agent else {"kind": kind, "address": address},
            )
    except IntegrityError as error:
        raise ConnectionExists(f"{environment.slug} has a connection {name} already") from error
    return connection


def _check_place(environment: Environment, kind: str, agent: Agent) -> None:
    if agent.environment_id != environment.pk:
        raise ConnectionInvalid(f"{agent.name} is an agent of another environment")
    if kind not in {family.kind for family in connection_families()}:
        raise ConnectionInvalid(f"there is no connection kind “{kind[:40]}” over which something can be sent")


def move_connection(connection: Connection, *, agent: Agent | None, address: str = "", by: Actor) -> None:
    """Let a connection live with an agent, or with the console again at this address; it is to be approved anew.

    Credentials and options do not move: the agent has its own, and the console is given them afterwards.
    """
    check_can_administer(by, connection.environment)
    if agent is None:
        check_address(connection.kind, address)
    else:
        _check_place(connection.environment, connection.kind, agent)
        address = ""
    with transaction.atomic():
        Connection.objects.filter(pk=connection.pk).update(
            agent=agent, agent_asked_at=None, address=address[:500], username="", secret=b"", options={}, approved_at=None,
            approved_by="", not_before=None, checked_at=None, check_result=[], updated_at=datetime.now(UTC),
        )  # fmt: skip
        details = {"agent": agent.name} if agent else {"address": address[:500]}
        record_audit(by, "connection.moved", connection, environment=connection.environment, details=details)
    connection.refresh_from_db()


def _check_has_address(connection: Connection) -> None:
    if connection.agent is not None:
        raise LivesWithAgent(
            f"{connection.name} lives with the agent {connection.agent.name}, which has its address and credentials: "
            "`python -m agents check` asks the broker there"
        )


def approve_connection(connection: Connection, *, by: Actor) -> None:
    """Let replays use this connection, at once: what its receiver asked for before is forgotten."""
    check_can_administer(by, connection.environment)
    with transaction.atomic():
        Connection.objects.filter(pk=connection.pk, approved_at__isnull=True).update(
            approved_at=datetime.now(UTC), approved_by=by.name, not_before=None
        )
        record_audit(by, "connection.approved", connection, environment=connection.environment)
    connection.refresh_from_db()


def withdraw_connection(connection: Connection, *, by: Actor, reason: str = "") -> None:
    """Stop replays from using this connection."""
    check_can_administer(by, connection.environment)
    with transaction.atomic():
        Connection.objects.filter(pk=connection.pk).update(approved_at=None, approved_by="")
        record_audit(by, "connection.withdrawn", connection, environment=connection.environment, reason=reason)
    connection.refresh_from_db()


def set_undo_at_once(connection: Connection, *, at_once: int, by: Actor) -> None:
    """Say how many workers may send compensations over it at once. Raises ConnectionInvalid."""
    check_can_administer(by, connection.environment)
    if not 1 <= at_once <= MOST_UNDOING:
        raise ConnectionInvalid(f"1 to {MOST_UNDOING} workers may send compensations over it at once")
    with transaction.atomic():
        Connection.objects.filter(pk=connection.pk).update(undo_at_once=at_once, updated_at=datetime.now(UTC))
        details = {"at_once": at_once, "was": connection.undo_at_once}
        record_audit(by, "connection.bounded", connection, environment=connection.environment, details=details)
    connection.refresh_from_db()


def rotate_secret(
    connection: Connection, *, username: str, secret: str, by: Actor, options: Mapping[str, str] | None = None
) -> None:
    """Replace the credentials; the old ones cannot be read by anybody.

    options  what the family may be told besides, replaced as well. Only together with the secret: whoever could lead a stored
             secret to an address of their own could read it.
    """
    check_can_administer(by, connection.environment)
    _check_has_address(connection)
    check_options(connection.kind, options or {})
    kept = connection.options if options is None else {**connection.options, **options}
    with transaction.atomic():
        Connection.objects.filter(pk=connection.pk).update(
            username=username[:200], secret=seal_secret(secret), options=kept, updated_at=datetime.now(UTC)
        )
        record_audit(by, "connection.secret_rotated", connection, environment=connection.environment)
    connection.refresh_from_db()


def connector_of(connection: Connection) -> Connector:
    """Return the connector of this connection, ready to publish; raises ConnectionInvalid."""
    _check_has_address(connection)
    address = Address(
        url=connection.address,
        username=connection.username,
        secret=open_secret(bytes(connection.secret)),
        options=connection.options,
    )
    return _connector(connection.kind, address)


def _connector(kind: str, address: Address) -> Connector:
    try:
        return get_connector(kind, address, settings.CONSOLE_FAMILIES)
    except (UnknownFamily, ValueError) as error:  # its kind was declared when it was made, and is no more
        raise ConnectionInvalid(str(error)) from error


QUESTIONS = ("reached", "authenticated", "queue exists", "may publish")
ASK_S = 5.0


def check_connection(connection: Connection, *, by: Actor, destination: str | None = None) -> list[dict[str, Any]]:
    """Ask the broker what works, keep and return an answer to every question: [{"question", "answer", "detail"}]."""
    check_can_administer(by, connection.environment)
    connector = connector_of(connection)
    try:
        answers = [
            {"question": c.question, "answer": c.answer, "detail": c.detail} for c in connector.check(destination)
        ]
    finally:
        connector.close()
    answers += _not_asked(answers, destination)
    with transaction.atomic():
        Connection.objects.filter(pk=connection.pk).update(checked_at=datetime.now(UTC), check_result=answers)
        record_audit(by, "connection.tested", connection, environment=connection.environment)
    connection.refresh_from_db()
    return answers


def _not_asked(answers: Sequence[Mapping[str, Any]], destination: str | None) -> list[dict[str, Any]]:
    """Return the questions that have no answer, each with why."""
    asked = {answer["question"] for answer in answers}
    failed = next((answer["question"] for answer in answers if answer["answer"] is False), "")
    why = "this kind of connection cannot tell before something is sent"
    if failed:
        why = f"not asked, because “{failed}” is answered with no"
    elif not destination:
        why = "not asked: name a queue or stream below"
    return [{"question": one, "answer": None, "detail": why} for one in QUESTIONS if one not in asked]


def discover_queues(connection: Connection, *, by: Actor) -> list[Found]:
    """Return the queues of the broker that seem to hold dead letters; raises CannotDiscover with words."""
    check_can_administer(by, connection.environment)
    connector = connector_of(connection)
    try:
        if not isinstance(connector, CanDiscover):
            raise CannotDiscover("this kind of broker does not list its queues: name them yourself")
        found = connector.discover(timeout_s=ASK_S)
    except BrokerUnavailable as error:
        raise CannotDiscover(str(error)) from error
    finally:
        connector.close()
    record_audit(
        by, "connection.looked_through", connection, environment=connection.environment, details={"found": len(found)}
    )
    return found
