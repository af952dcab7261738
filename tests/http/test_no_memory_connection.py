"""The in-memory double confirms and goes nowhere: outside tests nobody can choose it, by page, by REST or for the harvester."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from django.conf import LazySettings
from django.test import Client

from agents.harvest.config import BadConfig, load_config
from console.identity.models import Role
from messages.models import Connection
from tests.factories import api_key, memory_connection, person
from tests.pages.people import signed_in, text_of

ASKED = {"name": "redis", "kind": "memory", "address": "memory://nowhere", "username": "", "secret": ""}
pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def as_shipped(settings: LazySettings) -> None:
    settings.CONSOLE_FAMILIES = {}


def test_rest_refuses_it_and_names_the_kinds_there_are():
    key = api_key(person("admin", Role.ADMINISTRATOR))

    refused = Client().post(
        "/api/v1/connections", json.dumps(ASKED | {"environment": "production"}), content_type="application/json",
        HTTP_AUTHORIZATION=f"Bearer {key}",
    )  # fmt: skip

    assert (refused.status_code, refused.json()["code"]) == (400, "connection_invalid")
    offered = refused.json()["detail"].partition("; use ")[2].split(", ")
    assert ({"http", "rabbitmq", "redis-streams"} <= set(offered), "memory" in offered) == (True, False)
    assert not Connection.objects.exists()


def test_the_page_refuses_it():
    refused = signed_in().post("/connections/", ASKED)

    assert refused.status_code == 422
    assert not Connection.objects.exists()


def test_one_that_was_made_before_is_said_to_be_of_no_kind_and_confirms_nothing(settings: LazySettings):
    settings.CONSOLE_FAMILIES = {"memory": "messages.connectors.memory.FAMILY"}
    found = memory_connection()
    settings.CONSOLE_FAMILIES = {}

    client = signed_in()
    tested = client.post(f"/connections/{found.pk}/test")

    assert tested.status_code == 422
    assert client.get(f"/connections/{found.pk}/").status_code == 200
    assert client.post(f"/connections/{found.pk}/secret", {"secret": "x"}).status_code == 303
    assert "there is no connection kind" in text_of(tested)


def test_the_harvester_has_no_such_broker(tmp_path: Path):
    file = tmp_path / "harvest.toml"
    file.write_text(
        'console = "http://127.0.0.1:1"\nkey = "wb_agent_x"\n[[broker]]\nname = "b"\nkind = "memory"\naddress = "memory://x"\n'
        '[[broker.queue]]\nname = "q"\n'
    )

    with pytest.raises(BadConfig, match=r"kind is one of [a-z, -]*rabbitmq[a-z, -]*, not “memory”"):
        load_config(file)
