"""Celery over RabbitMQ and its instrumentation, as they come: `celery_orders.py shop`, then `celery_orders.py worker`."""

import os
import threading

from celery import Celery
from celery.worker import state
from opentelemetry.instrumentation.celery import CeleryInstrumentor
from telemetry import about, provider, service

CeleryInstrumentor().instrument(tracer_provider=provider)
app = Celery("orders", broker=os.environ["AMQP_URL"], set_as_current=True)
app.conf.task_default_queue = "celery.orders"


@app.task(name="orders.book", bind=True, max_retries=1)
def book(self, order_no):
    about(order_no)
    if order_no == "4712":
        try:
            raise TimeoutError("the ERP did not answer in 30 s")
        except TimeoutError as error:
            raise self.retry(exc=error, countdown=0) from error


if service == "shop":
    for order_no in ("4711", "4712"):
        book.apply_async([order_no], task_id=f"celery-task-{order_no}")
else:
    threading.Timer(12, lambda: setattr(state, "should_stop", 0)).start()
    app.worker_main(
        ["worker", "--pool=solo", "--loglevel=INFO", "--without-gossip", "--without-mingle", "--without-heartbeat"]
    )
