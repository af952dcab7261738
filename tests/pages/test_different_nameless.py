"""What is different: dead letters that name no message are compared as the failed messages they are of, or leave those room."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from console.identity.models import Role, User
from messages.different import sample
from messages.different.queries import letters_of_group, messages_of_group, window_of_group
from messages.different.services import find_differences
from messages.groups.sweep import sweep_groups
from messages.models import FailureGroup, Message
from tests.factories import ROOT, agent_key, api_key, event, letter, push
from tests.http.test_access import ask
from tests.pages.differing import FLOW, nothing_is_kept, said  # noqa: F401  the fixture
from tests.pages.people import signed_in, text_of

pytestmark = pytest.mark.django_db

REFUSED = {"type": "BadCountry", "message": "no", "stack": ""}
BEGAN = timedelta(hours=2)
TOLD = {"key business.country is XX", "sender's service.version is 9.1", "header src is new"}


def fill(
    failed: int, letters: int, delivered: int = 60, *, document: bool = True, events: bool = True, more: str = ""
) -> FailureGroup:
    """Orders of one flow: those that failed are of another country, version and source, and died without a message id.

    more  a key that their senders name beside the order, and their letters in its place.
    """
    at = (datetime.now(UTC) - BEGAN).replace(minute=10)
    sent, died = [], []
    for number in range(failed + delivered):
        bad = number < failed
        named = {"business.country": "XX" if bad else "DE"} | ({"order_no": f"47-{number}"} if document else {})
        in_letter = named
        if more:
            in_letter = {"business.country": named["business.country"], more: f"48-{number}"}
            named |= in_letter
        when = {"occurred_at": (at + timedelta(seconds=number)).isoformat()}
        common = {"message_id": f"order {number} that a topic took", "destination": FLOW}
        payload = {
            "content_type": "application/json", "body": json.dumps({"country": named["business.country"]}),
            "headers": {"src": "new" if bad else "old"},
        }  # fmt: skip
        version = {"service.version": "9.1" if bad else "9.0"}
        sent.append(event(**common, **when, keys=named, attributes=version, payload=payload))
        done = event(**common, **when, system="erp", operation="process", keys=named)
        sent.append(done | ({"outcome": "error", "error": REFUSED} if bad else {}))
        if number < letters:
            died.append(
                letter(
                    message_id="", headers=[], origin=FLOW, failed_at=when["occurred_at"], keys=in_letter, body=payload["body"], error=REFUSED
                )
            )  # fmt: skip
    if not events:
        sent = [one for one in sent if one["keys"]["business.country"] == "DE"]
    assert push("/ingest/v1/events", sent, key=agent_key()).json()["accepted"] == len(sent)
    assert push("/ingest/v1/dead-letters", died, key=agent_key("harvester")).json()["accepted"] == letters
    sweep_groups()
    return FailureGroup.objects.get()


def compared(group: FailureGroup, by: Any = ROOT) -> Any:
    window = window_of_group(group, now=datetime.now(UTC))
    letters, messages = letters_of_group(by, group, window), messages_of_group(by, group, window)
    return find_differences(by, group.flow, letters, window, messages)


@pytest.mark.parametrize("more", ["", "shipment_no", "delivery_no"])
def test_letters_that_name_no_message_are_compared_by_what_told_of_their_messages(
    more: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(sample, "MOST_FAILED", 30)
    group = fill(40, 40, more=more)

    found = compared(group)

    assert (found.failed, found.nameless, found.events_failed, found.events_delivered) == (30, 0, 30, 60)
    assert told_of(found) >= TOLD


def told_of(found: Any) -> set[str]:
    """Return what is told, with what is the same of exactly the same messages."""
    return {*said(found), *(also for one in found.all for also in one.also)}


def test_a_failure_counts_once_whether_its_letter_names_its_message_or_not():
    group = fill(30, 20)

    found = compared(group)

    assert (found.failed, found.nameless, found.events_failed) == (30, 0, 30)
    page = signed_in("olga", Role.OPERATOR).get(f"/groups/{group.reference}/different/")
    assert "30 failed messages beside 60 delivered" in text_of(page)


def test_letters_of_no_known_message_leave_half_of_the_room_to_failed_messages(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sample, "MOST_FAILED", 60)
    group = fill(70, 70, document=False)

    found = compared(group)

    assert (found.failed, found.nameless, found.events_failed) == (60, 30, 30)
    assert told_of(found) >= TOLD
    page = signed_in("olga", Role.OPERATOR).get(f"/groups/{group.reference}/different/")
    assert "60 dead letters and failed messages beside 60 delivered" in text_of(page)
    assert "Events told of 30 of failed, 60 of delivered" in text_of(page)


def test_letters_take_the_room_that_failed_messages_leave(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sample, "MOST_FAILED", 60)
    group = fill(70, 70, document=False)
    failed = list(Message.objects.filter(group=group).values_list("id", flat=True))
    Message.objects.filter(id__in=failed[10:]).update(group=None)

    found = compared(group)

    assert (found.failed, found.nameless) == (60, 50)


def test_of_what_was_not_compared_nothing_is_said():
    group = fill(30, 30, events=False)
    viewer, operator = signed_in("vera", Role.VIEWER), signed_in("olga", Role.OPERATOR)

    seen = text_of(viewer.get(f"/groups/{group.reference}/different/"))
    read = text_of(operator.get(f"/groups/{group.reference}/different/"))

    assert "Events told of 0 of failed, 60 of delivered" in seen
    assert "Nothing could be compared" in seen
    assert "more frequent" not in seen
    assert "sizes and times were" not in seen
    assert "without them only bodies are compared" in read
    assert "country is XX" in read
    rest = ask(f"groups/{group.reference}/different", key=api_key(User.objects.get(username="vera"))).json()
    assert (rest["events_failed"], rest["events_delivered"], rest["nameless"]) == (0, 60, 30)
