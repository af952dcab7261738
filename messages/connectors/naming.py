"""Names that queues of dead letters have by convention. Pure.

Sources: Spring Cloud Stream and Spring AMQP `.dlq`, Spring Kafka `-dlt` and `.DLT`, Kafka Connect and Confluent `dlq-…`, MassTransit `_error` and
`_skipped`, NServiceBus `error`, ActiveMQ `ActiveMQ.DLQ` and `DLQ.…`, Azure and AWS examples `-dlq`, `-deadletter`.
"""

from __future__ import annotations

import re

MOST_FOUND = 200
WORDS = r"dlq|dlt|dlx|dead[-_.]?letters?|dead|errors?|skipped|poison|failed"
ENDS = re.compile(rf"(?:^|[-_.:/])({WORDS})(?:\.fifo)?$", re.IGNORECASE)
BEGINS = re.compile(r"^(?:activemq\.)?(dlq|dlt)(?:[-_.:/]|$)", re.IGNORECASE)


def why_dead_letters(name: str) -> str:
    """Return why a queue of this name seems to hold dead letters, "" when nothing in the name says so."""
    if match := ENDS.search(name):
        return f"its name ends with “{match[1]}”"
    if match := BEGINS.match(name):
        return f"its name begins with “{match[1]}”"
    return ""
