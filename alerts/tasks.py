"""Every Celery entry point of alerts. A task is a name and one call; the state of the work lies in PostgreSQL."""

from celery import shared_task


@shared_task(name="alerts.assess_objectives")
def assess_objectives() -> None:
    """Count what came and assess every objective. May run twice at once, and die anywhere: two at once do the work once."""
    from alerts.objectives import assess

    assess.run()
