"""Kafka by kafka-python and its instrumentation, as they come: `kafka_orders.py shop`, then `kafka_orders.py erp`. KAFKA names the broker."""

import os

from kafka import KafkaConsumer, KafkaProducer
from opentelemetry.instrumentation.kafka import KafkaInstrumentor
from telemetry import provider, service

KafkaInstrumentor().instrument(tracer_provider=provider)
tracer = provider.get_tracer(service)

if service == "shop":
    producer = KafkaProducer(bootstrap_servers=os.environ["KAFKA"])
    for order_no in ("4711", "4712"):
        producer.send("python.orders", order_no.encode(), key=order_no.encode())
    producer.flush()
else:
    consumer = KafkaConsumer(
        "python.orders", bootstrap_servers=os.environ["KAFKA"], group_id="erp", auto_offset_reset="earliest"
    )
    for record in consumer:
        if record.value == b"4712":
            break
    consumer.close()
