"""Every write to reconciliations by people and programs: begun, given its list, compared again, cancelled, removed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from uuid import UUID

import structlog
from django.db import connection, transaction
from django.db.models import F, QuerySet

from console.audit.services import record_audit
from console.core.errors import Conflict, ConsoleError, Invalid
from console.identity.actor import Actor
from messages import tasks
from messages.models import Flow, Reconciliation, ReconciliationCheck, System
from messages.reconcile.access import check_can_reconcile
from messages.reconcile.lists import ListReader
from messages.reconcile.steps import steps_of
from messages.retention.policies import hold_of_flow

log = structlog.get_logger(__name__)
State = Reconciliation.State
RECEIVING_LEASE = timedelta(minutes=10)  # between two parts of a list; after that its upload is taken for dead
NOT_WHOLE = "the list did not come whole"
COPIED = 20_000  # lines a transaction
LONGEST = timedelta(days=92)
YEARS = (1970, 9998)
STEP_LEASE = timedelta(seconds=150)  # a worker's task is killed after two minutes
RESTING = (State.WAITING, State.DONE, State.CANCELLED, State.FAILED)


class ListBusy(Conflict):
    """This reconciliation is receiving a list or being compared: wait until it is done, or cancel it."""

    code = "reconciliation_busy"


class ListOnHold(Conflict):
    """The flow is on legal hold: its lists are neither removed nor replaced; begin another reconciliation."""

    code = "list_on_hold"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewReconciliation:
    """What is compared: messages of the flow with this key, first seen in since ≤ t < until. system: the receiver that decides; empty: any."""

    name: str
    key_name: str
    since: datetime
    until: datetime
    system: str = ""


@transaction.atomic
def begin_reconciliation(
    flow: Flow, said: NewReconciliation, *, by: Actor, of_check: ReconciliationCheck | None = None
) -> Reconciliation:
    """Make a reconciliation that waits for its list, audited. The caller has fetched the flow for this actor. Raises Invalid, Forbidden."""
    key_name, name = check_names(said.key_name, said.name)
    if said.until <= said.since:
        raise Invalid("the period ends after it begins")
    if (
        said.since.year < YEARS[0] or said.until.year > YEARS[1]
    ):  # days around it are looked at as well, and calendars end
        raise Invalid(f"a period lies between the years {YEARS[0]} and {YEARS[1]}")
    if said.until - said.since > LONGEST:
        raise Invalid(f"a period has at most {LONGEST.days} days")
    made = Reconciliation(
        environment=flow.environment,
        flow=flow,
        of_check=of_check,
        name=name or f"{flow.name} by {key_name}"[:120],
        key_name=key_name,
        system=system_named(flow, said.system),
        since=said.since,
        until=said.until,
        created_by=by.name,
    )
    check_can_reconcile(by, made)
    made.save(force_insert=True)
    _audit(by, "reconciliation.begun", made, period=f"{said.since.isoformat()} to {said.until.isoformat()}")
    return made


def check_names(key_name: str, name: str) -> tuple[str, str]:
    """Return both without what no database takes; raises Invalid."""
    key_name, name = key_name.strip().removeprefix("key."), " ".join(name.replace("\x00", "").split())
    if not 1 <= len(key_name) <= 64 or any(ord(one) < 32 for one in key_name):
        raise Invalid("say which business key the list has, such as order_no")
    if len(name) > 120:
        raise Invalid("a name has at most 120 characters")
    return key_name, name


def system_named(flow: Flow, name: str) -> System | None:
    """Return the receiving system that is meant, None for any; raises Invalid for one that nobody told of."""
    name = name.replace("\x00", "").strip()
    if not name:
        return None
    found = System.objects.filter(environment=flow.environment_id, name=name).first()
    if found is None:
        raise Invalid(
            f"no system of {flow.environment.slug} is called “{name[:120]}”: "
            "say it as its events do, or leave it out, and any receiver counts"
        )
    return found


def receive_list(one: Reconciliation, chunks: Iterable[bytes], *, column: str = "", by: Actor) -> Reconciliation:
    """Store a list, in the place of an earlier one, and queue the comparison. A list is taken whole or not at all.

    chunks  bytes as they come: one key a line, or a CSV whose header names the column.
    Raises Forbidden, ListBusy, ListOnHold, Invalid, ListTooLarge.
    """
    reader = ListReader(key_name=one.key_name, column=column)
    return _receive(one, reader, reader.read(chunks), by)


def receive_keys(one: Reconciliation, keys: Iterable[str], *, by: Actor) -> Reconciliation:
    """Store these keys as the list, otherwise as `receive_list` does."""
    reader = ListReader(key_name=one.key_name)
    return _receive(one, reader, reader.read_values(keys), by)


def _receive(one: Reconciliation, reader: ListReader, lines: Iterator[tuple[int, str]], by: Actor) -> Reconciliation:
    check_can_reconcile(by, one)
    _check_no_hold(one)
    attempt = _open_upload(one)
    try:
        for batch in _batches(lines):
            _copy(one.pk, attempt, batch)
        if not reader.lines - reader.bad_count:
            raise Invalid(_nothing(reader))
    except BaseException as error:
        _fail_upload(one.pk, attempt, reader, error)
        raise
    return _close_upload(one, attempt, reader, by)


def _check_no_hold(one: Reconciliation) -> None:
    if one.list_attempt is not None and hold_of_flow(one.flow) is not None:
        raise ListOnHold(f"{one.flow.name} is on legal hold: its lists stay as they are; begin another reconciliation")


def _open_upload(one: Reconciliation) -> int:
    now = datetime.now(UTC)
    with transaction.atomic():
        row = Reconciliation.objects.select_for_update().filter(pk=one.pk, removed_at=None).first()
        if row is None or row.state not in RESTING:
            raise ListBusy("a list is coming, or being compared: wait until it is done, or cancel it")
        attempt = row.attempt + 1
        Reconciliation.objects.filter(pk=row.pk).update(
            state=State.RECEIVING, attempt=attempt, lease_until=now + RECEIVING_LEASE, problem=""
        )
    return attempt


def _batches(lines: Iterator[tuple[int, str]]) -> Iterator[list[tuple[int, str]]]:
    while batch := list(islice(lines, COPIED)):
        yield batch


@transaction.atomic
def _copy(pk: UUID, attempt: int, batch: Sequence[tuple[int, str]]) -> None:
    _keep(pk, attempt)
    with connection.cursor() as cursor:
        names = "messaging_reconciliation_line (reconciliation_id, attempt, line, key)"
        with cursor.copy(f"COPY {names} FROM STDIN (FORMAT BINARY)") as copy:
            copy.set_types(["uuid", "int4", "int4", "text"])
            for line, key in batch:
                copy.write_row((pk, attempt, line, key))


def _keep(pk: UUID, attempt: int) -> None:
    """Hold the upload for its next part; raises ListBusy when somebody cancelled it, or it was taken for dead."""
    lease = datetime.now(UTC) + RECEIVING_LEASE
    mine = Reconciliation.objects.filter(pk=pk, attempt=attempt, state=State.RECEIVING)
    if not mine.update(lease_until=lease):
        raise ListBusy("this upload was cancelled, or took too long between two parts")


def _nothing(reader: ListReader) -> str:
    if reader.bad:
        return f"there is no key in this list: line {reader.bad[0]['line']}: {reader.bad[0]['why']}"
    return "there is no key in this list"


def _fail_upload(pk: UUID, attempt: int, reader: ListReader, error: BaseException) -> None:
    """Leave words behind, and no half of a list: what was compared before stays as it is."""
    why = str(error) if isinstance(error, ConsoleError) else NOT_WHOLE
    end_uploads(Reconciliation.objects.filter(pk=pk, attempt=attempt), why)
    log.info("list_refused", reconciliation=str(pk), reason=why[:200], lines=reader.lines)


def end_uploads(of: QuerySet[Reconciliation], why: str) -> int:
    """End the uploads among these, without a list, in words; one whose list before was compared is done, as it was. Return how many."""
    receiving = of.filter(state=State.RECEIVING)
    compared = receiving.filter(list_attempt__isnull=False, evaluated_at__gte=F("received_at"))
    ended = {"lease_until": None, "attempt": F("attempt") + 1}
    words = f"another list was refused, and the one before it stays: {why}"
    kept = compared.update(state=State.DONE, problem=words[:500], **ended)
    return kept + receiving.update(state=State.FAILED, problem=why[:500], **ended)


@transaction.atomic
def _close_upload(one: Reconciliation, attempt: int, reader: ListReader, by: Actor) -> Reconciliation:
    now = datetime.now(UTC)
    _keep(one.pk, attempt)
    Reconciliation.objects.filter(pk=one.pk).update(
        list_attempt=attempt,
        received_at=now,
        lines=reader.lines,
        blank_lines=reader.blank,
        bad_lines=reader.bad_count,
        bad=reader.bad,
        **_queued(one, now),
    )
    _audit(by, "reconciliation.list_received", one, lines=reader.lines, bad_lines=reader.bad_count)
    transaction.on_commit(tell_worker)
    one.refresh_from_db()
    return one


def _queued(one: Reconciliation, now: datetime) -> dict[str, object]:
    return {
        "state": State.QUEUED,
        "lease_until": now,
        "steps_done": 0,
        "steps": len(steps_of(one.since, one.until)),
        "deaths": 0,
        "problem": "",
        "attempt": F("attempt") + 1,
    }


def tell_worker() -> None:
    """Say "look" to a worker; when the broker is away the sweep finds the row."""
    try:
        tasks.reconcile.delay()
    except Exception as error:  # noqa: BLE001  any broker failure means the same: the sweep will
        log.warning("reconciliation_not_announced", reason=str(error)[:200])


@transaction.atomic
def compare_again(one: Reconciliation, *, by: Actor) -> Reconciliation:
    """Compare the list that there is with what has come meanwhile. Raises Forbidden, ListBusy, Conflict without a list."""
    check_can_reconcile(by, one)
    queue_again(one)
    _audit(by, "reconciliation.compared_again", one)
    one.refresh_from_db()
    return one


def queue_again(one: Reconciliation, **columns: object) -> None:
    """Queue a comparison of the list that there is, with these columns changed; raises ListBusy, Conflict without a list."""
    with transaction.atomic():
        row = Reconciliation.objects.select_for_update().filter(pk=one.pk, removed_at=None).first()
        if row is None or row.state not in RESTING:
            raise ListBusy("it is being compared already, or its list is coming")
        if row.list_attempt is None:
            raise Conflict("there is no list yet")
        Reconciliation.objects.filter(pk=row.pk).update(**_queued(row, datetime.now(UTC)), **columns)
        transaction.on_commit(tell_worker)


@transaction.atomic
def cancel_reconciliation(one: Reconciliation, *, by: Actor) -> Reconciliation:
    """Stop an upload or a comparison: what a worker has in hand is thrown away. Raises Forbidden, Conflict when nothing is going on."""
    check_can_reconcile(by, one)
    at_work = Reconciliation.objects.filter(
        pk=one.pk, removed_at=None, state__in=[State.RECEIVING, State.QUEUED, State.RUNNING]
    )
    if not at_work.update(state=State.CANCELLED, lease_until=None, problem="", attempt=F("attempt") + 1):
        raise Conflict("nothing is going on that could be cancelled")
    _audit(by, "reconciliation.cancelled", one)
    one.refresh_from_db()
    return one


@transaction.atomic
def remove_reconciliation(one: Reconciliation, *, by: Actor, reason: str = "") -> None:
    """Remove a reconciliation and its list: gone for everybody at once, its rows follow in the worker. Raises Forbidden, ListOnHold."""
    check_can_reconcile(by, one)
    _check_no_hold(one)
    now = datetime.now(UTC)
    Reconciliation.objects.filter(pk=one.pk, removed_at=None).update(
        removed_at=now, lease_until=now, attempt=F("attempt") + 1
    )
    _audit(by, "reconciliation.removed", one, reason=reason.replace("\x00", "").strip()[:1000])


def _audit(by: Actor, action: str, one: Reconciliation, *, reason: str = "", **details: object) -> None:
    record_audit(
        by,
        action,
        one,
        environment=one.environment,
        team_id=one.flow.team_id,
        label=one.name,
        reason=reason,
        details={"flow": one.flow.name, "key": one.key_name, **told_of(one.system), **details},
    )


def told_of(system: System | None) -> dict[str, object]:
    """Return what the audit says of a receiving system: nothing where any counts."""
    return {"system": system.name} if system else {}
