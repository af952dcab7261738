"""RabbitMQ by pika and its instrumentation, as they come: `pika_orders.py shop`, then `pika_orders.py erp`. AMQP_URL names the broker."""

import os
from contextlib import suppress

import pika
from opentelemetry.instrumentation.pika import PikaInstrumentor
from telemetry import about, provider, service

PikaInstrumentor().instrument(tracer_provider=provider)
connection = pika.BlockingConnection(pika.URLParameters(os.environ["AMQP_URL"]))
channel = connection.channel()
channel.queue_declare("erp.orders", durable=True)


def received(channel, method, properties, body):
    about(body.decode())
    if body == b"4712":
        channel.basic_nack(method.delivery_tag, requeue=False)
        channel.stop_consuming()
        raise TimeoutError("the ERP did not answer in 30 s")
    channel.basic_ack(method.delivery_tag)


if service == "shop":
    with provider.get_tracer("shop").start_as_current_span("POST /orders"):
        for order_no in ("4711", "4712"):
            properties = pika.BasicProperties(
                message_id=f"pika-message-{order_no}", correlation_id=f"basket-{order_no}"
            )
            channel.basic_publish("", "erp.orders", order_no.encode(), properties)
else:
    channel.basic_consume("erp.orders", received)
    with suppress(TimeoutError):
        channel.start_consuming()
