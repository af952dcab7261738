"""Reconciliations and checks with a receiving system: what it said last of a key decides, whatever other systems of the flow did."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client

from console.audit.models import AuditEntry
from console.core.errors import Invalid
from console.identity.models import Role, Team
from messages.ingest.sent_on import follow_sent_on
from messages.models import DeadLetter, Flow, FlowRule, Reconciliation
from messages.reconcile.check_services import NewCheck, change_check, receive_list_of_check
from messages.reconcile.evaluating import reconcile
from messages.reconcile.sets import SETS
from tests.factories import ROOT, agent_key, environment, event, person, push, stored_letter
from tests.pages.people import text_of
from tests.services.reconciling import begun, compared, flow, keys_in, operator
from tests.services.test_reconcile_checks import check, on_due

pytestmark = pytest.mark.django_db
ERROR: dict[str, Any] = {"outcome": "error", "error": {"type": "Down", "message": "erp is down", "stack": ""}}
LONG, SHORT = "order number {} of long enough", "{}"


def told(number: int | str, system: str, at: float = 60, *, uid: str = LONG, **changes: Any) -> None:
    """An event of the flow about an order, so many minutes ago."""
    queue = "orders.ex" if system == "web" else f"orders.{system}"
    said = {
        "system": system,
        "operation": "send" if system == "web" else "process",
        "destination": queue,
        "message_id": uid.format(number),
        "occurred_at": (datetime.now(UTC) - timedelta(minutes=at)).isoformat(),
        "keys": {"order_no": str(number)},
    }
    answer = push("/ingest/v1/events", [event(**(said | changes))], key=agent_key())
    assert answer.json()["accepted"] == 1, answer.content


@pytest.fixture(autouse=True)
def orders() -> Flow:
    """A flow of an exchange and two queues."""
    made = flow()
    FlowRule.objects.create(environment=environment(), position=1, pattern="orders.*", flow=made)
    return made


def of_system(numbers: Any, system: str = "erp", **said: Any) -> Reconciliation:
    said = {"until": datetime.now(UTC) + timedelta(minutes=1), "by": ROOT} | said
    return compared("".join(f"{number}\n" for number in numbers), system=system, **said)


def sets_of(one: Reconciliation) -> dict[str, list[str]]:
    return {
        slug: found
        for slug in ("processed", "failed", "on-the-way", "never-seen", "twice")
        if (found := keys_in(one, slug))
    }


def test_what_it_passed_from_its_retry_queue_is_processed_and_what_it_gave_up_there_failed():
    def span(number: int, at: int, parent: int = 0) -> dict[str, Any]:
        named = {"trace_id": f"{number:032x}", "span_id": f"{at:016x}", "uid": ""}
        return named | ({"parent_span_id": f"{parent:016x}"} if parent else {})

    for number in (1, 2, 3):
        told(number, "web", 60, **span(number, 1), destination="orders.erp")
        told(number, "erp", 59, **span(number, 2, 1), **ERROR, keys={})
        told(number, "erp", 58, **span(number, 3, 2), operation="send", destination="orders.erp-retry-0", keys={})
    retried = {"destination": "orders.erp-retry-0", "keys": {}}
    told(1, "erp", 50, **span(1, 4, 3), **retried)
    told(2, "erp", 50, **span(2, 4, 3), **retried, **ERROR)
    told(3, "mail", 50, **span(3, 4, 3), **retried)
    follow_sent_on()

    assert sets_of(of_system(range(1, 4))) == {"processed": ["1"], "failed": ["2", "3"]}


@pytest.mark.parametrize("uid", [LONG, SHORT])
def test_what_another_system_took_is_no_proof_that_the_named_one_did(uid: str):
    for number in range(1, 7):
        told(number, "web", 60, uid=uid)
        told(number, "mail", 50, uid=uid)
        if number > 2:
            told(number, "erp", 40, uid=uid, **(ERROR if number > 4 else {}))

    assert sets_of(of_system(range(1, 8))) == {
        "processed": ["3", "4"], "failed": ["5", "6"], "on-the-way": ["1", "2"], "never-seen": ["7"],
    }  # fmt: skip
    assert sets_of(of_system(range(1, 7), "mail")) == {"processed": ["1", "2", "3", "4", "5", "6"]}


def test_what_the_system_said_last_of_a_key_decides_and_it_came_twice_where_that_took_two():
    told(1, "erp", 50, **ERROR), told(1, "erp", 40)
    told(2, "erp", 50), told(2, "erp", 40, **ERROR)
    told(3, "erp", 50, **ERROR), told(3, "erp", 40, uid="{} sent again by a person")
    told(4, "erp", 50), told(4, "erp", 40, uid="{} sent again by a person", **ERROR)
    told(5, "erp", 50, operation="receive")
    told(6, "erp", 50, operation="settle", outcome="ok")
    told(7, "erp", 50), told(7, "mail", 50, uid="{} sent again by a person")

    assert sets_of(of_system(range(1, 8))) == {
        "processed": ["1", "3", "6", "7"], "failed": ["2", "4"], "on-the-way": ["5"], "twice": ["3", "4"],
    }  # fmt: skip


def letter_of(number: int, system: str | None, **columns: Any) -> DeadLetter:
    letter = stored_letter(
        message_id=LONG.format(number), origin="orders.erp", keys={"order_no": str(number)}, system=system or ""
    )
    closed = {"state": "closed", "closed_at": datetime.now(UTC)} if "resolution" in columns else {}
    DeadLetter.objects.filter(pk=letter.pk).update(**columns, **closed)
    return letter


def test_a_letter_of_the_system_or_of_none_says_that_it_failed_until_it_was_processed(client: Client):
    for number in range(1, 7):
        told(number, "web", 60), told(number, "mail", 50), told(number, "erp", 40)
    letters = [
        letter_of(1, "erp"), letter_of(2, None), letter_of(3, "mail"), letter_of(4, "erp", resolution="processed"),
        letter_of(5, "erp", resolution="discarded"), letter_of(1, "mail"),
    ]  # fmt: skip
    told(6, "mail", 30, **ERROR)

    one = of_system(range(1, 7))

    assert sets_of(one) == {"processed": ["3", "4", "6"], "failed": ["1", "2", "5"]}
    client.force_login(person("bob", Role.OPERATOR))
    page = client.get(f"/dead-letters/?q=reconciled:{one.pk}.failed&state=all").content.decode()
    assert [str(letter.pk) in page for letter in letters] == [True, True, False, False, True, False]


def test_a_letter_of_no_message_counts_where_it_is_of_the_system_or_of_none():
    for number, system in ((1, "erp"), (2, ""), (3, "mail")):
        told(number, "mail", 50), told(number, "erp", 40)
        stored_letter(message_id="", origin="orders.erp", keys={"order_no": str(number)}, system=system)

    assert sets_of(of_system(range(1, 4))) == {"processed": ["3"], "failed": ["1", "2"]}
    later = of_system(range(1, 4), until=datetime.now(UTC) - timedelta(minutes=20))
    assert sets_of(later) == {"processed": ["1", "2", "3"]}


def test_what_the_system_told_in_a_flow_of_another_team_says_nothing(orders: Flow):
    told(1, "web", 60), told(1, "erp", 40, destination="erp.in")
    told(2, "web", 60), told(2, "erp", 40, destination="erp.in", **ERROR)
    assert sets_of(of_system([1, 2])) == {"processed": ["1"], "failed": ["2"]}

    Flow.objects.filter(name="erp.in").update(team=Team.objects.create(name="ERP team"))

    assert sets_of(of_system([1, 2])) == {"on-the-way": ["1", "2"]}
    of_erp = of_system([1, 2], of=Flow.objects.get(name="erp.in"))
    assert sets_of(of_erp) == {"processed": ["1"], "failed": ["2"]}


def test_a_system_that_nobody_told_of_is_refused_in_words():
    told(1, "erp")

    with pytest.raises(Invalid, match="no system of production is called “epr”"):
        begun(by=ROOT, system="epr")

    begun(by=ROOT, system=" erp ")
    assert AuditEntry.objects.get(action="reconciliation.begun").details["system"] == "erp"


def test_a_scheduled_check_is_calm_only_when_the_named_system_passed_every_key():
    told(1, "web"), told(1, "mail"), told(2, "web"), told(2, "mail"), told(2, "erp")
    one = check(system="erp")
    receive_list_of_check(one, [b"1\n2\n"], by=ROOT)
    reconcile()

    on_due(one)

    assert (one.state, one.problem) == ("raised", "1 still on the way")
    assert AuditEntry.objects.get(action="reconciliation_check.added").details["system"] == "erp"


def test_a_check_changed_to_another_system_compares_the_list_that_came_before_with_that():
    told(1, "web"), told(1, "mail"), told(1, "erp", **ERROR)
    one = check(system="mail")
    receive_list_of_check(one, [b"1\n"], by=ROOT)
    said = {"name": one.name, "key_name": one.key_name, "minute": one.minute, "hours": one.hours}
    change_check(one, NewCheck(**said, system="erp"), by=operator())

    on_due(one)
    reconcile()
    on_due(one, minutes=2)

    assert (one.state, one.problem) == ("raised", "1 failed")


def test_the_pages_and_the_csv_say_which_system_decides(client: Client):
    told(1, "web"), told(1, "mail"), told(2, "erp")
    one = of_system([1, 2])
    anybody = of_system([1, 2], system="")
    client.force_login(person("bob", Role.OPERATOR))

    page = client.get(f"/reconciliations/{one.pk}/")

    assert "erp, which alone decides" in text_of(page)
    assert "erp has neither passed nor failed them yet" in text_of(page)
    assert ", at erp" in text_of(client.get("/reconciliations/"))
    assert "any: whichever takes a message counts" in text_of(client.get(f"/reconciliations/{anybody.pk}/"))
    assert SETS["processed"].meaning in text_of(client.get(f"/reconciliations/{anybody.pk}/"))
    assert '<option value="erp">' in client.get("/reconciliations/new/").content.decode()
    lines = client.get(f"/reconciliations/{one.pk}/csv").getvalue().decode().splitlines()
    assert [line.split(",")[0::7] for line in lines] == [["order_no", "system"], ["2", "erp"], ["1", "erp"]]
