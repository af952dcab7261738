"""RabbitMQ over AMQP 0.9.1."""

from messages.connectors.base import Family, Option

FAMILY = Family(
    kind="rabbitmq",
    label="RabbitMQ",
    schemes=("amqp", "amqps"),
    example="amqp://host:5672/vhost",
    connector="messages.connectors.rabbitmq.connector.RabbitMQConnector",
    expires=True,
    source="messages.connectors.rabbitmq.source.RabbitMQSource",
    stripped=(
        "x-death", "x-opt-deaths", "x-delivery-count", "x-acquired-count", "x-first-death-*", "x-last-death-*", "x-exception-*", "x-original-*",
        "nservicebus.failedq", "nservicebus.timeoffailure", "nservicebus.exceptioninfo.*", "nservicebus.retries*", "mt-reason", "mt-fault-*",
    ),
    options=(
        Option(name="management", label="Management address", help="http://host:15672; with it dead-letter queues are found. May stay empty."),
    ),
)  # fmt: skip
