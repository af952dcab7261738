"""The state before and after where the payloads tell: on the page, on the journey and over REST, for who may read it, masked and bounded."""

from __future__ import annotations

import json
from typing import Any

import pytest

from console.audit.models import AuditEntry
from console.identity.models import Role, Team
from messages.compensation import before_after
from messages.compensation.before_after import Side, _changes, _of_body, before_and_after
from messages.compensation.execute import work_on
from messages.compensation.sealed import Answered, opened_action, opened_answer
from messages.compensation.sending import answer_of
from messages.compensation.services import retry_step, start
from messages.compensation.settling import masked_answer, masked_words
from messages.connectors.http.answers import published
from messages.ingest import catalog
from messages.masking.services import NewRule, add_masking_rule
from messages.models import Compensation, CompensationStep, Connection, Event, Flow
from messages.payloads.seal import PayloadUnreadable
from tests.compensation.orders import BOOK, proposed, refund_of
from tests.compensation.runs import now_of, passes, step, worked_on
from tests.engines.receiver import Answer, receiving
from tests.factories import ROOT, agent_key, environment, memory_connection
from tests.http.test_rest_administration import Caller
from tests.pages.compensating import body_of, of
from tests.pages.people import signed_in, text_of
from tests.services.test_replay_holds import connected

pytestmark = pytest.mark.django_db
REFUNDED = {"body": json.dumps({"amount": 0, "status": "refunded"}), "content_type": "application/json"}
OVER_HTTP = BOOK.replace(
    "      message: {destination: refunds}\n      connection: redis\n",
    "      http: {path: '/payments/{payment}/refunds'}\n      connection: shop-api\n",
)


@pytest.fixture(autouse=True)
def line(db: None) -> Connection:
    return memory_connection()


def refunded(**changes: Any) -> Compensation:
    """A compensation whose refund is proved by an event with a body."""
    run = worked_on("payment", "stock")
    refund_of(run.dead_letter, payload=REFUNDED, **changes)
    passes(run, 1)
    work_on(run.pk)
    return now_of(run)


def told_of(run: Compensation, name: str = "payment") -> Any:
    return before_and_after(ROOT, [step(run, name)])[step(run, name).pk]


def test_before_what_was_answered_and_after_are_told_and_what_has_another_value_stands_out():
    told = told_of(refunded())

    assert (told.before.text, told.before.label) == ('{"amount": 1284.50}', "payment process payments")
    assert (told.answered.words, told.answered.label, told.answered.body) == ("kept", "attempt 1", None)
    assert json.loads(told.after.text)["status"] == "refunded"
    assert [(one.path, one.left, one.right) for one in told.changes] == [("amount", "1284.50", "0")]
    assert told.both_bodies


def test_page_journey_and_rest_tell_it_to_readers_of_payloads_alone_and_it_is_audited_once():
    run = refunded()
    ops, vic, eve = (Caller("ada", Role.OPERATOR), Caller("vic", Role.VIEWER), Caller("eve", Role.OPERATOR, team="x"))
    Flow.objects.update(team=Team.objects.get(name="Order team"))
    one = f"compensations/{run.reference}/steps/2/before-after"

    for page in [signed_in("olga", Role.OPERATOR)] * 2:
        for address in (of(run), f"/j/{run.trace_id.hex}", f"/dead-letters/{run.dead_letter_id}/"):
            shown = page.get(address)
            assert "amount 1284.50 → 0" in text_of(shown), address
            assert "After: what the proof said" in text_of(shown)
    assert AuditEntry.objects.filter(action="payload.read", object_id=str(run.pk), actor="olga").count() == 1
    blind = signed_in("vera", Role.VIEWER)
    for address in (of(run), f"/j/{run.trace_id.hex}", f"/dead-letters/{run.dead_letter_id}/"):
        assert "1284.50" not in body_of(blind.get(address)), address

    told = ops("get", one).json()
    assert (told["before"]["body"], told["sent"]["title"], told["answered"]["words"]) == ('{"amount": 1284.50}', "refund 1284.50", "kept")  # fmt: skip
    assert told["changes"] == [{"path": "amount", "before": "1284.50", "after": "0"}]
    assert (vic("get", one).status_code, eve("get", one).status_code) == (403, 404)
    assert AuditEntry.objects.filter(action="payload.read", actor__in=["vic", "vera", "eve"]).count() == 0
    assert ops("get", f"compensations/{run.reference}/steps/1/before-after").json()["before"] is None


@pytest.mark.parametrize("expression", ["$.amount", "$..amount", "$.*"])
def test_what_a_later_rule_masks_is_masked_before_and_after_and_in_what_was_answered(expression: str):
    with receiving(Answer(200, b'{"amount": 1284.50}', {"Content-Type": "application/json"})) as api:
        connected(api)
        run = proposed("payment", text=OVER_HTTP)
        start(run, by=ROOT)
        work_on(run.pk)
    add_masking_rule(environment(), NewRule(kind="json_path", expression=expression), by=ROOT)
    catalog._rules.clear()

    told = told_of(run)
    page = signed_in("ops", Role.OPERATOR).get(of(run))

    assert "1284.5" not in told.before.text + told.answered.text + body_of(page)
    assert (told.before.masked, told.answered.masked, told.changes) == (True, True, [])


def test_an_answer_is_masked_before_it_is_stored_and_of_the_last_attempt():
    add_masking_rule(environment(), NewRule(kind="json_path", expression="$.iban"), by=ROOT)
    catalog._rules.clear()
    first = Answer(422, b'{"iban": "DE89"}', {"Content-Type": "application/json"})
    then = Answer(200, b'{"iban": "DE89", "refund": "R-1"}', {"Content-Type": "application/json"})
    with receiving(first, then) as api:
        connected(api)
        run = proposed("payment", text=OVER_HTTP)
        start(run, by=ROOT)
        work_on(run.pk)
        failed = told_of(run)
        retry_step(step(run, "payment"), by=ROOT, reason="the order is there now")
        work_on(run.pk)

    stored = opened_answer(step(run, "payment"), run.environment_id)
    assert (failed.answered.status, failed.answered.label) == (422, "attempt 1")
    assert stored is not None
    assert (stored.status, stored.attempt, stored.body) == (200, 2, b'{"iban":"\xe2\x80\xa2\xe2\x80\xa2\xe2\x80\xa2","refund":"R-1"}')  # fmt: skip


def test_without_an_answer_nothing_is_told_of_one_and_what_came_before_stays():
    with receiving(Answer(500, b"oops")) as api:
        connected(api)
        run = proposed("payment", text=OVER_HTTP.replace("      proof:", "      repeatable: true\n      proof:"))
        start(run, by=ROOT)
        work_on(run.pk)
    passes(run, 3600)
    work_on(run.pk)  # nobody is there now
    told = told_of(run)
    assert (told.answered.status, told.answered.text, told.answered.label) == (500, "oops", "attempt 1")


def test_what_an_event_of_another_flow_said_is_for_its_readers_alone():
    run = refunded()
    paid = step(run, "payment")
    other = Team.objects.create(name="Treasury")
    flow = Event.objects.get(id=paid.event_id).flow
    Flow.objects.filter(pk=run.flow_id).update(team=Team.objects.get_or_create(name="Order team")[0])
    assert flow.pk != run.flow_id
    Flow.objects.filter(pk=flow.pk).update(team=other)

    client = signed_in("ops", Role.OPERATOR)

    assert "1284.50" not in body_of(client.get(of(run)))
    assert "1284.50" not in Caller("ada", Role.OPERATOR)("get", f"compensations/{run.reference}/steps/2/before-after").content.decode()  # fmt: skip


def test_what_a_receiver_repeats_of_another_flow_is_for_its_readers_alone():
    with receiving(Answer(200, b'{"amount": 1284.50}', {"Content-Type": "application/json"})) as api:
        connected(api)
        run = proposed("payment", text=OVER_HTTP)
        start(run, by=ROOT)
        work_on(run.pk)
    flow = Event.objects.get(id=step(run, "payment").event_id).flow
    Flow.objects.filter(pk=run.flow_id).update(team=Team.objects.get_or_create(name="Order team")[0])
    Flow.objects.filter(pk=flow.pk).update(team=Team.objects.create(name="Treasury"))
    assert flow.pk != run.flow_id

    told = Caller("ada", Role.OPERATOR)("get", f"compensations/{run.reference}/steps/1/before-after")

    assert "1284.50" not in body_of(signed_in("ops", Role.OPERATOR).get(of(run))) + told.content.decode()
    assert "it may repeat what was sent" in told.content.decode()
    assert told_of(run).answered.text == '{"amount": 1284.50}'


@pytest.mark.parametrize(
    ("kind", "expression", "kept"),
    [("json_path", "$.iban", 'HTTP 422: {"iban":"•••","why":"locked"}'), ("regex", "DE[0-9]+", 'HTTP 422: {"iban": "•••", "why": "locked"}')],
)  # fmt: skip
def test_the_words_of_a_refusal_that_everybody_sees_are_masked_as_its_body_is(kind: str, expression: str, kept: str):
    add_masking_rule(environment(), NewRule(kind=kind, expression=expression), by=ROOT)
    catalog._rules.clear()
    with receiving(Answer(422, b'{"iban": "DE89", "why": "locked"}', {"Content-Type": "application/json"})) as api:
        connected(api)
        run = proposed("payment", text=OVER_HTTP)
        start(run, by=ROOT)
        work_on(run.pk)

    stuck = now_of(run)
    assert "DE89" not in step(run, "payment").detail + stuck.why + body_of(signed_in("vera", Role.VIEWER).get(of(run)))
    assert step(run, "payment").detail.replace('": "', '":"').replace(", ", ",") == kept.replace('": "', '":"').replace(", ", ",")  # fmt: skip
    assert stuck.state == "stuck"


ANYTHING = [
    b"[" * 65_536, b"{" * 65_536, b'{"a":' * 13_000, b"\x00" * 65_536, b"\xff\xfe" * 32_768, b"9" * 65_536, b'{"a": 1e999999999}',
    b'{"amount": ' + b"9" * 60_000 + b"}", b"<a>" * 21_000, b"<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>", b'{"a": "\\ud800"}', b"",
    b'{"a": 1, "a": 2}', b"\x1f\x8b\x08" + b"\x00" * 100, b'{"amount": "' + "𝕏".encode() * 16_000,
]  # fmt: skip


@pytest.mark.parametrize("masks", [False, True])
@pytest.mark.parametrize("kind", ["application/json", "text/xml", "image/png", "application/json; charset=utf-16", ""])
def test_whatever_a_receiver_answers_its_step_is_marked_and_its_page_is_shown(kind: str, masks: bool):
    if masks:
        add_masking_rule(environment(), NewRule(kind="json_path", expression="$..iban"), by=ROOT)
        add_masking_rule(environment(), NewRule(kind="xpath", expression="//iban"), by=ROOT)
        add_masking_rule(environment(), NewRule(kind="regex", expression="DE[0-9]+"), by=ROOT)
    catalog._rules.clear()
    run = proposed("payment", text=OVER_HTTP.replace("shop-api", "redis"))
    for number, body in enumerate(ANYTHING):
        for status in (200, 422, 500):
            said = answer_of(published("", status, {"Content-Type": kind} if kind else {}, body))
            assert len(masked_words(run.environment_id, said)) <= 1_000
            kept = masked_answer(run.environment_id, said.body, said.content_type)
            sealed = Answered(
                at=run.state_at, attempt=1, words=said.detail, status=status, content_type=kind, body=kept
            )
            side = _of_body(Side(label="", at=run.state_at), sealed.body, kind, 4096)
            assert len(side.text) <= 4096, number
            _changes(Side(label="", at=run.state_at, tree={"amount": 1, "a": 2}), None, side)


def test_large_bodies_are_not_read_for_a_page_and_long_ones_are_cut(monkeypatch: pytest.MonkeyPatch):
    run = refunded()
    monkeypatch.setattr(before_after, "LARGEST_BYTES", 30)
    told = told_of(run)
    assert (told.before.text, told.after.refusal) == ('{"amount": 1284.50}', "it is large: see it at its event")
    monkeypatch.setattr(before_after, "LARGEST_BYTES", 10_000)
    monkeypatch.setattr(before_after, "MOST_BYTES", 30)
    assert told_of(run).after.refusal == "it is large: see it at its event"
    monkeypatch.setattr(before_after, "MOST_BYTES", 10_000)
    cut = before_and_after(ROOT, [step(run, "payment")], shown_bytes=10)[step(run, "payment").pk]
    assert (cut.before.text, cut.before.cut) == ('{"amount":', True)
    assert cut.changes  # of the whole


def test_an_answer_opens_in_its_own_row_and_as_an_answer_alone():
    run = worked_on("stock", "payment")
    paid, stock = step(run, "payment"), step(run, "stock")
    CompensationStep.objects.filter(pk=stock.pk).update(answer=paid.answer)
    with pytest.raises(PayloadUnreadable):
        opened_answer(step(run, "stock"), run.environment_id)
    assert "cannot be opened" in told_of(run, "stock").answered.refusal
    swapped = step(run, "payment")
    swapped.action = bytes(swapped.action)[:8] + bytes(swapped.answer)
    with pytest.raises(PayloadUnreadable):
        opened_action(swapped, run.environment_id)
    assert agent_key("estate")
