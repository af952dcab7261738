"""Celery's tasks, over Redis or RabbitMQ. A failed task leaves nothing on the broker: its worker reports it (agents/sdk/celery_tasks.py)."""

from messages.connectors.base import Family

FAMILY = Family(
    kind="celery",
    label="Celery",
    schemes=("redis", "rediss", "amqp", "amqps"),
    example="redis://host:6379/0",
    connector="messages.connectors.celery.connector.CeleryConnector",
)
