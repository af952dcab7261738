"""Every Celery entry point of messaging. A task is a name and one call; the state of the work lies in PostgreSQL."""

from celery import shared_task


@shared_task(name="messaging.create_partitions")
def create_partitions() -> None:
    """Move rows that found no partition into their day's, and make those of the coming week. May run twice at once."""
    from messages.ingest import misplaced, partitions

    misplaced.place_misplaced()
    partitions.create_partitions()


@shared_task(name="messaging.retention")
def retention() -> None:
    """Let go what is older than its policy, if no run finished today. May run twice at once, and die anywhere."""
    from messages.retention import run

    run.run_daily()


@shared_task(name="messaging.expire_ledger")
def expire_ledger() -> None:
    """Forget batches answered more than a week ago, readings of clocks that no journey uses, of queues, old counts of masking rules."""
    from messages.catalog import queues
    from messages.ingest import clocks, writer
    from messages.masking import hits

    writer.expire_ledger()
    clocks.expire_readings()
    queues.expire_queue_readings()
    hits.expire_hits()


@shared_task(name="messaging.attach_exceptions")
def attach_exceptions(minutes: int) -> None:
    """Give failed events the exceptions that their spans logged. May run twice at once."""
    from messages.ingest import exceptions

    exceptions.attach_exceptions(minutes)


@shared_task(name="messaging.send_replays")
def send_replays(connection_id: int) -> None:
    """Send what is due over a connection. May run twice at once: the claim decides."""
    from messages.replay import sending

    sending.send_due(connection_id)


@shared_task(name="messaging.sweep_replays")
def sweep_replays() -> None:
    """Send what nobody looked at, and settle leases of workers that died."""
    from messages.replay import sending

    sending.sweep_replays()


@shared_task(name="messaging.settle_replays")
def settle_replays(minutes: int) -> None:
    """Look for the receivers' proofs of replays as young as that."""
    from datetime import timedelta

    from messages.replay import proofs

    proofs.settle_replays(within=timedelta(minutes=minutes))


@shared_task(name="messaging.index_search")
def index_search() -> None:
    """Tell the search back end what changed. May run twice at once: claims share the work."""
    from messages.search.elastic import work

    work.index()


@shared_task(name="messaging.keep_search")
def keep_search() -> None:
    """Build what is missing of the search back end's index, and let go what retention let go. May run twice at once, and die anywhere."""
    from messages.search.elastic import work

    work.keep()
