"""What failed and was sent on to a queue for its retries under another name is passed when the system that failed it passes what it became."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import permutations
from typing import Any
from uuid import UUID

import pytest
from django.db import connection
from django.test import TestCase

from console.identity.models import Team
from messages.groups.refresh import refresh_groups
from messages.groups.sweep import sweep_groups
from messages.ingest.sent_on import follow_sent_on
from messages.models import FailureGroup, Flow, Message, MessageStatus
from messages.receivers import is_retry_of
from tests.factories import agent_key, environment, event, push

pytestmark = pytest.mark.django_db
START = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=30)
TRACE = UUID(int=0xAB).hex
REFUSED = {"outcome": "error", "error": {"type": "Timeout", "message": "erp did not answer"}}
Did = dict[str, Any]


def did(second: int, span: int, parent: int, system: str, operation: str, destination: str, **changes: Any) -> Did:
    named = {"trace_id": TRACE, "span_id": f"{span:016x}"} | ({"parent_span_id": f"{parent:016x}"} if parent else {})
    at = (START + timedelta(seconds=second)).isoformat()
    told = {"system": system, "operation": operation, "destination": destination, "occurred_at": at, "message_id": ""}
    return event(**told | named | changes)


def first(**changes: Any) -> list[Did]:
    """A message that fails and is sent on."""
    return [
        did(0, 1, 0, "shop", "send", "inv"),
        did(1, 2, 1, "erp", "process", "inv", **REFUSED),
        did(2, 3, 2, "erp", "send", "inv-retry-0", **changes),
    ]


def again(queue: str = "inv-retry-0", **changes: Any) -> Did:
    return did(12, 4, 3, "erp", "process", queue, **changes)


def tell(*batches: Sequence[Did], at_once: bool = True) -> dict[int, str]:
    """Push these, each a batch; return {second of its first event: status} of the messages. at_once: no writer dies after its commit."""
    for batch in batches:
        with TestCase.captureOnCommitCallbacks(execute=at_once):
            answer = push("/ingest/v1/events", list(batch), key=agent_key())
        assert answer.json()["accepted"] == len(batch), answer.content
    return told()


def told() -> dict[int, str]:
    rows = Message.objects.order_by("started_at")
    return {round((row.began_at - START).total_seconds()): MessageStatus(row.status).name for row in rows}


@pytest.mark.parametrize("order", list(permutations(range(4))))
def test_it_is_delivered_once_it_passed_from_the_retry_queue(order: Sequence[int]):
    events = [*first(), again()]

    assert tell(*([events[at]] for at in order)) == {0: "DELIVERED", 2: "DELIVERED"}


@pytest.mark.parametrize("order", list(permutations(range(4))))
def test_both_stand_where_it_fails_again(order: Sequence[int]):
    events = [*first(), again(**REFUSED)]

    assert tell(*([events[at]] for at in order)) == {0: "FAILED", 2: "FAILED"}


@pytest.mark.parametrize("passes", [True, False], ids=["passes", "fails"])
def test_the_sweep_finds_what_a_writer_that_died_left(passes: bool):
    outcome = {} if passes else REFUSED
    assert tell([*first(), again(**outcome)], at_once=False)[0] == "FAILED"

    follow_sent_on()
    assert told() == ({0: "DELIVERED", 2: "DELIVERED"} if passes else {0: "FAILED", 2: "FAILED"})


def chain(*, at_last: dict[str, Any]) -> list[Did]:
    return [
        *first(),
        again(**REFUSED),
        did(13, 5, 4, "erp", "send", "inv-retry-1"),
        did(33, 6, 5, "erp", "process", "inv-retry-1", **at_last),
    ]


@pytest.mark.parametrize("turned", [True, False], ids=["the last first", "the first first"])
@pytest.mark.parametrize("swept", [True, False], ids=["by the sweep", "at once"])
def test_a_chain_of_retries_fares_as_its_last(turned: bool, swept: bool):
    events = chain(at_last={})
    found = tell(*([one] for one in (events[::-1] if turned else events)), at_once=not swept)
    if swept:
        follow_sent_on()
        found = told()

    assert found == {0: "DELIVERED", 2: "DELIVERED", 13: "DELIVERED"}


def test_a_chain_that_is_told_at_once_fares_as_its_last():
    assert tell(chain(at_last={})) == {0: "DELIVERED", 2: "DELIVERED", 13: "DELIVERED"}


def test_what_is_given_up_is_never_delivered():
    """Nor by whoever takes it from the queue of what is given up, as the application's own handler of that does."""
    given_up = [
        *chain(at_last=REFUSED),
        did(34, 7, 6, "erp", "send", "inv-dlt"),
        did(35, 8, 7, "erp", "process", "inv-dlt"),
    ]

    assert tell(given_up) == {0: "FAILED", 2: "FAILED", 13: "FAILED", 34: "DELIVERED"}
    follow_sent_on()
    assert told() == {0: "FAILED", 2: "FAILED", 13: "FAILED", 34: "DELIVERED"}


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_who_takes_it_from_the_retry_queue_does_not_speak_for_another_receiver(order: Sequence[int]):
    parts = [[*first()], [again()], [did(1, 9, 1, "crm", "process", "inv", **REFUSED)]]

    assert tell(*(parts[at] for at in order)) == {0: "FAILED", 2: "DELIVERED"}
    assert tell([did(20, 10, 1, "crm", "process", "inv")]) == {0: "DELIVERED", 2: "DELIVERED"}


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_nor_does_another_receiver_that_passed_it_speak_for_what_failed_again(order: Sequence[int]):
    parts = [[*first()], [again(**REFUSED)], [did(20, 9, 1, "crm", "process", "inv")]]

    assert tell(*(parts[at] for at in order)) == {0: "FAILED", 2: "FAILED"}


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_nor_does_another_system_that_takes_it_from_the_retry_queue_speak_for_who_failed_it(order: Sequence[int]):
    parts = [
        [*first()],
        [did(12, 9, 3, "archive", "process", "inv-retry-0")],
        [did(1, 10, 1, "archive", "process", "inv")],
    ]

    assert tell(*(parts[at] for at in order)) == {0: "FAILED", 2: "DELIVERED"}
    follow_sent_on()
    assert told() == {0: "FAILED", 2: "DELIVERED"}


def test_what_fails_once_more_after_it_was_sent_on_stands():
    assert tell([*first(), again()], [did(40, 9, 1, "erp", "process", "inv", **REFUSED)]) == {
        0: "FAILED",
        2: "DELIVERED",
    }


def test_what_was_not_sent_stands():
    assert tell(first(**REFUSED), [again()])[0] == "FAILED"


@pytest.mark.parametrize("queue", ["inv", "inv-paid", "prices-retry-0", "inv-retry-dlt", ""])
def test_what_is_sent_elsewhere_says_nothing_of_what_failed(queue: str):
    found = tell([*first()[:2], did(2, 3, 2, "erp", "send", queue), again(queue)])

    assert found[0] == "FAILED"


def test_nor_what_another_system_sends():
    assert tell([*first()[:2], did(2, 3, 2, "crm", "send", "inv-retry-0"), again()])[0] == "FAILED"


def test_a_sending_that_names_no_span_is_taken_and_ties_nothing():
    assert tell([did(2, 3, 2, "erp", "send", "inv-retry-0", span_id=None)]) == {}


@pytest.mark.parametrize("passes", [True, False], ids=["passes", "fails"])
def test_a_link_ties_them_as_a_parent_does(passes: bool):
    """The retry starts a trace of its own, which links to where it failed."""
    other = {"trace_id": UUID(int=0xCD).hex}
    linked = did(2, 3, 0, "erp", "send", "inv-retry-0", links=[{"trace_id": TRACE, "span_id": f"{2:016x}"}]) | other

    found = tell(first()[:2], [linked], [again(**({} if passes else REFUSED)) | other])

    assert found == ({0: "DELIVERED", 2: "DELIVERED"} if passes else {0: "FAILED", 2: "FAILED"})


@pytest.mark.parametrize(
    ("of_first", "of_retry", "status"),
    [
        ("", "", "DELIVERED"),
        ("Invoices", "", "DELIVERED"),
        ("Invoices", "Invoices", "DELIVERED"),
        ("Invoices", "Others", "FAILED"),
        ("", "Others", "FAILED"),
    ],
)
@pytest.mark.parametrize("passes", [True, False], ids=["passes", "fails"])
def test_a_retry_queue_of_another_team_tells_nothing(of_first: str, of_retry: str, status: str, passes: bool):
    for name, team in (("inv", of_first), ("inv-retry-0", of_retry)):
        owner = Team.objects.get_or_create(name=team)[0] if team else None
        Flow.objects.create(environment=environment(), name=name, team=owner)

    found = tell([*first(), again(**({} if passes else REFUSED))])
    follow_sent_on()

    assert found == told()
    assert found[0] == (status if passes else "FAILED")


def test_nor_does_the_same_trace_of_another_environment():
    environment("staging")
    tell(first())
    with TestCase.captureOnCommitCallbacks(execute=True):
        push("/ingest/v1/events", [first()[2], again()], key=agent_key("of staging", "staging"))
    follow_sent_on()

    assert Message.objects.get(started_at=START).status == MessageStatus.FAILED


def test_what_passed_from_its_retry_queue_waits_for_nobody():
    tell([*first(), again(**REFUSED)])
    other = UUID(int=0xEF).hex
    tell([one | {"trace_id": other} for one in (*first(), again())])
    sweep_groups()
    refresh_groups()

    assert {one.destination: one.waiting for one in FailureGroup.objects.all()} == {"inv": 1, "inv-retry-0": 1}


def test_what_passed_and_is_told_by_the_sweep_is_written_once():
    tell([*first(), again(**REFUSED)])
    decided = Message.objects.get(started_at=START).decided_at

    follow_sent_on()

    assert Message.objects.get(started_at=START).decided_at == decided == START + timedelta(seconds=1)


@pytest.mark.parametrize(
    ("sent", "failed", "is_retry"),
    [
        ("inv-retry-0", "inv", True), ("inv-retry-1", "inv-retry-0", True), ("INV.retry", "inv", True), ("orders.delay.5m", "orders", True),
        ("inv-dlt", "inv", False), ("inv-retry-dlt", "inv", False), ("inv", "inv", False), ("inv-retry-0", "", False), ("inv-retry-0", None, False),
        (None, "inv", False), ("prices-retry", "inv", False), ("orders.paid", "orders", False), ("retry", "inv", False),
        ("inv.delayed", "inv", False), ("inv-refunds-retry-0", "inv", False), ("inv-wait-approval", "inv", False), ("inv.retry.notices", "inv", False),
        ("inv-retry-5000", "inv", True), ("inv.retry1", "inv", True), ("inv-retry-" + "1" * 60 + "!", "inv", False),
    ],
)  # fmt: skip
def test_which_queue_is_for_the_retries_of_another_is_the_same_in_sql(
    sent: str | None, failed: str | None, is_retry: bool
):
    with connection.cursor() as cursor:
        cursor.execute("SELECT messaging_is_retry_of(%s, %s)", [sent, failed])
        assert cursor.fetchone() == (is_retry,)
    assert is_retry_of(sent, failed) is is_retry
