"""Bodies that are cut on the wire, or come in chunks, through gunicorn's own parser: whole or not at all, whoever reads them."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from console.identity.models import Role
from messages.models import Event, Plan, Reconciliation
from messages.reconcile.evaluating import reconcile
from tests.corpus.wire import Answer, answer_to
from tests.factories import agent_key, event, stored_letter
from tests.http.test_rest_administration import Caller
from tests.pages.people import signed_in
from tests.plans.test_plans import plan_of
from tests.services.reconciling import begun, compared, flow, message
from tests.services.test_reconcile_checks import check, on_due

pytestmark = pytest.mark.django_db
LIST, CUT = b"1\n2\n3\n", "the body was cut"


def declared(body: bytes, *, sent: int | None = None) -> bytes:
    return f"Content-Length: {len(body)}\r\n\r\n".encode() + body[:sent]


def chunked(body: bytes, *, end: bytes = b"0\r\n\r\n") -> bytes:
    halves = body[: len(body) // 2], body[len(body) // 2 :]
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in halves)
    return b"Transfer-Encoding: chunked\r\n\r\n" + chunks + end


CUTS: dict[str, Callable[[bytes], bytes]] = {
    "declared, at the end of a line": lambda body: declared(body + b"4\n", sent=len(body)),
    "declared, in the middle of a line": lambda body: declared(body, sent=len(body) - 1),
    "declared, before it began": lambda body: declared(body, sent=0),
    "chunks, without the last": lambda body: chunked(body, end=b""),
    "chunks, before the last line end": lambda body: chunked(body, end=b"0\r\n"),
    "chunks, in the middle of one": lambda body: chunked(body, end=b"2\r\n4"),
    "chunks, whose size is none": lambda body: chunked(body, end=b"x\r\n"),
}


def send(who: Caller, path: str, rest: bytes, *, method: str = "PUT", content_type: str = "text/csv") -> Answer:
    kind = f"Content-Type: {content_type}\r\n" if content_type else ""
    key = who.headers["HTTP_AUTHORIZATION"]
    head = f"{method} /api/v1/{path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: {key}\r\n{kind}"
    return answer_to(head.encode() + rest)


def code_and_words(answer: Answer) -> tuple[int, str, str]:
    said = json.loads(answer.body)
    return answer.status, said["code"], said["detail"]


@pytest.mark.parametrize("cut", CUTS.values(), ids=CUTS)
def test_a_list_that_is_cut_is_refused_in_words_and_the_one_before_it_stays_with_its_counts(
    cut: Callable[[bytes], bytes],
):
    message("1")
    one = compared("1\n8\n9\n")
    ada = Caller("ben", Role.OPERATOR)
    before = ada("get", f"reconciliations/{one.pk}").json()

    status, code, words = code_and_words(send(ada, f"reconciliations/{one.pk}/list", cut(LIST)))

    assert (status, code) == (400, "body_cut")
    assert CUT in words
    assert "nothing was changed, send it again whole" in words
    after = ada("get", f"reconciliations/{one.pk}").json()
    assert after["problem"] == f"another list was refused, and the one before it stays: {words}"
    assert after | {"problem": ""} == before
    assert after["state"] == "done"
    page = signed_in("cyd", Role.VIEWER).get(f"/reconciliations/{one.pk}/").content.decode()
    assert f"Another list was refused, and the one before it stays: {words}" in page


def test_a_first_list_that_is_cut_is_none():
    flow()
    one = begun()
    ada = Caller("ben", Role.OPERATOR)

    answer = send(ada, f"reconciliations/{one.pk}/list", declared(LIST, sent=4))

    words = "the body was cut: 4 of 6 bytes came; nothing was changed, send it again whole"
    assert code_and_words(answer) == (400, "body_cut", words)
    one.refresh_from_db()
    assert (one.state, one.problem, one.list_attempt, one.listed) == ("failed", words, None, 0)


@pytest.mark.parametrize("content_type", ["text/csv", "", "application/x-www-form-urlencoded"])
@pytest.mark.parametrize("framed", [declared, chunked])
def test_a_list_that_is_whole_is_taken_declared_or_in_chunks(framed: Callable[[bytes], bytes], content_type: str):
    one = compared("1\n")

    answer = send(
        Caller("ben", Role.OPERATOR), f"reconciliations/{one.pk}/list", framed(LIST), content_type=content_type
    )

    assert (answer.status, json.loads(answer.body)["lines"]) == (202, 3)
    reconcile()
    one.refresh_from_db()
    assert (one.state, one.listed, one.problem) == ("done", 3, "")


def test_a_check_whose_list_is_cut_is_raised_and_says_so():
    message("1")
    one = check()
    path = f"reconciliation-checks/{one.pk}/list"

    answer = send(Caller("ben", Role.OPERATOR), path, declared(b"1\n2\n", sent=2))

    assert code_and_words(answer)[:2] == (400, "body_cut")
    assert on_due(one) == 1
    assert (one.state, one.problem) == (
        "raised",
        f"no list had come by {one.due_at:%H:%M} UTC; one that was sent was refused: "
        "the body was cut: 2 of 4 bytes came; nothing was changed, send it again whole",
    )


def test_ids_of_a_plan_that_are_cut_make_none_and_in_chunks_they_do():
    found = [stored_letter() for _ in range(3)]
    ids = "\n".join(str(one.pk) for one in found).encode() + b"\n"
    ada = Caller("ben", Role.OPERATOR)
    path = "plans?environment=production&reason=back"

    cut = send(ada, path, declared(ids, sent=74), method="POST", content_type="text/plain")
    torn = send(ada, path, chunked(ids[:74], end=b""), method="POST", content_type="text/plain")

    assert (code_and_words(cut)[:2], code_and_words(torn)[:2]) == ((400, "body_cut"), (400, "body_cut"))
    assert not Plan.objects.exists()
    whole = send(ada, path, chunked(ids), method="POST", content_type="text/plain")
    assert (whole.status, json.loads(whole.body)["selected"]) == (201, 3)


def test_json_in_chunks_is_read_and_cut_json_is_refused_as_such():
    flow()
    ada = Caller("ben", Role.OPERATOR)
    period = {"since": "2026-01-01T00:00:00Z", "until": "2026-01-02T00:00:00Z"}
    body = json.dumps({"environment": "production", "flow": "orders", "key": "order_no", **period}).encode()

    def post(rest: bytes) -> Answer:
        return send(ada, "reconciliations", rest, method="POST", content_type="application/json")

    assert post(chunked(body)).status == 201
    for rest in (chunked(body, end=b""), declared(body + b"\n", sent=len(body))):
        assert code_and_words(post(rest))[:2] == (400, "body_cut")
    assert Reconciliation.objects.count() == 1


def test_edits_in_chunks_are_taken_and_cut_ones_leave_those_there_are():
    plan = plan_of([stored_letter()])
    ben = Caller("ben", Role.OPERATOR)
    body = b'{"edits": [{"kind": "set_header", "name": "a", "value": "1"}]}'

    def put(rest: bytes) -> Answer:
        return send(ben, f"plans/{plan.reference}/edits", rest, content_type="application/json")

    assert put(chunked(body)).status == 200
    for rest in (declared(b"{}  ", sent=2), chunked(b"{}", end=b"")):
        assert code_and_words(put(rest))[:2] == (400, "body_cut")
    assert len(ben("get", f"plans/{plan.reference}/edits").json()["edits"]) == 1


@pytest.mark.parametrize("cut", CUTS.values(), ids=CUTS)
def test_events_that_are_cut_are_not_stored(cut: Callable[[bytes], bytes]):
    key = agent_key()
    lines = b"".join(json.dumps(event()).encode() + b"\n" for _ in range(3))
    head = f"POST /ingest/v1/events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\nContent-Type: application/x-ndjson\r\n"

    answer = answer_to(head.encode() + cut(lines))

    assert code_and_words(answer)[:2] == (400, "body_cut")
    assert not Event.objects.exists()


@pytest.mark.parametrize("kind", ["a file", "pasted"])
def test_a_form_that_is_cut_changes_nothing_and_the_page_says_why(kind: str):
    one = compared("8\n9\n")
    client = signed_in("ben", Role.OPERATOR)
    token = "x" * 32
    body, content_type = form(kind, token)
    cookies = f"waybill-csrf={token}; " + "; ".join(f"{name}={it.value}" for name, it in client.cookies.items())
    head = (
        f"POST /reconciliations/{one.pk}/list/ HTTP/1.1\r\nHost: localhost\r\nOrigin: http://localhost\r\nCookie: {cookies}\r\n"
        f"Content-Type: {content_type}\r\n"
    ).encode()

    answer = answer_to(head + declared(body + b"--x--\r\n", sent=len(body)))

    assert answer.status == 400
    assert CUT in answer.body.decode()
    one.refresh_from_db()
    assert (one.state, one.listed) == ("done", 2)
    assert answer_to(head + declared(body + (b"--x--\r\n" if kind == "a file" else b""))).status == 303


def form(kind: str, token: str) -> tuple[bytes, str]:
    if kind == "pasted":
        return f"csrfmiddlewaretoken={token}&keys=1%0A2%0A".encode(), "application/x-www-form-urlencoded"
    part = '--x\r\nContent-Disposition: form-data; name="{}"\r\n\r\n{}\r\n'
    fields = part.format("csrfmiddlewaretoken", token) + part.format('file"; filename="a.csv', "1\n2\n3\n")
    return fields.encode(), "multipart/form-data; boundary=x"
