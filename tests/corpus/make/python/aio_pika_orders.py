"""RabbitMQ by aio-pika and its instrumentation, as they come: `aio_pika_orders.py shop`, then `aio_pika_orders.py erp`."""

import asyncio
import os

import aio_pika
from opentelemetry.instrumentation.aio_pika import AioPikaInstrumentor
from telemetry import about, provider, service

AioPikaInstrumentor().instrument(tracer_provider=provider)


async def shop(channel) -> None:
    exchange = await channel.declare_exchange("orders", aio_pika.ExchangeType.TOPIC)
    queue = await channel.declare_queue("billing.orders")
    await queue.bind(exchange, "order.created")
    for order_no in ("4711", "4712"):
        message = aio_pika.Message(
            order_no.encode(), message_id=f"aio-pika-message-{order_no}", correlation_id=f"basket-{order_no}"
        )
        await exchange.publish(message, "order.created")


async def billing(channel) -> None:
    done = asyncio.Event()

    async def received(message) -> None:
        about(message.body.decode())
        if message.body == b"4712":
            await message.reject()
            done.set()
            raise TimeoutError("no invoice number in 30 s")
        await message.ack()

    queue = await channel.get_queue("billing.orders")
    await queue.consume(received)
    await done.wait()
    await asyncio.sleep(0.2)


async def main() -> None:
    async with await aio_pika.connect(os.environ["AMQP_URL"]) as connection:
        await (shop if service == "shop" else billing)(await connection.channel())


asyncio.run(main())
