"""Messages that another flow told of first, in a reconciliation: they count for each flow that told of them, by what that flow says."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import Any

import pytest
from django.db import connection
from django.test import Client

from console.identity.models import Membership, Role, Team, User
from messages.dead_letters.services import discard_dead_letter
from messages.models import DeadLetter, Flow, Message, Reconciliation
from messages.reconcile.evaluating import Lost, claim, do_step, reconcile
from messages.reconcile.queries import every_key
from messages.reconcile.services import receive_list
from tests.factories import ROOT, agent_key, environment, event, person, push, stored_letter
from tests.services.reconciling import begun, compared, keys_in

pytestmark = pytest.mark.django_db
ERROR: dict[str, Any] = {"outcome": "error", "error": {"type": "Timeout", "message": "no answer", "stack": ""}}


def uid(number: int | str) -> str:
    return f"order number {number} of long enough"


def ago(**time: float) -> str:
    return (datetime.now(UTC) - timedelta(**time)).isoformat()


def sent(number: int | str, **changes: Any) -> None:
    """The shop's flow tells that it sent a message."""
    _told({"destination": "shop.out", "message_id": uid(number), "keys": {"order_no": str(number)}} | changes)


def taken(number: int | str, **changes: Any) -> None:
    """The ERP's flow tells what became of it there."""
    common = {"destination": "erp.in", "system": "erp", "operation": "process", "message_id": uid(number)}
    _told(common | {"keys": {"order_no": str(number)}} | changes)


def _told(said: dict[str, Any]) -> None:
    answer = push("/ingest/v1/events", [event(**said)], key=agent_key())
    assert answer.json()["accepted"] == 1, answer.content


def erp() -> Flow:
    return Flow.objects.get(name="erp.in")


def erps(numbers: range | list[int], **said: Any) -> Reconciliation:
    return compared("".join(f"{number}\n" for number in numbers), of=erp(), by=ROOT, **said)


def test_it_does_not_matter_which_flow_told_of_a_message_first():
    sent(1), taken(1)
    taken(2), sent(2)
    for flow in Flow.objects.all():
        one = compared("1\n2\n3\n", of=flow, by=ROOT)

        assert (one.processed, one.never, one.unlisted, one.messages) == (2, 1, 0, 2), flow.name
    assert set(Message.objects.values_list("flow__name", flat=True)) == {"shop.out", "erp.in"}


def test_what_became_of_a_message_is_what_the_events_of_the_flow_say():
    for number in range(1, 6):
        sent(number, **(ERROR if number == 5 else {}))
    taken(1, **ERROR, occurred_at=ago(minutes=9)), taken(1, occurred_at=ago(minutes=8))
    taken(2, occurred_at=ago(minutes=9)), taken(2, **ERROR, occurred_at=ago(minutes=8)), sent(2, operation="process")
    taken(3, operation="receive")
    taken(4, operation="settle", outcome="ok")
    taken(5)

    one = erps(range(1, 7))

    assert keys_in(one, "processed") == ["1", "4", "5"]
    assert keys_in(one, "failed") == ["2"]
    assert keys_in(one, "on-the-way") == ["3"]
    assert keys_in(one, "never-seen") == ["6"]
    assert keys_in(one, "twice") == []
    decided = {row.key: row.message_uid for row in every_key(one)}
    assert decided["1"] == Message.objects.get(message_id=uid(1)).id


def test_a_flow_that_brought_no_key_has_that_of_the_message_unless_another_team_told_it():
    sent(1), taken(1, keys={})
    sent(2, keys={"order_no": "2", "customer_no": "7"}), taken(2, keys={"order_no": "erp 2"})
    sent(3, keys={}), taken(3, keys={})
    assert Message.objects.get(message_id=uid(1)).told_by is None

    one = erps([1, 2])

    assert (keys_in(one, "processed"), keys_in(one, "never-seen")) == (["1"], ["2"])
    assert keys_in(one, "not-on-the-list") == ["erp 2"]
    assert (one.messages, one.without_key) == (3, 1)

    Flow.objects.filter(name="shop.out").update(team=Team.objects.create(name="Shop team"))
    one = erps([1, 2])
    assert (keys_in(one, "never-seen"), keys_in(one, "not-on-the-list")) == (["1", "2"], ["erp 2"])
    assert (one.messages, one.without_key) == (3, 2)


def test_it_counts_once_in_the_period_in_which_the_flow_first_told_of_it():
    sent(1, occurred_at=ago(hours=30)), sent(2, occurred_at=ago(hours=30)), sent(3, occurred_at=ago(hours=30))
    taken(1, operation="receive", occurred_at=ago(hours=26)), taken(1, occurred_at=ago(hours=1))
    taken(2, operation="receive", occurred_at=ago(hours=23, minutes=30)), taken(2, occurred_at=ago(minutes=3))
    taken(3, **ERROR, occurred_at=ago(hours=49)), taken(3, occurred_at=ago(hours=1))
    now = datetime.now(UTC)

    of_today = erps([1, 2, 3])
    of_yesterday = erps([1, 2, 3], since=now - timedelta(hours=48), until=now - timedelta(hours=24))
    of_both = erps([1, 2, 3], since=now - timedelta(hours=50), until=now)

    assert (keys_in(of_today, "processed"), keys_in(of_today, "never-seen")) == (["2"], ["1", "3"])
    assert (keys_in(of_yesterday, "processed"), keys_in(of_yesterday, "never-seen")) == (["1"], ["2", "3"])
    assert (keys_in(of_both, "processed"), of_both.messages, of_both.twice) == (["1", "2", "3"], 3, 0)


def test_a_dead_letter_of_the_flow_says_what_became_of_a_message_that_another_told_first():
    for number in range(1, 6):
        sent(number)
    taken(1), taken(3), taken(5)
    letters = {
        number: stored_letter(message_id=uid(number), origin="erp.in", keys={"order_no": str(number)})
        for number in range(1, 5)
    }
    stored_letter(message_id=uid(5), origin="billing.in", keys={"order_no": "5"})
    now = datetime.now(UTC)
    DeadLetter.objects.filter(pk=letters[2].pk).update(state="closed", resolution="processed", closed_at=now)
    discard_dead_letter(letters[3], by=ROOT, reason="sent by hand")
    assert set(Message.objects.values_list("flow__name", flat=True)) == {"shop.out"}

    one = erps(range(1, 6), until=now + timedelta(minutes=1))

    assert keys_in(one, "processed") == ["2", "5"]
    assert keys_in(one, "failed") == ["1", "3", "4"]
    assert (one.messages, one.twice) == (5, 0)


def test_a_key_that_a_letter_brought_stays_in_its_period_when_events_come_after_it():
    sent(1)
    stored_letter(message_id=uid(1), origin="erp.in", keys={"order_no": "1"})
    period = {"since": datetime.now(UTC) - timedelta(hours=1), "until": datetime.now(UTC) + timedelta(minutes=1)}
    before = erps([1], **period)
    taken(1, operation="send", occurred_at=ago(minutes=-3))

    after = erps([1], **period)
    of_later = erps([1], since=period["until"], until=period["until"] + timedelta(hours=1))

    assert [(one.failed, one.never) for one in (before, after)] == [(1, 0), (1, 0)]
    assert (of_later.never, of_later.unlisted) == (1, 0)


def test_what_was_undone_by_a_compensation_is_not_processed():
    sent(1), taken(1)
    Message.objects.update(status=4)

    assert keys_in(erps([1]), "failed") == ["1"]


def test_what_the_flow_says_nothing_of_is_what_the_message_says_unless_another_team_told_of_it():
    sent(1, operation="process"), taken(1, operation="receive")
    sent(2, **ERROR), taken(2, operation="receive")
    sent(3)

    assert [keys_in(erps([1, 2, 3]), slug) for slug in ("processed", "failed", "never-seen")] == [["1"], ["2"], ["3"]]

    Flow.objects.filter(name="shop.out").update(team=Team.objects.create(name="Shop team"))
    one = erps([1, 2, 3])
    assert (keys_in(one, "on-the-way"), keys_in(one, "never-seen"), one.messages) == (["1", "2"], ["3"], 2)


def test_what_a_version_before_is_comparing_at_the_upgrade_begins_anew_and_knows_of_them():
    sent(1), taken(1)
    receive_list(begun(of=erp(), by=ROOT), [b"1\n"], by=ROOT)
    claimed = claim()
    assert claimed is not None
    while claimed.steps_done < claimed.steps - 1:
        do_step(claimed)
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM messaging_reconciliation_seen")  # it saw none
        cursor.execute(import_module("messages.migrations.0052_reconcile_told").ANEW)

    with pytest.raises(Lost):
        do_step(claimed)
    reconcile()

    assert keys_in(Reconciliation.objects.get(), "processed") == ["1"]


def test_a_key_leads_to_no_message_that_its_reader_may_not_see(client: Client):
    sent(1), taken(1)
    sent(2), taken(2, **ERROR)
    for name in ("shop.out", "erp.in"):
        Flow.objects.filter(name=name).update(team=Team.objects.get_or_create(name=name)[0])
    one = erps([1, 2])
    message = f"/messages/{Message.objects.get(message_id=uid(1)).id}/"
    pages = [f"/reconciliations/{one.pk}/{name}/" for name in ("processed", "failed")]

    def links(reader: User) -> list[str]:
        client.force_login(reader)
        text = "".join(client.get(page).content.decode() for page in pages)
        found = re.findall(r'<td class="wide"><a href="([^"]+)"', text)
        assert all(client.get(link).status_code == 200 for link in found), found
        return found

    of_erp = person("of the ERP", Role.VIEWER, team="erp.in")
    assert links(of_erp) == []
    Membership.objects.create(
        user=of_erp, team=Team.objects.get(name="shop.out"), environment=environment(), role=Role.VIEWER
    )
    assert message in links(of_erp)
