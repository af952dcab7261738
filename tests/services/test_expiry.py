"""A replay's message expires as its letter says, never, or after the time to live that it had: chosen on the page and over REST."""

from __future__ import annotations

import contextlib
import uuid
from typing import Any

import pika
import pytest

from console.audit.models import AuditEntry
from console.identity.models import Role
from messages.connectors import get_connector
from messages.connectors.activemq.client import Line
from messages.connectors.base import Address, Outgoing
from messages.connectors.memory import QUEUES
from messages.models import DeadLetter, Replay
from messages.replay.sending import send_due
from tests.factories import memory_connection, stored_letter
from tests.pages.people import signed_in, text_of

RABBITMQ = [
    ({"expiration": "60000"}, "", "60000"),
    ({"expiration": "60000"}, "drop", None),
    ({"original_expiration": "60000"}, "", None),
    ({"original_expiration": "60000"}, "keep", "60000"),
    ({"expiration": "50000", "original_expiration": "60000"}, "keep", "50000"),
    ({}, "keep", None),
]


def publish(kind: str, address: Address, *items: Outgoing) -> list[str]:
    with contextlib.closing(get_connector(kind, address)) as connector:
        return [one.result for one in connector.publish(items, timeout_s=10)]


@pytest.mark.engine
def test_rabbitmq_gets_the_time_to_live_that_was_chosen(rabbitmq: str):
    with contextlib.closing(pika.BlockingConnection(pika.URLParameters(rabbitmq))) as connection:
        channel = connection.channel()
        queue = channel.queue_declare(f"t-{uuid.uuid4()}").method.queue
        items = [
            Outgoing(id=str(n), destination=queue, body=b"x", properties=properties, expiry=choice)  # type: ignore[arg-type]
            for n, (properties, choice, _) in enumerate(RABBITMQ)
        ]

        sent = publish("rabbitmq", Address(url=rabbitmq), *items)
        arrived = [channel.basic_get(queue, auto_ack=True)[1].expiration for _ in items]

    assert sent == ["confirmed"] * len(items)
    assert sorted(map(str, arrived)) == sorted(str(expected) for *_, expected in RABBITMQ)


@pytest.mark.engine
@pytest.mark.parametrize("engine", ["activemq", "artemis"])
def test_activemq_gets_the_expiry_that_was_chosen(engine: str, request: pytest.FixtureRequest):
    broker = request.getfixturevalue(engine)
    queue, past = f"t.{uuid.uuid4()}", {"sent_at": "2026-01-01T00:00:00Z", "expired_at": "2026-01-01T00:15:00Z"}
    choices: list[Any] = ["", "keep", "drop"]
    items = [
        Outgoing(id=choice or "as it is", destination=queue, body=choice.encode(), properties=past, expiry=choice)
        for choice in choices
    ]

    assert publish("activemq", broker.address, *items) == ["confirmed"] * 3
    with contextlib.closing(Line(broker.address, timeout_s=5)) as line:
        where = queue if line.artemis else f"/queue/{queue}"
        line.send("SUBSCRIBE", {"destination": where, "id": "1", "ack": "auto"})
        frames = [line.next(5) for _ in items]

    left = {
        f.body.decode(): int(f.headers["expires"]) and int(f.headers["expires"]) - int(f.headers["timestamp"])
        for f in frames
        if f
    }
    assert (left[""], left["drop"]) == (0, 0)
    assert 890_000 < left["keep"] <= 905_000


@pytest.mark.django_db
def test_the_form_offers_the_choice_where_messages_expire_and_what_was_chosen_goes_out():
    connection = memory_connection()
    found = stored_letter(family="memory")
    client = signed_in(role=Role.OPERATOR)

    page = client.get(f"/dead-letters/{found.pk}/")
    refused = client.post(f"/dead-letters/{found.pk}/replay/", {"reason": "", "expiry": "drop"})
    odd = client.post(f"/dead-letters/{found.pk}/replay/", {"reason": "mended", "expiry": "later"})
    client.post(f"/dead-letters/{found.pk}/replay/", {"reason": "mended", "expiry": "drop"})
    replay = Replay.objects.get()
    send_due(replay.connection_id)

    assert "without: it waits until somebody takes it" in text_of(page)
    assert '<option value="drop" selected>' in refused.content.decode()
    assert (odd.status_code, "say drop, keep, or nothing" in text_of(odd)) == (422, True)
    assert [one.expiry for one in QUEUES[connection.address][found.origin]] == ["drop"]
    assert AuditEntry.objects.get(action="replay.requested").details["expiry"] == "drop"


@pytest.mark.django_db
def test_rest_takes_and_tells_the_choice_and_other_families_are_not_asked():
    memory_connection()
    found, other = stored_letter(family="memory"), stored_letter(family="kafka")
    client = signed_in()

    def replay(letter: DeadLetter, **said: str) -> Any:
        address = f"/api/v1/dead-letters/{letter.pk}/replay"
        return client.post(address, {"reason": "mended", **said}, content_type="application/json")

    wrong, kept, as_it_is = replay(found, expiry="later"), replay(found, expiry="keep"), replay(other)

    assert wrong.status_code == 400
    assert (kept.status_code, kept.json()["expiry"]) == (202, "keep")
    assert as_it_is.json()["expiry"] == ""
    assert "replay-expiry" not in client.get(f"/dead-letters/{other.pk}/").content.decode()
