"""Every Celery entry point of messaging. A task is a name and one call; the state of the work lies in PostgreSQL."""

from celery import shared_task


@shared_task(name="messaging.create_partitions")
def create_partitions() -> None:
    """Move rows that found no partition into their day's, make those of the coming week, and note the errors of days before they were noted.

    May run twice at once.
    """
    from messages.ingest import error_texts, misplaced, partitions

    misplaced.place_misplaced()
    partitions.create_partitions()
    error_texts.reach_back()


@shared_task(name="messaging.retention")
def retention() -> None:
    """Let go what is older than its policy, if no run finished today. May run twice at once, and die anywhere."""
    from messages.retention import run

    run.run_daily()


@shared_task(name="messaging.expire_ledger")
def expire_ledger() -> None:
    """Forget batches answered more than a week ago, readings of clocks that no journey uses, of queues, old counts of masking rules, old mails,
    answers of REST that were kept for a day.
    """
    from messages.answers import services as answers
    from messages.catalog import queues
    from messages.groups import retention as groups
    from messages.ingest import clocks, writer
    from messages.masking import hits
    from messages.orders import services as orders
    from messages.saved import outbox

    outbox.expire_mails()
    writer.expire_ledger()
    clocks.expire_readings()
    queues.expire_queue_readings()
    hits.expire_hits()
    groups.expire_hours()
    answers.expire_answers()
    orders.forget_orders()


@shared_task(name="messaging.look_at_subscriptions")
def look_at_subscriptions() -> None:
    """Look at the saved searches that people want to be told of. May run twice at once: the claim decides."""
    from messages.saved import assessing

    assessing.look_at_subscriptions()


@shared_task(name="messaging.reconcile")
def reconcile() -> None:
    """Compare the lists that wait. May run twice at once, and die anywhere: the claim decides."""
    from messages.reconcile import evaluating

    evaluating.reconcile()


@shared_task(name="messaging.sweep_reconciliations")
def sweep_reconciliations() -> None:
    """Delete the rows of removed reconciliations, of replaced lists and of comparisons that are over. May run twice at once."""
    from messages.reconcile import evaluating

    evaluating.sweep_removed()
    evaluating.sweep_leftovers()


@shared_task(name="messaging.run_checks")
def run_checks() -> None:
    """Look at reconciliation checks that are due. May run twice at once: the claim decides."""
    from messages.reconcile import checking

    checking.run_checks()


@shared_task(name="messaging.send_mails")
def send_mails() -> None:
    """Send what waits in the outbox. May run twice at once: the claim decides."""
    from messages.saved import outbox, receivers

    outbox.send_mails(why_not=receivers.why_not_now)


@shared_task(name="messaging.attach_exceptions")
def attach_exceptions(minutes: int) -> None:
    """Give failed events the exceptions that their spans logged. May run twice at once."""
    from messages.ingest import exceptions

    exceptions.attach_exceptions(minutes)


@shared_task(name="messaging.fold_latency")
def fold_latency() -> None:
    """Fold the latency buckets of minutes into hours. May run twice at once, and die anywhere: counts only grow."""
    from messages.figures import services

    services.fold_latency()


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


@shared_task(name="messaging.advance_plans")
def advance_plans() -> None:
    """Begin, advance and finish the plans that are due. May run twice at once, and die anywhere: the plan's row decides."""
    from messages.plans import advance

    advance.advance_plans()


@shared_task(name="messaging.advance_plan")
def advance_plan(pk: int) -> None:
    """Hand items of one plan to the workers. May run twice at once: the plan's row decides."""
    from messages.plans import advance

    advance.advance_plan(pk)


@shared_task(name="messaging.replay_automatically")
def replay_automatically() -> None:
    """Look for the replay rules that are on. May run twice at once, and die anywhere: the rule's row decides."""
    from messages.automatic import running

    running.run_rules()


@shared_task(name="messaging.tell_of_plans")
def tell_of_plans() -> None:
    """Write the mails of plans that ended, and of items that wait too long for a proof. May run twice at once."""
    from messages.plans import overdue, report

    report.mail_reports()
    overdue.tell_overdue()


@shared_task(name="messaging.follow_sent_on")
def follow_sent_on() -> None:
    """Let what failed and was sent on to be tried again fare as what it became. May run twice at once, and die anywhere: the rows decide."""
    from messages.ingest import sent_on

    sent_on.follow_sent_on()


@shared_task(name="messaging.group_failures")
def group_failures() -> None:
    """Give a group to what failed and has none, then bring the figures of groups up to date. May run twice at once."""
    from messages.groups import refresh, sweep

    sweep.sweep_groups()
    refresh.refresh_groups()


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


@shared_task(name="messaging.work_on_compensation")
def work_on_compensation(pk: int) -> None:
    """Undo what is due of one compensation. May run twice at once, and die anywhere: the rows decide."""
    from messages.compensation import execute

    execute.work_on(pk)


@shared_task(name="messaging.work_on_compensations")
def work_on_compensations() -> None:
    """Look at every compensation that runs. May run twice at once, and die anywhere: the rows decide."""
    from messages.compensation import execute

    execute.work_on_all()
