"""Clients of Kafka, and what can be asked before anything is done.

librdkafka tells of brokers that are away and of refused logins by callback only, from inside poll(): Heard keeps what it said.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future
from queue import Empty, Queue
from typing import Any
from urllib.parse import parse_qsl

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AclOperation, AdminClient, TopicDescription

from messages.connectors.base import Address, Check, Question

PORT = 9092
# Of librdkafka's properties those that an operator may set. Not among them: what runs programs or loads libraries
# (sasl.kerberos.*, plugin.library.paths, ssl.engine.*), calls other servers (sasl.oauthbearer.*) or is a secret in plain sight.
ALLOWED = frozenset(
    {
        "security.protocol", "sasl.mechanism", "sasl.mechanisms", "ssl.ca.location", "ssl.ca.pem", "ssl.certificate.location",
        "ssl.certificate.pem", "ssl.key.location", "ssl.endpoint.identification.algorithm", "enable.ssl.certificate.verification",
        "client.id", "client.rack", "client.dns.lookup", "broker.address.family", "broker.address.ttl", "socket.timeout.ms",
        "socket.keepalive.enable", "socket.connection.setup.timeout.ms", "connections.max.idle.ms", "reconnect.backoff.ms",
        "reconnect.backoff.max.ms", "metadata.max.age.ms", "topic.metadata.refresh.interval.ms", "receive.message.max.bytes",
        "message.max.bytes", "compression.type", "session.timeout.ms", "heartbeat.interval.ms", "max.poll.interval.ms",
        "fetch.min.bytes", "fetch.wait.max.ms", "isolation.level", "partition.assignment.strategy",
    }
)  # fmt: skip
REFUSED_LOGIN = frozenset(
    {
        KafkaError._AUTHENTICATION,
        KafkaError.SASL_AUTHENTICATION_FAILED,
        KafkaError._SSL,
        KafkaError._UNSUPPORTED_FEATURE,
    }
)
NOT_VOUCHED_FOR = "certificate verify failed"  # under load librdkafka says it in the words of a broken line
AWAY = frozenset({KafkaError._ALL_BROKERS_DOWN, KafkaError._RESOLVE})
MISSING = frozenset({KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION})
FORBIDDEN = frozenset(
    {
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    }
)
MEANINGS = {AclOperation.READ: "read", AclOperation.WRITE: "write"}


SILENT = logging.Logger("librdkafka")  # what matters reaches us by callback; nothing writes past our own log
SILENT.addHandler(logging.NullHandler())


class BadAddress(ValueError):
    """The address or one of its options cannot be used."""


class LoginRefused(Exception):
    """Kafka answers and does not let us in."""


class Unreachable(Exception):
    """No broker answers; nothing was done."""


class Heard:
    """What librdkafka said by callback since forget(). refused, last: words, or "" when nothing; away: no broker answers."""

    def __init__(self) -> None:
        self.refused = self.last = ""
        self.away = False

    def __call__(self, error: KafkaError) -> None:
        words = says(error)
        if is_refusal(error):
            self.refused = words
        elif error.code() in AWAY:
            self.away = True
        else:
            self.last = words

    def forget(self) -> None:
        self.refused = self.last = ""
        self.away = False

    def check(self) -> None:
        """Raise LoginRefused or Unreachable when that was said."""
        if self.refused:
            raise LoginRefused(self.refused)
        if self.away:
            raise Unreachable(self.last or "no broker answers")


def says(error: KafkaError | KafkaException | Exception) -> str:
    """Return the broker's or the library's own words, on one line."""
    cause: Any = error.args[0] if isinstance(error, KafkaException) and error.args else error
    words = f"{cause.name()}: {cause.str()}" if isinstance(cause, KafkaError) else str(cause) or type(cause).__name__
    return " ".join(words.split())[:300]


def is_refusal(error: KafkaError) -> bool:
    """Whether Kafka, or what we know of its certificate, does not let us in."""
    return error.code() in REFUSED_LOGIN or NOT_VOUCHED_FOR in says(error)


def code_of(error: Exception) -> int:
    cause = error.args[0] if error.args else None
    return int(cause.code()) if isinstance(cause, KafkaError) else KafkaError.UNKNOWN


def within(seconds: float, call: Callable[[], Any]) -> Any:
    """Return what the library answers; raises Unreachable when it does not in time, and what it raises.

    librdkafka waits for ever for a commit whose broker was killed at the wrong moment (seen once in some ten kills): the thread that
    waits is left behind, with its client.
    """
    answers: Queue[tuple[Any, BaseException | None]] = Queue()

    def ask() -> None:
        try:
            answers.put((call(), None))
        except BaseException as error:  # noqa: BLE001  it is raised again where it was asked
            answers.put((None, error))

    threading.Thread(target=ask, daemon=True).start()
    try:
        answer, error = answers.get(timeout=seconds)
    except Empty:
        raise Unreachable(f"the broker has not answered within {seconds:g} s") from None
    if error is not None:
        raise error
    return answer


def properties_of(address: Address) -> dict[str, Any]:
    """Return librdkafka's properties of an address: kafka[+ssl]://host[:port][,host…][?property=value&…]; raises BadAddress.

    Properties come from the query too, because a connection's form has an address only; those of options win.
    """
    scheme, _, rest = address.url.partition("://")
    hosts, _, query = rest.partition("?")
    if scheme not in ("kafka", "kafka+ssl") or not hosts.strip("/"):
        raise BadAddress("an address of Kafka is kafka://host:9092 or kafka+ssl://host:9092, with commas between hosts")
    options = dict(parse_qsl(query, keep_blank_values=True)) | {k: _option(v) for k, v in address.options.items()}
    if odd := sorted(set(options) - ALLOWED):
        raise BadAddress(f"the property {odd[0][:60]} may not be set here")
    login = {}
    if address.username:
        login = {"sasl.username": address.username, "sasl.password": address.secret}
        if not {"sasl.mechanism", "sasl.mechanisms"} & set(options):
            login["sasl.mechanism"] = "PLAIN"
    wire = "SSL" if scheme == "kafka+ssl" else "PLAINTEXT"
    return {
        "security.protocol": (f"SASL_{wire}" if address.username else wire).lower(),
        "client.id": "waybill",
        **options,
        **login,
        "bootstrap.servers": ",".join(with_port(host) for host in hosts.strip("/").split(",") if host),
        "log_level": 0,
        "logger": SILENT,
    }


def _option(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def with_port(host: str) -> str:
    """Return host:port; an IPv6 address stands in brackets."""
    return host if host.rpartition("]")[2].count(":") else f"{host}:{PORT}"


def describe(
    address: Address, topics: Collection[str], *, timeout_s: float
) -> dict[str, TopicDescription | KafkaError]:
    """Return what each topic is, or why it cannot be told. Asking so makes no topic, as asking for metadata may.

    Raises BadAddress, LoginRefused, Unreachable.
    """
    heard = Heard()
    try:
        admin = AdminClient(properties_of(address) | {"error_cb": heard})
        futures: Mapping[str, Future[TopicDescription]] = admin.describe_topics(
            TopicCollection(list(topics)), include_authorized_operations=True, request_timeout=timeout_s
        )
    except (KafkaException, ValueError, TypeError) as error:
        raise BadAddress(says(error)) from error
    until = time.monotonic() + timeout_s
    while not all(future.done() for future in futures.values()):
        admin.poll(0.02)
        if heard.away:
            admin.poll(0.2)  # why they are away may be said after that they are
        heard.check()
        if time.monotonic() > until:
            break
    answers: dict[str, TopicDescription | KafkaError] = {}
    for topic, future in futures.items():
        answers[topic] = _answer(future, heard)
    return answers


def _answer(future: Future[TopicDescription], heard: Heard) -> TopicDescription | KafkaError:
    try:
        return future.result(timeout=0.5)
    except TimeoutError as error:
        raise Unreachable(heard.last or "it did not answer in time") from error
    except KafkaException as error:
        if code_of(error) in MISSING | FORBIDDEN | {KafkaError.TOPIC_EXCEPTION}:
            return error.args[0]  # type: ignore[no-any-return]
        if isinstance(error.args[0], KafkaError) and is_refusal(error.args[0]):
            raise LoginRefused(says(error)) from error
        heard.check()
        raise Unreachable(heard.last or says(error)) from error


def group_refusal(address: Address, group: str, *, timeout_s: float = 5) -> str:
    """Return the broker's words when this login may not be a member of the group, else ""."""
    admin = AdminClient(properties_of(address) | {"error_cb": Heard()})
    try:
        admin.describe_consumer_groups([group], request_timeout=timeout_s)[group].result(timeout=timeout_s + 1)
    except KafkaException as error:
        return says(error) if code_of(error) in FORBIDDEN else ""
    except TimeoutError:
        return "it did not answer in time"
    return ""


def checked(address: Address, topic: str | None, question: Question, operation: AclOperation) -> list[Check]:
    """Ask a broker, one question after the other, until one is answered with no."""
    try:
        answer = describe(address, [topic or "waybill-asks"], timeout_s=5)[topic or "waybill-asks"]
    except LoginRefused as error:
        return [
            Check(question="reached", answer=True, detail="Kafka answers"),
            Check(question="authenticated", answer=False, detail=str(error)),
        ]
    except BadAddress as error:
        return [Check(question="reached", answer=False, detail=f"the address cannot be used: {error}")]
    except Unreachable as error:
        return [Check(question="reached", answer=False, detail=f"Kafka does not answer: {error}")]
    checks = [
        Check(question="reached", answer=True, detail="Kafka answers"),
        Check(question="authenticated", answer=True, detail="the login is accepted"),
    ]
    if topic is None:
        return checks
    if isinstance(answer, KafkaError):
        missing = answer.code() not in FORBIDDEN
        words = f"there is no topic {topic}" if missing else says(answer)
        return [*checks, Check(question="queue exists" if missing else question, answer=False, detail=words)]
    count = len(answer.partitions)
    parts = "1 partition" if count == 1 else f"{count} partitions"
    checks.append(Check(question="queue exists", answer=True, detail=f"topic {topic} has {parts}"))
    if answer.authorized_operations is None:
        return [*checks, Check(question=question, answer=None, detail="this broker does not tell what we may do")]
    may = operation in answer.authorized_operations
    words = f"the broker {'lets' if may else 'does not let'} this login {MEANINGS[operation]} the topic"
    return [*checks, Check(question=question, answer=may, detail=words)]
