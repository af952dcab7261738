"""Every Celery entry point of alerts. A task is a name and one call; the state of the work lies in PostgreSQL."""
