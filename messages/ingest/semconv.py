"""The messaging attributes of OpenTelemetry, under the names they have and had. Pure.

Source: semantic conventions 1.44 (messaging, exceptions, CloudEvents) and the names that older instrumentations still send unless
they are told OTEL_SEMCONV_STABILITY_OPT_IN=messaging.
"""

from __future__ import annotations

from typing import Any

from messages.ingest import clean

OTHER, CREATE, SEND, RECEIVE, PROCESS, SETTLE = range(6)
OPERATIONS = {
    "create": CREATE,
    "send": SEND,
    "publish": SEND,
    "receive": RECEIVE,
    "poll": RECEIVE,
    "process": PROCESS,
    "deliver": PROCESS,
    "settle": SETTLE,
    "ack": SETTLE,
}
CONSUMING = frozenset({RECEIVE, PROCESS, SETTLE})
# How a receiver settles what it did not deal with: RabbitMQ's verbs, Azure Service Bus's dispositions, AMQP 1.0's outcomes.
GIVEN_BACK = frozenset(
    {"nack", "reject", "requeue", "abandon", "defer", "dead_letter", "deadletter", "release", "modify"}
)
OPERATIONS |= dict.fromkeys(GIVEN_BACK, SETTLE)
DISPOSITIONS = ("messaging.operation.name", "messaging.operation.type", "messaging.servicebus.disposition_status")
OPERATION_OF_KIND = {4: SEND, 5: PROCESS}  # PRODUCER, CONSUMER: when no attribute says more
OPERATION_ATTRIBUTES = ("messaging.operation.type", "messaging.operation.name")
MESSAGE_ID_ATTRIBUTES = ("messaging.message.id", "cloudevents.event_id")
BATCH_COUNT = "messaging.batch.message_count"
RESOURCE_KEPT = ("service.version", "service.instance.id", "deployment.environment.name", "host.name", "k8s.pod.name")

RENAMED = {
    "messaging.destination": "messaging.destination.name",
    "messaging.message_id": "messaging.message.id",
    "messaging.conversation_id": "messaging.message.conversation_id",
    "messaging.operation": "messaging.operation.type",
    "messaging.client_id": "messaging.client.id",
    "messaging.rabbitmq.routing_key": "messaging.rabbitmq.destination.routing_key",
    "messaging.kafka.message_key": "messaging.kafka.message.key",
    "messaging.kafka.consumer.group": "messaging.consumer.group.name",
    "messaging.eventhubs.consumer.group": "messaging.consumer.group.name",
    "messaging.rocketmq.client_group": "messaging.consumer.group.name",
    "messaging.kafka.partition": "messaging.destination.partition.id",
    "messaging.kafka.destination.partition": "messaging.destination.partition.id",
    "messaging.kafka.message.offset": "messaging.kafka.offset",
    "messaging.servicebus.destination.subscription_name": "messaging.destination.subscription.name",
    "deployment.environment": "deployment.environment.name",
}
OLD_NAMES = frozenset(RENAMED)
PARTITION = "messaging.destination.partition.id"
AIO_PIKA = "opentelemetry.instrumentation.aio_pika"  # its receive span is around the consumer's callback
PIKA = "opentelemetry.instrumentation.pika.pika_instrumentor"  # its tracer, so the scope of its spans


def renamed(name: str, value: Any) -> tuple[str, Any]:
    """Return an attribute under its present name."""
    name = RENAMED.get(name, name)
    return name, str(value) if name == PARTITION and isinstance(value, int) else value


def rename(attributes: dict[str, Any]) -> None:
    """Give every attribute its present name, in place; where both are there the present one wins."""
    if not OLD_NAMES.isdisjoint(attributes):
        for old in OLD_NAMES & attributes.keys():
            value = attributes.pop(old)
            attributes.setdefault(RENAMED[old], value)
    if isinstance(attributes.get(PARTITION), int):
        attributes[PARTITION] = str(attributes[PARTITION])


def mend_pika(attributes: dict[str, Any], span_name: str) -> None:
    """Say what the Python instrumentation of pika means, in place. Seen in 0.44b0 and 0.66b1.

    The old one names a consumer's tag or "(temporary)" as the destination, a new flow for every connection; exchange or queue stand
    in the span's name alone (`orders send`, `orders receive`). The receive span of both is around the callback: it is the processing.
    """
    destination, _, verb = span_name.rpartition(" ")
    if destination and verb in {"send", "receive"}:
        attributes["messaging.destination.name"] = destination
        attributes["messaging.operation.type"] = "process" if verb == "receive" else "send"


def text_of(attributes: dict[str, Any], name: str, most_bytes: int) -> str | None:
    """Return an attribute as cleaned text, None when it is absent or empty."""
    value = attributes.get(name)
    if value is None or value == "":
        return None
    return clean.text(value if isinstance(value, str) else str(value), most_bytes)


def destination_of(attributes: dict[str, Any]) -> str | None:
    """Return where the message goes, as producer and consumer both call it; None for a span that is not about messaging.

    A temporary queue has a name of its own each time: its template names the flow. SQS spans of the AWS SDKs may name a URL only.
    """
    passing = attributes.get("messaging.destination.temporary") or attributes.get("messaging.destination.anonymous")
    if passing and (template := text_of(attributes, "messaging.destination.template", clean.NAME_BYTES)):
        return template
    name = text_of(attributes, "messaging.destination.name", clean.NAME_BYTES)
    if name is None:
        url = text_of(attributes, "aws.sqs.queue.url", clean.NAME_BYTES)
        return url.rstrip("/").rpartition("/")[2] or None if url else None
    return as_both_sides_say(name) if attributes.get("messaging.system") == "rabbitmq" else name


def as_both_sides_say(destination: str) -> str:
    """Return a RabbitMQ destination without what only one side adds.

    Consumers are told to add the queue (`{exchange}:{routing key}:{queue}`), producers are not; aio-pika's producers add the routing
    key (`{exchange},{routing key}`; no exchange may have a comma in its name), its consumers do not.
    """
    destination = destination.partition(",")[0] or destination
    return ":".join(destination.split(":")[:2]) if destination.count(":") >= 2 else destination


def message_id_of(attributes: dict[str, Any]) -> str | None:
    for name in MESSAGE_ID_ATTRIBUTES:
        if found := text_of(attributes, name, clean.ID_BYTES):
            return found
    return None


def operation_of(
    attributes: dict[str, Any], kind: int, destination: str | None, *, name: str = "", scope: str = ""
) -> int:
    """Return what the span did: its type, else its system's verb, else the verb in its name, else what its kind says.

    kind  4 PRODUCER, 5 CONSUMER.   name  of the span, "orders receive" of old, "receive orders" now.   scope  the instrumentation's.
    """
    for attribute in OPERATION_ATTRIBUTES:
        value = attributes.get(attribute)
        if value is not None and (known := OPERATIONS.get(str(value).lower())) is not None:
            return PROCESS if known == RECEIVE and scope == AIO_PIKA else known
    if not destination or kind not in OPERATION_OF_KIND:
        return OTHER
    return _verb_of(name, destination) or OPERATION_OF_KIND[kind]


def gives_back(attributes: dict[str, Any], destination: str | None, name: str) -> bool:
    """Whether a settlement says that its message was refused or given back: it is no failure by itself, and no success.

    name  of the span, "orders nack" or, as Azure's SDKs have it, "ServiceBusReceiver.Abandon".
    """
    verb = name.removeprefix(f"{destination} ").removesuffix(f" {destination}")
    told = [*(attributes.get(one) for one in DISPOSITIONS), "" if " " in verb else verb.rpartition(".")[2]]
    return any(str(one).lower() in GIVEN_BACK for one in told)


def _verb_of(name: str, destination: str) -> int | None:
    verb = name.removeprefix(f"{destination} ").removesuffix(f" {destination}")
    return OPERATIONS.get(verb) if verb != name else None
