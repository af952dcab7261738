"""A failed message and its dead letter that names no message are one failure, whichever comes first. On the real PostgreSQL."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db.models import Sum

from messages.groups.queries import trends_of
from messages.groups.refresh import refresh_groups
from messages.groups.sweep import sweep_groups
from messages.models import DeadLetter, FailureGroup, GroupHour
from tests.factories import agent_key, event, push
from tests.services.grouping import failed_event, push_letters, timeout

pytestmark = pytest.mark.django_db
REFUSED = {"error": {"type": "QueueFull", "message": "told by the broker"}}


def nameless(number: int, **changes: Any) -> dict[str, Any]:
    return timeout(number, **{"message_id": "", "origin": "erp.orders", "system": "erp"} | changes)


def events_fail(*events: dict[str, Any]) -> None:
    assert push("/ingest/v1/events", list(events), key=agent_key()).status_code == 200
    sweep_groups()


def said() -> dict[str, tuple[int, int, int]]:
    """Return {exception: (letters that wait, messages that stand failed, failures by hour)} as the groups say after a look."""
    FailureGroup.objects.update(figures_at=None)
    refresh_groups()
    groups = list(FailureGroup.objects.all())
    trends = trends_of(groups, datetime.now(UTC))
    return {one.error_type: (one.letters, one.failed, sum(trends[one.pk])) for one in groups}


@pytest.mark.parametrize("letters_first", [True, False])
def test_orders_that_failed_and_died_without_a_message_id_are_each_one_failure(letters_first: bool):
    passed = [
        event(system="erp", operation="process", destination="erp.orders", message_id=f"passed {number} long enough")
        for number in range(6)
    ]
    failed = [failed_event(number) for number in range(6)]
    if letters_first:
        push_letters(*(nameless(number) for number in range(6)))
    events_fail(*passed, *failed)
    if not letters_first:
        push_letters(*(nameless(number) for number in range(6)))

    told = said()

    group = FailureGroup.objects.get()
    assert told == {"ErpTimeout": (6, 0, 6)}
    assert (group.waiting, group.documents, group.amounts) == (6, 6, {"": "60"})
    assert group.spread_words.startswith(
        "50% of what came to erp in the last hours failed this way: 6 of 12, 6 passed."
    )


@pytest.mark.parametrize("letters_first", [True, False])
def test_a_letter_of_another_cause_stands_for_the_failed_message_of_its_document(letters_first: bool):
    if letters_first:
        push_letters(nameless(1, **REFUSED))
    events_fail(failed_event(1), failed_event(2))
    if not letters_first:
        push_letters(nameless(1, **REFUSED))

    assert said() == {"ErpTimeout": (0, 1, 1), "QueueFull": (1, 0, 1)}


def test_a_letter_stands_for_one_message_and_of_its_own_cause_before_others():
    other = {"error": {"type": "QueueFull", "message": "told by the receiver", "stack": ""}}
    events_fail(failed_event(1), failed_event(1, id="2nd") | {"message_id": "second message long enough"} | other)
    push_letters(nameless(1))

    one_letter = said()
    push_letters(nameless(1, id="died of another message"))
    two_letters = said()
    push_letters(nameless(1, id="died of a third message"))

    assert one_letter == {"ErpTimeout": (1, 0, 1), "QueueFull": (0, 1, 1)}
    assert two_letters == {"ErpTimeout": (2, 0, 2), "QueueFull": (0, 0, 0)}
    assert said() == {"ErpTimeout": (3, 0, 3), "QueueFull": (0, 0, 0)}


def test_a_letter_that_was_dealt_with_stands_for_what_failed_before_and_not_for_what_fails_after():
    now = datetime.now(UTC)
    push_letters(nameless(1, failed_at=(now - timedelta(hours=3)).isoformat()))
    events_fail(failed_event(1, occurred_at=(now - timedelta(hours=3)).isoformat()))
    DeadLetter.objects.update(state="closed", resolution="discarded", closed_at=now - timedelta(hours=1))

    dealt_with = said()
    events_fail(failed_event(1, id="once more"))

    assert (dealt_with, said()) == ({"ErpTimeout": (0, 0, 1)}, {"ErpTimeout": (0, 1, 1)})


def shipment(number: int, **keys: str) -> dict[str, str]:
    return {"order_no": "47", "shipment_no": f"S-{number}"} | keys


@pytest.mark.parametrize("letters_first", [True, False])
@pytest.mark.parametrize(
    ("sent", "died"),
    [
        (("order_no", "shipment_no"), ("shipment_no",)),
        (("shipment_no",), ("order_no", "shipment_no")),
        (("order_no", "shipment_no"), ("order_no",)),
        (("order_no", "delivery_no"), ("delivery_no",)),
        (("invoice_no", "shipment_no"), ("order_no", "shipment_no")),
    ],
)
def test_a_failure_that_its_sender_and_its_letter_name_by_other_keys_is_one(
    letters_first: bool, sent: tuple[str, ...], died: tuple[str, ...]
):
    every = [shipment(number, delivery_no=f"D-{number}", invoice_no=f"I-{number}") for number in range(5)]
    failed = [failed_event(at) | {"keys": {name: one[name] for name in sent}} for at, one in enumerate(every)]
    letters = [nameless(at, body="{}", keys={name: one[name] for name in died}) for at, one in enumerate(every)]
    if letters_first:
        push_letters(*letters)
    events_fail(*failed)
    if not letters_first:
        push_letters(*letters)

    assert said() == {"ErpTimeout": (5, 0, 5)}
    assert FailureGroup.objects.get().documents == (1 if "order_no" in (*sent, *died) else 5)


@pytest.mark.parametrize("letters_first", [True, False])
def test_a_letter_that_names_the_order_alone_leaves_each_shipment_to_its_own_letter(letters_first: bool):
    letters = [nameless(1, keys={"order_no": "47"}), nameless(2, keys=shipment(2)), nameless(3, keys=shipment(3))]
    if letters_first:
        push_letters(*letters)
    events_fail(*(failed_event(number) | {"keys": shipment(number)} for number in (2, 3, 4)))
    if not letters_first:
        push_letters(*letters)

    assert said() == {"ErpTimeout": (3, 0, 3)}


def test_a_letter_of_another_group_that_others_need_stands_for_what_they_leave():
    events_fail(failed_event(1) | {"keys": shipment(1)}, failed_event(2) | {"keys": shipment(2)} | REFUSED)
    push_letters(
        nameless(1, keys={"order_no": "47"}, **REFUSED), nameless(2, body="{}", keys={"shipment_no": "S-2"}, **REFUSED)
    )

    assert said() == {"ErpTimeout": (0, 0, 0), "QueueFull": (2, 0, 2)}


def test_letters_of_a_shipment_of_the_same_order_or_of_the_same_tenant_stand_for_nothing():
    events_fail(
        failed_event(1) | {"keys": shipment(1)}, failed_event(2) | {"keys": {"invoice_no": "I-2", "tenant_id": "T"}}
    )
    push_letters(nameless(3, keys=shipment(3)), nameless(4, keys={"order_no": "49", "tenant_id": "T"}))

    assert said() == {"ErpTimeout": (2, 2, 4)}


@pytest.mark.parametrize(
    "changes",
    [
        {"keys": {"order_no": "47-2"}},
        {"keys": {"order_no": "48", "invoice_no": "47-1"}},
        {"keys": {}, "body": "{}"},
        {"origin": "crm.orders"},
        {"failed_at": (datetime.now(UTC) - timedelta(days=3)).isoformat()},
    ],
)
def test_letters_of_another_document_flow_or_time_stand_for_nothing(changes: dict[str, Any]):
    events_fail(failed_event(1))
    push_letters(nameless(1, **changes))

    said()

    assert FailureGroup.objects.aggregate(letters=Sum("letters"), failed=Sum("failed")) == {"letters": 1, "failed": 1}
    assert GroupHour.objects.filter(messages=1).count() == 1
