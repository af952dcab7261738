"""A message that several flows tell of has one row: whoever may not see all of them neither sees nor finds what the others told."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import Any

import pytest
from django.test import Client
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from console.identity.actor import Actor
from console.identity.models import Role, Team, User
from messages.compensation.proposing import _drafted, target_of_message
from messages.groups.refresh import refresh_groups
from messages.groups.sweep import sweep_groups
from messages.models import CompensationBook, Event, FailureGroup, Flow, Message, SavedSearch
from messages.saved.matching import find_matches
from messages.search.keys import known_keys
from messages.search.parse import parse_query
from messages.search.queries import find_events, find_messages
from messages.told import words_for_all
from tests.factories import ROOT, actor, agent_key, api_key, environment, event, person, push, stored_letter
from tests.http.test_access import ask
from tests.http.test_journeys_of_otlp import batch_of_three
from tests.http.test_otlp import export, span
from tests.pages.people import text_of

pytestmark = pytest.mark.django_db
NAME = "a message of two flows"
SECRET = {"payroll_no": "S-1", "order_no": "hidden"}
WORDS = "salary of Ada is negative"
CLOSED = (
    "payroll_no:S-1",
    "payroll_no:*",
    f'error:"{WORDS}"',
    "class:SalaryError",
    '"Ada is negative"',
    "order_no:hidden",
)


def batch(*events: dict[str, Any]) -> None:
    assert (
        push("/ingest/v1/events", [event(message_id=NAME) | one for one in events], key=agent_key()).status_code == 200
    )


def paid(**more: Any) -> dict[str, Any]:
    """Return what the flow of another team tells of it."""
    error = {"type": "hr.SalaryError", "message": WORDS, "stack": ""}
    told = {"destination": "payroll", "system": "hr", "operation": "process", "outcome": "error", "error": error}
    return told | {"keys": SECRET} | more


def owned(*, by: str = "Payroll team") -> tuple[Actor, Actor]:
    """Give the other flow to a team; return (who may not see it, who may)."""
    team, _ = Team.objects.get_or_create(name=by)
    Flow.objects.filter(name="payroll").update(team=team)
    return actor(person("mate", Role.OPERATOR)), actor(person("owner", Role.OPERATOR, team=by))


def found(q: str, who: Actor = ROOT) -> list[Message]:
    return find_messages(who, environments=[environment()], query=parse_query(q)).rows


TOGETHER = [[{"keys": {"order_no": "1"}}, paid()]], [[{"keys": {"order_no": "1"}}], [paid()]]


@pytest.fixture(params=[0, 1], ids=["in one batch", "in two"])
def of_two_flows(request: pytest.FixtureRequest) -> Message:
    for events in TOGETHER[request.param]:
        batch(*events)
    return Message.objects.get()


def test_the_row_says_who_told_of_it_and_of_two_values_of_a_key_its_own_flow_s_counts(of_two_flows: Message):
    payroll = Flow.objects.get(name="payroll")

    assert (of_two_flows.flow.name, of_two_flows.told_by) == ("orders", [payroll.pk])
    assert of_two_flows.keys == {"order_no": "1", "payroll_no": "S-1"}


@pytest.mark.parametrize("parts", list(itertools.permutations(range(3))))
def test_the_row_is_the_same_whatever_order_its_batches_come_in_but_for_whose_it_is(parts: tuple[int, ...]):
    events = [
        {"keys": {"a": "1"}},
        {"destination": "stock", "keys": {"b": "2"}},
        {"destination": "bills", "keys": {"c": "3"}},
    ]
    for part in parts:
        batch(events[part], {"destination": "silent"})
    one = Message.objects.get()
    flows = dict(Flow.objects.values_list("pk", "name"))

    assert one.keys == {"a": "1", "b": "2", "c": "3"}
    assert {one.flow.name, *(flows[pk] for pk in one.told_by or [])} == {"orders", "stock", "bills"}
    assert sorted([one.flow.name, *(flows[pk] for pk in one.also_in or [])]) == ["bills", "orders", "silent", "stock"]
    assert one.flow_id not in (one.told_by or [])


def test_a_flow_that_tells_neither_a_key_nor_an_error_is_not_named():
    batch({"keys": {"order_no": "1"}}, {"destination": "payroll"})
    batch({"destination": "stock"})

    one = Message.objects.get()
    assert one.told_by is None
    assert one.also_in == sorted(Flow.objects.exclude(pk=one.flow_id).values_list("pk", flat=True))


def test_a_dead_letter_of_another_flow_is_told_by_that():
    batch({"keys": {"order_no": "1"}})
    stored_letter(message_id=NAME, origin="payroll", queue="payroll.dlq", keys=SECRET, reason=WORDS, error=None)
    mate, owner = owned()

    assert Message.objects.get().told_by == [Flow.objects.get(name="payroll").pk]
    assert [len(found(q, mate)) for q in ("payroll_no:S-1", "error:negative", "order_no:1")] == [0, 0, 1]
    assert [len(found(q, owner)) for q in ("payroll_no:S-1", "error:negative", "order_no:1")] == [1, 1, 1]
    (seen,), (whole,) = found("order_no:1", mate), found("order_no:1", owner)
    assert (seen.keys, seen.error_message) == ({"order_no": "1"}, None)
    assert (whole.keys["payroll_no"], whole.error_message) == ("S-1", WORDS)


def test_who_may_not_see_the_other_flow_does_not_find_it_by_what_that_told(of_two_flows: Message):
    mate, owner = owned()

    assert {q: len(found(q, mate)) for q in CLOSED} == dict.fromkeys(CLOSED, 0)
    assert {q: len(found(f"NOT {q}", mate)) for q in CLOSED} == dict.fromkeys(CLOSED, 1)
    told = [q for q in CLOSED if q != "order_no:hidden"]  # its own flow's value of that key counts
    assert {q: len(found(q, owner)) for q in told} == {q: len(found(q)) for q in told} == dict.fromkeys(told, 1)
    assert [len(found(q, mate)) for q in ("order_no:1", "status:failed", "order_no:* status:failed", "1")] == [
        1,
        1,
        1,
        1,
    ]


def test_events_are_not_found_by_what_the_other_flow_told(of_two_flows: Message):
    mate, owner = owned()

    def events(q: str, who: Actor) -> int:
        return len(find_events(who, environments=[environment()], query=parse_query(q)).rows)

    assert [events(q, mate) for q in ("payroll_no:S-1", "order_no:1")] == [0, 1]
    assert [events(q, owner) for q in ("payroll_no:S-1", "order_no:1")] == [2, 2]


def test_who_sees_only_the_other_flow_finds_its_events_by_what_it_told_and_not_by_what_the_first_did(
    of_two_flows: Message,
):
    _, owner = owned()
    Flow.objects.filter(name="orders").update(team=Team.objects.create(name="Order desk"))

    def events(q: str) -> int:
        return len(find_events(owner, environments=[environment()], query=parse_query(q)).rows)

    assert [events(q) for q in ("payroll_no:S-1", "order_no:1")] == [1, 0]


def test_nothing_that_shows_the_message_shows_what_the_other_flow_told(of_two_flows: Message):
    mate = person("mate", Role.OPERATOR)
    owned_by_others()
    key, browser, uid = api_key(mate), Client(), of_two_flows.id
    browser.force_login(mate)
    pages = ("/messages/", f"/messages/{uid}/", "/k/order_no/1", f"/m/{NAME.replace(' ', '%20')}")
    rest = ("messages?environment=production", f"messages/{uid}", f"messages/{uid}/journey", "messages?q=order_no:1")

    shown = [text_of(browser.get(path, follow=True)) for path in pages] + [
        ask(path, key).content.decode() for path in rest
    ]
    search = SavedSearch(environment=environment(), of="messages", q="status:failed", window="24h")

    for one in shown:
        assert not [word for word in ("S-1", "SalaryError", "negative", "hidden") if word in one]
    assert "Order 1" not in text_of(browser.get("/k/payroll_no/S-1", follow=True))
    assert "1" in ask(rest[1], key).json()["keys"].values()
    assert [row.title for row in find_matches(actor(mate), search).rows] == ["Order 1"]
    assert "payroll_no" not in known_keys(actor(mate), [environment()])


def test_a_message_that_failed_where_its_reader_may_not_look_says_so_and_one_without_words_that_none_were_reported(
    of_two_flows: Message,
):
    own = "a message of the orders alone"
    batch({"message_id": own, "system": "erp", "operation": "process", "outcome": "error"})
    owned_by_others()
    mate, owner = person("mate", Role.OPERATOR), person("owner", Role.OPERATOR, team="Payroll team")

    def why(who: User, message: Message) -> str:
        browser = Client()
        browser.force_login(who)
        return text_of(browser.get(f"/messages/{message.id}/")).partition("Why it failed")[2][:60]

    assert "it failed in a flow of another team" in why(mate, of_two_flows)
    assert WORDS in why(owner, of_two_flows)
    assert "no error was reported" in why(mate, Message.objects.get(message_id=own))


def owned_by_others() -> None:
    Flow.objects.filter(name="payroll").update(team=Team.objects.create(name="Payroll team"))


@pytest.mark.parametrize("closed", [True, False])
def test_a_group_of_a_flow_does_not_say_what_another_team_s_flow_told(closed: bool):
    batch({"keys": {"order_no": "1"}, "occurred_at": (datetime.now(UTC) - timedelta(minutes=3)).isoformat()})
    batch(paid(keys={"customer_no": "77"}))
    if closed:
        owned_by_others()
    sweep_groups()
    FailureGroup.objects.update(figures_at=None)
    refresh_groups()
    group = FailureGroup.objects.get()

    said = f"{group.title} {group.error_type} {group.message} {group.step}"
    assert [word in said for word in ("salary", "SalaryError", "hr")] == [not closed] * 3
    assert (group.failed, group.customers, group.flow.name) == (1, 0 if closed else 1, "orders")
    assert group.title == ("it failed in a flow of another team" if closed else WORDS)


def test_a_group_of_a_flow_does_not_say_when_another_team_s_flow_failed_again():
    at = datetime.now(UTC) - timedelta(hours=5)
    error = {"type": "Refused", "message": "no", "stack": ""}
    batch({"outcome": "error", "error": error, "occurred_at": at.isoformat()})
    batch(paid(occurred_at=(at + timedelta(hours=4)).isoformat()))
    owned()

    sweep_groups()
    refresh_groups()

    assert FailureGroup.objects.get().last_seen_at == at


def test_a_group_says_what_another_flow_of_its_team_told_though_a_third_team_s_told_too():
    batch({"keys": {"order_no": "1"}, "occurred_at": (datetime.now(UTC) - timedelta(minutes=3)).isoformat()})
    batch({"destination": "stock", "system": "wms", "operation": "process", "keys": {"shelf": "7"}})
    batch(paid(keys={"customer_no": "77"}))
    Flow.objects.filter(name__in=["orders", "payroll"]).update(team=Team.objects.create(name="Order desk"))
    Flow.objects.filter(name="stock").update(team=Team.objects.create(name="Stock"))

    sweep_groups()
    refresh_groups()

    group = FailureGroup.objects.get()
    assert (group.title, group.error_type, group.step) == (WORDS, "hr.SalaryError", "hr")
    assert (group.failed, group.customers, group.documents) == (1, 1, 1)


def test_a_compensation_has_the_keys_that_its_flow_may_know(of_two_flows: Message):
    book = CompensationBook(flow=of_two_flows.flow)

    def keys() -> dict[str, str]:
        return _drafted(target_of_message(of_two_flows), of_two_flows.flow, book, by=ROOT, plan_id=None).keys

    assert keys() == {"order_no": "1", "payroll_no": "S-1"}  # no team: whoever sees the one sees the other
    owned_by_others()
    assert keys() == {"order_no": "1"}


def test_messages_from_before_are_told_apart_by_the_migration(of_two_flows: Message):
    batch({"message_id": "of one flow", "keys": {"order_no": "2"}}, {"message_id": "of one flow"})
    Message.objects.update(told_by=None)

    import_module("messages.migrations.0046_told_by_before").fill()

    told = dict(Message.objects.values_list("message_id", "told_by"))
    assert told == {NAME: of_two_flows.told_by, "of one flow": None}


def test_of_several_messages_each_is_told_by_its_own_flow_alone():
    batch({"keys": {"order_no": "1"}})
    batch(paid())
    back = {"message_id": "the way back of a message"}
    batch(paid(**back))
    batch({**back, "keys": {"order_no": "2"}})
    owned_by_others()
    Flow.objects.filter(name="orders").update(team=Team.objects.create(name="Order desk"))

    words = {pk: one.keys for pk, one in words_for_all(list(Message.objects.all())).items()}

    there, again = (
        Message.objects.get(message_id=NAME).id,
        Message.objects.get(message_id="the way back of a message").id,
    )
    assert words == {there: {"order_no": "1"}, again: SECRET}


def test_of_two_values_that_a_reader_may_know_the_own_flow_s_is_shown_whatever_came_last():
    batch({"keys": {"order_no": "1"}})
    batch(paid())
    batch({"destination": "stock", "keys": {"order_no": "9", "sku": "A"}})
    mate, _ = owned()

    (seen,) = found("order_no:1", mate)

    assert seen.keys == {"order_no": "1", "sku": "A"}


def test_the_group_of_another_team_is_neither_told_nor_found():
    batch({"keys": {"order_no": "1"}})
    stored_letter(message_id=NAME, origin="payroll", queue="payroll.dlq", reason=WORDS, error=None)
    mate, owner = owned()
    Flow.objects.filter(name="orders").update(team=None)
    group = Message.objects.get().group
    assert group is not None
    assert group.flow.name == "payroll"

    assert [len(found("group:*", who)) for who in (ROOT, owner, mate)] == [1, 1, 0]
    assert [len(found("NOT group:*", who)) for who in (ROOT, owner, mate)] == [0, 0, 1]
    (seen,), (whole,) = found("order_no:1", mate), found("order_no:1", owner)
    assert (seen.group_id, whole.group_id) == (None, group.pk)
    key = api_key(person("asks", Role.OPERATOR))
    told = Client().get("/api/v1/messages", HTTP_AUTHORIZATION=f"Bearer {key}").json()["results"]
    assert [one["group"] for one in told] == [None]


def test_events_and_times_are_those_of_the_events_that_one_may_see():
    batch({"keys": {"order_no": "1"}})
    at = Message.objects.get().last_seen_at
    for minute in range(1, 4):
        batch(paid(occurred_at=(at + timedelta(minutes=minute)).isoformat()))
    mate, owner = owned()

    (seen,), (whole,) = found("order_no:1", mate), found("order_no:1", owner)

    assert (seen.event_count, whole.event_count) == (1, 4)
    assert (seen.last_seen_at, whole.last_seen_at) == (at, at + timedelta(minutes=3))
    key = api_key(person("asks", Role.OPERATOR))
    (told,) = Client().get("/api/v1/messages", HTTP_AUTHORIZATION=f"Bearer {key}").json()["results"]
    assert (told["event_count"], told["started_at"]) == (1, told["last_seen_at"])


@pytest.mark.parametrize("together", [True, False], ids=["in one batch", "in two"])
def test_events_of_a_hidden_flow_that_tells_neither_a_key_nor_an_error_are_not_counted(together: bool):
    at = datetime.now(UTC) - timedelta(minutes=10)
    own = {"keys": {"order_no": "1"}, "occurred_at": at.isoformat()}
    silent = [{"destination": "payroll", "occurred_at": (at + timedelta(minutes=n)).isoformat()} for n in (1, 2)]
    for events in [[own, *silent]] if together else [[own], silent]:
        batch(*events)
    mate, owner = owned()

    (seen,), (whole,) = found("order_no:1", mate), found("order_no:1", owner)

    assert (seen.event_count, seen.last_seen_at, seen.keys) == (1, at, {"order_no": "1"})
    assert (whole.event_count, whole.last_seen_at) == (3, at + timedelta(minutes=2))
    key = api_key(person("asks", Role.OPERATOR))
    (told,) = Client().get("/api/v1/messages", HTTP_AUTHORIZATION=f"Bearer {key}").json()["results"]
    assert (told["event_count"], told["started_at"]) == (1, told["last_seen_at"])


def test_of_a_message_that_others_passed_too_the_batch_in_which_it_was_taken_is_counted():
    batch_of_three()
    first = Message.objects.order_by("id")[0]
    sent = Event.objects.get(message_uid=first.id)
    assert sent.trace_id is not None
    request = ExportTraceServiceRequest()
    silent = span(
        request, service="hr", kind=5, links=[(sent.trace_id.bytes, bytes.fromhex(sent.span_id))], messaging__system="kafka",
        messaging__destination__name="payroll", messaging__operation__type="receive",
    )  # fmt: skip
    silent.end_time_unix_nano = silent.start_time_unix_nano = int(first.last_seen_at.timestamp() + 60) * 10**9
    assert export(request, agent_key()).status_code == 200
    mate, owner = owned()

    def told(who: Actor) -> list[tuple[int, datetime, datetime]]:
        rows = [row for row in found("*", who) if row.pk == first.pk]
        return [(row.event_count, row.began_at, row.last_seen_at) for row in rows]

    assert [count for count, *_ in told(owner)] == [3]
    assert told(mate) == [(2, first.began_at, first.last_seen_at)]
