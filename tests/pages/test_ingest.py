"""The page of ingest, and refused items: who reads them, mends them and sends them again."""

from __future__ import annotations

import html
import json
import re
from typing import Any

import pytest
from django.test import Client
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from console.audit.models import AuditEntry
from console.identity.models import Role, Team
from messages.ingest.cloudevents import STRUCTURED
from messages.models import Change, DeadLetter, Event, Flow, IngestReject
from tests.factories import agent_key, api_key, environment, event, letter, person, push
from tests.pages.people import signed_in, text_of

pytestmark = pytest.mark.django_db
EVENTS = "/ingest/v1/events"


def refused_event(**changes: Any) -> IngestReject:
    push(EVENTS, [event(operation="nonsense", **changes)], key=agent_key())
    return IngestReject.objects.latest("id")


def text_in(page: Any) -> str:
    found = re.search(r"<textarea[^>]*>(.*?)</textarea>", page.content.decode(), re.S)
    assert found
    return html.unescape(found[1]).removeprefix("\n")


def test_the_page_says_what_came_how_late_and_what_waits():
    key = agent_key()
    push(EVENTS, [event(), event(operation="nonsense")], key=key)
    once = [event()]
    push(EVENTS, once, key=key)
    push(EVENTS, [*once, event()], key=key)

    words = text_of(signed_in("viewer", Role.VIEWER).get("/ingest/"))

    assert "3 items in the last 15 minutes, stored 1 min" in words
    assert "Stored 3 There already, stored once 1 Refused 1" in words
    assert "1 refused item" not in words  # a viewer does not see what was refused
    assert "1 refused item waits for a person" in text_of(signed_in("operator", Role.OPERATOR).get("/ingest/"))


def test_without_any_agent_the_page_says_what_to_do():
    environment()

    assert "Make an agent" in text_of(signed_in(superuser=True).get("/ingest/"))


@pytest.mark.parametrize("endpoint", ["events", "dead-letters", "cloudevents", "traces"])
def test_a_refused_item_is_read_mended_and_stored_as_its_agent_sent_it(endpoint: str):
    key = agent_key()
    request = ExportTraceServiceRequest()
    resource = request.resource_spans.add()
    resource.resource.attributes.add(key="service.name").value.string_value = "shop"
    resource.scope_spans.add().spans.add(trace_id=b"1" * 16, name="send orders", start_time_unix_nano=1)
    send, wrong, right = {
        "events": (lambda: push(EVENTS, [event(operation="nonsense")], key=key), "nonsense", "send"),
        "dead-letters": (lambda: push("/ingest/v1/dead-letters", [letter(reason_code="bad")], key=key), '"bad"', '"rejected"'),
        "cloudevents": (
            lambda: push("/ingest/v1/cloudevents", {"specversion": "0.1", "id": "i", "source": "s", "type": "t"}, key=key, content_type=STRUCTURED),
            "0.1",
            "1.0",
        ),
        "traces": (
            lambda: push("/v1/traces", request.SerializeToString(), key=key, content_type="application/x-protobuf"),
            '"name": "send orders"',
            '"name": "send orders", "spanId": "00f067aa0ba902b7"',
        ),
    }[endpoint]  # fmt: skip
    send()
    reject = IngestReject.objects.get()
    client = signed_in("operator", Role.OPERATOR)
    page = client.get(f"/ingest/refused/{reject.pk}/")
    text = text_in(page)

    still = client.post(f"/ingest/refused/{reject.pk}/resubmit/", {"text": text})
    answer = client.post(f"/ingest/refused/{reject.pk}/resubmit/", {"text": text.replace(wrong, right)})

    assert wrong in text
    assert (still.status_code, "It is still refused" in text_of(still)) == (422, True)
    assert text_in(still) == text  # what the person wrote stands there
    assert answer.status_code == 303
    assert Event.objects.count() + DeadLetter.objects.count() == 1
    reject.refresh_from_db()
    assert (reject.settled_how, reject.settled_by) == ("resubmitted", "operator")
    assert IngestReject.objects.count() == 1
    assert client.post(f"/ingest/refused/{reject.pk}/resubmit/", {"text": text}).status_code == 422
    assert set(AuditEntry.objects.values_list("action", flat=True)) >= {"reject.read", "reject.resubmitted"}


@pytest.mark.parametrize("endpoint", ["events", "dead-letters", "changes", "cloudevents", "traces"])
def test_one_refused_item_is_mended_to_one(endpoint: str):
    """Twice the same counts too: what the second was to be is not known."""
    key = agent_key()
    request = ExportTraceServiceRequest()
    request.resource_spans.add().scope_spans.add().spans.add(trace_id=b"1" * 16, name="send orders")
    path, body, kind = {
        "events": (EVENTS, [event(operation="nonsense")], "application/json"),
        "dead-letters": ("/ingest/v1/dead-letters", [letter(reason_code="bad")], "application/json"),
        "changes": ("/ingest/v1/changes", [{"kind": "nonsense"}], "application/json"),
        "cloudevents": ("/ingest/v1/cloudevents", {"specversion": "0"}, STRUCTURED),
        "traces": ("/v1/traces", request.SerializeToString(), "application/x-protobuf"),
    }[endpoint]
    push(path, body, key=key, content_type=kind)
    span = {"traceId": "1" * 32, "spanId": "2" * 16, "name": "a"}
    cloud = {"specversion": "1.0", "id": "1", "source": "s", "type": "t"}
    change = {"id": "1", "kind": "deployment", "title": "t", "at": "2026-01-01T00:00:00Z"}
    two = {
        "events": f"{json.dumps(event())},{json.dumps(event())}",
        "dead-letters": f"{json.dumps(letter())},{json.dumps(letter())}",
        "changes": f"{json.dumps(change)},{json.dumps(change)}",
        "cloudevents": json.dumps([cloud, cloud]),
        "traces": json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span, span]}]}]}),
    }[endpoint]

    answer = signed_in("operator", Role.OPERATOR).post(
        f"/ingest/refused/{IngestReject.objects.get().pk}/resubmit/", {"text": two}
    )

    assert (answer.status_code, "t has become 2 items" in text_of(answer)) == (422, True)
    assert Event.objects.count() + DeadLetter.objects.count() + Change.objects.count() == 0
    assert IngestReject.objects.get().settled_at is None


def test_one_that_cannot_be_mended_is_dismissed_with_a_reason():
    reject = refused_event()
    client = signed_in("operator", Role.OPERATOR)

    without = client.post(f"/ingest/refused/{reject.pk}/dismiss/", {"reason": " "})
    client.post(f"/ingest/refused/{reject.pk}/dismiss/", {"reason": "a test of the shop"})

    assert without.status_code == 422
    assert "Nothing waits" in text_of(client.get("/ingest/refused/"))
    assert "dismissed" in text_of(client.get("/ingest/refused/?state=all"))
    assert AuditEntry.objects.get(action="reject.dismissed").reason == "a test of the shop"


def test_operators_of_its_flow_read_it_and_those_of_other_teams_do_not():
    push(EVENTS, [event(destination="orders")], key=agent_key())
    owners = Team.objects.create(name="Owners")
    Flow.objects.filter(name="orders").update(team=owners)
    known, unknown = refused_event(destination="orders"), refused_event(destination="nobody knows")
    owner = signed_in("owner", Role.OPERATOR, team="Owners")
    other = signed_in("other", Role.OPERATOR, team="Others")
    viewer = signed_in("viewer", Role.VIEWER, team="Owners")

    def seen(client: Client) -> list[int]:
        return [client.get(f"/ingest/refused/{reject.pk}/").status_code for reject in (known, unknown)]

    assert (seen(owner), seen(other), seen(viewer)) == ([200, 200], [404, 200], [404, 404])
    assert other.post(f"/ingest/refused/{known.pk}/resubmit/", {"text": "{}"}).status_code == 404
    assert Flow.objects.filter(name="nobody knows").count() == 0  # looking for its flow makes none


def test_rest_reads_mends_and_dismisses_too():
    first, second = refused_event(), refused_event()
    key = api_key(person("rest", Role.OPERATOR))

    def call(method: str, path: str, body: Any = None) -> Any:
        return getattr(Client(), method)(
            f"/api/v1/{path}", body, content_type="application/json", HTTP_AUTHORIZATION=f"Bearer {key}"
        )

    assert [row["id"] for row in call("get", "rejects").json()["results"]] == [str(second.pk), str(first.pk)]
    text = call("get", f"rejects/{first.pk}/text").json()["text"]
    assert call("post", f"rejects/{first.pk}/resubmit", {"text": text}).json()["code"] == "not_mended"
    mended = json.dumps(json.loads(text) | {"operation": "send"})
    assert call("post", f"rejects/{first.pk}/resubmit", {"text": mended}).json() == {"accepted": 1, "duplicates": 0}
    assert call("post", f"rejects/{first.pk}/dismiss", {"reason": "x"}).status_code == 409
    assert call("post", f"rejects/{second.pk}/dismiss", {"reason": "a test"}).json()["settled_how"] == "dismissed"
    assert call("get", "rejects").json()["results"] == []
    figures = call("get", "ingest?environment=production").json()[0]
    assert (figures["accepted"], figures["rejected"], figures["refused_waiting"]) == (1, 2, {})


def test_rows_that_found_no_partition_are_said_on_the_page_and_in_metrics():
    from django.db import connection

    push(EVENTS, [event()], key=agent_key())
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO messaging_trace_link VALUES ('2001-01-01', 1, gen_random_uuid(), 'a', gen_random_uuid(), 'b')"
        )

    assert "messaging_trace_link: 1" in text_of(signed_in(superuser=True).get("/ingest/"))
    assert (
        'waybill_ingest_rows_in_default{table="messaging_trace_link"} 1.0' in Client().get("/metrics").content.decode()
    )


def test_a_large_item_is_kept_whole_and_shown_in_part():
    large = "x" * 700_000
    reject = refused_event(name=large)
    client = signed_in("operator", Role.OPERATOR)

    page = client.get(f"/ingest/refused/{reject.pk}/")
    key = api_key(person("rest", Role.OPERATOR))
    answer = Client().get(f"/api/v1/rejects/{reject.pk}/text", HTTP_AUTHORIZATION=f"Bearer {key}")

    assert "too large to be mended here" in text_of(page)
    assert large in answer.json()["text"]


def test_errors_of_these_pages_are_pages():
    page = signed_in(superuser=True).get("/ingest/refused/00000000-0000-0000-0000-000000000000/")

    assert (page.status_code, page["Content-Type"]) == (404, "text/html; charset=utf-8")
