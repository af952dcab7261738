"""Alerts from elsewhere: the webhooks of Alertmanager and Grafana, whatever is in them, and a real Alertmanager before the real console."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.delivery.external import NotAWebhook, read_webhook
from alerts.models import ExternalAlert
from messages.models import Flow
from tests.factories import agent_key, api_key, environment, person, push

NOW = datetime(2026, 11, 26, 13, 0, tzinfo=UTC)
PATH = "/ingest/v1/alertmanager"


def alert(**changes: Any) -> dict[str, Any]:
    return {
        "status": "firing",
        "labels": {"alertname": "DiskFull", "severity": "critical", "flow": "orders"},
        "annotations": {"summary": "The disk of erp is full"},
        "startsAt": "2026-11-26T12:30:00.123456789Z",
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "http://prometheus:9090/graph?g0.expr=x",
        "fingerprint": "a1b2c3d4e5f60718",
    } | changes


def webhook(*alerts: Any) -> dict[str, Any]:
    """The document of version 4, as Alertmanager's documentation has it."""
    return {
        "version": "4", "groupKey": '{}:{alertname="DiskFull"}', "truncatedAlerts": 0, "status": "firing", "receiver": "waybill",
        "groupLabels": {}, "commonLabels": {}, "commonAnnotations": {}, "externalURL": "http://alertmanager:9093", "alerts": list(alerts),
    }  # fmt: skip


GRAFANA = alert(
    fingerprint="57c6d9296de2ad39", values={"A": 1}, silenceURL="https://grafana.example.com/alerting/silence/new", orgId=1,
    dashboardURL="https://grafana.example.com/d/dash", panelURL="https://grafana.example.com/d/dash?viewPanel=2",
    valueString="[ var='A' value=1 ]", startsAt="2026-11-26T13:30:00.5+01:00",
)  # fmt: skip


def read(*alerts: Any) -> Any:
    return read_webhook(json.dumps(webhook(*alerts)).encode(), now=NOW)


# pure ----------------------------------------------------------------------------------------------------------------
def test_a_webhook_of_alertmanager_is_read():
    [one], refused = read(alert())

    assert refused == []
    assert (one.name, one.severity, one.summary) == ("DiskFull", "critical", "The disk of erp is full")
    assert (one.starts_at, one.ends_at) == (datetime(2026, 11, 26, 12, 30, 0, 123456, tzinfo=UTC), None)
    assert one.url == "http://prometheus:9090/graph?g0.expr=x"


def test_grafanas_has_members_of_its_own():
    [one], _ = read(GRAFANA)

    assert (one.url, one.starts_at) == (
        "https://grafana.example.com/d/dash?viewPanel=2",
        datetime(2026, 11, 26, 12, 30, 0, 500_000, tzinfo=UTC),
    )


def test_what_is_resolved_has_an_end_not_before_its_beginning():
    ends = [
        read(alert(status="resolved", endsAt=at))[0][0].ends_at
        for at in ("2026-11-26T12:45:00Z", "2026-11-26T12:00:00Z")
    ]

    assert ends == [datetime(2026, 11, 26, 12, 45, tzinfo=UTC), datetime(2026, 11, 26, 12, 30, 0, 123456, tzinfo=UTC)]


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ("text", "no object"),
        (None, "no object"),
        (alert(labels={}), "no labels"),
        (alert(labels=["a"]), "no labels"),
        (alert(status="pending"), "neither firing nor resolved"),
        (alert(startsAt="yesterday"), "startsAt is no RFC 3339 time"),
        (alert(startsAt="2026-11-26T12:30:00"), "startsAt is no RFC 3339 time"),
        (alert(startsAt=17), "startsAt is no RFC 3339 time"),
        (alert(startsAt="0001-01-01T00:00:00+14:00"), "out of range"),
        (alert(startsAt="0001-01-01T00:00:00Z"), "out of range"),
        (alert(startsAt="2099-01-01T00:00:00Z"), "more than a day ahead"),
        (alert(status="resolved", endsAt=None), "endsAt is no RFC 3339 time"),
    ],
)
def test_a_bad_alert_is_told_by_its_place_and_the_good_one_is_read(bad: Any, words: str):
    heard, [refused] = read(bad, alert())

    assert (len(heard), refused.index) == (1, 0)
    assert words in refused.detail


def test_of_many_labels_those_that_are_known_are_kept():
    """A flow that was cut off would show the alert to every member of the environment."""
    many = {f"l{n}": "v" for n in range(200)}
    [one], _ = read(
        alert(labels=many | {"alertname": "DiskFull", "flow": "orders"}, annotations=many | {"summary": "Full"})
    )

    assert (one.name, one.labels["flow"], one.summary, len(one.labels)) == ("DiskFull", "orders", "Full", 50)


def test_everything_is_cut_and_cleaned():
    labels = {f"l{n}\x00": "v" * 9_000 for n in range(200)} | {"n": 5}
    odd = {"fingerprint": "f/" * 90, "generatorURL": "javascript:alert(1)"}
    [one], _ = read(alert(labels=labels, annotations={"summary": "s\x00\n" * 2_000, "x": ["y"]}, **odd))

    assert (len(one.labels), max(len(v) for v in one.labels.values()), len(one.summary)) == (50, 2_000, 1_000)
    assert "\x00" not in json.dumps(one.labels) + one.summary
    assert (one.url, len(one.fingerprint)) == ("", 64)


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b'{"alerts": {}}', b"[" * 100_000, b'{"alerts": "x"}', b"\xff\xfe"]
)
def test_what_is_no_webhook_says_so(body: bytes):
    with pytest.raises(NotAWebhook):
        read_webhook(body, now=NOW)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["status", "labels", "startsAt", "annotations", "x"]), inner, max_size=5)
    ),
    max_leaves=12,
)


@given(st.lists(JSON, max_size=5))
def test_no_alert_whatever_it_is_raises(alerts: list[Any]):
    heard, refused = read_webhook(json.dumps({"alerts": alerts}).encode(), now=NOW)

    assert len(heard) + len(refused) == len(alerts)


# over HTTP -----------------------------------------------------------------------------------------------------------
@pytest.mark.django_db
def test_an_alert_joins_the_flow_that_its_label_names_and_the_same_again_changes_nothing():
    key = agent_key("alertmanager")
    flow = Flow.objects.create(environment=environment(), name="orders")
    Flow.objects.create(environment=environment("staging"), name="orders")

    first = push(PATH, webhook(alert(), alert(labels={"alertname": "Other"}, fingerprint="b")), key=key)
    again = push(PATH, webhook(alert(), alert(labels={"alertname": "Other"}, fingerprint="b")), key=key)

    assert first.json() == again.json() == {"accepted": 2, "rejected": []}
    rows = ExternalAlert.objects.order_by("fingerprint")
    assert [(row.name, row.flow_id, row.status, row.ends_at) for row in rows] == [
        ("DiskFull", flow.pk, "firing", None), ("Other", None, "firing", None),
    ]  # fmt: skip
    assert {row.agent.name for row in rows if row.agent} == {"alertmanager"}


@pytest.mark.django_db
def test_what_is_over_stays_over_and_the_next_occurrence_is_another_row():
    key = agent_key()
    over = alert(status="resolved", endsAt="2026-11-26T12:45:00Z")
    for one in (alert(), over, alert(), alert(startsAt="2026-11-26T12:50:00Z")):
        assert push(PATH, webhook(one), key=key).status_code == 200

    assert list(ExternalAlert.objects.order_by("starts_at").values_list("status", flat=True)) == ["resolved", "firing"]


@pytest.mark.django_db
def test_an_end_whose_beginning_was_never_heard_is_kept():
    push(PATH, webhook(alert(status="resolved", endsAt="2026-11-26T12:45:00Z")), key=agent_key())

    assert ExternalAlert.objects.get().status == "resolved"


@pytest.mark.django_db
def test_the_same_alert_twice_in_one_body_is_one_row():
    over = alert(status="resolved", endsAt="2026-11-26T12:45:00Z")

    assert push(PATH, webhook(over, alert(), over), key=agent_key()).json()["accepted"] == 3

    assert ExternalAlert.objects.get().status == "resolved"


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 400, "malformed"),
        (b'{"alerts": 1}', 400, "malformed"),
        (json.dumps({"alerts": [{}] * 1_001}).encode(), 400, "malformed"),
    ],
)
def test_what_is_refused_is_a_problem(body: bytes, status: int, code: str):
    answer = push(PATH, body, key=agent_key())

    assert (answer.status_code, answer.json()["code"]) == (status, code)


@pytest.mark.django_db
def test_only_an_agents_key_is_taken_and_only_post():
    assert push(PATH, webhook(), key="nonsense").status_code == 401
    assert push(PATH, webhook(), key=api_key(person("ada"))).status_code == 401
    assert push(PATH, webhook(alert(labels={})), key=agent_key()).json() == {
        "accepted": 0, "rejected": [{"index": 0, "detail": "it has no labels"}],
    }  # fmt: skip
