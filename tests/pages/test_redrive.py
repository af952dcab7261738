"""A whole dead-letter queue sent back by its broker itself: who may, what is said first, how it is watched and stopped, what is kept."""

from __future__ import annotations

from typing import Any

import pytest

from console.audit.models import AuditEntry
from console.identity.models import Role
from messages.catalog.connections import approve_connection, create_connection, withdraw_connection
from messages.connectors.memory import LETTERS, MOVES
from messages.models import Connection
from tests.contracts.conftest import estate
from tests.contracts.sqs_estate import Estate
from tests.factories import ROOT, agent_key, environment, memory_connection, push, stored_letter
from tests.pages.people import signed_in, text_of
from tests.product import wait_until

__all__ = ["estate"]  # a fixture
pytestmark = pytest.mark.django_db
QUEUE = "erp.orders.dlq"


@pytest.fixture
def found() -> Connection:
    """A connection whose queue of three letters is the dead-letter queue of erp.orders."""
    made = memory_connection(sources=["erp.orders"])
    LETTERS[made.address] = [(number, {}) for number in range(3)]
    return made


def start(client: Any, found: Connection, **more: str) -> Any:
    return client.post(
        f"/connections/{found.pk}/redrive/", {"queue": QUEUE, "reason": "mended", "per_second": ""} | more
    )


def audited() -> list[str]:
    return list(AuditEntry.objects.filter(action__contains="redrive").order_by("id").values_list("action", flat=True))


def test_the_page_says_exactly_what_will_happen_before_anything_does(found: Connection):
    stored_letter(queue=QUEUE)
    push(
        "/ingest/v1/heartbeat",
        {"queues": [{"broker": found.name, "queue": QUEUE, "mode": "move"}]},
        key=agent_key("harvest-eu"),
    )
    client = signed_in()

    linked = client.get(f"/connections/{found.pk}/").content.decode()
    page = text_of(client.get(f"/connections/{found.pk}/redrive/?queue={QUEUE}"))
    asks = text_of(client.get(f"/connections/{found.pk}/redrive/"))

    assert f"/connections/{found.pk}/redrive/?queue={QUEUE}" in linked
    assert "Memory itself sends every message back to the queue it died in: erp.orders" in page
    assert (
        "about 3 now , and whatever comes in while it runs; also messages that this console never saw"
        in page.replace("now,", "now ,")
    )
    assert "nothing is edited" in page
    assert "1 letter of this queue is open here, and stays open until the receiver reports it processed" in page
    assert "harvest-eu harvests this queue" in page
    assert "Redrive all 3 unmodified" in page
    assert "Which queue?" in asks
    assert MOVES[found.address] == []
    assert audited() == []


def test_it_starts_with_a_reason_is_watched_and_stopped_and_all_of_it_is_audited(found: Connection):
    client = signed_in()

    started = start(client, found, per_second="5")
    page = client.get(started["Location"])
    part = client.get(started["Location"], HTTP_HX_REQUEST="true").content.decode()
    twice = start(client, found)
    stopped = client.post(f"/connections/{found.pk}/redrive/cancel/", {"queue": QUEUE, "reason": "wrong one"})
    after = text_of(client.get(stopped["Location"]))
    again = client.post(f"/connections/{found.pk}/redrive/cancel/", {"queue": QUEUE})

    assert (started.status_code, stopped.status_code) == (303, 303)
    assert "running 0 3 each to the queue it died in" in text_of(page)
    assert 'hx-trigger="every 3s"' in part
    assert part.strip().startswith('<section class="panel" id="moves"')
    assert (twice.status_code, "is running already" in text_of(twice)) == (422, True)
    assert "stopped 0 3" in after
    assert (again.status_code, "No move of erp.orders.dlq is running" in text_of(again)) == (422, True)
    assert audited() == [
        "connection.redrive_started", "connection.redrive_started", "connection.redrive_failed", "connection.redrive_stopped",
    ]  # fmt: skip
    first = AuditEntry.objects.filter(action="connection.redrive_started").order_by("id")[0]
    assert (first.reason, first.details) == ("mended", {"queue": QUEUE, "about": 3, "per_second": 5})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"reason": " "}, "say why"),
        ({"per_second": "0"}, "the pace is 1 to 500"),
        ({"per_second": "fast"}, "the pace is 1 to 500"),
        ({"per_second": "501"}, "the pace is 1 to 500"),
        ({"queue": ""}, "name a queue"),
    ],
)
def test_what_cannot_be_is_said_and_nothing_is_sent(found: Connection, changes: dict[str, str], words: str):
    answer = start(signed_in(), found, **changes)

    assert (answer.status_code, words in text_of(answer).lower()) == (422, True)
    assert MOVES[found.address] == []


def test_a_connection_that_is_not_approved_and_a_queue_of_nobodys_letters_are_not_sent_back(found: Connection):
    nobodys = memory_connection("other")
    client = signed_in()
    withdraw_connection(found, by=ROOT)

    answer = start(client, found)
    page = client.get(f"/connections/{nobodys.pk}/redrive/?queue=orders")

    assert (answer.status_code, "approve it first" in text_of(answer)) == (422, True)
    assert "This is nobody’s dead-letter queue." in text_of(page)
    assert '<button class="btn primary danger"' not in page.content.decode()
    assert MOVES[found.address] == []


def test_only_administrators_may_on_pages_and_over_rest(found: Connection):
    address, rest = f"/connections/{found.pk}/redrive/", f"/api/v1/connections/{found.pk}/redrive"
    operator, stranger = signed_in("operator", Role.OPERATOR), signed_in("stranger", None)

    assert operator.get(f"{address}?queue={QUEUE}").status_code == 403
    assert start(operator, found).status_code == 403
    assert operator.post(f"{address}cancel/", {"queue": QUEUE}).status_code == 403
    assert "Redrive all of it" not in operator.get(f"/connections/{found.pk}/").content.decode()
    assert operator.get(f"{rest}?queue={QUEUE}").status_code == 403
    assert operator.post(rest, {"queue": QUEUE, "reason": "x"}, content_type="application/json").status_code == 403
    assert stranger.get(f"{address}?queue={QUEUE}").status_code in (403, 404)
    assert MOVES[found.address] == []


def test_rest_does_the_same(found: Connection):
    client, rest = signed_in(), f"/api/v1/connections/{found.pk}/redrive"

    before = client.get(f"{rest}?queue={QUEUE}").json()
    started = client.post(rest, {"queue": QUEUE, "reason": "mended", "per_second": 7}, content_type="application/json")
    twice = client.post(rest, {"queue": QUEUE, "reason": "mended"}, content_type="application/json")
    stopped = client.post(f"{rest}/cancel", {"queue": QUEUE}, content_type="application/json")
    nameless = client.get(rest)

    assert (before["waiting"], before["sources"], before["moves"], before["open_letters"]) == (3, ["erp.orders"], [], 0)
    assert (started.status_code, started.json()["moves"][0]["status"]) == (202, "running")
    assert (twice.status_code, twice.json()["code"]) == (409, "cannot_redrive")
    assert (stopped.status_code, stopped.json()["moves"][0]["status"]) == (200, "cancelled")
    assert nameless.status_code == 400


def test_a_kind_that_cannot_offers_nothing_and_says_so():
    made = create_connection(environment(), name="web", kind="http", address="http://127.0.0.1:1/", by=ROOT)
    client = signed_in()

    assert "redrive" not in client.get(f"/connections/{made.pk}/").content.decode().lower()
    assert "sends no queue back by itself" in text_of(client.get(f"/connections/{made.pk}/redrive/?queue=q"))


@pytest.mark.engine
def test_sqs_sends_a_queue_back_by_itself_and_the_page_tells_how_far_it_is(estate: Estate):
    queue, dlq = estate.pair()
    for number in range(3):
        estate.send(queue, body=str(number))
    estate.kill(queue)
    at = estate.address
    made = create_connection(
        environment(), name="aws", kind="sqs", address=at.url, username=at.username, secret=at.secret, by=ROOT
    )
    approve_connection(made, by=ROOT)
    client = signed_in()
    address = f"/connections/{made.pk}/redrive/"

    before = text_of(client.get(f"{address}?queue={dlq}"))
    started = client.post(address, {"queue": dlq, "reason": "mended", "per_second": "100"})
    wait_until(lambda: "completed" in text_of(client.get(started["Location"])), seconds=20, what="the end of the move")
    back = wait_until(lambda: [one["Body"] for one in estate.receive(queue)], seconds=10, what="the messages")
    wrong = text_of(client.get(f"{address}?queue={queue}"))
    missing = text_of(client.get(f"{address}?queue=nowhere"))

    assert f"SQS itself sends every message back to the queue it died in: {queue}" in before
    assert "about 3 now" in before
    assert sorted(back) == ["0", "1", "2"]
    assert "This is nobody’s dead-letter queue." in wrong
    assert "queue nowhere is not there" in missing.lower()
    assert AuditEntry.objects.get(action="connection.redrive_started").details["queue"] == dlq
