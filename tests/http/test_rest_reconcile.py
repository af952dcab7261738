"""REST of reconciliations and of scheduled checks: a list as a stream, its sets, its CSV."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from console.audit.models import AuditEntry
from console.identity.models import Role, Team
from messages.models import Flow, Reconciliation
from messages.reconcile.evaluating import reconcile
from tests.factories import stored_letter
from tests.http.test_rest_administration import Caller
from tests.services.reconciling import flow, message

pytestmark = pytest.mark.django_db
PERIOD = {"since": "2026-01-01T00:00:00Z", "until": "2026-01-02T00:00:00Z"}
WANTED = {"environment": "production", "flow": "orders", "key": "order_no", **PERIOD}


def recent() -> dict[str, str]:
    from datetime import UTC, datetime, timedelta

    now = datetime.now(UTC)
    return {"since": (now - timedelta(days=1)).isoformat(), "until": (now + timedelta(hours=1)).isoformat()}


def send(who: Caller, path: str, body: bytes, content_type: str = "text/csv") -> Any:
    client = Client(raise_request_exception=False)
    return client.put(f"/api/v1/{path}", body, content_type=content_type, **who.headers)


def test_a_list_is_begun_sent_compared_and_read_set_by_set():
    flow()
    ada = Caller("ada", Role.OPERATOR)
    letter = stored_letter(origin="orders", keys={"order_no": "2"})
    message("1")

    made = ada("post", "reconciliations", WANTED | recent())
    one = f"reconciliations/{made.json()['id']}"
    sent = send(ada, f"{one}/list?column=number", b"number;customer\n1;a\n2;b\n3;c\n;d\n")
    reconcile()
    found = ada("get", one).json()
    failed = ada("get", f"{one}/keys?set=failed").json()
    csv = ada("get", f"{one}/csv?set=never-seen")

    assert (made.status_code, made.json()["state"]) == (201, "waiting")
    assert (sent.status_code, sent.json()["state"], sent.json()["bad"]) == (
        202,
        "queued",
        [{"line": 5, "why": "there is no value in the column"}],
    )
    assert {name: found[name] for name in ("state", "listed", "arrived", "processed", "failed", "never", "unlisted")} == {
        "state": "done", "listed": 3, "arrived": 2, "processed": 1, "failed": 1, "never": 1, "unlisted": 0,
    }  # fmt: skip
    assert [(row["key"], row["outcome"], row["dead_letter"]) for row in failed["results"]] == [
        ("2", "failed", str(letter.pk))
    ]
    assert csv["Content-Type"] == "text/csv; charset=utf-8"
    assert (
        csv.getvalue().decode()
        == "order_no,outcome,times_on_list,line,messages,message_id,dead_letter_id\r\n3,never seen,1,4,0,,\r\n"
    )
    assert ada("get", "reconciliations?environment=production").json()["results"] == [found]
    again = ada("post", f"{one}/compare")
    assert (again.status_code, again.json()["state"]) == (200, "queued")
    assert ada("post", f"{one}/compare").json()["code"] == "reconciliation_busy"
    assert ada("post", f"{one}/cancel").json()["state"] == "cancelled"
    assert ada("delete", one, {"reason": "the list of another day"}).status_code == 204
    assert AuditEntry.objects.get(action="reconciliation.removed").reason == "the list of another day"
    assert ada("get", one).status_code == 404


def test_a_short_list_may_come_at_once_and_its_delimiters_are_its_own():
    flow()
    ada = Caller("ada", Role.OPERATOR)

    made = ada(
        "post", "reconciliations", WANTED | {"keys": ["order_no", "a,b", 'say "x"', "order_no;2", "47\n11"]}
    ).json()
    reconcile()

    found = ada("get", f"reconciliations/{made['id']}/keys?set=never-seen&limit=2").json()
    rest = ada("get", found["next"].partition("/api/v1/")[2]).json()
    assert [row["key"] for row in found["results"] + rest["results"]] == ["a,b", "order_no", "order_no;2", 'say "x"']
    assert rest["next"] is None
    assert (made["bad_lines"], made["bad"]) == (1, [{"line": 5, "why": "the key has control characters"}])


def test_a_cursor_of_a_comparison_before_the_last_is_refused_in_words():
    flow()
    ada = Caller("ada", Role.OPERATOR)
    made = ada("post", "reconciliations", WANTED | {"keys": ["1", "2", "3"]}).json()
    reconcile()
    found = ada("get", f"reconciliations/{made['id']}/keys?set=never-seen&limit=2").json()
    ada("post", f"reconciliations/{made['id']}/compare")
    reconcile()

    refused = ada("get", found["next"].partition("/api/v1/")[2])

    assert (refused.status_code, refused.json()["code"]) == (409, "compared_again")


@pytest.mark.parametrize(
    "content_type",
    ["text/csv", "text/plain", "application/octet-stream", "application/x-www-form-urlencoded", "application/json"],
)
def test_a_list_is_a_list_whatever_its_media_type_says(content_type: str):
    flow()
    ada = Caller("ada", Role.OPERATOR)
    one = f"reconciliations/{ada('post', 'reconciliations', WANTED).json()['id']}"

    assert send(ada, f"{one}/list", b"1\n2\n", content_type).json()["lines"] == 2


@pytest.mark.parametrize(
    ("body", "content_type", "status", "code"),
    [
        (b"", "text/csv", 400, "invalid"),
        (b"\n", "text/csv", 400, "invalid"),
        (b"a,b\n", "text/csv", 400, "invalid"),
        (b"--x\r\n\r\n1\r\n--x--", "multipart/form-data; boundary=x", 415, "unsupported_media_type"),
        ("1\n2\n".encode("utf-16"), "text/csv", 400, "invalid"),
    ],
)
def test_what_is_no_list_is_a_problem(body: bytes, content_type: str, status: int, code: str):
    flow()
    ada = Caller("ada", Role.OPERATOR)
    one = f"reconciliations/{ada('post', 'reconciliations', WANTED).json()['id']}"

    answer = send(ada, f"{one}/list", body, content_type)

    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_a_list_that_is_too_large_is_413(monkeypatch: pytest.MonkeyPatch):
    flow()
    ada = Caller("ada", Role.OPERATOR)
    one = f"reconciliations/{ada('post', 'reconciliations', WANTED).json()['id']}"
    monkeypatch.setattr("messages.reconcile.lists.MOST_KEYS", 2)

    answer = send(ada, f"{one}/list", b"1\n2\n3\n")

    assert (answer.status_code, answer.json()["code"]) == (413, "list_too_large")
    assert Reconciliation.objects.get().state == "failed"


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"flow": "nothing"}, 404),
        ({"environment": "elsewhere"}, 404),
        ({"key": ""}, 400),
        ({"until": PERIOD["since"]}, 400),
        ({"since": "1900-01-01T00:00:00Z"}, 400),
        ({"keys": []}, 400),
        ({"keys": ["x" * 257]}, 400),
        ({"keys": [{"a": 1}]}, 400),
    ],
)
def test_what_cannot_be_begun_is_a_problem(changes: dict[str, Any], status: int):
    flow()
    ada = Caller("ada", Role.OPERATOR)

    assert ada("post", "reconciliations", WANTED | changes).status_code == status


def test_rights_are_those_of_the_flow():
    flow()
    ada, viewer, stranger = (
        Caller("ada", Role.OPERATOR),
        Caller("viewer", Role.VIEWER),
        Caller("other", Role.ADMINISTRATOR, team="Others"),
    )
    Flow.objects.update(team=Team.objects.get(name="Order team"))
    one = f"reconciliations/{ada('post', 'reconciliations', WANTED | {'keys': ['1']}).json()['id']}"
    reconcile()

    for path in (one, f"{one}/keys?set=arrived", f"{one}/csv"):
        assert viewer("get", path).status_code == 200
        assert stranger("get", path).status_code == 404
    for method, path in [("delete", one), ("post", f"{one}/compare"), ("post", f"{one}/cancel")]:
        assert viewer(method, path).status_code == 403
        assert stranger(method, path).status_code == 404
    assert (send(viewer, f"{one}/list", b"1").status_code, send(stranger, f"{one}/list", b"1").status_code) == (
        403,
        404,
    )
    assert viewer("post", "reconciliations", WANTED).status_code == 403
    assert stranger("post", "reconciliations", WANTED).status_code == 404
    assert stranger("get", "reconciliations").json()["results"] == []
    assert ada("get", f"{one}/keys?set=nonsense").status_code == 404
    assert ada("get", f"{one}/keys?set=arrived&cursor=x").status_code == 400
    assert ada("get", "reconciliations/x").status_code == 404


def test_a_check_is_added_read_changed_given_its_list_and_removed():
    flow()
    ada, viewer = Caller("ada", Role.OPERATOR), Caller("viewer", Role.VIEWER)
    wanted = {
        "environment": "production",
        "flow": "orders",
        "name": "every order",
        "key": "order_no",
        "due": "06:30",
        "time_zone": "Europe/Berlin",
    }

    made = ada("post", "reconciliation-checks", wanted)
    one = f"reconciliation-checks/{made.json()['id']}"
    sent = send(ada, f"{one}/list", b"1\n2\n")
    changed = ada("put", one, {"name": "orders", "key": "order_no", "due": "07:00", "days": [1, 2]})

    assert (made.status_code, made.json()["state"], made.json()["due"], made.json()["mails"]) == (
        201,
        "new",
        "06:30",
        [],
    )
    assert (sent.status_code, sent.json()["check"], sent.json()["until"]) == (
        202,
        made.json()["id"],
        made.json()["due_at"],
    )
    assert (changed.json()["name"], changed.json()["due"], changed.json()["days"]) == ("orders", "07:00", [1, 2])
    assert [row["name"] for row in viewer("get", "reconciliation-checks").json()["results"]] == ["orders"]
    assert viewer("put", one, {"name": "x", "key": "order_no", "due": "07:00"}).status_code == 403
    assert viewer("delete", one).status_code == 403
    assert send(viewer, f"{one}/list", b"1\n").status_code == 403
    assert ada("post", "reconciliation-checks", wanted | {"due": "7 o'c"}).status_code == 400
    assert ada("delete", one).status_code == 204
    assert ada("get", one).status_code == 404


@pytest.mark.parametrize(
    "period",
    [
        {"since": "0001-01-01T00:00:00Z", "until": "0001-01-02T00:00:00Z"},
        {"since": "9999-12-30T00:00:00Z", "until": "9999-12-31T00:00:00Z"},
    ],
)
def test_a_period_where_calendars_end_is_refused_before_its_list_comes(period: dict[str, str]):
    flow()

    answer = Caller("ada", Role.OPERATOR)("post", "reconciliations", WANTED | period | {"keys": ["1"]})

    assert (answer.status_code, answer.json()["detail"]) == (400, "a period lies between the years 1970 and 9998")
    assert not Reconciliation.objects.exists()


def test_keys_that_are_refused_leave_nothing_behind():
    flow()
    ada = Caller("ada", Role.OPERATOR)

    answer = ada("post", "reconciliations", WANTED | {"keys": ["ü" * 200]})

    assert answer.status_code == 400
    assert ada("get", "reconciliations").json()["results"] == []


def test_a_receiving_system_is_named_and_an_unknown_one_refused():
    flow()
    ada = Caller("ada", Role.OPERATOR)
    stored_letter(origin="orders", keys={"order_no": "2"})
    check = {"environment": "production", "flow": "orders", "key": "order_no", "name": "all", "due": "06:30"}

    made = ada("post", "reconciliations", WANTED | recent() | {"keys": ["2"], "system": "erp"})
    refused = ada("post", "reconciliations", WANTED | {"system": "epr"})
    checked = ada("post", "reconciliation-checks", check | {"system": "erp"})
    changed = ada("put", f"reconciliation-checks/{checked.json()['id']}", {**check, "system": ""})

    assert (made.status_code, made.json()["system"]) == (201, "erp")
    assert (refused.status_code, refused.json()["code"]) == (400, "invalid")
    assert "no system of production is called “epr”" in refused.json()["detail"]
    assert (checked.json()["system"], changed.json()["system"]) == ("erp", None)
