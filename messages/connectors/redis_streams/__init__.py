"""Redis Streams."""

from messages.connectors.base import Family

FAMILY = Family(
    kind="redis-streams",
    label="Redis Streams",
    schemes=("redis", "rediss"),
    example="redis://host:6379/0",
    connector="messages.connectors.redis_streams.connector.RedisStreamsConnector",
    source="messages.connectors.redis_streams.source.RedisStreamsSource",
    stripped=(
        "original-stream", "error-type", "error-message", "error-stack", "dead-reason", "attempts", "first-failed-at", "failed-at",
        "failed-system", "dead-entry-id",
    ),
)  # fmt: skip
