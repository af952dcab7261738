"""Where else than in lists of messages something is told that only another team's flow said: reconciliations, compensations, groups, mails."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from console.identity.actor import Actor
from console.identity.models import Role
from messages.compensation.proposing import propose, target_of_message
from messages.compensation.services import start
from messages.groups.sweep import sweep_groups
from messages.models import FailureGroup, Flow, Message, Reconciliation, SavedSearch
from messages.saved.matching import find_matches
from messages.search.elastic import reading
from messages.search.parse import parse_query
from messages.search.queries import find_messages
from messages.told import get_message
from tests.compensation.orders import saved
from tests.factories import ROOT, actor, agent_key, environment, event, memory_connection, person, push, stored_letter
from tests.services.reconciling import compared, keys_in
from tests.services.test_told import NAME, WORDS, owned, paid

pytestmark = pytest.mark.django_db


def batch(*events: dict[str, Any]) -> None:
    assert (
        push("/ingest/v1/events", [event(message_id=NAME) | one for one in events], key=agent_key()).status_code == 200
    )


def found(q: str, who: Actor = ROOT) -> int:
    return len(find_messages(who, environments=[environment()], query=parse_query(q)).rows)


# its own flow's value counts ----------------------------------------------------------------------------------------------


def test_a_batch_of_two_flows_does_not_take_the_value_that_its_own_flow_told_before():
    batch({"keys": {"order_no": "1"}})
    batch({"operation": "receive"}, paid(keys={"order_no": "hidden"}))
    mate, _ = owned()

    assert Message.objects.get().keys == {"order_no": "1"}
    assert found("order_no:1", mate) == 1


def test_the_failure_that_its_own_flow_told_first_is_shown_and_found_whatever_another_told_before():
    failed = {"operation": "process", "outcome": "error"}
    batch({"keys": {"order_no": "1"}})
    batch(paid())
    batch(failed | {"error": {"type": "ErpTimeout", "message": "erp is away", "stack": ""}})
    batch(
        failed | {"error": {"type": "E", "message": "later", "stack": ""}, "occurred_at": datetime.now(UTC).isoformat()}
    )
    mate, owner = owned()

    assert get_message(mate, Message.objects.get().id).error_message == "erp is away"
    for who in (mate, owner, ROOT):
        assert [found(q, who) for q in ("error:away", "class:ErpTimeout", "error:later")] == [1, 1, 0]


# reconciliations ----------------------------------------------------------------------------------------------------------


def of_payroll(by: Actor, text: str) -> Reconciliation:
    return compared(text, key_name="payroll_no", of=Flow.objects.get(name="orders"), by=by)


def test_a_reconciliation_of_a_flow_knows_no_key_that_another_team_s_flow_told():
    batch({"keys": {"order_no": "1"}})
    batch(paid())
    mate, _ = owned()

    one = of_payroll(mate, "S-1\n")

    assert (one.never, one.unlisted, keys_in(one, "not-on-the-list")) == (1, 0, [])
    assert compared("1\n", by=mate).failed == 1


def test_a_reconciliation_knows_the_keys_of_flows_that_whoever_sees_its_flow_sees():
    batch({"keys": {"order_no": "1"}})
    batch(paid())

    assert of_payroll(actor(person("mate", Role.OPERATOR)), "S-1\n").never == 0


# compensations ------------------------------------------------------------------------------------------------------------

BOOK = """
steps:
  - name: payment
    title: payment taken
    happened: {system: shop, destination: orders}
    undo:
      title: refund
      message: {destination: refunds}
      connection: redis
      body: "{payroll}"
      inputs:
        payroll: {key: payroll_no, from: message}
"""


def test_what_is_undone_is_the_same_whoever_proposes_it():
    memory_connection()
    batch({"keys": {"order_no": "1"}, "operation": "process", "outcome": "ok"})
    batch(paid())
    mate, _ = owned()
    flow = Flow.objects.get(name="orders")
    saved(flow, BOOK)

    run = propose(target_of_message(get_message(mate, Message.objects.get().id)), by=mate, reason="tests")

    assert [step.problem for step in run.steps.all()] == [""]
    assert run.keys == {"order_no": "1"}
    start(run, by=mate)


# groups -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("closed", [True, False])
def test_a_letter_that_says_nothing_of_its_error_joins_no_group_of_another_team_s_flow(closed: bool):
    batch({"outcome": "error", "operation": "process", "error": {"type": "E", "message": "stock is away", "stack": ""}})
    Message.objects.update(failed_at=Message.objects.get().last_seen_at)
    sweep_groups()
    if closed:
        batch({"message_id": "other", "destination": "payroll"})
        owned()

    letter = stored_letter(message_id=NAME, origin="payroll", queue="payroll.dlq", reason="Ada", error=None)

    group = FailureGroup.objects.get(pk=letter.group_id)
    assert (group.flow.name == "payroll") is closed


# mails --------------------------------------------------------------------------------------------------------------------


def test_a_mail_names_the_flows_that_told_what_it_says():
    batch({"keys": {"order_no": "1"}})
    batch(paid())
    mate, owner = owned()
    search = SavedSearch(environment=environment(), of="messages", q="status:failed", window="24h")
    orders, payroll = (Flow.objects.get(name=name).pk for name in ("orders", "payroll"))

    assert find_matches(mate, search).flows == (orders,)
    assert find_matches(owner, search).flows == tuple(sorted((orders, payroll)))


# Elasticsearch ------------------------------------------------------------------------------------------------------------


def test_a_document_has_every_flow_that_told_something_however_much_another_told(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(reading, "MOST_TOLD", 3)
    batch(*({"keys": {"order_no": str(number)}} for number in range(9)))
    batch(paid(), {"destination": "silent"})
    one = Message.objects.get()

    (row,) = reading.read_messages(environment().pk, [one.id], one.first_seen_on, one.first_seen_on, frozenset())

    names = dict(Flow.objects.values_list("pk", "name"))
    assert {names[told.flow] for told in row.told} == {"orders", "payroll"}


# how it is asked ----------------------------------------------------------------------------------------------------------


def test_a_search_plans_nothing_for_events_and_asks_those_of_a_message_s_days_alone():
    """As a subquery it had the events of every day planned, 6 ms of a search of 2."""
    batch({"keys": {"order_no": "1"}})
    batch(paid())
    mate, _ = owned()

    with CaptureQueriesContext(connection) as queries:
        assert found("error:salary", mate) == found("payroll_no:S-1", mate) == 0

    asked = [one["sql"] for one in queries if 'FROM "messaging_message"' in one["sql"]]
    assert asked
    assert not [sql for sql in asked if "messaging_event" in sql or "messaging_deadletter" in sql]
    one, flows = Message.objects.get(), [Flow.objects.get(name="payroll").pk]
    with connection.cursor() as cursor:
        for days, said in ((0, WORDS), (2, "")):
            began = one.first_seen_at + timedelta(days=days) - timedelta(hours=1)
            cursor.execute(
                "SELECT messaging_errors_told(%s, %s, %s, %s)", [one.id, began, began + timedelta(days=1), flows]
            )
            told = cursor.fetchone()[0]
            assert (said in told, bool(told)) == (True, bool(said))
