"""Settings → Retention, legal holds on the page of a flow, and both over REST."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest
from django.test import Client

from console.audit.models import AuditEntry
from console.identity.models import Role, Team
from messages.models import Flow, LegalHold, RetentionPolicy
from messages.retention.policies import policy_of
from messages.retention.rules import Policy
from messages.retention.run import run_retention
from messages.retention.services import place_hold
from tests.factories import ROOT, api_key, environment, person, stored_letter
from tests.pages.people import signed_in, text_of
from tests.retention.stored import flow_of, in_days, store

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("no_dead_rows")]
PAGE = "/settings/retention/"
SHORTER = asdict(Policy(payload_days=3, metadata_days=20))


def test_the_page_says_what_is_kept_and_what_it_takes():
    store()

    words = text_of(signed_in("viewer", Role.VIEWER).get(PAGE))

    assert "Payloads 14 days" in words
    assert "Rollups 400 days" in words
    assert "You may look." in words
    assert "See what it would do" not in words


def test_an_administrator_sees_what_other_days_would_do_before_anything_is_saved():
    store()
    client = signed_in("admin")

    page = client.get(PAGE, SHORTER)

    words = text_of(page)
    assert "What the change would do" in words
    assert "14 → 3 days" in words
    assert "The next run would let go Nothing" in words
    assert policy_of(environment()) == Policy()

    without = client.post(PAGE, SHORTER | {"reason": " "})
    saved = client.post(PAGE, SHORTER | {"reason": "the disk is small"})

    assert (without.status_code, saved.status_code) == (422, 303)
    assert policy_of(environment()) == Policy(payload_days=3, metadata_days=20)
    entry = AuditEntry.objects.get(action="retention.changed")
    assert (entry.reason, entry.details) == (
        "the disk is small",
        {"payload_days": "14 → 3 days", "metadata_days": "30 → 20 days"},
    )


def test_a_policy_that_cannot_be_is_refused_with_what_was_written_in_it():
    client = signed_in("admin")

    page = client.get(PAGE, SHORTER | {"payload_days": "60"})
    posted = client.post(PAGE, SHORTER | {"payload_days": "0", "reason": "x"})

    assert (page.status_code, posted.status_code) == (422, 422)
    assert "payloads cannot be kept longer" in text_of(page)
    assert 'value="60"' in page.content.decode()
    assert not RetentionPolicy.objects.exists()


@pytest.mark.parametrize("role", [Role.VIEWER, Role.OPERATOR])
def test_nobody_but_administrators_changes_retention_or_places_holds(role: Role):
    store()
    client = signed_in("member", role)
    hold = place_hold(environment(), flow_of("orders"), by=ROOT, reason="case 7")
    key = api_key(person("rest", role))

    assert client.post(PAGE, SHORTER | {"reason": "x"}).status_code == 403
    assert client.post(f"{PAGE}hold/", {"reason": "x"}).status_code == 403
    assert client.post(f"/flows/{flow_of('orders').pk}/hold/", {"reason": "x"}).status_code == 403
    assert client.post(f"{PAGE}holds/{hold.pk}/lift/", {"reason": "x"}).status_code == 403
    for method, path, body in (
        ("patch", "retention", {"environment": "production", "payload_days": 1, "reason": "x"}),
        ("post", "retention/preview", {"environment": "production"}),
        ("get", "retention/plan", None),
        ("post", "retention/holds", {"environment": "production", "reason": "x"}),
        ("delete", f"retention/holds/{hold.pk}", {"reason": "x"}),
    ):
        assert call(key, method, path, body).status_code == 403, path
    assert LegalHold.objects.count() == 1
    assert not RetentionPolicy.objects.exists()


def test_holds_on_flows_of_other_teams_are_not_there():
    store()
    Flow.objects.update(team=Team.objects.create(name="Owners"))
    hold = place_hold(environment(), flow_of("orders"), by=ROOT, reason="the case of the owners")
    other = signed_in("other", Role.ADMINISTRATOR, team="Others")

    assert "the case of the owners" not in text_of(other.get(PAGE))
    assert "the case of the owners" not in text_of(other.get(PAGE, SHORTER))
    assert other.post(f"{PAGE}holds/{hold.pk}/lift/", {"reason": "x"}).status_code == 404
    assert "the case of the owners" in text_of(signed_in("owner", Role.VIEWER, team="Owners").get(PAGE))


def test_a_flow_is_held_and_let_go_on_its_page_and_its_history_keeps_both():
    store()
    flow = flow_of("orders")
    client = signed_in("admin")
    assert "Not on hold" in text_of(client.get(f"/flows/{flow.pk}/"))

    client.post(f"/flows/{flow.pk}/hold/", {"reason": "case 7"})
    again = client.post(f"/flows/{flow.pk}/hold/", {"reason": "case 8"}, follow=True)
    held = text_of(client.get(f"/flows/{flow.pk}/"))
    client.post(f"{PAGE}holds/{LegalHold.objects.get().pk}/lift/", {"reason": "closed"})
    lifted = text_of(client.get(f"/flows/{flow.pk}/"))

    assert "on legal hold already" in text_of(again)
    assert "Nothing of it is deleted, since" in held
    assert "case 7" in held
    assert "Not on hold" in lifted
    assert "legal hold lifted" in lifted
    assert "legal hold placed" in lifted


def test_a_hold_on_everything_is_said_on_the_page_and_on_each_flow():
    store()
    client = signed_in("admin")

    client.post(f"{PAGE}hold/", {"reason": "an audit"})

    assert "Legal hold on production. Nothing is deleted here" in text_of(client.get(PAGE))
    assert "like all of production" in text_of(client.get(f"/flows/{flow_of('orders').pk}/"))
    client.post(f"{PAGE}holds/{LegalHold.objects.get().pk}/lift/", {"reason": "over"})
    assert "Nothing is on hold" in text_of(client.get(PAGE))


def test_a_flow_gets_days_of_its_own_for_payloads():
    store()
    flow = flow_of("orders")
    client = signed_in("admin")
    form = {"team": "", "criticality": "normal", "runbook_url": "", "description": ""}

    refused = client.post(f"/flows/{flow.pk}/", form | {"payload_days": "0"})
    changed = client.post(f"/flows/{flow.pk}/", form | {"payload_days": "5"})

    flow.refresh_from_db()
    assert (refused.status_code, changed.status_code, flow.payload_days) == (422, 303, 5)
    assert "kept 5 days" in text_of(client.get(f"/flows/{flow.pk}/"))
    client.post(f"/flows/{flow.pk}/", form | {"payload_days": ""})
    flow.refresh_from_db()
    assert flow.payload_days is None


def call(key: str, method: str, path: str, body: Any = None) -> Any:
    return getattr(Client(), method)(
        f"/api/v1/{path}", body, content_type="application/json", HTTP_AUTHORIZATION=f"Bearer {key}"
    )


def test_rest_does_all_of_it_too():
    store()
    environment("staging")
    key = api_key(person("rest", Role.ADMINISTRATOR))

    read = call(key, "get", "retention").json()
    assert [one["environment"] for one in read] == ["production"]  # no more than the key may see
    assert read[0]["policy"] == asdict(Policy())
    assert read[0]["usage"]["payloads"]["now_bytes"] > 0

    asked = {"environment": "production", "payload_days": 3}
    preview = call(key, "post", "retention/preview", asked).json()
    assert preview["policy"]["payload_days"] == 3
    assert preview["usage_then"]["payloads"]["steady_bytes"] < preview["usage_now"]["payloads"]["steady_bytes"]
    assert preview["next_run"] == {"lines": [], "kept": []}
    assert call(key, "post", "retention/preview", asked | {"payload_days": 31}).json()["code"] == "retention_invalid"
    assert call(key, "patch", "retention", asked).status_code == 400  # without a reason
    changed = call(key, "patch", "retention", asked | {"reason": "small disk"}).json()
    assert (changed["policy"]["payload_days"], changed["policy"]["metadata_days"]) == (3, 30)
    assert call(key, "get", "retention/plan").json() == {"lines": [], "kept": []}

    hold = call(key, "post", "retention/holds", {"environment": "production", "flow": "orders", "reason": "case 7"})
    assert (hold.status_code, hold.json()["flow"]) == (201, "orders")
    again = call(key, "post", "retention/holds", {"environment": "production", "flow": "orders", "reason": "case 7"})
    assert (again.status_code, again.json()["code"]) == (409, "already_held")
    assert [one["reason"] for one in call(key, "get", "retention/holds").json()["results"]] == ["case 7"]
    assert call(key, "delete", f"retention/holds/{hold.json()['id']}", {"reason": "closed"}).status_code == 204
    assert call(key, "get", "retention/holds").json() == {"results": []}
    flow = flow_of("orders")
    assert call(key, "patch", f"flows/{flow.pk}", {"payload_days": 5}).json()["payload_days"] == 5
    assert call(key, "patch", f"flows/{flow.pk}", {"payload_days": 500}).status_code == 400
    assert call(key, "patch", f"flows/{flow.pk}", {"payload_days": None}).json()["payload_days"] is None


def test_the_letters_page_still_opens_when_its_metadata_is_gone():
    waiting = stored_letter()
    run_retention(now=in_days(60))

    page = signed_in("operator", Role.OPERATOR).get(f"/dead-letters/{waiting.pk}/")

    assert page.status_code == 200
    assert "4711" in text_of(page)
