"""Keys of several messages in a reconciliation without a receiving system: what failed at one receiver is not processed because another took its copy."""

from __future__ import annotations

from datetime import UTC, datetime
from importlib import import_module
from typing import Any

import pytest
from django.db import connection

from messages.models import DeadLetter, FlowRule, Message, Reconciliation
from messages.reconcile import evaluating
from messages.reconcile.evaluating import Lost, claim, do_step, reconcile
from messages.reconcile.queries import every_key
from messages.reconcile.services import receive_list
from messages.reconcile.sets import SETS
from tests.factories import ROOT, environment, stored_letter
from tests.services.reconciling import begun, flow
from tests.services.test_reconcile_system import ERROR, SHORT, of_system, sets_of, told

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def orders() -> None:
    """A flow of an exchange and two queues."""
    FlowRule.objects.create(environment=environment(), position=1, pattern="orders.*", flow=flow())


def of_any(numbers: Any, **said: Any) -> Reconciliation:
    return of_system(numbers, system="", **said)


def published(number: int, *, mail: bool = True, **erp: Any) -> None:
    """An order that an exchange gave to two queues; its id is short, so that it is a message at each."""
    told(number, "web", 60, uid=SHORT)
    if mail:
        told(number, "mail", 50, uid=SHORT)
    told(number, "erp", 50, uid=SHORT, **erp)


@pytest.mark.parametrize("most", [1_000_000, 0])
def test_an_order_that_one_receiver_failed_and_another_took_is_failed_and_came_once(
    most: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(evaluating, "MOST_ASKED", most)
    for number in range(1, 5):
        published(number, **(ERROR if number < 3 else {}))

    one = of_any(range(1, 5))

    assert Message.objects.count() == 12
    twice = {} if most else {"twice": ["3", "4"]}  # too many are asked only where there is a doubt what became of them
    assert sets_of(one) == {"processed": ["3", "4"], "failed": ["1", "2"]} | twice
    decided = {row.message_uid for row in every_key(one, SETS["failed"])}
    assert decided == set(Message.objects.filter(status=2).values_list("id", flat=True))
    assert (one.messages, one.without_key) == (12, 0)


def test_what_the_system_that_failed_it_passed_later_under_another_message_is_processed():
    published(1, **ERROR), told(1, "erp", 40, uid="{} again")
    published(2, **ERROR), told(2, "erp", 55, uid="{} before")
    published(3, **ERROR), told(3, "erp", 40, uid="{} again", **ERROR)
    published(4, **ERROR), told(4, "mail", 40, uid="{} again")
    told(5, "web", 60, uid=SHORT, **ERROR), told(5, "erp", 50, uid=SHORT)
    told(6, "web", 60, uid=SHORT), told(6, "web", 59, uid="{} again")
    published(8, operation="receive"), told(8, "erp", 51, uid=SHORT, operation="other", **ERROR)
    told(7, "web", 60, uid=SHORT), told(7, "shop", 59, uid="{} again", operation="send")

    assert sets_of(of_any(range(1, 9))) == {
        "processed": ["1", "5"], "failed": ["2", "3", "4", "8"], "on-the-way": ["6", "7"], "twice": ["1", "2", "3", "4", "6"],
    }  # fmt: skip


def test_a_letter_that_waits_at_one_receiver_is_a_failure_whatever_another_took():
    letters = {}
    for number, system in ((1, "erp"), (2, ""), (3, "erp"), (4, "erp"), (5, "")):
        told(number, "web", 60, uid=SHORT), told(number, "mail", 50, uid=SHORT)
        letters[number] = stored_letter(
            id=f"letter {number}", message_id=str(number), origin="orders.erp", keys={"order_no": str(number)}, system=system
        )  # fmt: skip
    now = datetime.now(UTC)
    DeadLetter.objects.filter(pk=letters[3].pk).update(state="closed", resolution="processed", closed_at=now)
    DeadLetter.objects.filter(pk=letters[4].pk).update(state="closed", resolution="discarded", closed_at=now)
    told(5, "erp", -1, uid="{} sent again by a person")  # whose letter it is nobody says, and it waits

    assert sets_of(of_any(range(1, 6))) == {"processed": ["3"], "failed": ["1", "2", "4", "5"]}


def test_what_a_version_before_is_comparing_at_the_upgrade_begins_anew_and_knows_who_failed():
    published(1, **ERROR)
    receive_list(begun(by=ROOT), [b"1\n"], by=ROOT)
    claimed = claim()
    assert claimed is not None
    while claimed.steps_done < claimed.steps - 1:
        do_step(claimed)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE messaging_reconciliation_seen SET carried = NULL")
        cursor.execute(import_module("messages.migrations.0063_reconciled_system").ANEW)

    with pytest.raises(Lost):
        do_step(claimed)
    reconcile()

    assert sets_of(Reconciliation.objects.get()) == {"failed": ["1"]}
