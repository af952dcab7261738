"""SQS in trouble: logins that are refused, rights that are missing, brokers that are busy, silent or gone; each has its own words."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from agents.harvest.config import load_config
from messages.connectors import get_source
from messages.connectors.base import Address, BrokerUnavailable, Outgoing, Published
from messages.connectors.sqs.connector import SQSConnector
from messages.connectors.sqs.source import SQSSource
from tests.engines.moto import Moto
from tests.ports import free_port
from tests.product import ROOT

READS = ("GetQueueUrl", "GetQueueAttributes", "ReceiveMessage", "DeleteMessage", "ChangeMessageVisibility")


@pytest.fixture(scope="module")
def moto() -> Iterator[Moto]:
    with Moto() as cloud:
        client = cloud.client("sqs")
        client.create_queue(QueueName="orders-dlq")
        client.close()
        yield cloud


@pytest.fixture
def guarded(moto: Moto) -> Iterator[Callable[..., Address]]:
    """A function that returns an address with the login of a user who may do these actions; from then on logins are checked."""

    def address(*actions: str) -> Address:
        moto.guard(False)
        key, secret = moto.login(*actions)
        moto.guard(True)
        return Address(url=f"sqs+{moto.url}?region=eu-central-1", username=key, secret=secret)

    yield address
    moto.guard(False)


def source_of(address: Address) -> contextlib.closing[SQSSource]:
    return contextlib.closing(SQSSource(address, broker="aws", queue="orders-dlq", options={}))


def publish(address: Address, *ids: str, timeout_s: float = 5) -> list[Published]:
    with contextlib.closing(SQSConnector(address)) as connector:
        return connector.publish(
            [Outgoing(id=i, destination="orders-dlq", body=b"x") for i in ids], timeout_s=timeout_s
        )


def answers(address: Address) -> dict[str, bool | None]:
    with source_of(address) as source:
        return {check.question: check.answer for check in source.check()}


def test_who_may_read_may_read(guarded: Callable[..., Address]):
    assert answers(guarded(*READS)) == {"reached": True, "authenticated": True, "queue exists": True, "may read": True}


def test_a_missing_right_is_named(guarded: Callable[..., Address]):
    with source_of(guarded(*READS[:3])) as source:
        last = source.check()[-1]

    assert (last.question, last.answer) == ("may read", False)
    assert last.detail == "this login lacks sqs:DeleteMessage and sqs:ChangeMessageVisibility"
    assert answers(guarded(READS[0], READS[3], READS[4]))["may read"] is False
    assert answers(guarded()) == {"reached": True, "authenticated": True, "queue exists": None}


@pytest.mark.parametrize("wrong", [{"username": "AKIANOBODY"}, {"secret": "wrong"}], ids=["key", "secret"])
def test_a_login_that_is_not_accepted_is_told_from_a_broker_that_is_away(
    guarded: Callable[..., Address], wrong: dict[str, str]
):
    right = guarded(*READS)
    address = Address(**{"url": right.url, "username": right.username, "secret": right.secret} | wrong)

    with source_of(address) as source, pytest.raises(BrokerUnavailable, match="credentials are not accepted") as said:
        source.receive(1, 0)

    assert answers(address) == {"reached": True, "authenticated": False}
    assert (publish(address, "a")[0].result, right.secret in str(said.value)) == ("refused", False)


def test_who_may_not_send_is_refused_with_the_right_that_is_missing(guarded: Callable[..., Address]):
    address = guarded(*READS)

    [result] = publish(address, "a")
    with contextlib.closing(SQSConnector(address)) as connector:
        checks = [*connector.check("orders-dlq"), *connector.check(None)]

    assert (result.result, "SendMessage" in result.detail) == ("refused", True)
    assert [(check.question, check.answer) for check in checks] == [
        ("reached", True), ("authenticated", True), ("queue exists", True), ("may publish", False), ("reached", True), ("authenticated", True),
    ]  # fmt: skip


def test_credentials_that_are_revoked_while_we_harvest_are_said_in_words(moto: Moto, guarded: Callable[..., Address]):
    with source_of(guarded(*READS)) as source:
        source.receive(1, 0)
        moto.guard(False)
        iam = moto.client("iam")
        for user in iam.list_users()["Users"]:
            for key in iam.list_access_keys(UserName=user["UserName"])["AccessKeyMetadata"]:
                iam.delete_access_key(UserName=user["UserName"], AccessKeyId=key["AccessKeyId"])
        iam.close()
        moto.guard(True)

        with pytest.raises(BrokerUnavailable, match="were they revoked"):
            source.receive(1, 0)


def test_without_credentials_nothing_is_asked(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    address = Address(url=f"sqs+http://127.0.0.1:{free_port()}")

    assert answers(address) == {"reached": None, "authenticated": False}
    assert "there are no credentials" in publish(address, "a")[0].detail


def test_nobody_there_is_unavailable_and_an_address_that_is_none_is_refused():
    away = Address(url=f"sqs+http://127.0.0.1:{free_port()}", username="a", secret="b")
    odd = Address(url="sqs+http://[::1", username="a", secret="b")

    assert [publish(address, "a")[0].result for address in (away, odd)] == ["unavailable", "refused"]
    assert [answers(address) for address in (away, odd)] == [{"reached": False}] * 2
    with source_of(odd) as source, pytest.raises(BrokerUnavailable):
        source.receive(1, 0)


Step = Callable[["Clerk", list[str]], None]


class Clerk(BaseHTTPRequestHandler):
    """An SQS that knows every queue, and does the next of `steps` with every batch."""

    steps: list[Step]
    seen: list[list[str]]
    gone: threading.Event

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.headers["X-Amz-Target"] == "AmazonSQS.GetQueueUrl":
            self.say(200, {"QueueUrl": "http://127.0.0.1/1/q"})
            return
        ids = [entry["Id"] for entry in asked["Entries"]]
        self.seen.append(ids)
        self.steps.pop(0)(self, ids)

    def say(self, status: int, answer: dict[str, Any]) -> None:
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/x-amz-json-1.0")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def clerk() -> Iterator[tuple[Address, type[Clerk]]]:
    class Mine(Clerk):
        steps: list[Step] = []
        seen: list[list[str]] = []
        gone = threading.Event()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Mine)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield Address(url=f"sqs+http://127.0.0.1:{server.server_port}", username="a", secret="b"), Mine
    Mine.gone.set()
    server.shutdown()
    thread.join()
    server.server_close()


def fails(status: int, code: str) -> Step:
    return lambda wire, ids: wire.say(status, {"__type": f"com.amazonaws.sqs#{code}", "message": "no"})


def entries(**failed: Any) -> Step:
    """Take every entry but these."""

    def step(wire: Clerk, ids: list[str]) -> None:
        bad = [{"Id": i, **failed[f"n{i}"]} for i in ids if f"n{i}" in failed]
        wire.say(
            200, {"Successful": [{"Id": i, "MessageId": f"m-{i}"} for i in ids if f"n{i}" not in failed], "Failed": bad}
        )

    return step


def hangs_up(wire: Clerk, ids: list[str]) -> None:
    wire.close_connection = True


def is_silent(wire: Clerk, ids: list[str]) -> None:
    wire.gone.wait(20)
    wire.close_connection = True


OUTCOMES: dict[str, tuple[Step, str]] = {
    "is throttled": (fails(400, "RequestThrottled"), "unavailable"),
    "fails": (fails(500, "InternalError"), "unavailable"),
    "is not to be had": (fails(503, "ServiceUnavailable"), "unavailable"),
    "waited for somebody": (fails(504, "GatewayTimeout"), "unknown"),
    "hangs up": (hangs_up, "unknown"),
    "says nothing": (is_silent, "unknown"),
    "says nothing of it": (lambda wire, ids: wire.say(200, {"Successful": []}), "unknown"),
    "has lost the queue": (fails(400, "QueueDoesNotExist"), "refused"),
    "forbids": (fails(403, "AccessDenied"), "refused"),
    "cannot open its keys": (fails(400, "KmsAccessDenied"), "refused"),
    "fails for this one": (entries(n0={"SenderFault": False, "Code": "InternalError"}), "unavailable"),
    "will not have this one": (entries(n0={"SenderFault": True, "Code": "InvalidMessageContents"}), "refused"),
}


@pytest.mark.parametrize(("step", "result"), OUTCOMES.values(), ids=OUTCOMES)
def test_what_a_broker_does_with_a_message_has_one_meaning(clerk: tuple[Address, type[Clerk]], step: Step, result: str):
    address, desk = clerk
    desk.steps += [step]

    [published] = publish(address, "a", timeout_s=2 if step is is_silent else 20)  # a busy machine is slow to connect

    assert (published.result, bool(published.detail), len(desk.seen)) == (result, True, 1)  # nobody asks twice


def test_one_that_is_wrong_is_found_and_the_others_go(clerk: tuple[Address, type[Clerk]]):
    address, desk = clerk
    desk.steps += [fails(400, "BatchRequestTooLong"), entries(), fails(400, "InvalidParameterValue"), entries()]

    results = publish(address, "a", "b", "c")

    assert [one.result for one in results] == ["confirmed", "refused", "confirmed"]
    assert [len(ids) for ids in desk.seen] == [3, 1, 1, 1]


def test_what_is_left_when_time_is_up_was_surely_not_sent(clerk: tuple[Address, type[Clerk]]):
    address, desk = clerk
    desk.steps += [is_silent]

    results = publish(address, *(str(number) for number in range(25)), timeout_s=1)

    assert [one.result for one in results] == ["unknown"] * 10 + ["unavailable"] * 15
    assert len(desk.seen) == 1


def test_letters_that_were_not_deleted_by_the_brokers_fault_are_deleted_again(clerk: tuple[Address, type[Clerk]]):
    address, desk = clerk
    busy = {"SenderFault": False, "Code": "InternalError", "Message": "later"}
    desk.steps += [entries(n1=busy), entries(), entries(n0=busy), entries(n0=busy)]

    with source_of(address) as source:
        source.acknowledge(["r-1", "r-2"])
        with pytest.raises(BrokerUnavailable, match=r"1 of 1 letters could not be deleted .*InternalError: later"):
            source.acknowledge(["r-3"])

    assert [len(ids) for ids in desk.seen] == [2, 1, 1, 1]


PAGE = (ROOT / "docs" / "brokers" / "sqs.md").read_text()


def block(language: str) -> str:
    return PAGE.split(f"```{language}\n", 1)[1].split("```", 1)[0]


def test_the_rights_that_the_page_names_are_enough_to_harvest(moto: Moto, guarded: Callable[..., Address]):
    named = [action.removeprefix("sqs:") for action in json.loads(block("json"))["Statement"][0]["Action"]]
    address = guarded(
        *named, "DeleteMessageBatch", "ChangeMessageVisibilityBatch"
    )  # AWS counts a batch as its action, moto does not
    moto.guard(False)
    with contextlib.closing(moto.client("sqs")) as client:
        client.send_message(QueueUrl=client.get_queue_url(QueueName="orders-dlq")["QueueUrl"], MessageBody="x")
    moto.guard(True)

    with source_of(address) as source:
        checks = source.check()
        [one] = source.receive(5, 1)
        kept = source._extend([str(one.token)]) == []
        source.acknowledge([one.token])
        left = source.depth()

    assert all(check.answer for check in checks)
    assert (one.letter["body"], kept, left) == ("x", True, 0)


def test_the_configuration_on_the_page_is_one(tmp_path: Path):
    file = tmp_path / "harvest.toml"
    file.write_text(block("toml"))

    queues = load_config(file, {"WAYBILL_AGENT_KEY": "k", "AWS_SECRET": "s"}).queues

    assert [(queue.kind, queue.name, queue.address.secret) for queue in queues] == [
        ("sqs", "orders-dlq", "s"),
        ("sqs", "order-events-dlq", "s"),
    ]
    for queue in queues:
        get_source(queue.kind, queue.address, broker=queue.broker, queue=queue.name, options=queue.options).close()
