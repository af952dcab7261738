"""Apache Kafka and whatever speaks its protocol."""

from messages.connectors.base import Family

FAMILY = Family(
    kind="kafka",
    label="Kafka",
    schemes=("kafka", "kafka+ssl"),
    example="kafka://host:9092,host:9092",
    connector="messages.connectors.kafka.connector.KafkaConnector",
    source="messages.connectors.kafka.source.KafkaSource",
    several_hosts=True,
    stripped=(
        "__connect.errors.*", "__streams.errors.*", "__dlq.errors.*", "kafka_dlt-*", "kafka_original-*", "kafka_exception-*",
        "kafka_key-exception-*", "kafka_deliveryattempt", "retry_topic-*", "springdeserializerexception*", "x-original-*", "x-exception-*",
        "dlt-*", "dlq-*", "retry-count",
    ),
)  # fmt: skip
