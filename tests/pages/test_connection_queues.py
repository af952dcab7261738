"""What harvesters say of the queues behind a connection: on its page, as a trend, as metrics, over REST; and what is found there."""

from __future__ import annotations

import json
import os
import re
import threading
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis
from django.test import Client

from console.audit.models import AuditEntry
from console.identity.models import Agent, Role
from messages.catalog import views
from messages.catalog.connections import create_connection
from messages.catalog.queues import expire_queue_readings, note_queues
from messages.connectors import get_connector
from messages.connectors.base import Address, Found
from messages.models import Connection, QueueReading
from tests.factories import ROOT, agent, agent_key, environment, memory_connection, push
from tests.pages.people import signed_in, text_of

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 11, 25, 22, 47, 3, tzinfo=UTC)


def beat(key: str, **changes: Any) -> None:
    queue = {"broker": "redis", "queue": "erp.dlq", "depth": 7, "lag_s": 150.0, "harvested": 3} | changes
    assert push("/ingest/v1/heartbeat", {"version": "1", "queues": [queue]}, key=key).status_code == 200


def test_a_heartbeat_becomes_a_line_of_the_connection_a_trend_and_metrics():
    found, key = memory_connection("redis"), agent_key("harvest-eu")
    beat(key)
    beat(key, harvested=10, depth=4, mode="mirror", error="the broker is not to be had", parked=2)
    client = signed_in()

    page = text_of(client.get(f"/connections/{found.pk}/"))
    listed = text_of(client.get("/connections/"))
    part = client.get(f"/connections/{found.pk}/", HTTP_HX_REQUEST="true").content.decode()
    [rest] = client.get(f"/api/v1/connections/{found.pk}/queues").json()["results"]
    told = Client(REMOTE_ADDR="127.0.0.1").get("/metrics").content.decode()

    assert (
        "erp.dlq mirrored by harvest-eu , 2 never taken by the console the broker is not to be had Redrive all of it 4"
        in page
    )
    assert "2 min" in page
    assert "4 in 1 queue" in listed
    assert part.strip().startswith('<section class="panel" id="queues"')
    assert "most waiting by hour" in part
    assert (rest["depth"], rest["lag_s"], rest["mode"], rest["stale"], len(rest["trend"])) == (
        4,
        150.0,
        "mirror",
        False,
        24,
    )
    assert rest["trend"][-1] == {"depth": 4, "lag_s": 150.0}
    assert rest["harvested_per_hour"] == 10
    assert 'waybill_queue_depth{broker="redis",environment="production",queue="erp.dlq"} 4.0' in told
    assert 'waybill_queue_oldest_seconds{broker="redis",environment="production",queue="erp.dlq"} 150.0' in told


def test_what_an_agent_said_long_ago_is_marked_and_is_no_metric():
    found, key = memory_connection("redis"), agent_key("harvest-eu")
    beat(key)
    Agent.objects.update(heartbeat_at=datetime.now(UTC) - timedelta(hours=1))

    assert "not heard for" in text_of(signed_in().get(f"/connections/{found.pk}/"))
    assert 'waybill_queue_depth{broker="redis"' not in Client(REMOTE_ADDR="127.0.0.1").get("/metrics").content.decode()


def test_readings_are_one_row_in_ten_minutes_count_over_a_restart_and_go_after_a_week():
    one = agent("harvest-eu")

    def said(harvested: int, before: int | None, at: datetime = NOW, depth: int | None = 5) -> None:
        report = {"broker": "b", "queue": "q", "depth": depth, "lag_s": None}
        past = [] if before is None else [report | {"harvested": before}]
        note_queues(one.pk, [report | {"harvested": harvested}], past, now=at)

    said(10, None)
    said(12, 10, depth=None)
    said(4, 12)  # started anew
    said(4, 4, at=NOW + timedelta(minutes=10))

    assert list(QueueReading.objects.order_by("slot").values_list("slot", "depth", "harvested")) == [
        (NOW.replace(minute=40, second=0), 5, 16),
        (NOW.replace(minute=50, second=0), 5, 0),
    ]
    QueueReading.objects.filter(harvested=16).update(slot=datetime.now(UTC) - timedelta(days=8))
    QueueReading.objects.filter(harvested=0).update(slot=datetime.now(UTC))
    assert (expire_queue_readings(), QueueReading.objects.count()) == (1, 1)


@pytest.mark.parametrize("bad", [{"depth": -1}, {"depth": 2**60}, {"lag_s": -1}, {"harvested": -3}, {"mode": "x" * 30}])
def test_a_heartbeat_with_figures_that_cannot_be_is_refused(bad: dict[str, Any]):
    queue = {"broker": "redis", "queue": "q", **bad}

    assert push("/ingest/v1/heartbeat", {"queues": [queue]}, key=agent_key()).status_code == 400


# adding and testing --------------------------------------------------------------------------------------------------


def test_the_form_helps_by_family_and_keeps_what_was_typed_but_not_the_password():
    environment()
    client = signed_in()

    part = client.get(
        "/connections/?kind=rabbitmq&name=rabbit-eu&secret=neverback",
        HTTP_HX_REQUEST="true",
        HTTP_HX_TARGET="add-connection",
    ).content.decode()

    assert 'placeholder="amqp://host:5672/vhost"' in part
    assert 'name="option_management"' in part
    assert 'value="rabbit-eu"' in part
    assert "neverback" not in part
    said = {
        "name": "r", "kind": "rabbitmq", "address": "amqp://h/", "option_management": "ftp://h", "username": "", "secret": "",
    }  # fmt: skip
    assert "starts with http" in text_of(client.post("/connections/", said))
    assert client.post("/connections/", said | {"option_management": "http://h:15672"}).status_code == 303
    assert Connection.objects.get().options == {"management": "http://h:15672"}


def test_the_management_address_changes_only_together_with_the_credentials():
    made = create_connection(environment(), name="r", kind="rabbitmq", address="amqp://h/", secret="s3cret", by=ROOT)
    client, before = signed_in(), bytes(made.secret)

    client.post(
        f"/connections/{made.pk}/secret", {"username": "w", "secret": "", "option_management": "http://h:15672"}
    )
    by_page = Connection.objects.get()
    client.put(f"/api/v1/connections/{made.pk}/secret", {"secret": "new"}, content_type="application/json")
    by_rest = Connection.objects.get()
    refused = client.put(
        f"/api/v1/connections/{made.pk}/secret",
        {"secret": "x", "management": "gopher://h"},
        content_type="application/json",
    )

    assert (by_page.options, bytes(by_page.secret)) == ({"management": "http://h:15672"}, b"")
    assert (by_rest.options, bool(by_rest.secret)) == (by_page.options, True)
    assert refused.json()["code"] == "connection_invalid"
    assert before
    assert "http://h:15672" in client.get(f"/connections/{made.pk}/").content.decode()


def test_a_test_answers_all_four_questions_and_says_why_one_was_not_asked():
    parts = urlsplit(os.environ["REDIS_URL"])
    made = create_connection(
        environment(), name="r", kind="redis-streams", address=f"redis://127.0.0.1:{parts.port}/0", username="default",
        secret=parts.password or "", by=ROOT,
    )  # fmt: skip
    client, stream = signed_in(), f"t-{uuid.uuid4()}"

    client.post(f"/connections/{made.pk}/test")
    without = {one["question"]: one["answer"] for one in Connection.objects.get().check_result}
    client.post(f"/connections/{made.pk}/test", {"destination": stream})
    asked = {one["question"]: one["answer"] for one in Connection.objects.get().check_result}

    assert without == {"reached": True, "authenticated": True, "queue exists": None, "may publish": None}
    assert asked == {"reached": True, "authenticated": True, "queue exists": False, "may publish": True}
    with redis.Redis.from_url(os.environ["REDIS_URL"]) as client_of_redis:
        assert client_of_redis.exists(stream) == 0


# discovering ---------------------------------------------------------------------------------------------------------


def test_streams_whose_names_say_so_are_offered_and_lead_to_connecting_them():
    parts, stream = urlsplit(os.environ["REDIS_URL"]), f"t{uuid.uuid4().hex}.dlq"
    made = create_connection(
        environment(), name="r", kind="redis-streams", address=f"redis://127.0.0.1:{parts.port}/0", username="default",
        secret=parts.password or "", by=ROOT,
    )  # fmt: skip
    with redis.Redis.from_url(os.environ["REDIS_URL"]) as broker:
        broker.xadd(stream, {"body": "1"})
        broker.set(f"{stream}.dlq", "no stream")
        page = signed_in().post(f"/connections/{made.pk}/discover")
        rest = signed_in("two").post(f"/api/v1/connections/{made.pk}/discover").json()["results"]
        broker.delete(stream, f"{stream}.dlq")

    assert {"queue": stream, "why": "its name ends with “dlq”", "waiting": 1, "sure": False} in rest
    assert re.search(
        rf'<input type="checkbox" name="queue" value="{stream}" aria-label="{stream}">', page.content.decode()
    )
    assert "not certain: look at it, then tick it" in text_of(page)
    assert f"{stream}.dlq" not in page.content.decode()
    assert AuditEntry.objects.filter(action="connection.looked_through").count() == 2


@pytest.mark.parametrize(("harvested", "leads_on"), [("erp.dlq", False), ("other.dlq", True)])
def test_only_queues_that_nobody_harvests_lead_to_harvest_toml(
    harvested: str, leads_on: bool, monkeypatch: pytest.MonkeyPatch
):
    made, offered = memory_connection("redis"), [Found(queue="erp.dlq", why="its name ends with “dlq”")]
    monkeypatch.setattr(views, "discover_queues", lambda found, by: offered)
    beat(agent_key("harvest-eu"), queue=harvested)

    page = text_of(signed_in().post(f"/connections/{made.pk}/discover"))

    assert "erp.dlq its name ends with “dlq”" in page
    assert ("Put these into harvest.toml" in page, "All of them are harvested already" in page) == (
        leads_on,
        not leads_on,
    )


def test_only_what_the_broker_itself_leads_to_is_ticked_beforehand(monkeypatch: pytest.MonkeyPatch):
    made = memory_connection("redis")
    sure = Found(queue="rest", why="orders sends its dead letters there", sure=True)
    offered = [sure, Found(queue="erp.dlq", why="its name ends with “dlq”")]
    monkeypatch.setattr(views, "discover_queues", lambda found, by: offered)

    page = signed_in().post(f"/connections/{made.pk}/discover").content.decode()

    assert re.findall(r'name="queue" value="([^"]*)"[^>]*?( checked)?>', page) == [
        ("rest", " checked"),
        ("erp.dlq", ""),
    ]
    assert page.count("not certain: look at it, then tick it") == 1


def test_a_broker_that_does_not_tell_and_an_operator_who_may_not_ask_are_told_so():
    memory = memory_connection("redis")
    rabbit = create_connection(environment(), name="r", kind="rabbitmq", address="amqp://h/", by=ROOT)

    silent = signed_in().post(f"/connections/{memory.pk}/discover")
    without = signed_in("two").post(f"/connections/{rabbit.pk}/discover")
    operator = signed_in("operator", Role.OPERATOR).post(f"/connections/{memory.pk}/discover")

    assert (silent.status_code, "does not list its queues" in text_of(silent)) == (422, True)
    assert (without.status_code, "give the connection its management address" in text_of(without)) == (422, True)
    assert (operator.status_code, "not an administrator" in text_of(operator)) == (422, True)


@pytest.fixture
def management() -> Iterator[Any]:
    """An HTTP server that answers as RabbitMQ's management API does."""
    lists = {
        "/api/queues/shop": [{"name": "orders", "arguments": {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "rest"}},
                             {"name": "rest", "messages": 3}],
        "/api/bindings/shop": [],
    }  # fmt: skip

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known = self.headers["Authorization"] == "Basic d2F5YmlsbDpzM2NyZXQ="
            body = json.dumps(lists[self.path.partition("?")[0]]).encode() if known else b"{}"
            self.send_response(200 if known else 401)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_rabbitmqs_management_api_is_asked_with_the_connections_login(management: HTTPServer):
    options = {"management": f"http://127.0.0.1:{management.server_port}"}
    common = {"kind": "rabbitmq", "address": "amqp://h/shop", "username": "waybill", "options": options, "by": ROOT}
    known = create_connection(environment(), name="r", secret="s3cret", **common)  # type: ignore[arg-type]
    wrong = create_connection(environment(), name="w", secret="wrong", **common)  # type: ignore[arg-type]
    client = signed_in()

    found = client.post(f"/api/v1/connections/{known.pk}/discover").json()
    refused = client.post(f"/api/v1/connections/{wrong.pk}/discover").json()

    assert found["results"] == [
        {"queue": "rest", "why": "orders sends its dead letters there", "waiting": 3, "sure": True}
    ]
    assert (refused["code"], "refuses the login" in refused["detail"]) == ("cannot_discover", True)


@pytest.mark.parametrize(
    ("kind", "address"),
    [
        ("redis-streams", "redis://127.0.0.1:1/0?db=first"),
        ("redis-streams", "redis://127.0.0.1:1/0?heartbeat=5"),
        ("celery", "redis://127.0.0.1:1/0?connection_class=x"),
    ],
)
def test_an_address_with_options_that_its_broker_has_not_is_refused_where_it_is_typed(kind: str, address: str):
    environment()

    answer = signed_in().post("/connections/", {"kind": kind, "name": "b", "address": address})

    assert (answer.status_code, "the address is not like redis://host:6379/0" in text_of(answer)) == (422, True)
    assert not Connection.objects.exists()


def test_options_of_tls_that_are_no_python_are_said_to_be_out_of_reach():
    connector = get_connector("rabbitmq", Address(url="amqp://127.0.0.1:1/?ssl_options=%7B"))

    [check] = connector.check(None)

    assert (check.question, check.answer, "the address is not like amqp" in check.detail) == ("reached", False, True)


@pytest.mark.parametrize(
    ("kind", "address"),
    [
        ("sqs", "sqs+http://169.254.169.254/latest"),
        ("rabbitmq", "amqp://[::ffff:169.254.169.254]:80/"),
        ("kafka", "kafka://broker:9092,169.254.169.254:80"),
    ],
)
def test_the_place_where_clouds_keep_credentials_is_no_broker_of_any_family(kind: str, address: str):
    environment()

    answer = signed_in().post("/connections/", {"kind": kind, "name": "b", "address": address})

    assert (answer.status_code, "where no request may go" in text_of(answer)) == (422, True)
    assert not Connection.objects.exists()
