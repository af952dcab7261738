"""HTTP endpoints and webhooks."""

from messages.connectors.base import Family

FAMILY = Family(
    kind="http",
    label="HTTP",
    schemes=("http", "https"),
    example="https://host/path",
    connector="messages.connectors.http.connector.HTTPConnector",
)
