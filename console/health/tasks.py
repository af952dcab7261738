"""The sign of life of beat, broker and worker together."""

from celery import shared_task

from console.health.probes import beat_heart


@shared_task(name="console.heartbeat")
def heartbeat() -> None:
    beat_heart()
