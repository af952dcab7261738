"""Artemis over AMQP 1.0: types survive, nothing is lost, and every outcome is told apart."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import uuid
from typing import Any

import pytest

from messages.connectors import get_connector, get_source
from messages.connectors.activemq import schemes
from messages.connectors.activemq.management import Manager
from messages.connectors.base import Address, BrokerUnavailable, Header, Outgoing, Published, Received
from tests.conftest import need
from tests.ports import free_port
from tests.product import ROOT, wait_until

pytestmark = pytest.mark.engine


@pytest.fixture
def amqp(artemis: Any) -> Any:
    need(schemes.find_spec("proton") is not None, "python-qpid-proton")
    with contextlib.closing(Manager(artemis.address)) as manager, contextlib.suppress(LookupError):
        manager.ask("queue.DLQ", operation="removeAllMessages")  # all tests share it
    return artemis


def outgoing(destination: str, **changes: Any) -> Outgoing:
    return Outgoing(**{"id": str(uuid.uuid4()), "destination": destination, "body": b'{"a":1}'} | changes)


def publish(address: Address, *items: Outgoing, timeout_s: float = 10) -> list[Published]:
    with contextlib.closing(get_connector("activemq", address)) as connector:
        return connector.publish(items, timeout_s=timeout_s)


def source_of(address: Address, queue: str) -> Any:
    return get_source("activemq", address, broker="b", queue=queue, options={"system": "erp"})


def receive(source: Any, count: int) -> list[Received]:
    found: list[Received] = []

    def enough() -> bool:
        found.extend(source.receive(count - len(found), 0.2))
        return len(found) >= count

    wait_until(enough, seconds=10, what=f"{count} letters", every=0)
    return found


def reject(address: Address, queue: str, count: int) -> None:
    """Fail as a consumer over AMQP does: MODIFIED with delivery-failed, once, which is the limit of `t.…`."""
    from proton import Delivery

    with contextlib.closing(source_of(address, queue)) as consumer:
        for one in receive(consumer, count):
            delivery = consumer.deliveries[one.token]
            delivery.local.failed = True
            delivery.update(Delivery.MODIFIED)
            delivery.settle()


def test_a_rejected_message_is_a_letter_that_keeps_its_types_there_and_back(amqp: Any):
    origin = f"t.{uuid.uuid4()}"
    headers = (
        Header(name="count", type="int", value=3), Header(name="flag", type="bool", value=True), Header(name="part", type="float", value=1.5),
        Header(name="blob", type="bytes", value="AP8="), Header(name="at", type="timestamp", value="2026-11-25T22:42:41.842000+00:00"),
        Header(name="name", type="string", value="ü:\n"), Header(name="none", type="null", value=None),
    )  # fmt: skip
    properties = {"message_id": "m-1", "correlation_id": "c-1", "type": "Order", "priority": 7, "message_type": "text"}
    bodies = {"text": b'{"a":1}', "bytes": b"\0\xff", "value": b'{"k": 1}', "none": b""}

    def died(*items: Outgoing) -> list[dict[str, Any]]:
        assert [result.result for result in publish(amqp.amqp, *items)] == ["confirmed"] * len(items)
        reject(amqp.amqp, origin, len(items))
        with contextlib.closing(source_of(amqp.amqp, "DLQ")) as source:
            received = receive(source, len(items))
            source.acknowledge([one.token for one in received])
            assert source.receive(5, 0.2) == []
        return [one.letter for one in received]

    first = died(
        outgoing(origin, headers=headers, properties=properties),
        *(outgoing(origin, body=body, properties={"message_type": kind}) for kind, body in list(bodies.items())[1:]),
    )
    again = died(
        outgoing(origin, headers=tuple(Header(**one) for one in first[0]["headers"]), properties=first[0]["properties"])
    )

    kept = {header.name: header for header in headers}
    for letter in (first[0], again[0]):
        assert {h["name"]: Header(**h) for h in letter["headers"] if not h["name"].startswith("x-opt-")} == kept
        assert letter["properties"] == properties
    assert (first[0]["origin"], first[0]["message_id"], first[0]["correlation_id"]) == (origin, "m-1", "c-1")
    assert [letter["properties"]["message_type"] for letter in first] == list(bodies)
    assert [letter.get("body", letter.get("body_base64")) for letter in first] == ['{"a":1}', "AP8=", '{"k": 1}', ""]
    assert len({letter["id"] for letter in first + again}) == 5


KILLED = """
import os, signal, sys
from messages.connectors import get_source
from messages.connectors.base import Address
source = get_source("activemq", Address(url=sys.argv[1], username="waybill", secret=sys.argv[2]), broker="b", queue=sys.argv[3], options={})
received = source.receive(1, 10)
print(received[0].letter["id"], flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.fault
def test_a_reader_that_is_killed_again_and_again_moves_no_letter(amqp: Any):
    publish(amqp.amqp, outgoing("DLQ", properties={"message_id": "m-1"}))  # which has no limit of deliveries

    command = [sys.executable, "-c", KILLED, amqp.amqp.url, amqp.amqp.secret, "DLQ"]
    seen = [subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout for _ in range(3)]
    with contextlib.closing(source_of(amqp.amqp, "DLQ")) as source:
        [left] = receive(source, 1)
        source.acknowledge([left.token])

    assert set(seen) == {f"{left.letter['id']}\n"}


def test_equal_messages_without_an_id_are_shown_and_stay(amqp: Any):
    queue = f"t.{uuid.uuid4()}"
    publish(amqp.amqp, outgoing(queue), outgoing(queue))

    for _ in range(2):
        with contextlib.closing(source_of(amqp.amqp, queue)) as source:
            both = receive(source, 2)
            source.acknowledge([one.token for one in both])

    assert {str(one.letter["reason"]).partition(":")[0] for one in both} == {
        "it has no message id and nothing tells where it died"
    }


def test_outcomes_are_told_apart_and_the_rest_goes_on(amqp: Any):
    queue = f"t.{uuid.uuid4()}"
    huge = Header(name="n", type="int", value=2**70)
    results = publish(
        amqp.amqp, outgoing("forbidden.x"), outgoing("sealed.x"), outgoing(queue, headers=(huge,)), *(outgoing(queue) for _ in range(200))
    )  # fmt: skip
    wrong = Address(url=amqp.amqp.url, username="waybill", secret="wrong")
    [login] = publish(wrong, outgoing(queue))
    nobody = Address(url=f"amqp10://127.0.0.1:{free_port()}")
    [away] = publish(nobody, outgoing(queue), timeout_s=2)

    assert [result.result for result in results] == ["refused"] * 3 + ["confirmed"] * 200
    assert ("CREATE_ADDRESS" in results[0].detail, "does not exist" in results[1].detail) == (True, True)
    assert (login.result, "wrong" in login.detail, away.result) == ("refused", False, "unavailable")


def test_with_tls_it_is_the_same_and_a_certificate_nobody_vouches_for_is_not_trusted(amqp: Any):
    queue = f"t.{uuid.uuid4()}"
    [sent] = publish(amqp.secure, outgoing(queue, properties={"message_id": "m-1"}))
    with contextlib.closing(source_of(amqp.secure, queue)) as source:
        [received] = receive(source, 1)
        source.acknowledge([received.token])
    [distrusted] = publish(Address(url=amqp.secure.url, username="waybill", secret="x"), outgoing(queue))

    assert (sent.result, received.letter["message_id"]) == ("confirmed", "m-1")
    assert (distrusted.result, "certificate" in distrusted.detail) == ("unavailable", True)


def test_a_check_answers_in_words(amqp: Any):
    queue = f"t.{uuid.uuid4()}"
    with contextlib.closing(get_connector("activemq", amqp.amqp)) as connector:
        fine, missing = connector.check(queue), connector.check("sealed.x")
    with contextlib.closing(source_of(amqp.amqp, "DLQ")) as source:
        reading = source.check()
    with contextlib.closing(source_of(Address(url=amqp.amqp.url, username="a", secret="b"), "DLQ")) as source:
        stranger = source.check()
    with contextlib.closing(source_of(Address(url=f"amqp10://127.0.0.1:{free_port()}"), "DLQ")) as source:
        away = source.check()

    assert [(c.question, c.answer) for c in fine] == [("reached", True), ("authenticated", True), ("may publish", True)]
    assert ("queue exists", False) in [(c.question, c.answer) for c in missing]
    assert [(c.question, c.answer) for c in reading][-1] == ("may read", True)
    assert [(c.question, c.answer) for c in stranger] == [("reached", True), ("authenticated", False)]
    assert [(c.question, c.answer) for c in away] == [("reached", False)]


def test_a_broker_that_is_killed_gives_back_what_was_not_acknowledged(amqp: Any):
    queue = f"t.{uuid.uuid4()}"
    publish(amqp.amqp, outgoing(queue, properties={"message_id": "m-1"}))
    connector = get_connector("activemq", amqp.amqp)
    with contextlib.closing(source_of(amqp.amqp, queue)) as source, contextlib.closing(connector):
        connector.publish([outgoing(f"t.{uuid.uuid4()}")], timeout_s=5)
        [before] = receive(source, 1)
        amqp.kill()
        with pytest.raises(BrokerUnavailable):
            wait_until(lambda: source.receive(1, 0.2), seconds=10, what="the end of the line", every=0)
        with pytest.raises(BrokerUnavailable):
            source.acknowledge([before.token])
        [away] = connector.publish([outgoing(queue)], timeout_s=2)
        amqp.start()
        [again] = receive(source, 1)
        source.acknowledge([again.token])
        [back] = connector.publish([outgoing(queue)], timeout_s=10)

    assert before.letter["id"] == again.letter["id"]
    assert (away.result, back.result) == ("unavailable", "confirmed")


def test_without_the_library_the_answer_is_how_to_add_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(schemes, "find_spec", lambda name: None)
    address = Address(url="amqp10://127.0.0.1:1")

    [published] = publish(address, outgoing("q"))
    with (
        contextlib.closing(source_of(address, "q")) as source,
        pytest.raises(BrokerUnavailable, match="pip install -r"),
    ):
        source.receive(1, 1)

    assert (published.result, published.detail) == ("unavailable", schemes.HOW_TO_ADD)
    assert [check.detail for check in source.check()] == [schemes.HOW_TO_ADD]
