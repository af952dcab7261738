"""A failed HTTP call becomes a dead letter: read from requests, httpx and mappings, without secrets, and from whatever else comes."""

from __future__ import annotations

from typing import Any

import httpx
import msgspec
import pytest
import requests

from agents.sdk.calls import call_of, letter_of, verdict_of
from messages.dead_letters.items import DeadLetterItem
from tests.engines.receiver import Answer, receiving

SECRETS = {
    "Authorization": "Bearer s3cret", "Cookie": "s3cret", "X-Api-Key": "s3cret", "Proxy-Authorization": "s3cret", "X_Client_Secret": "s3cret",
}  # fmt: skip
HEADERS = {
    "Content-Type": "application/json", "Idempotency-Key": "order-4711", "Traceparent": f"00-{'ab' * 16}-{'cd' * 8}-01", "X-Shop": "berlin",
}  # fmt: skip
NO = Answer(422, b'{"qty": "missing"}', {"Content-Type": "application/json", "Set-Cookie": "s3cret", "X-Trace": "t-1"})


def made(response: Any = None, request: Any = None, error: BaseException | None = None, **more: str) -> dict[str, Any]:
    """Return the letter as the console takes it."""
    call = call_of(response, request, error)
    letter = letter_of(call, verdict_of(call, error), error, system="shop", **more) | {"broker": "erp-api"}
    msgspec.convert(letter, DeadLetterItem)
    assert "s3cret" not in repr(letter)
    return letter


def by_requests(url: str, **kwargs: Any) -> requests.Response:
    return requests.put(url, timeout=5, **kwargs)


def by_httpx(url: str, data: bytes, **kwargs: Any) -> httpx.Response:
    return httpx.put(url, content=data, timeout=5, **kwargs)


@pytest.mark.parametrize("client", [by_requests, by_httpx])
def test_a_call_of_either_client_is_a_letter_that_knows_its_way_back_and_no_secret(client: Any):
    with receiving(NO) as receiver:
        url = receiver.url.replace("//", "//user:s3cret@") + "/orders/4711?source=web&x=a%20b"
        response = client(url, data=b'{"order_no": "4711"}', headers=HEADERS | SECRETS)

    letter = made(response)

    assert letter["route"] == {"method": "PUT", "path": "/orders/4711?source=web&x=a%20b"}
    assert (letter["family"], letter["origin"], letter["queue"]) == ("http", "/orders/4711", "/orders/4711")
    assert (letter["reason"], letter["reason_code"]) == ("HTTP 422", "rejected")
    assert letter["error"] == {"type": "HTTP 422", "message": 'HTTP 422: {"qty": "missing"}'}
    assert (letter["body"], letter["content_type"], letter["message_id"]) == (
        '{"order_no": "4711"}',
        "application/json",
        "order-4711",
    )
    assert (letter["trace_id"], letter["span_id"]) == ("ab" * 16, "cd" * 8)
    names = {header["name"].lower() for header in letter["headers"]}
    assert {"x-shop", "idempotency-key"} <= names
    assert not {"host", "content-length", "accept-encoding", "connection"} & names
    told = letter["properties"]["response"]
    assert (told["status"], told["body"], told["headers"]["X-Trace" if client is by_requests else "x-trace"]) == (422, '{"qty": "missing"}', "t-1")  # fmt: skip


FAILED = {
    "401": (401, "", "", "HTTP 401", "auth"),
    "429": (429, "", "", "HTTP 429", "throttled"),
    "503": (503, "", "", "HTTP 503", "target_error"),
    "GraphQL with 200": (200, "application/json", '{"data": null, "errors": [{"message": "no", "extensions": {"code": "FORBIDDEN"}}]}',
        "GraphQL FORBIDDEN", "auth"),
    "SOAP with 200": (
        200, "text/xml", '<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body><s:Fault><faultcode>s:Server</faultcode>'
        "<faultstring>full</faultstring></s:Fault></s:Body></s:Envelope>", "SOAP s:Server", "target_error",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("status", "media", "body", "reason", "code"), FAILED.values(), ids=FAILED)
def test_plain_mappings_do_as_well(status: int, media: str, body: str, reason: str, code: str):
    request = {"method": "post", "url": "/in", "headers": {"A": "b"}, "body": "x"}

    letter = made({"status": status, "headers": {"content-type": media}, "body": body}, request, origin="/in/{no}")

    assert (letter["reason"], letter["reason_code"], letter["body"]) == (reason, code, "x")
    assert (letter["origin"], letter["route"]) == ("/in/{no}", {"method": "POST", "path": "/in"})


def test_what_was_taken_is_no_failure():
    assert verdict_of(call_of({"status": 204}, None, None), None).kind == "taken"


def refused_connection(client: Any) -> BaseException:
    with receiving() as gone:
        url = gone.url.replace("//", "//user:s3cret@")
    with pytest.raises((requests.ConnectionError, httpx.ConnectError)) as caught:
        client(f"{url}/orders", data=b"1")
    return caught.value


@pytest.mark.parametrize("client", [by_requests, by_httpx])
def test_an_error_without_an_answer_tells_its_request_and_its_stack(client: Any):
    letter = made(error=refused_connection(client))

    assert (letter["route"]["path"], letter["body"], letter["reason_code"]) == ("/orders", "1", "target_error")
    assert letter["reason"] in ("ConnectionError", "ConnectError")
    assert "Traceback" in letter["error"]["stack"]


@pytest.mark.parametrize("raising", [lambda url: requests.post(url, timeout=5), lambda url: httpx.post(url, timeout=5)])
def test_the_answer_is_found_in_the_error_of_raise_for_status(raising: Any):
    with receiving(Answer(503, b"down")) as receiver:
        with pytest.raises((requests.HTTPError, httpx.HTTPStatusError)) as caught:
            raising(receiver.url).raise_for_status()

    letter = made(error=caught.value)

    assert (letter["reason"], letter["error"]["message"], letter["body"]) == ("HTTP 503", "HTTP 503: down", "")
    assert "Traceback" in letter["error"]["stack"]


def test_a_stream_is_not_read_for_a_report_neither_what_was_sent_nor_what_came():
    with receiving(Answer(500, b"long"), Answer(500, b"long")) as receiver:
        with requests.post(receiver.url, data=b"x", stream=True, timeout=5) as unread:
            first = made(unread)
            came = unread.raw.read()
        with httpx.stream("POST", receiver.url, content=b"x", timeout=5) as also_unread:
            second = made(also_unread)
    sent = made({"status": 500}, {"method": "POST", "url": "/x", "body": iter([b"a"])})

    assert (first["error"]["message"], second["error"]["message"], came) == ("HTTP 500", "HTTP 500", b"long")
    assert "body" not in sent


class Odd:
    """Raises for everything that it is asked."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise ValueError


ODD: list[Any] = [
    Odd(), 5, "x", {"status": "500"}, {"status": 500, "headers": 5, "body": 7}, {"status": True, "headers": [("a",)]},
    {"status": 500, "headers": [(b"\xff", None)] * 1000, "body": b"\xff\x00" * 1_000_000}, {"status": 10**30, "headers": Odd()},
]  # fmt: skip


@pytest.mark.parametrize("odd", ODD, ids=[str(number) for number in range(len(ODD))])
def test_whatever_comes_is_a_letter_that_the_console_takes(odd: Any):
    for request in (odd, {"method": Odd(), "url": "http://[", "headers": odd}, None):
        letter = made(odd, request, Unspeakable())

        assert len(msgspec.json.encode(letter | {"body_base64": None})) < 800_000  # but for the body that was sent
