"""Every Celery entry point of alerts. A task is a name and one call; the state of the work lies in PostgreSQL."""

from celery import shared_task


@shared_task(name="alerts.send_notices")
def send_notices() -> None:
    """Send what waits in the outbox of notices. May run many times at once, and die anywhere: the claim decides."""
    from alerts.delivery import sending

    sending.look()


@shared_task(name="alerts.expire_deliveries")
def expire_deliveries() -> None:
    """Forget what was told, and what was heard from elsewhere, more than 90 days ago. May run twice at once."""
    from alerts.delivery import services

    services.expire()
