"""ActiveMQ Classic and Artemis, over STOMP 1.2 or AMQP 1.0."""

from messages.connectors.base import Family, Option

FAMILY = Family(
    kind="activemq",
    label="ActiveMQ",
    schemes=("stomp", "stomp+ssl", "amqp10", "amqp10+ssl"),
    example="stomp://host:61613",
    connector="messages.connectors.activemq.schemes.connector_of",
    source="messages.connectors.activemq.schemes.source_of",
    expires=True,
    options=(
        Option(
            name="management",
            label="Web console",
            help="ActiveMQ Classic: http://host:8161. Tells who consumes a queue and which queues hold dead letters. Artemis needs none.",
        ),
    ),
    stripped=(
        "dlqdeliveryfailurecause", "original-destination", "originalexpiration", "jmsxdeliverycount", "jmsactivemqbrokerpath",
        "x-opt-orig-*", "x-opt-jms-*", "x-opt-actual-expiry",
        "_amq_orig_*", "_amq_actual_expiry", "_amq_large_size", "_amq_routing_type", "_amq_group_sequence",
        "__hdr_*", "__amq_cid", "native_message_id", "jms_amqp_*",
    ),
)  # fmt: skip
