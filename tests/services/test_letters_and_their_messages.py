"""A failure that is known by a dead letter and by its message reaches as far as both say. On the real PostgreSQL."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import Any

import pytest
from django.db import connection

from console.identity.models import Team
from messages.groups import both, refresh
from messages.groups.present import reach_said
from messages.groups.refresh import refresh_groups
from messages.groups.services import merge_groups
from messages.groups.sweep import sweep_groups
from messages.models import DeadLetter, FailureGroup, Flow, Message
from tests.factories import ROOT, agent_key, push
from tests.services.grouping import failed_event, push_letters, timeout

pytestmark = pytest.mark.django_db
REFUSED = {"error": {"type": "Refused", "message": "erp refused it", "stack": ""}}


def failed(number: int, **changes: Any) -> dict[str, Any]:
    """Return the failure of a message whose sender names order, customer and amount."""
    told = {"order_no": f"47-{number}", "customer_no": f"C-{number}", "amount": "10.00", "currency": "EUR"}
    return failed_event(number) | {"keys": told} | changes


def fail(*events: dict[str, Any]) -> None:
    assert push("/ingest/v1/events", list(events), key=agent_key()).status_code == 200
    sweep_groups()


def died(number: int, **changes: Any) -> dict[str, Any]:
    """Return the dead letter of `failed(number)`, which names nothing."""
    named = {"message_id": f"failed-message-{number}-long-enough", "origin": "erp.orders", "system": "erp"}
    return timeout(number, keys={}, body=None, **named) | changes


def said(**of: Any) -> str:
    FailureGroup.objects.update(figures_at=None)
    refresh_groups()
    return reach_said(FailureGroup.objects.get(**of))


@pytest.mark.parametrize(
    ("keys", "names_message"), [({}, True), ({"order_no": "47-{}"}, True), ({"order_no": "47-{}"}, False)]
)
def test_orders_reach_as_far_when_their_letters_are_harvested_as_before(keys: dict[str, str], names_message: bool):
    fail(*(failed(number) for number in range(4)))
    before, blast = said(), FailureGroup.objects.get().blast
    unnamed = {} if names_message else {"message_id": ""}

    push_letters(*(died(one, keys={key: of.format(one) for key, of in keys.items()}, **unnamed) for one in range(4)))

    assert before == said() == "4 orders of 4 customers, €40"
    group = FailureGroup.objects.get()
    assert (group.letters, group.failed, group.blast, group.is_least) == (4, 0, blast, False)


@pytest.mark.parametrize("message_id", ["failed-message-1-long-enough", ""])
def test_a_letter_that_waits_for_weeks_reaches_as_far_as_on_its_first_day(message_id: str):
    at = datetime.now(UTC) - timedelta(days=20)
    fail(failed(1, occurred_at=at.isoformat()))
    push_letters(died(1, message_id=message_id, keys={"order_no": "47-1"}, failed_at=at.isoformat()))

    assert said() == "1 order of 1 customer, €10"


def test_the_letter_s_own_value_of_a_key_counts_also_where_its_message_is_told_of_later():
    push_letters(died(1, keys={"customer_no": "C-2", "amount": "12.50"}), died(2))
    fail(failed(1), failed(2))

    assert said() == "2 orders of 1 customer, €22.50"


def test_of_two_values_of_a_key_the_letter_s_own_counts_and_a_closed_letter_names_nothing():
    fail(failed(1), failed(2))
    letters = push_letters(died(1, keys={"customer_no": "C-2", "amount": "12.50"}), died(2))
    DeadLetter.objects.filter(pk=letters[0].pk).update(state="replaying")

    assert said() == "2 orders of 1 customer, €22.50"
    DeadLetter.objects.filter(pk=letters[1].pk).update(
        state="closed", resolution="discarded", closed_at=datetime.now(UTC)
    )
    assert said() == "1 order of 1 customer, €12.50"


def test_a_message_that_was_written_on_two_days_names_what_both_rows_do():
    now = datetime.now(UTC)
    fail(failed(1, occurred_at=(now - timedelta(days=5)).isoformat()))
    fail(failed(1, id="once more", keys={"invoice_no": "R-1"}))
    push_letters(died(1))

    assert Message.objects.count() == 2
    assert said() == "1 order of 1 customer, €10"


@pytest.mark.parametrize("closed", [True, False])
def test_a_group_of_letters_does_not_say_what_another_team_s_flow_told_of_their_messages(closed: bool):
    fail(failed(1, keys={"order_no": "47-1"}))
    fail(failed(1, id="paid", destination="payroll", keys={"customer_no": "77"}))
    if closed:
        Flow.objects.filter(name="payroll").update(team=Team.objects.create(name="Payroll team"))
    push_letters(died(1))

    assert said() == ("1 order" if closed else "1 order of 1 customer")


@pytest.mark.parametrize("told_of_it_too", [True, False])
def test_a_letter_in_the_queue_of_another_team_than_its_message_says_what_its_own_team_and_all_may_know(
    told_of_it_too: bool,
):
    fail(failed(1, destination="exchange"))
    push_letters(died(1))
    if told_of_it_too:
        fail(failed(1, id="store", destination="store", keys={"shipment_no": "S-1"}))
    queue = FailureGroup.objects.get(letters=1).flow
    assert said(flow=queue) == "1 order of 1 customer, €10"

    Flow.objects.filter(name="exchange").update(team=Team.objects.create(name="Exchange team"))
    Flow.objects.filter(pk=queue.pk).update(team=Team.objects.create(name="Queue team"))
    assert said(flow=queue) == ("1 shipment" if told_of_it_too else "1 failure")

    Flow.objects.filter(name="store").update(team=Team.objects.create(name="Store team"))
    assert said(flow=queue) == "1 failure"


def test_a_whole_reaches_as_far_as_the_messages_of_its_parts_letters_as_soon_as_it_is_merged():
    fail(failed(1), failed(2, **REFUSED))
    push_letters(died(1), died(2, **REFUSED))
    whole, part = FailureGroup.objects.order_by("id")

    merge_groups(whole, [part], by=ROOT, reason="one trouble")

    whole.refresh_from_db()
    assert reach_said(whole) == "2 orders of 2 customers, €20"


def test_messages_of_the_newest_letters_alone_are_looked_up_where_there_are_more(monkeypatch: pytest.MonkeyPatch):
    fail(failed(1), failed(2))
    push_letters(died(1), died(2))
    monkeypatch.setattr(refresh, "MOST_READ", 1)

    assert said() == "2 failures, at least 1 order of 1 customer, €10"


def test_messages_of_the_newest_letters_without_one_alone_are_looked_for(monkeypatch: pytest.MonkeyPatch):
    fail(failed(1), failed(2))
    push_letters(*(died(one, message_id="", keys={"order_no": f"47-{one}"}) for one in (1, 2)))
    monkeypatch.setattr(both, "MOST_NAMELESS", 1)

    assert said() == "2 orders of at least 1 customer, at least €10"


def test_groups_of_letters_from_before_are_counted_anew_after_the_upgrade():
    push_letters(died(1))
    refresh_groups()

    with connection.cursor() as cursor:
        cursor.execute(import_module("messages.migrations.0062_figures_of_letters").ANEW)

    assert FailureGroup.objects.get().figures_at is None
