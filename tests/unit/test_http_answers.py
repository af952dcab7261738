"""The judge of HTTP answers: what it makes of statuses, SOAP faults, GraphQL errors, problem details, limits, and of rubbish."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from agents.sdk.answers import MOST_BODY, judge
from agents.sdk.pauses import MOST_PAUSE_S

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
JSON, PROBLEM = "application/json", "application/problem+json"
GRAPHQL = "application/graphql-response+json; charset=utf-8"


def soap_11(code: str, text: str = "no", prefix: str = "soap") -> str:
    return (
        f'<?xml version="1.0"?><{prefix}:Envelope xmlns:{prefix}="http://schemas.xmlsoap.org/soap/envelope/"><{prefix}:Body>'
        f"<{prefix}:Fault><faultcode>{code}</faultcode><faultstring xml:lang='en'>{text}</faultstring><detail><faultstring>inner"
        f"</faultstring></detail></{prefix}:Fault></{prefix}:Body></{prefix}:Envelope>"
    )


def soap_12(code: str, sub: str = "", text: str = "no") -> str:
    below = f"<env:Subcode><env:Value>{sub}</env:Value></env:Subcode>" if sub else ""
    return (
        '<env:Envelope xmlns:env="http://www.w3.org/2003/05/soap-envelope" xmlns:m="urn:m"><env:Header/><env:Body><env:Fault>'
        f"<env:Code><env:Value>{code}</env:Value>{below}</env:Code><env:Reason><env:Text xml:lang='en'>{text}</env:Text>"
        "<env:Text xml:lang='de'>nein</env:Text></env:Reason></env:Fault></env:Body></env:Envelope>"
    )


def errors(*codes: str, data: object = None) -> str:
    return json.dumps(
        {"errors": [{"message": "no", "extensions": {"code": code}} if code else {"message": "no"} for code in codes]}
        | ({"data": data} if data != "absent" else {})
    )


SOAP_FINE = soap_11("x").replace("Fault", "Answer")
CASES = {
    "202": (202, "", "", "taken", "", "the endpoint answered HTTP 202"),
    "503 in words": (503, "text/plain", "down\n for  repair", "later", "target_error", "HTTP 503: down for repair"),
    "429": (429, "", "", "later", "throttled", "HTTP 429"),
    "500": (500, "text/html", "<h1>Oops</h1>", "refused", "target_error", "HTTP 500: <h1>Oops</h1>"),
    "401": (401, "", "", "refused", "auth", "HTTP 401"),
    "422": (422, JSON, '{"qty": "missing"}', "refused", "rejected", 'HTTP 422: {"qty": "missing"}'),
    "302": (302, "", "", "refused", "rejected", "HTTP 302 (redirects are not followed)"),
    "a picture": (400, "image/png", "\x89PNG", "refused", "rejected", "HTTP 400: 5 bytes of image/png"),
    "control characters": (400, "text/plain", "a\x1b[31mb\x00c", "refused", "rejected", "HTTP 400: a [31mb c"),
    "a problem": (409, PROBLEM, '{"title": "Taken", "detail": "4711 exists", "status": 409}', "refused", "rejected", "HTTP 409: Taken: 4711 exists"),
    "a problem that is none": (409, PROBLEM, '["x"]', "refused", "rejected", 'HTTP 409: ["x"]'),
    "1.1 server, 500": (500, "text/xml; charset=utf-8", soap_11("soap:Server", "no database"), "later", "target_error",
        "HTTP 500: SOAP fault soap:Server: no database"),
    "1.1 server, 200": (200, "text/xml", soap_11("S:Server.userException", prefix="S"), "later", "target_error",
        "HTTP 200: SOAP fault S:Server.userException: no"),
    "1.1 client, 200": (200, "text/xml", soap_11("soap:Client", "a &lt; b"), "refused", "rejected", "HTTP 200: SOAP fault soap:Client: a < b"),
    "1.1 authentication": (500, "text/xml", soap_11("soap:Client.Authentication"), "refused", "auth", "HTTP 500: SOAP fault soap:Client.Authentication: no"),
    "1.1 a code of its own": (200, "text/xml", soap_11("m:Full"), "refused", "target_error", "HTTP 200: SOAP fault m:Full: no"),
    "1.2 sender, 400": (400, "application/soap+xml", soap_12("env:Sender"), "refused", "rejected", "HTTP 400: SOAP fault env:Sender: no"),
    "1.2 receiver, 500": (500, "application/soap+xml", soap_12("env:Receiver", "m:Down"), "later", "target_error",
        "HTTP 500: SOAP fault env:Receiver m:Down: no"),
    "1.2 token": (500, "application/soap+xml", soap_12("env:Sender", "wsse:FailedAuthentication"), "refused", "auth",
        "HTTP 500: SOAP fault env:Sender wsse:FailedAuthentication: no"),
    "a client's fault with 503": (503, "text/xml", soap_11("soap:Client"), "later", "target_error", "HTTP 503: SOAP fault soap:Client: no"),
    "SOAP without a fault": (200, "text/xml", SOAP_FINE, "taken", "", "the endpoint answered HTTP 200"),
    "a fault cut off": (200, "text/xml", soap_11("soap:Client")[:-60], "refused", "rejected", "HTTP 200: SOAP fault soap:Client: no"),
    "a fault in plain text": (200, "text/plain", soap_11("soap:Client"), "taken", "", "the endpoint answered HTTP 200"),
    "a fault of somebody else": (200, "text/xml", soap_11("x").replace("schemas.xmlsoap.org", "x"), "taken", "", "the endpoint answered HTTP 200"),
    "a fault with a DTD": (200, "text/xml", "<!DOCTYPE a [<!ENTITY b 'c'>]>" + soap_11("&b;")[21:], "taken", "", "the endpoint answered HTTP 200"),
    "GraphQL user": (200, JSON, errors("BAD_USER_INPUT"), "refused", "rejected", "HTTP 200: GraphQL errors BAD_USER_INPUT: no"),
    "GraphQL nobody": (200, GRAPHQL, errors("UNAUTHENTICATED"), "refused", "auth", "HTTP 200: GraphQL errors UNAUTHENTICATED: no"),
    "GraphQL forbidden": (200, JSON, errors("FORBIDDEN", data="absent"), "refused", "auth", "HTTP 200: GraphQL errors FORBIDDEN: no"),
    "GraphQL down": (200, JSON, errors("INTERNAL_SERVER_ERROR"), "later", "target_error", "HTTP 200: GraphQL errors INTERNAL_SERVER_ERROR: no"),
    "GraphQL down, 500": (500, GRAPHQL, errors("INTERNAL_SERVER_ERROR"), "later", "target_error", "HTTP 500: GraphQL errors INTERNAL_SERVER_ERROR: no"),
    "GraphQL throttled": (200, JSON, '{"errors": [{"type": "RATE_LIMITED", "message": "slow"}]}', "later", "throttled",
        "HTTP 200: GraphQL errors RATE_LIMITED: slow"),
    "GraphQL down and wrong": (200, JSON, errors("INTERNAL_SERVER_ERROR", "BAD_USER_INPUT"), "refused", "rejected",
        "HTTP 200: GraphQL errors INTERNAL_SERVER_ERROR: no; no"),
    "GraphQL without a code": (200, JSON, errors(""), "refused", "rejected", "HTTP 200: GraphQL errors: no"),
    "GraphQL null field": (200, JSON, errors("BAD_USER_INPUT", data={"createOrder": None}), "refused", "rejected",
        "HTTP 200: GraphQL errors BAD_USER_INPUT: no"),
    "GraphQL in part": (200, JSON, errors("FORBIDDEN", data={"a": {"id": 1}, "b": None}), "taken", "",
        "HTTP 200, done in part only: GraphQL errors FORBIDDEN: no"),
    "GraphQL in 400": (400, GRAPHQL, errors("GRAPHQL_VALIDATION_FAILED"), "refused", "rejected", "HTTP 400: GraphQL errors GRAPHQL_VALIDATION_FAILED: no"),
    "no errors": (200, JSON, '{"errors": [], "data": null}', "taken", "", "the endpoint answered HTTP 200"),
    "a list of JSON that is not GraphQL's": (200, JSON, '{"errors": [{"message": "old"}], "page": 1}', "taken", "", "the endpoint answered HTTP 200"),
}  # fmt: skip


@pytest.mark.parametrize(("status", "media", "body", "kind", "code", "words"), CASES.values(), ids=CASES)
def test_an_answer_is_sorted_and_said_in_words(status: int, media: str, body: str, kind: str, code: str, words: str):
    said = judge(status, {"Content-Type": media}, body.encode(), now=NOW)

    assert (said.kind, said.reason_code, said.words, said.retry_after_s) == (kind, code, words, None)


def at(seconds: float) -> str:
    return format_datetime(NOW + timedelta(seconds=seconds), usegmt=True)


EPOCH = int(NOW.timestamp())
PAUSES = {
    "seconds": (429, {"Retry-After": "7"}, 7),
    "a date": (503, {"retry-after": at(90)}, 90),
    "a date by the receiver's own clock": (503, {"Retry-After": at(4000), "Date": at(3970)}, 30),
    "a date that is over": (503, {"Retry-After": at(-5)}, None),
    "half a second": (429, {"Retry-After": "0.5"}, 1),
    "for ever": (429, {"Retry-After": "9" * 5000}, MOST_PAUSE_S),
    "a year": (429, {"Retry-After": at(86400 * 365)}, MOST_PAUSE_S),
    "rubbish": (429, {"Retry-After": "soon", "X-RateLimit-Reset": "\x00", "RateLimit": '"r=0;t=9"'}, None),
    "negative": (429, {"Retry-After": "-3"}, None),
    "with 202 it is about something else": (202, {"Retry-After": "7"}, None),
    "nothing left": (200, {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "12"}, 12),
    "nothing left until a moment": (200, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(EPOCH + 40)}, 40),
    "in milliseconds": (200, {"X-Rate-Limit-Remaining": "0", "X-Rate-Limit-Reset": str((EPOCH + 40) * 1000)}, 40),
    "something left": (200, {"X-RateLimit-Remaining": "1", "X-RateLimit-Reset": "12"}, None),
    "older draft": (200, {"RateLimit-Remaining": "0", "RateLimit-Reset": "3"}, 3),
    "older draft, one line": (200, {"RateLimit": "limit=100, remaining=0, reset=31"}, 31),
    "draft": (200, {"RateLimit": '"default";r=0;t=30'}, 30),
    "draft, several": (200, {"RateLimit": '"a,b";r=0;t=30, "day";r=0;t=300, "c";r=5;t=900'}, 300),
    "the longest": (429, {"Retry-After": "2", "RateLimit": '"default";r=0;t=30'}, 30),
}


@pytest.mark.parametrize(("status", "headers", "pause"), PAUSES.values(), ids=PAUSES)
def test_a_receivers_wish_to_be_left_alone_is_heard(status: int, headers: dict[str, str], pause: int | None):
    assert judge(status, headers, b"", now=NOW).retry_after_s == pause


def test_403_with_retry_after_is_a_limit_and_not_a_no():
    assert judge(403, {"Retry-After": "60"}, b"", now=NOW).kind == "later"


BOMB = "<!DOCTYPE z [<!ENTITY a 'aaaaaaaaaa'>" + "".join(
    f"<!ENTITY {b} '{f'&{a};' * 10}'>" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)
HOSTILE = {
    "a bomb of entities": ("text/xml", (BOMB + "]>" + soap_11("soap:Client", "&i;")[21:]).encode()),
    "a file of ours": ("text/xml", b"<!DOCTYPE z [<!ENTITY f SYSTEM 'file:///etc/passwd'>]><z>&f;</z>"),
    "deep XML": ("text/xml", soap_11("x").split("<soap:Fault>")[0].encode() + b"<a>" * 60_000),
    "deep JSON": (JSON, b"[" * 200_000),
    "a long number": (JSON, b'{"errors": ' + b"9" * 100_000 + b"}"),
    "errors that are none": (GRAPHQL, b'{"errors": [1, null, [], {"message": {"a": 1}, "extensions": [], "type": 5}]}'),
    "errors without any": (JSON, b'{"errors": [1]}'),
    "an odd charset": ("text/xml; charset=utf-7; charset; =;;", b"\xff\xfe<\x00"),
    "an encoding that is none": ("text/xml", b'<?xml version="1.0" encoding="x-nothing"?><a/>'),
    "wide characters": ("text/xml", b'<?xml version="1.0" encoding="gb18030"?><a/>'),
    "nulls": ("text/xml", bytes(1000)),
    "half a character": (PROBLEM, b'{"title": "\xf0\x9f"}'),
    "a lone surrogate": (PROBLEM, b'{"title": "\\ud800"}'),
    "an endless type": ("a" * 100_000 + "/" + ";x=y" * 10_000, b"x"),
}


@pytest.mark.parametrize(("media", "body"), HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("status", [200, 500, -1])
def test_hostile_bodies_are_judged_by_their_status_and_words_stay_short(status: int, media: str, body: bytes):
    said = judge(status, {"Content-Type": media}, body, now=NOW)

    assert len(said.words) < 600
    assert said.words.isprintable()
    assert "root:" not in said.words


def test_rubbish_made_of_faults_never_raises():
    chance = random.Random(5)
    for _ in range(300):
        body = bytearray(chance.choice([soap_11("soap:Server"), soap_12("env:Sender", "m:x"), errors("A")]).encode())
        for _ in range(chance.randrange(1, 6)):
            body[chance.randrange(len(body))] = chance.randrange(256)

        judge(200, {"Content-Type": chance.choice(["text/xml", JSON, GRAPHQL, PROBLEM])}, bytes(body), now=NOW)


def test_a_fault_behind_a_long_header_is_found_and_no_more_is_read_than_promised():
    long = soap_11("soap:Client").replace("<soap:Body>", f"<soap:Header>{'x' * 100_000}</soap:Header><soap:Body>", 1)

    assert judge(200, {"Content-Type": "text/xml"}, long.encode(), now=NOW).kind == "refused"
    assert judge(200, {"Content-Type": "text/xml"}, long.encode() + b"<" * (30 * MOST_BODY), now=NOW).kind == "refused"
