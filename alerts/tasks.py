"""Every Celery entry point of alerts. A task is a name and one call; the state of the work lies in PostgreSQL."""

from celery import shared_task


@shared_task(name="alerts.assess_objectives")
def assess_objectives() -> None:
    """Count what came and assess every objective. May run twice at once, and die anywhere: two at once do the work once."""
    from alerts.objectives import assess

    assess.run()


@shared_task(name="alerts.look")
def look() -> None:
    """Look at what may be wrong. May run twice at once, and die anywhere: the environment's lock decides."""
    from alerts.breaches import services, watching

    watching.look()
    services.flag_unwatched()


@shared_task(name="alerts.tell")
def tell() -> None:
    """Begin and end silences, and tell what is due. May run twice at once, and die anywhere: rows and locks decide."""
    from alerts.breaches import silences, telling

    silences.look_at_silences()
    telling.tell_due()


@shared_task(name="alerts.send_notices")
def send_notices() -> None:
    """Send what waits in the outbox of notices. May run many times at once, and die anywhere: the claim decides."""
    from alerts.delivery import sending

    sending.look()


@shared_task(name="alerts.expire")
def expire() -> None:
    """Forget what was told and heard from elsewhere more than 90 days ago, breaches that ended 400 days ago, and reports that are due to go.

    May run twice at once.
    """
    from alerts.breaches.services import expire as expire_breaches
    from alerts.delivery.services import expire as expire_deliveries
    from alerts.reports.expiring import expire as expire_reports

    expire_deliveries()
    expire_breaches()
    expire_reports()


@shared_task(name="alerts.make_reports")
def make_reports() -> None:
    """Gather and draw the reports that are due, and look at what they would say now. May run twice at once, and die anywhere: rows decide."""
    from alerts.reports import making

    making.look()


@shared_task(name="alerts.send_reports")
def send_reports() -> None:
    """Send what waits of the mails of reports. May run many times at once, and die anywhere: the claim decides."""
    from alerts.reports import mailing

    mailing.look()
