"""The payload's change between two hops: rights, masking, packed bodies, what is missing, nothing that runs."""

from __future__ import annotations

import base64
import gzip
import json
from typing import Any

import pytest

from console.audit.models import AuditEntry
from console.identity.models import Role, Team
from messages.masking.services import NewRule, add_masking_rule
from messages.models import Event, Flow, Payload
from tests.factories import ROOT, agent_key, api_key, environment, event, letter, person, push, stored_letter
from tests.http.test_access import ask
from tests.pages.people import signed_in, text_of

pytestmark = pytest.mark.django_db
EVIL = "<img src=x onerror=alert(1)>"
SENT = {
    "order_no": "4711",
    "total": 12.50,
    "customer": {"name": "Ada", "vat": "DE1"},
    "lines": [{"sku": "A"}, {"sku": "B"}],
}
GOT = {"lines": [{"sku": "A"}, {"sku": EVIL}], "total": "12.50", "order_no": "4711", "customer": {"name": "Ada"}}


def bodies(*given: Any, content_type: str = "application/json", **more: Any) -> list[str]:
    """Store one event for each body and return their ids."""
    ids = []
    for number, body in enumerate(given):
        text = body if isinstance(body, str) else json.dumps(body)
        payload = {"content_type": content_type, "body": text}
        one = event(message_id="the order of 4711", system=f"system-{number}", payload=payload, **more)
        assert push("/ingest/v1/events", [one], key=agent_key()).json()["accepted"] == 1
        ids.append(str(Event.objects.get(system__name=f"system-{number}").id))
    return ids


def address(ids: list[str]) -> str:
    return f"compare?left={ids[0]}&right={ids[1]}"


def page_of(ids: list[str], role: Role = Role.OPERATOR) -> Any:
    return signed_in(f"of role {role}", role).get("/" + address(ids).replace("?", "/?"))


def test_json_is_compared_place_by_place_and_line_by_line_and_nothing_of_it_runs():
    ids = bodies(SENT, GOT)

    page = page_of(ids)

    words, html = text_of(page), page.content.decode()
    assert "customer.vat removed &quot;DE1&quot;" in words
    assert "total type changed 12.5 &quot;12.50&quot;" in words
    assert "lines[1].sku changed" in words
    assert "<img" not in html
    assert "&lt;img src=x onerror=alert(1)&gt;" in html
    assert page["Cache-Control"] == "no-store"


def test_the_same_content_written_differently_is_said_to_be():
    ids = bodies('{"a": 1, "b": [2]}', '{"b":[2],\n"a":1}')

    assert "Both have the same content, written differently" in text_of(page_of(ids))


@pytest.mark.parametrize(
    ("content_type", "left", "right", "row"),
    [
        ("text/xml", "<o b='2' a='1'><t>1</t></o>", "<o a='1' b='2'>\n  <t>2</t>\n</o>", ("  <t>1</t>", "  <t>2</t>")),
        ("text/csv", "no;qty\n1;5\n", 'no;qty\n"1";"6"\n', ("1 │ 5", "1 │ 6")),
        ("text/plain", "one\ntwo", "one\n2", ("two", "2")),
    ],
)
def test_xml_csv_and_text_are_compared_without_what_only_their_writers_chose(
    content_type: str, left: str, right: str, row: tuple[str, str]
):
    ids = bodies(left, right, content_type=content_type)

    found = ask(address(ids), api_key(person("olga", Role.OPERATOR))).json()

    (changed,) = [one for one in found["rows"] if one["kind"] != "same"]
    assert (changed["left"]["text"], changed["right"]["text"]) == row


def test_a_packed_body_of_an_event_is_compared_with_the_plain_one_of_its_dead_letter():
    plain = json.dumps(SENT)
    packed = {
        "content_type": "application/json",
        "body_base64": base64.b64encode(gzip.compress(plain.encode())).decode(),
    }
    push("/ingest/v1/events", [event(payload=packed)], key=agent_key())
    dead = stored_letter(body=json.dumps(SENT | {"order_no": "4712"}))

    found = ask(address([str(Event.objects.get().id), str(dead.pk)]), api_key(person("olga", Role.OPERATOR))).json()

    assert [(one["path"], one["left"], one["right"]) for one in found["changes"]] == [("order_no", '"4711"', '"4712"')]
    assert found["left"]["steps"][0].startswith("gzip")
    assert found["right"]["kind"] == "dead letter"


def test_masked_values_stay_masked():
    add_masking_rule(environment(), NewRule(kind="json_path", expression="$.customer.name"), by=ROOT)
    ids = bodies(SENT, GOT | {"customer": {"name": "Bob"}})

    html = page_of(ids).content.decode()

    assert "Ada" not in html
    assert "Bob" not in html
    assert "•••" in html


def test_bodies_that_differ_in_a_masked_value_alone_are_not_said_to_be_the_same():
    add_masking_rule(environment(), NewRule(kind="json_path", expression="$.vat"), by=ROOT)
    ids = bodies('{"order": 1, "vat": "DE1"}', '{"order": 1, "vat": "FR2"}')

    assert "Both have the same content but for what is masked" in text_of(page_of(ids))


def test_both_looks_are_in_the_audit_list_once_an_hour():
    ids = bodies(SENT, GOT)
    client = signed_in("olga", Role.OPERATOR)

    for _ in range(2):
        assert client.get("/" + address(ids).replace("?", "/?")).status_code == 200

    entries = AuditEntry.objects.filter(action="payload.read").values_list("object_id", "actor")
    assert sorted(entries) == sorted((one, "olga") for one in ids)


def test_a_viewer_may_not_and_a_stranger_is_told_that_it_is_not_there():
    ids = bodies(SENT, GOT)

    assert page_of(ids, Role.VIEWER).status_code == 403
    assert ask(address(ids), api_key(person("vera", Role.VIEWER))).status_code == 403
    assert not AuditEntry.objects.filter(action="payload.read").exists()
    Flow.objects.update(team=Team.objects.create(name="Finance team"))
    assert page_of(ids).status_code == 404
    stranger = ask(address(ids), api_key(person("otto", Role.OPERATOR)))
    assert (stranger.status_code, stranger.json()["detail"]) == (
        404,
        "there is no event or dead letter with this id that you may see",
    )


@pytest.mark.parametrize("asked", ["", "?left=1&right=2", "?left=%00&right=", f"?left={'0' * 32}&right={'0' * 32}"])
def test_what_is_no_pair_of_bodies_is_not_found(asked: str):
    client = signed_in("olga", Role.OPERATOR)

    assert client.get(f"/compare/{asked}").status_code == 404
    assert ask(f"compare{asked}", api_key(person("otto", Role.OPERATOR))).status_code == 404


def test_a_body_that_is_gone_or_never_came_is_said_to_be():
    ids = bodies(SENT)
    push("/ingest/v1/events", [event(system="silent")], key=agent_key())
    silent = str(Event.objects.get(system__name="silent").id)

    assert "No body came with it." in text_of(page_of([ids[0], silent]))
    Payload.objects.all().delete()
    page = text_of(signed_in("otto", Role.OPERATOR).get(f"/compare/?left={ids[0]}&right={silent}"))
    assert "There is nothing to compare" in page
    assert "older than the retention" in page


def test_five_megabytes_of_a_hundred_thousand_lines_are_answered_with_what_was_left_out():
    lines = [f"{number:045d}" for number in range(60_000)]
    ids = bodies("\n".join(lines), "\n".join(reversed(lines)), content_type="text/plain")

    page = page_of(ids)

    assert page.status_code == 200
    assert "Only the first 1,500 rows are shown." in text_of(page)


def test_headers_are_compared_by_name():
    one, other = (
        stored_letter(**letter(headers=[{"name": "tenant", "type": "string", "value": value}], body="x"))
        for value in ("north", EVIL)
    )

    page = signed_in("olga", Role.OPERATOR).get(f"/compare/?left={one.pk}&right={other.pk}")

    assert "tenant changed &quot;north&quot;" in text_of(page)
    assert "<img" not in page.content.decode()


def test_the_page_of_a_journey_offers_its_bodies_for_comparison():
    ids = bodies(SENT, GOT, trace_id="ab" * 16)

    html = signed_in("olga", Role.OPERATOR).get(f"/j/{'ab' * 16}").content.decode()

    assert f'<option value="{ids[0]}" selected>' in html
    assert f'<option value="{ids[1]}" selected>' in html
    assert f"/compare/?left={ids[0]}&amp;right={ids[1]}" in html
    steps = ask(f"journeys/{'ab' * 16}", api_key(person("otto", Role.OPERATOR))).json()["steps"]
    assert [step["has_body"] for step in steps] == [True, True]
    viewer = signed_in("vera", Role.VIEWER).get(f"/j/{'ab' * 16}").content.decode()
    assert "Bodies on the way" not in viewer
