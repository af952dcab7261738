"""Error codes, JSON schemas and the state diagram in the docs are the code's own."""

from __future__ import annotations

import importlib
import json
import pkgutil
import re
from pathlib import Path

import msgspec
import pytest
from django.test import Client

from console.core.errors import ConsoleError
from messages.changes.items import ChangeItem
from messages.dead_letters.items import DeadLetterItem
from messages.ingest.native import EventItem
from messages.plans import states
from messages.replay.states import diagram

DOCS = Path(__file__).resolve().parents[2] / "docs"


def load_everything() -> None:
    import alerts
    import console
    import messages

    for package in (alerts, console, messages):
        for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
            if not re.search(r"\.(management|migrations|gunicorn|wsgi|runner|settings)(\.|$)", module.name):
                importlib.import_module(module.name)


def every_error() -> dict[str, int]:
    """Return {code: status} of every class that a request can be answered with, whatever the page shows."""
    load_everything()
    found, queue = {}, list(ConsoleError.__subclasses__())
    while queue:
        kind = queue.pop()
        if kind.answered:
            found[kind.code] = kind.status
        queue += kind.__subclasses__()
    return found


def test_every_error_code_is_documented_with_its_status():
    documented = {
        code: int(status)
        for code, status in re.findall(r"^\| `(\w+)` \| (\d+) \|$", (DOCS / "api.md").read_text(), re.M)
    }

    assert documented == every_error()


@pytest.mark.django_db
def test_the_page_that_problems_point_to_names_every_code_with_status_meaning_and_whether_to_send_again():
    expected = every_error()

    html = Client().get("/docs/errors").content.decode()

    rows = re.findall(
        r'<tr id="(\w+)">.*?data-label="status">(\d+)</td><td class="wide">(.*?)</td><td class="nowrap" data-label="again">(.*?)</td>',
        html,
    )
    assert {code: int(status) for code, status, *_ in rows} == expected
    assert [code for code, _, meaning, again in rows if not meaning.strip("<br>") or not again] == []


@pytest.mark.django_db
def test_the_type_of_a_problem_leads_to_its_line_on_the_page_and_the_api_docs_lead_there_too():
    problem = Client().get("/api/v1/messages").json()

    page, _, anchor = problem["type"].partition("#")
    assert f'id="{anchor}"' in Client().get(page).content.decode()
    assert (
        "(/docs/errors)"
        in Client().get("/api/v1/schema/", HTTP_ACCEPT="application/json").json()["info"]["description"]
    )


def test_the_json_schemas_are_those_of_the_structs():
    for name, kind in (("event", EventItem), ("dead-letter", DeadLetterItem), ("change", ChangeItem)):
        assert json.loads((DOCS / "schemas" / f"{name}.json").read_text()) == msgspec.json.schema(kind)


def test_the_state_diagram_of_replays_is_drawn_from_the_transitions():
    assert diagram() in (DOCS / "replay.md").read_text()


def test_the_state_diagram_of_plans_is_drawn_from_the_transitions_and_says_what_each_means():
    page = (DOCS / "replay.md").read_text()

    assert states.diagram() in page
    assert [
        state for state, words in states.WORDS.items() if f"| {state.replace('_', ' ')} | {words} |" not in page
    ] == []


def test_every_rest_route_is_in_the_docs():
    from messages.api.urls import urlpatterns

    text = (DOCS / "api.md").read_text()
    roots = {str(p.pattern).split("/")[0] for p in urlpatterns if not str(p.pattern).startswith("^")}

    assert [root for root in sorted(roots) if f"`{root}" not in text and f"/{root}/" not in text] == []
