"""Edits of a plan: who may set them, what they void, how they lie in the row, and what is sent."""

from __future__ import annotations

import base64
import gzip
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from console.audit.models import AuditEntry
from console.core.errors import Forbidden, Invalid, NotFound
from console.identity.models import Role
from messages.catalog.connections import approve_connection, create_connection
from messages.connectors import memory
from messages.models import DataKey, DeadLetter, Plan, Replay, Schema
from messages.payloads.queries import stored_content
from messages.payloads.seal import PayloadUnreadable
from messages.plans.checksum import check_checksum
from messages.plans.editing import NotApproved, plan_of_one, set_destination, set_edits
from messages.plans.edits import BadEdits, Edits, parse_edits
from messages.plans.preview import preview_edits, sample_of
from messages.plans.queries import counts_of, total_of
from messages.plans.sealed import opened_edits
from messages.plans.sent_edits import sending_runner
from messages.plans.services import PlanState, approve_plan, request_approval, start_plan
from messages.replay.sending import send_due
from messages.retention.rows_of_their_own import can_destroy_key
from messages.schemas.services import NewSchema, add_schema
from tests.factories import ROOT, actor, environment, memory_connection, person, stored_letter
from tests.plans.test_plans import FAST, begin, letters, plan_of, run
from tests.services.test_masking import rule

pytestmark = pytest.mark.django_db


@pytest.fixture
def line():
    return memory_connection()


def edits(*steps: dict[str, Any]) -> Edits:
    return parse_edits(json.dumps(steps).encode())


SECRET = "DE811193231"
MENDED = edits(
    {"kind": "jq", "program": f'.vat = "{SECRET}"'}, {"kind": "set_header", "name": "x-mended", "value": "1"}
)


def test_what_is_sent_is_edited_and_what_is_stored_is_not(line):
    chosen = letters(3)
    plan = set_edits(plan_of(chosen), MENDED, by=ROOT)
    begin(plan)
    run(plan, line)

    sent = memory.QUEUES[line.address]["erp.orders"]
    first = stored_content(plan.environment_id, chosen[0].pk, chosen[0].payload_on)

    assert total_of(counts_of(plan)) == {"confirmed": 3}
    assert [json.loads(one.body)["vat"] for one in sent] == [SECRET] * 3
    marks = [{header.name: header.value for header in one.headers} for one in sent]
    assert {(one["x-mended"], one["replay-edited"]) for one in marks} == {("1", plan.edits_sha256[:16])}
    assert b"vat" not in first.body
    sending_runner().close()


def test_a_message_that_the_edits_do_not_fit_is_refused_in_words_without_its_values(line):
    stored_letter(body="not JSON")
    plan = set_edits(plan_of(DeadLetter.objects.all()), MENDED, by=ROOT)
    begin(plan)
    send_due(line.pk)

    replay = Replay.objects.get(plan=plan)

    assert (replay.state, replay.detail) == ("refused", "step 1 (jq): its body is not JSON")
    assert DeadLetter.objects.get().state == "open"


def test_edits_that_cannot_be_opened_are_not_sent_without(line):
    plan = set_edits(plan_of(letters(1)), MENDED, by=ROOT)
    begin(plan)
    other = set_edits(plan_of([stored_letter()]), MENDED, by=ROOT)
    Plan.objects.filter(pk=plan.pk).update(edits=other.edits)
    send_due(line.pk)
    assert Replay.objects.get(plan=plan).detail.startswith("this payload cannot be opened")

    Plan.objects.filter(pk=other.pk).update(edits=b"")
    other.refresh_from_db()
    with pytest.raises(PayloadUnreadable, match="are gone"):
        opened_edits(other)


def test_edits_lie_sealed_and_the_audit_list_has_no_value_of_them():
    plan = set_edits(plan_of(letters(1)), MENDED, by=ROOT)

    assert SECRET.encode() not in bytes(plan.edits)
    assert opened_edits(plan) == MENDED
    entry = AuditEntry.objects.get(action="plan.edited")
    assert entry.details["steps"] == ["jq", "set_header"]
    assert SECRET not in json.dumps(entry.details)


def test_the_key_of_edits_stays_until_the_plan_has_ended_long_ago():
    plan = set_edits(plan_of(letters(1)), MENDED, by=ROOT)
    key = DataKey.objects.get(pk=int.from_bytes(bytes(plan.edits)[:8], "big"))
    DeadLetter.objects.update(payload_on=None)
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE messaging_payload")
        kept = can_destroy_key(cursor, key.pk, key.day, [])
        Plan.objects.filter(pk=plan.pk).update(state="cancelled", state_at=datetime.now(UTC) - timedelta(days=31))
        later = can_destroy_key(cursor, key.pk, key.day, [])

    assert (kept, later) == (False, True)


def test_edits_void_an_approval_and_change_the_checksum(line):
    chosen = letters(2)
    chosen[0].flow.approve_above = 0
    chosen[0].flow.save()
    plan = plan_of(chosen)
    request_approval(plan, by=ROOT)
    approve_plan(plan, by=actor(person("second", Role.OPERATOR)), checksum=plan.checksum)
    before = plan.checksum

    plan = set_edits(plan, MENDED, by=ROOT)

    assert (plan.state, plan.approved_at, plan.approved_by, plan.approved_checksum) == ("draft", None, "", "")
    assert plan.checksum != before
    check_checksum(plan)
    assert set_edits(plan, (), by=ROOT).checksum == before
    assert plan.approved_at is None


def test_who_looked_before_it_was_edited_does_not_start_it(line):
    plan = plan_of(letters(2))
    seen = Plan.objects.get(pk=plan.pk)
    set_edits(plan, MENDED, by=ROOT)
    with pytest.raises(PlanState):
        start_plan(seen, by=ROOT)
    assert Plan.objects.get().state == "draft"


def test_a_plan_that_has_started_is_not_changed(line):
    plan = plan_of(letters(2))
    start_plan(plan, by=ROOT, undo_s=60)
    with pytest.raises(PlanState, match="is scheduled: only a draft can be changed"):
        set_edits(plan, MENDED, by=ROOT)
    with pytest.raises(PlanState):
        set_destination(plan, "x", line.pk, by=ROOT)


def test_who_may_not_read_payloads_neither_edits_nor_previews(line):
    plan = plan_of(letters(1))
    viewer, stranger = (
        actor(person("viewer", Role.VIEWER)),
        actor(person("stranger", Role.ADMINISTRATOR, slug="staging")),
    )
    for somebody in (viewer, stranger):
        with pytest.raises(Forbidden):
            set_edits(plan, MENDED, by=somebody)
        with pytest.raises(Forbidden):
            set_destination(plan, "x", line.pk, by=somebody)
        with pytest.raises(Forbidden):
            preview_edits(plan, MENDED, by=somebody)


def test_a_whole_body_is_for_a_plan_of_one():
    one, two = plan_of(letters(1)), plan_of(letters(2))
    whole = edits({"kind": "body", "text": "{}"})
    set_edits(one, whole, by=ROOT)
    with pytest.raises(BadEdits, match="for a plan of one message"):
        set_edits(two, whole, by=ROOT)
    with pytest.raises(BadEdits, match="syntax error"):
        set_edits(two, edits({"kind": "jq", "program": "{"}), by=ROOT)


def test_a_redirected_plan_sends_what_could_not_go_back(line):
    homeless = stored_letter(origin="", broker="unknown")
    plan = plan_of([homeless, *letters(1)])
    assert plan.items_count == 1
    before = plan.checksum

    plan = set_destination(plan, "erp.mended", line.pk, by=ROOT)

    assert (plan.items_count, plan.figures["left_out"], plan.wave_ends) == (2, {}, [1, 2])
    assert plan.checksum != before
    begin(plan)
    run(plan, line)
    assert len(memory.QUEUES[line.address]["erp.mended"]) == 2
    entry = AuditEntry.objects.get(action="plan.redirected")
    assert entry.details["destination"] == "erp.mended"


def test_a_plan_goes_to_approved_connections_of_its_own_environment_only(line):
    plan = plan_of(letters(1))
    raw = create_connection(environment(), name="raw", kind="memory", address="memory://raw", options={}, by=ROOT)
    elsewhere = create_connection(
        environment("staging"), name="redis", kind="memory", address="memory://s", options={}, by=ROOT
    )
    approve_connection(elsewhere, by=ROOT)
    with pytest.raises(NotApproved):
        set_destination(plan, "x", raw.pk, by=ROOT)
    with pytest.raises(Invalid, match="another environment"):
        set_destination(plan, "x", elsewhere.pk, by=ROOT)
    with pytest.raises(Invalid, match="say where to"):
        set_destination(plan, " ", line.pk, by=ROOT)
    with pytest.raises(NotFound):
        set_destination(plan, "x", elsewhere.pk, by=actor(person("op", Role.OPERATOR)))
    moved = set_destination(plan, "x", line.pk, by=ROOT)
    back = set_destination(moved, "", None, by=ROOT)
    assert (back.destination, back.connection_id, back.items_count) == ("", None, 1)


def test_a_preview_shows_what_changes_and_what_schemas_say(line):
    letters(1)
    letters(1, body=json.dumps({"n": 1}), content_type="application/json")
    letters(1, body="<a/>", content_type="application/xml")
    schema = {"type": "object", "required": ["vat"], "properties": {"vat": {"type": "string"}}}
    add_schema(
        environment(),
        NewSchema(name="Order", format="json", definition=json.dumps(schema), destination="erp.*"),
        by=ROOT,
    )

    shown = preview_edits(plan_of(DeadLetter.objects.all()), MENDED, by=ROOT)

    first = shown[0]
    assert first.rows.added == 1
    assert (first.checked, first.wrong_after) == (["Order"], [])
    assert first.wrong_before == ["Order: $: 'vat' is a required property"]
    assert [(one.path, one.kind) for one in first.headers] == [("x-mended", "added")]
    assert {one.failed for one in shown} == {"", "step 1 (jq): its body is not JSON"}
    assert AuditEntry.objects.filter(action="payload.read").count() == 3
    assert Schema.objects.count() == 1


def test_a_preview_does_not_show_what_masking_hides_when_it_is_read(line):
    packed = base64.b64encode(gzip.compress(json.dumps({"card": SECRET}).encode())).decode()
    stored_letter(body=None, body_base64=packed, content_type="application/json")
    rule("json_path", "$.card")
    plan = plan_of(DeadLetter.objects.all())

    moved = preview_edits(plan, edits({"kind": "jq", "program": ".note = .card"}), by=ROOT)[0]
    failing = preview_edits(plan, edits({"kind": "jq", "program": "error(.card)"}), by=ROOT)[0]

    assert moved.hidden.startswith("values in it are masked")
    assert moved.rows is None
    assert SECRET not in repr((moved, failing))
    assert failing.failed == "step 1 (jq): it cannot be applied to this body"


def test_a_preview_ends_in_time_and_says_what_was_not_tried(line, monkeypatch):
    monkeypatch.setattr("messages.plans.preview.WITHIN_S", 0.0)
    shown = preview_edits(plan_of(letters(2)), MENDED, by=ROOT)
    assert [(one.tried, one.rows) for one in shown] == [(False, None)] * 2


def test_a_window_edits_in_time_and_leaves_the_rest_for_later(line, monkeypatch):
    monkeypatch.setattr("messages.plans.sent_edits.WITHIN_S", -1.0)
    plan = set_edits(plan_of(letters(1)), MENDED, by=ROOT)
    begin(plan)
    send_due(line.pk)
    replay = Replay.objects.get(plan=plan)
    assert (replay.state, replay.detail) == (
        "queued",
        "nothing was sent: the edits of its plan took too long for one window",
    )


def test_the_sample_is_of_every_kind_that_there_is():
    for n in range(30):
        stored_letter(body=json.dumps({"same": n}))
    stored_letter(body="<a/>", content_type="application/xml")
    stored_letter(body="x" * 50_000)
    stored_letter(origin="erp.other")
    stored_letter(error={"type": "Odd", "message": "", "stack": ""})
    stored_letter(body=json.dumps({"other": 1}))
    memory_connection()

    sample = sample_of(plan_of(DeadLetter.objects.all()))

    assert len(sample) == 20
    assert {one.dead_letter.content_type for one in sample} == {"application/json", "application/xml"}
    assert {one.dead_letter.origin for one in sample} == {"erp.orders", "erp.other"}
    assert "Odd" in {one.dead_letter.error_root_type for one in sample}
    assert max(one.dead_letter.size_bytes for one in sample) == 50_000


def test_one_letter_is_edited_by_a_plan_of_its_own(line):
    letter = stored_letter()
    plan = plan_of_one(letter, by=ROOT, reason="the number was missing")
    assert (plan.items_count, plan.wave_ends, plan.state) == (1, [1], "draft")
    with pytest.raises(Forbidden):
        plan_of_one(letter, by=actor(person("viewer", Role.VIEWER)), reason="x")
    assert FAST.steps[-1] == "100%"
