"""Query parameters of REST: those that OpenAPI names are taken, any other is refused by name, on every address."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from console.identity.models import Role, User
from messages.api.base import View
from tests.factories import agent_key, api_key, environment, event, person, push

pytestmark = pytest.mark.django_db


def lists() -> Iterator[str]:
    """Yield the addresses below /api/v1/ that are read and name nothing."""

    def routes(patterns: Any, before: str) -> Iterator[tuple[str, URLPattern]]:
        for one in patterns:
            if isinstance(one, URLResolver):
                yield from routes(one.url_patterns, before + str(one.pattern))
            else:
                yield before + str(one.pattern), one

    for path, pattern in routes(get_resolver().url_patterns, ""):
        view = getattr(pattern.callback, "view_class", None) or getattr(pattern.callback, "cls", None)
        is_ours = isinstance(view, type) and issubclass(view, View) and hasattr(view, "get")
        if is_ours and path.startswith("api/v1/") and "<" not in path:
            yield path.removeprefix("api/v1/")


LISTS = sorted(set(lists()))


def test_there_are_many_lists():
    assert {"messages", "dead-letters", "groups", "audit", "overview", "breaches", "objectives", "reports"} < set(LISTS)


@pytest.fixture
def got() -> Any:
    environment()
    key = api_key(person("root", Role.ADMINISTRATOR))
    User.objects.update(is_superuser=True)

    def get(address: str) -> Any:
        return Client().get(f"/api/v1/{address}", HTTP_AUTHORIZATION=f"Bearer {key}")

    return get


@pytest.mark.parametrize("path", LISTS)
def test_every_list_refuses_a_parameter_that_it_does_not_have(path: str, got: Any):
    answer = got(f"{path}?bogus=1")

    assert (answer.status_code, answer.json()["code"]) == (400, "invalid")
    assert "“bogus”" in answer.json()["detail"]


def test_a_field_is_no_parameter_where_a_query_asks_for_it(got: Any):
    push("/ingest/v1/events", [event()], key=agent_key())

    said = {name: got(f"messages?{name}=x") for name in ("flow", "status", "widow")}

    assert {one.status_code for one in said.values()} == {400}
    assert "the query asks for it, as q=flow:…" in said["flow"].json()["detail"]
    assert "q=status:…" in said["status"].json()["detail"]
    assert "window was probably meant" in said["widow"].json()["detail"]


def test_no_list_is_asked_by_a_query_that_it_would_refuse(got: Any):
    said = got("messages?queue=x").json()["detail"]

    assert "q=" not in said
    assert "there are q, limit" in said


@pytest.mark.parametrize("path", LISTS)
def test_an_empty_parameter_narrows_nothing_and_is_refused_nowhere(path: str, got: Any):
    assert got(f"{path}?bogus=").status_code == got(path).status_code


def test_every_list_whose_name_stays_stable_takes_words(got: Any):
    push("/ingest/v1/events", [event(), event(system="erp", destination="invoices")], key=agent_key())

    for path in ("objectives", "silences", "flows", "systems", "connections", "agents", "audit"):
        assert got(f"{path}?q=nothing+is+called+so&limit=5&environment=production").json()["results"] == []
    assert [one["name"] for one in got("flows?q=INVOIC").json()["results"]] == ["invoices"]
    assert [one["name"] for one in got("systems?q=er").json()["results"]] == ["erp"]


def test_what_is_documented_and_what_pages_on_is_taken(got: Any):
    push("/ingest/v1/events", [event(message_id=f"one of several, {number}") for number in range(3)], key=agent_key())

    first = got("messages?limit=1&format=json&window=7d&q=flow:*&environment=production").json()
    second = got(first["next"].partition("/api/v1/")[2])

    assert second.status_code == 200
    assert len(second.json()["results"]) == 1
