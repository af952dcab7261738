"""The curl lines of docs/ingest/ work when pasted."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from console.identity.models import Role
from messages.mappings.definition import compile_definition, read_definition
from messages.mappings.services import NewMapping, add_mapping
from messages.mappings.shipped import SHIPPED
from messages.models import DeadLetter, Event
from tests.engines.receiver import Answer, receiving
from tests.factories import ROOT, agent_key, api_key, environment, person

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_the_pasted_lines_store_what_they_send(committed, live_server):
    pages = "".join((DOCS / "ingest" / page).read_text() for page in ("cloudevents.md", "curl.md"))
    lines = re.findall(r"```sh\n(curl .*?)```", pages, re.S)
    environ = {**os.environ, "WAYBILL": live_server.url, "WAYBILL_AGENT_KEY": agent_key()}

    said = [
        subprocess.run(["sh", "-c", line], env=environ, capture_output=True, text=True, check=True).stdout
        for line in lines
    ]

    assert len(lines) == 3
    assert said == ['{"accepted": 1, "duplicates": 0, "rejected": []}'] * len(lines)
    assert {event.message_id for event in Event.objects.all()} == {"order-4711-message", "order-4711-created"}
    assert DeadLetter.objects.get().message_id == "order-4711-message"


def test_the_lines_of_the_http_page_report_a_failed_call_alike(committed, live_server):
    page = (DOCS / "brokers" / "http.md").read_text()
    [program], [line] = re.findall(r"```python\n(.*?)```", page, re.S), re.findall(r"```sh\n(curl .*?)```", page, re.S)
    environ = {**os.environ, "WAYBILL": live_server.url, "WAYBILL_AGENT_KEY": agent_key()}

    with receiving(Answer(503, b"Maintenance")) as erp:
        here = program.replace("https://erp.example", erp.url)
        said = subprocess.run(
            [sys.executable, "-c", here], env=environ, cwd=DOCS.parent, capture_output=True, text=True
        )
    subprocess.run(["sh", "-c", line], env=environ, capture_output=True, check=True)

    assert (said.stdout, said.stderr) == ("the order waits in the console\n", "")
    fields = ("broker", "family", "queue", "origin", "route", "reason", "reason_code", "error_type", "attempts", "keys")
    by_program, by_curl = DeadLetter.objects.order_by("id").values(*fields)
    assert by_program == by_curl


def test_the_pasted_lines_of_mappings_are_read_by_what_ships_and_every_definition_there_holds(committed, live_server):
    page = (DOCS / "mappings.md").read_text()
    lines = re.findall(r"```sh\n(curl .*?)```", page, re.S)
    for shipped in SHIPPED.values():
        said = NewMapping(slug=shipped.slug, name=shipped.name, definition=json.dumps(shipped.definition))
        add_mapping(environment(), said, by=ROOT)
    environ = {**os.environ, "WAYBILL": live_server.url, "WAYBILL_AGENT_KEY": agent_key()}

    said = [
        json.loads(subprocess.run(["sh", "-c", line], env=environ, capture_output=True, text=True, check=True).stdout)
        for line in lines
    ]

    assert [(one["accepted"], one["rejected"]) for one in said] == [(2, []), (2, []), (1, [])]
    assert {letter.queue for letter in DeadLetter.objects.all()} == {"order.created", "order-to-erp"}
    definitions = re.findall(r"```json\n(.*?)```", page, re.S)
    assert [len(compile_definition(read_definition(one)).plans) for one in definitions] == [2, 1, 1]


def test_the_pasted_line_of_bodies_tries_a_schema_and_says_what_the_page_says(committed, live_server):
    page = (DOCS / "bodies.md").read_text()
    [line], [expected] = re.findall(r"```sh\n(curl .*?)```", page, re.S), re.findall(r"```json\n(.*?)```", page, re.S)
    environment()
    key = api_key(person("admin", Role.ADMINISTRATOR))
    environ = {**os.environ, "WAYBILL": live_server.url, "KEY": key}

    said = subprocess.run(["sh", "-c", line], env=environ, capture_output=True, text=True, check=True).stdout

    assert json.loads(said) == json.loads(expected)
