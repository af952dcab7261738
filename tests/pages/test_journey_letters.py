"""Dead letters that name no message, in the journey of the message whose number they have; and the failure group of what failed in it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from console.identity.models import Role, Team
from messages.groups.sweep import sweep_groups
from messages.journeys import letters
from messages.models import DeadLetter, FailureGroup, Flow, Message
from tests.factories import agent_key, api_key, event, person, push, stored_letter
from tests.http.test_access import ask
from tests.pages.people import TRACE, signed_in, text_of
from tests.services.grouping import failed_event

pytestmark = pytest.mark.django_db
KEYS = {"order_no": "47-1"}


def failed(**changes: Any) -> Message:
    """Return a message that failed, as its sender and its receiver told of it."""
    sent = event(trace_id=TRACE, destination="erp.orders", message_id="failed-message-1-long-enough")
    one = failed_event(1, trace_id=TRACE) | changes
    assert push("/ingest/v1/events", [sent, one], key=agent_key()).json()["accepted"] == 2
    sweep_groups()
    return Message.objects.get(message_id="failed-message-1-long-enough")


def died(**changes: Any) -> DeadLetter:
    error = {"type": "ErpTimeout", "message": "erp did not answer order 1 in 30 s", "stack": ""}
    own = {"message_id": "", "body": "{}", "keys": KEYS, "queue": "erp.orders.DLT", "error": error}
    return stored_letter(**own | changes)


def asked(*paths: str) -> list[Any]:
    key = api_key(person("vera", Role.VIEWER))
    return [ask(path, key).json() for path in paths]


def ties(journey: Any) -> list[tuple[str, str, str]]:
    """Return (id, tie, strength) of the dead letters of a journey in REST."""
    return [(one["id"], one["evidence"]["value"], one["evidence"]["strength"]) for one in journey["dead_letters"]]


def test_a_failed_message_leads_to_the_letter_that_its_number_ties_and_to_its_failure_group():
    message, letter = failed(), died()
    group = FailureGroup.objects.get(pk=Message.objects.get().group_id)
    client = signed_in("viewer", Role.VIEWER)

    page, journey = client.get(f"/messages/{message.id}/"), client.get(f"/j/{TRACE}")
    found, by_trace = asked(f"messages/{message.id}/journey", f"journeys/{TRACE}")

    tie = "tied by order_no=47-1 (weak)"
    for shown in (page, journey):
        assert f"Dead letter in erp.orders.DLT, {tie}" in text_of(shown)
        assert f"harvested from erp.orders.DLT by harvester, {tie}" in text_of(shown)
        assert "order_no=47-1, weak" in text_of(shown)
        assert f'href="/dead-letters/{letter.pk}/"' in shown.content.decode()
        assert f'href="/groups/{group.reference}/"' in shown.content.decode()
    assert "Open the dead letter" in text_of(page)
    assert ties(found) == ties(by_trace) == [(str(letter.pk), "order_no=47-1", "weak")]
    assert found["dead_letters"][0]["why"] == "has order_no=47-1 within a day; other journeys may have the same number"
    assert (found["ties"][-1], found["groups"]) == ("order_no=47-1", [group.reference])


def test_from_the_letter_the_message_is_tied_by_the_same_number_and_the_letter_is_in_its_own_log():
    failed()
    letter = died()

    page = text_of(signed_in("viewer", Role.VIEWER).get(f"/dead-letters/{letter.pk}/"))

    assert "Journey tied by message id, then order_no=47-1 (weak)" in page
    assert "harvested from erp.orders.DLT by harvester " in page


def test_a_failure_that_events_alone_tell_of_leads_to_its_group():
    message = failed()
    group = FailureGroup.objects.get()
    client = signed_in("viewer", Role.VIEWER)

    for path in (f"/messages/{message.id}/", f"/j/{TRACE}"):
        assert f'href="/groups/{group.reference}/"' in client.get(path).content.decode()


def test_a_journey_of_which_a_letter_alone_tells_leads_to_its_group():
    letter = died(trace_id=TRACE)

    page = signed_in("viewer", Role.VIEWER).get(f"/j/{TRACE}")

    assert letter.group
    assert f'href="/groups/{letter.group.reference}/"' in page.content.decode()


@pytest.mark.parametrize(
    ("message_keys", "letter_keys", "tie"),
    [
        ({"invoice_no": "I-1"}, {"invoice_no": "I-1"}, "invoice_no=I-1"),
        ({"order_no": "47", "invoice_no": "I-1"}, {"invoice_no": "I-1"}, "invoice_no=I-1"),
        ({"invoice_no": "I-1"}, {"order_no": "47", "invoice_no": "I-1"}, "invoice_no=I-1"),
        ({"order_no": "47", "invoice_no": "I-1"}, {"order_no": "48", "invoice_no": "I-1"}, ""),
        ({"customer_no": "7"}, {"customer_no": "7"}, ""),
    ],
)
def test_the_number_that_ties_the_events_of_the_one_or_of_the_other_ties_the_two(
    message_keys: dict[str, str], letter_keys: dict[str, str], tie: str
):
    message = failed(keys=message_keys)
    letter = died(keys=letter_keys)

    assert ties(*asked(f"messages/{message.id}/journey")) == ([(str(letter.pk), tie, "weak")] if tie else [])


def test_a_letter_of_another_flow_or_document_is_listed_and_is_not_offered_as_that_of_the_message():
    message = failed(keys={"order_no": "47", "shipment_no": "S-1"})
    died(keys={"order_no": "47", "shipment_no": "S-2"})
    died(keys={"order_no": "47"}, origin="crm.orders")

    page = text_of(signed_in("viewer", Role.VIEWER).get(f"/messages/{message.id}/"))

    assert page.count("tied by order_no=47 (weak)") == 2
    assert "Open the dead letter" not in page.replace("open the dead letter", "")


def test_a_delivered_message_is_not_stuck_by_a_number_alone():
    passed = event(system="erp", operation="process", destination="erp.orders", keys=KEYS)
    push("/ingest/v1/events", [passed], key=agent_key())
    letter = died()
    page = signed_in("viewer", Role.VIEWER).get(f"/messages/{Message.objects.get().id}/")

    assert "stuck further on" not in text_of(page)
    assert f'href="/dead-letters/{letter.pk}/"' in page.content.decode()


def test_letters_of_days_before_and_after_are_of_other_journeys():
    message, now = failed(), datetime.now(UTC)
    died(failed_at=(now - timedelta(days=2)).isoformat())
    later = died(failed_at=now.isoformat())
    later_at = now + timedelta(days=2)  # as it will be: ingest takes nothing from days ahead
    DeadLetter.objects.filter(pk=later.pk).update(first_failed_at=later_at, failed_at=later_at)
    near = died(failed_at=now.isoformat(), first_failed_at=(now - timedelta(hours=30)).isoformat())

    assert ties(*asked(f"messages/{message.id}/journey")) == [(str(near.pk), "order_no=47-1", "weak")]


@pytest.mark.parametrize("bound", ["MOST_LETTERS", "MOST_WITH_A_NUMBER", "MOST_OF_A_KEY"])
def test_a_number_of_too_many_ties_no_letter_and_the_journey_says_so(monkeypatch: pytest.MonkeyPatch, bound: str):
    message = failed()
    push("/ingest/v1/events", [event(keys=KEYS)], key=agent_key())
    died()
    died()
    monkeypatch.setattr(letters, bound, 1)

    (found,) = asked(f"messages/{message.id}/journey")

    assert (found["dead_letters"], found["truncated"]) == ([], True)
    words = "order_no=47-1 is of more messages or dead letters than a number ties: it brings no dead letter"
    assert [one["words"] for one in found["not_followed"]] == [words]
    assert words in text_of(signed_in("viewer", Role.VIEWER).get(f"/messages/{message.id}/"))


def test_letters_and_groups_of_flows_that_the_reader_may_not_see_are_not_there():
    message = failed()
    letter = died(origin="crm.orders")
    client = signed_in("viewer", Role.VIEWER)
    assert f'href="/dead-letters/{letter.pk}/"' in client.get(f"/j/{TRACE}").content.decode()

    Flow.objects.filter(pk=letter.flow_id).update(team=Team.objects.create(name="Finance team"))

    assert ties(*asked(f"messages/{message.id}/journey")) == []
    pages = [client.get(path).content.decode() for path in (f"/j/{TRACE}", f"/messages/{message.id}/")]
    assert not any("order_no=47-1, weak" in page or "erp.orders.DLT" in page for page in pages)
