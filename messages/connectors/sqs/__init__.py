"""Amazon SQS and SNS, and what speaks like them (LocalStack, moto, ElasticMQ)."""

from messages.connectors.base import Family

# Nothing is stripped: SQS makes its system attributes afresh, and the decoder keeps what Lambda, EventBridge and SNS add to a dead letter
# apart from the message's own attributes.
FAMILY = Family(
    kind="sqs",
    label="Amazon SQS and SNS",
    schemes=("sqs", "sqs+https", "sqs+http"),
    example="sqs://eu-central-1",
    connector="messages.connectors.sqs.connector.SQSConnector",
    source="messages.connectors.sqs.source.SQSSource",
)
