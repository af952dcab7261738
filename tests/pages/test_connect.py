"""The page "Connect a broker": its files are ones that the harvester takes, its key is shown once, its light goes on."""

from __future__ import annotations

import html
import os
import re
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest
import redis
from django.test import Client
from playwright.sync_api import Browser, expect

from agents.harvest.config import load_config
from console.identity.models import Agent, Key, Role
from messages.catalog.connecting import Wanted, files_of, secret_variable
from messages.catalog.connections import create_connection
from tests.factories import ROOT, agent_key, environment, letter, push
from tests.pages.people import signed_in, text_of
from tests.pages.test_in_a_browser import browser, sign_in, unsafe_async
from tests.product import ROOT as PROJECT

__all__ = ["browser", "unsafe_async"]  # fixtures
PAGE = "/connections/connect/"


def wanted(**changes: Any) -> Wanted:
    said: dict[str, Any] = {
        "console": "http://127.0.0.1:8000", "agent": "harvest-eu", "broker": "rabbit-eu", "kind": "rabbitmq", "address": "amqp://h:5672/",
        "username": "waybill", "with_secret": True, "queues": ["erp.dlq", "b.dlq"], "system": "erp", "mode": "move",
    }  # fmt: skip
    return Wanted(**said | changes)


def loaded(tmp_path: Path, files: Any, key: str = "wb_agent_x") -> Any:
    file = tmp_path / "harvest.toml"
    file.write_text(files.toml)
    return load_config(file, {"WAYBILL_AGENT_KEY": key, "RABBIT_EU_PASSWORD": "s3cret"})


def test_every_queue_that_is_named_stands_in_the_file_and_more_than_one_harvester_takes_is_refused(db: None):
    client = signed_in(Role.ADMINISTRATOR)
    said = {
        "name": "rabbit-eu",
        "kind": "rabbitmq",
        "address": "amqp://h:5672/",
        "queue": [f"q{number}" for number in range(200)],
    }

    written, refused = (
        client.get(f"{PAGE}?{urlencode(said | {'queue': queues}, doseq=True)}")
        for queues in (said["queue"], [*said["queue"], "q200"])
    )

    assert written.content.decode().count("[[broker.queue]]") == 200
    assert (refused.status_code, "at most 200" in refused.content.decode()) == (422, True)


# files ---------------------------------------------------------------------------------------------------------------


def test_the_file_is_one_that_the_harvester_takes_and_holds_no_secret(tmp_path: Path):
    files = files_of(wanted(), key="wb_agent_y")

    config = loaded(tmp_path, files)

    assert [(q.broker, q.name, q.options, q.mode) for q in config.queues] == [
        ("rabbit-eu", "erp.dlq", {"system": "erp"}, "move"), ("rabbit-eu", "b.dlq", {"system": "erp"}, "move"),
    ]  # fmt: skip
    assert (config.queues[0].address.username, config.queues[0].address.secret) == ("waybill", "s3cret")
    assert "wb_agent_y" not in files.toml + files.docker + files.systemd
    assert files.environment == "WAYBILL_AGENT_KEY=wb_agent_y\nRABBIT_EU_PASSWORD=…\n"


def test_names_that_would_break_out_of_the_file_stay_names(tmp_path: Path):
    odd = 'a"]\nkey = "x"\\ \x7f\x01 # é'

    config = loaded(tmp_path, files_of(wanted(broker=odd, queues=[odd], agent=odd, with_secret=False)))

    assert (config.queues[0].broker, config.queues[0].name, config.name) == (odd, odd, odd)
    assert "\n" not in files_of(wanted(agent="$(reboot)\n;x")).docker.splitlines()[1].replace("\\", "")
    assert "reboot)" not in files_of(wanted(agent="$(reboot)")).docker


@pytest.mark.parametrize(
    ("broker", "variable"),
    [
        ("rabbit-eu", "RABBIT_EU_PASSWORD"),
        ("9 lives", "_9_LIVES_PASSWORD"),
        ("é", "BROKER_PASSWORD"),
        ("a=b;c", "A_B_C_PASSWORD"),
    ],
)
def test_the_variable_of_a_password_is_one_that_a_shell_takes(broker: str, variable: str):
    assert secret_variable(broker) == variable


def test_where_a_broker_tells_more_goes_into_the_file_of_its_connection(db: None, tmp_path: Path):
    more = {"management": "http://h:15672"}
    made = create_connection(
        environment(), name="rabbit-eu", kind="rabbitmq", address="amqp://h:5672/", options=more, by=ROOT
    )

    client = signed_in()

    page = client.get(f"{PAGE}?connection={made.pk}&queue=a.dlq").content.decode()
    other = client.get(f"{PAGE}?connection={made.pk}&queue=a.dlq&address=amqp://other").content.decode()
    config = loaded(tmp_path, files_of(wanted(management="http://h:15672")))

    assert "management = &quot;http://h:15672&quot;" in page
    assert "management =" not in other
    assert [queue.address.options for queue in config.queues] == [more, more]


# page ----------------------------------------------------------------------------------------------------------------


def asked(**changes: Any) -> str:
    said = {
        "kind": "rabbitmq",
        "name": "rabbit-eu",
        "address": "amqp://h:5672/",
        "queues": "erp.dlq\n\nb.dlq",
        "agent": "h",
    }
    return f"{PAGE}?{urlencode(said | changes)}"


@pytest.mark.django_db
def test_a_connection_and_queues_found_there_fill_the_page():
    made = create_connection(
        environment(),
        name="rabbit-eu",
        kind="rabbitmq",
        address="amqp://h:5672/",
        username="waybill",
        secret="s3cret",
        by=ROOT,
    )

    page = signed_in().get(f"{PAGE}?connection={made.pk}&queue=a.dlq&queue=b.dlq")

    said = html.unescape(page.content.decode())
    assert page.status_code == 200
    for words in (
        'name = "harvest-rabbit-eu"',
        'secret_env = "RABBIT_EU_PASSWORD"',
        'name = "b.dlq"',
        "docker run -d",
        "[Service]",
    ):
        assert words in said
    assert "s3cret" not in said
    assert "Replays have no way back" not in said


@pytest.mark.django_db
def test_the_key_is_made_on_demand_by_an_administrator_shown_once_and_kept_by_no_cache():
    environment()
    client, operator = signed_in(), signed_in("operator", Role.OPERATOR)

    page = client.post(asked())
    key = re.search(r"WAYBILL_AGENT_KEY=(wb_agent_\w+)", page.content.decode())

    assert key
    assert (page["Cache-Control"], Agent.objects.get().name) == ("no-store", "h")
    assert key[1] not in client.get(asked()).content.decode()
    assert push("/ingest/v1/dead-letters", [], key=key[1]).status_code == 200
    assert "Make its key" not in text_of(operator.get(asked()))
    assert operator.post(asked()).status_code == 403
    assert Key.objects.count() == 1


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"mode": "mirror"}, "these queues cannot be mirrored: RabbitMQ shows a message only by delivering it"),
        ({"address": "amqp://user:pass@h/"}, "not into the address"),
        ({"address": "redis://h/"}, "starts with amqp://"),
        ({"kind": "gopher"}, "Select a valid choice"),
        ({"kind": "http", "address": "http://h/"}, "Select a valid choice"),
    ],
)
def test_what_cannot_be_harvested_is_said_at_its_field_and_no_key_is_made(changes: dict[str, str], words: str):
    environment()
    client = signed_in()

    refused = client.get(asked(**changes))

    assert (refused.status_code, words in text_of(refused)) == (422, True)
    assert client.post(asked(**changes)).status_code == 422
    assert Key.objects.count() == 0


@pytest.mark.django_db
def test_another_kind_is_a_draft_that_keeps_what_was_typed_and_complains_of_nothing():
    environment()

    part = signed_in().get(asked(draft=1, address="", kind="redis-streams"), HTTP_HX_REQUEST="true").content.decode()

    assert 'placeholder="redis://host:6379/0"' in part
    assert 'value="rabbit-eu"' in part
    assert 'class="error"' not in part


@pytest.mark.django_db
@pytest.mark.parametrize("number", ["x", "9" * 30, "-1", "12345"])
def test_a_connection_that_is_not_there_is_not_found(number: str):
    environment()

    assert signed_in().get(f"{PAGE}?connection={number}").status_code == 404


@pytest.mark.django_db
def test_the_light_goes_on_for_a_letter_of_this_broker_that_came_after_the_page_was_opened():
    key = agent_key("h")
    push("/ingest/v1/dead-letters", [letter(broker="rabbit-eu")], key=key)
    client = signed_in()
    later = int(time.time()) + 3600

    page = client.get(asked(since=int(time.time()) + 1)).content.decode()
    part = client.get(f"{PAGE}landed?broker=rabbit-eu&agent=h&since={later - 7200}")
    other = client.get(f"{PAGE}landed?broker=other&agent=h&since={later - 7200}")
    junk = client.get(f"{PAGE}landed?since=99999999999999999999")

    assert "Waiting for the first dead letter of rabbit-eu" in page
    assert "The first dead letter of rabbit-eu is here." in text_of(part)
    assert "hx-get" not in part.content.decode()
    assert "Waiting for" in text_of(other)
    assert junk.status_code == 200


@pytest.mark.django_db
def test_rest_writes_the_same_files():
    environment()
    client = signed_in()
    said = {
        "broker": "r",
        "kind": "redis-streams",
        "address": "redis://h/",
        "queues": ["q"],
        "agent": "h",
        "mode": "mirror",
    }
    odd = {**said, "kind": "rabbitmq", "address": "amqp://h/", "mode": "move", "management": "ftp://h"}

    files = client.post("/api/v1/harvest-files", said, content_type="application/json").json()
    refused = client.post(
        "/api/v1/harvest-files", said | {"kind": "rabbitmq", "address": "amqp://h"}, content_type="application/json"
    )
    pushed = client.post(
        "/api/v1/harvest-files", said | {"kind": "memory", "address": "memory://h"}, content_type="application/json"
    )

    assert 'mode = "mirror"' in files["toml"]
    assert (refused.status_code, "cannot be mirrored" in refused.json()["detail"]) == (400, True)
    assert client.post("/api/v1/harvest-files", odd, content_type="application/json").status_code == 400
    assert (pushed.status_code, "not harvested" in pushed.json()["detail"]) == (400, True)


# in a browser --------------------------------------------------------------------------------------------------------


@pytest.mark.browser
@pytest.mark.django_db(transaction=True)
@pytest.mark.timeout(180)
def test_what_the_page_says_is_pasted_and_the_first_letter_lands(browser: Browser, live_server: Any, tmp_path: Path):
    environment()
    parts, stream = urlsplit(os.environ["REDIS_URL"]), f"t-{uuid.uuid4()}.dlq"
    page = sign_in(browser, live_server.url)
    page.goto(f"{live_server.url}/connections/")
    page.click("text=Connect a broker")
    page.select_option("#id_kind", "redis-streams")
    expect(page.locator("#id_address")).to_have_attribute("placeholder", "redis://host:6379/0")
    page.fill("#id_name", "streams")
    page.fill("#id_address", f"redis://127.0.0.1:{parts.port}/0")
    page.fill("#id_username", "default")
    page.check("#id_password")
    page.fill("#id_queues", stream)
    page.fill("#id_agent", "harvest-here")
    page.click("text=Write the files")
    page.click("text=Make its key")
    expect(page.locator("#file-env")).to_contain_text("WAYBILL_AGENT_KEY=wb_agent_")
    expect(page.locator("#landed")).to_contain_text("has a key and was not heard yet")

    (tmp_path / "harvest.toml").write_text(page.locator("#file-toml").inner_text())
    said = dict(line.split("=", 1) for line in page.locator("#file-env").inner_text().splitlines())
    secrets = {"WAYBILL_AGENT_KEY": said["WAYBILL_AGENT_KEY"], "STREAMS_PASSWORD": parts.password or ""}
    assert set(secrets) == set(said)
    command = [sys.executable, "-m", "agents", "harvest", "--config", str(tmp_path / "harvest.toml")]
    with (
        redis.Redis.from_url(os.environ["REDIS_URL"]) as client,
        subprocess.Popen(command, cwd=PROJECT, env=os.environ | secrets, stderr=subprocess.DEVNULL) as harvester,
    ):
        try:
            expect(page.locator("#landed")).to_contain_text("harvest-here was heard", timeout=20_000)
            client.xadd(stream, {"body": "{}", "error-message": "erp did not answer"})
            expect(page.locator("#landed")).to_contain_text("The first dead letter of streams is here.", timeout=20_000)
        finally:
            harvester.terminate()
            client.delete(stream)
    page.click("#landed >> text=Open it")
    expect(page.locator(".stub")).to_contain_text("erp did not answer")


def test_strangers_are_sent_to_sign_in(db: None):
    assert Client().get(PAGE)["Location"].startswith("/sign-in/")
