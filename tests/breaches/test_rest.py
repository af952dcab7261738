"""REST of breaches, silences and policies: what the pages do, with curl."""

from __future__ import annotations

import json
import os
import re
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from alerts.breaches.services import flag_unwatched
from alerts.models import AlertPolicy, Breach, Silence
from console.identity.models import Role
from tests.breaches.breaching import fired, flow, policy
from tests.factories import api_key, environment, person
from tests.http.test_rest_groups import Api

pytestmark = pytest.mark.django_db
PAGE = (Path(__file__).resolve().parents[2] / "docs/breaches.md").read_text()


def now() -> datetime:
    return datetime.now(UTC)


def breach(team: str = "Order team", **changes: object) -> Breach:
    return fired(now() - timedelta(minutes=12), flow_ids=(flow(f"orders of {team}", team).pk,), **changes)


def names(answer: Any) -> list[str]:
    return [one["reference"] for one in answer.json()["results"]]


def test_breaches_are_listed_filtered_and_paged():
    first, second = breach(), breach(key="8", title="Invoices are late")
    api = Api()

    page = api("get", "breaches?limit=1").json()
    assert [one["reference"] for one in page["results"]] == [second.reference]
    assert names(api("get", page["next"].partition("/api/v1/")[2])) == [first.reference]
    for query, expected in (
        (f"q={first.reference}", [first]), ("q=invoices", [second]), ("severity=ticket", []), ("state=firing&owner=none", [second, first]),
        ("flow=orders+of+Order+team", [second, first]), ("flow=nothing", []), ("show=resolved", []), ("environment=production", [second, first]),
    ):  # fmt: skip
        assert names(api("get", f"breaches?{query}")) == [one.reference for one in expected], query
    for query in ("severity=loud", "show=x", "state=x", "source=objectives", "cursor=x", "limit=0"):
        assert api("get", f"breaches?{query}").status_code == 400, query
    assert api("get", "breaches?q=%00&flow=%00").status_code == 200


def test_a_state_is_found_in_whatever_list_it_stands():
    over, api = breach(), Api("olga")
    flag_unwatched(now=now() + timedelta(hours=1))
    api("post", f"breaches/{over.reference}/close", {"reason": "x"})
    open_one = breach(key="8")

    assert names(api("get", "breaches?state=resolved")) == [over.reference]
    assert names(api("get", "breaches?state=firing")) == [open_one.reference]
    assert names(api("get", "breaches?state=resolved&show=open")) == []


def test_one_breach_is_told_with_its_timeline_and_acted_on():
    found, api = breach(), Api("olga")
    path = f"breaches/{found.reference}"

    told = api("get", path).json()
    assert (told["state"], told["flow_ids"], told["owners"]) == ("firing", found.flow_ids, ["olga"])
    assert [one["kind"] for one in told["timeline"]] == ["fired"]
    assert told["told"] == ["nobody: no policy says who is told here"]
    assert api("post", f"{path}/acknowledge", {"reason": "on it"}).json()["acknowledged_by"] == "olga"
    assert api("post", f"{path}/acknowledge", {}).json()["code"] == "breach_state"
    assert api("post", f"{path}/assign", {"owner": ""}).json()["owner"] is None
    assert api("post", f"{path}/assign", {"owner": "nobody"}).status_code == 404
    assert api("post", f"{path}/notes", {"text": "x"}).status_code == 201
    until = (now() + timedelta(hours=1)).isoformat()
    made = api("post", f"{path}/silence", {"expires_at": until, "comment": "known"})
    assert (made.status_code, made.json()["about"], made.json()["state"]) == (201, found.reference, "running")
    assert api("get", path).json()["silenced_until"] == made.json()["expires_at"]
    assert api("post", f"{path}/close", {"reason": "x"}).status_code == 409
    flag_unwatched(now=now() + timedelta(hours=1))
    assert api("post", f"{path}/close", {"reason": "x"}).json()["state"] == "resolved"
    assert api("get", "breaches/B-99999").status_code == api("get", "breaches/junk").status_code == 404


def test_what_cannot_be_measured_says_since_when_and_is_closed_after_an_hour():
    found, api = breach(), Api("olga")
    path = f"breaches/{found.reference}"
    before = api("get", path).json()["frozen_at"]
    Breach.objects.update(frozen_at=now() - timedelta(minutes=61), last_seen_at=now())

    assert (before, api("get", path).json()["frozen_at"] is None) == (None, False)
    assert api("post", f"{path}/close", {"reason": "x"}).json()["state"] == "resolved"


def test_a_key_sees_and_does_what_its_owner_may():
    mine, foreign = breach(), breach("Invoice team", key="8")
    viewer, operator = Api("viewer", Role.VIEWER), Api("operator")

    assert names(viewer("get", "breaches")) == [mine.reference]
    assert viewer("post", f"breaches/{mine.reference}/acknowledge", {}).status_code == 403
    assert operator("post", f"breaches/{foreign.reference}/acknowledge", {}).status_code == 404
    made = policy()
    body = {"environment": "production", "page_channels": [1]}
    assert operator("post", "alerting/policies", body).status_code == 403
    assert operator("put", f"alerting/policies/{made.pk}", {}).status_code == 403
    assert operator("delete", f"alerting/policies/{made.pk}", {"reason": "x"}).status_code == 403
    assert (
        operator("put", "alerting/groups", {"environment": "production", "classes": {"data": "page"}}).status_code
        == 403
    )
    until = (now() + timedelta(hours=1)).isoformat()
    silence = {"environment": "production", "comment": "x", "expires_at": until}
    assert operator("post", "silences", silence).status_code == 403
    assert operator("post", "silences", silence | {"flow": "orders of Invoice team"}).status_code == 404
    assert operator("post", "silences", silence | {"flow": "orders of Order team"}).status_code == 201
    environment("staging")
    assert operator("get", "breaches?environment=staging").status_code == 404


def test_silences_and_policies_by_rest():
    api = Api("admin", Role.ADMINISTRATOR)
    until = (now() + timedelta(hours=1)).isoformat()
    made = api(
        "post", "silences", {"environment": "production", "comment": "x", "expires_at": until, "labels": {"a": "b"}}
    ).json()
    assert [one["id"] for one in api("get", "silences").json()["results"]] == [made["id"]]
    assert api("get", f"silences/{made['id']}").json()["labels"] == {"a": "b"}
    assert api("delete", f"silences/{made['id']}", {"reason": "x"}).json()["state"] == "over"
    assert api("delete", f"silences/{made['id']}", {"reason": "x"}).json()["code"] == "silence_state"
    assert (
        api(
            "post", "silences", {"environment": "production", "comment": "x", "expires_at": "2020-01-01T00:00:00Z"}
        ).status_code
        == 400
    )
    assert api("get", "silences?show=x").status_code == 400

    body = {"environment": "production", "page_channels": [1], "steps": [{"after_minutes": 15, "channels": [3]}]}
    one = api("post", "alerting/policies", body).json()
    assert (one["team"], one["steps"], one["wait_s"]) == (None, [{"after_minutes": 15, "channels": [3]}], 30)
    assert api("post", "alerting/policies", body).json()["code"] == "alert_policy_exists"
    assert api("post", "alerting/policies", body | {"team": "Order team"}).json()["team"] == "Order team"
    assert api("post", "alerting/policies", body | {"team": "Nobody"}).status_code == 404
    assert api("put", f"alerting/policies/{one['id']}", {"days": [1], "time_zone": "Mars"}).status_code == 400
    assert api("put", f"alerting/policies/{one['id']}", {"days": [1]}).json()["days"] == [1]
    assert len(api("get", "alerting/policies").json()["results"]) == 2
    assert api("delete", f"alerting/policies/{one['id']}", {"reason": "x"}).status_code == 204
    said = {"environment": "production", "classes": {"data": "page"}}
    assert api("put", "alerting/groups", said).json() == said
    assert api("put", "alerting/groups", {"environment": "production", "classes": {"x": "page"}}).status_code == 400
    assert api("get", "alerting/groups").json()["results"] == [said]


def test_the_pasted_lines_of_the_page_do_what_they_say(committed: None, live_server: Any):
    lines = re.findall(r"```sh\n(curl .*?)```", PAGE, re.S)
    found, key = breach(), api_key(person("admin", Role.ADMINISTRATOR))
    flow("orders", "Order team")
    environ = {**os.environ, "WAYBILL": live_server.url, "KEY": key}

    said = [
        json.loads(subprocess.run(["sh", "-c", line.replace("B-1/", f"{found.reference}/")], env=environ, capture_output=True, text=True, check=True).stdout)
        for line in lines
    ]  # fmt: skip

    assert len(said) == 5
    assert said[0]["results"][0]["reference"] == found.reference
    assert said[1]["state"] == "acknowledged"
    assert said[2]["text"] == "The ERP team restarts it."
    assert (Silence.objects.get().pk, AlertPolicy.objects.get().pk) == (said[3]["id"], said[4]["id"])


def test_a_second_press_makes_no_second_silence_and_another_end_does():
    flow("orders", "Order team")
    api, until = Api("olga"), now() + timedelta(hours=1)
    said = {"environment": "production", "flow": "orders", "comment": "carrier", "end_when_resolved": False}

    def made(**changes: Any) -> int:
        return int(api("post", "silences", said | {"expires_at": until.isoformat()} | changes).json()["id"])

    first = made()

    assert made(expires_at=(until + timedelta(seconds=2)).isoformat()) == first
    assert made(expires_at=(until + timedelta(hours=7)).isoformat()) != first
    assert made(end_when_resolved=True) != first
    assert made(starts_at=(until - timedelta(minutes=5)).isoformat()) != first
    assert Silence.objects.count() == 4


@pytest.mark.parametrize(
    ("changes", "field"), [({"source": "objectives"}, "source"), ({"expires_at": "2036-12-01T00:00:00"}, "expires_at")]
)
def test_a_silence_of_what_no_breach_is_of_or_of_a_time_without_a_zone_is_refused(changes: dict[str, str], field: str):
    flow("orders", "Order team")
    said = {"environment": "production", "flow": "orders", "comment": "x", "expires_at": "2036-12-01T00:00:00Z"}

    answer = Api("olga")("post", "silences", said | changes)

    assert (answer.status_code, list(answer.json()["errors"])) == (400, [field])
