"""Every reason why a dead letter is left out of a plan, each by itself, and that the reasons and their words are complete."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone

from console.identity.models import Role, Team
from messages.groups.services import merge_groups
from messages.groups.sweep import sweep_groups
from messages.models import Connection, DeadLetter, FailureGroup, Flow, Plan, PlanItem, Replay
from messages.plans.advance import advance_plan
from messages.plans.reasons import LEFT_OUT
from messages.plans.selection import Selection
from messages.plans.services import Options, create_plan, start_plan
from messages.replay.services import ReplayNotAllowed, check_replayable, request_replay
from messages.search.parse import parse_query
from messages.search.query import BadQuery
from tests.factories import ROOT, actor, agent_key, environment, event, letter, memory_connection, person, push

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def line():
    return memory_connection()


def one(**changes) -> DeadLetter:
    before = set(DeadLetter.objects.values_list("pk", flat=True))
    answer = push("/ingest/v1/dead-letters", [letter(**changes)], key=agent_key("harvester"))
    assert answer.json()["accepted"] == 1, answer.content
    return DeadLetter.objects.exclude(pk__in=before).get()


def plan_of(chosen, by=ROOT, **options):
    ids = [found.pk for found in chosen]
    return create_plan(
        Selection(source=Plan.Source.TICKED, ids=ids), environment=environment(), by=by, reason="x", options=Options(**options)
    )  # fmt: skip


def set_flow(found: DeadLetter, **values) -> None:
    Flow.objects.filter(pk=found.flow_id).update(**values)


def set_letter(found: DeadLetter, **values) -> None:
    DeadLetter.objects.filter(pk=found.pk).update(**values)


def replayed(found: DeadLetter, state: str = "refused") -> Replay:
    return Replay.objects.create(
        dead_letter=found, environment_id=found.environment_id, connection=Connection.objects.get(name="redis"), destination="x",
        requested_by="me", reason="x", state=state, span_id="0" * 16, finished_at=timezone.now(),
    )  # fmt: skip


def processed_since(found: DeadLetter, **changes) -> None:
    said = {"system": "erp", "operation": "process", "destination": "erp.orders", "message_id": found.message_id}
    answer = push("/ingest/v1/events", [event(**said | changes)], key=agent_key("erp exporter"))
    assert answer.json()["accepted"] == 1, answer.content


# Each makes a letter that one reason alone holds for --------------------------------------------------------------------------


def closed():
    found = one()
    set_letter(found, state="closed", resolution="discarded", closed_at=timezone.now())
    return found


def under_way():
    found = one()
    request_replay(found, by=ROOT, reason="x")
    return found


def in_plan():
    found = one()
    start_plan(plan_of([found]), by=ROOT, at=datetime.now(UTC) + timedelta(hours=1))
    return found


def flow_forbids():
    found = one()
    set_flow(found, replay_allowed=False)
    return found


def processed():
    found = one(failed_at=(timezone.now() - timedelta(hours=1)).isoformat())
    processed_since(found)
    return found


def superseded():
    found = one(failed_at=(timezone.now() - timedelta(hours=1)).isoformat(), keys={"order_no": "17"})
    set_flow(found, supersede_key="order_no")
    processed_since(found, message_id="the newer one", keys={"order_no": "17"})
    return found


def attempt_cap():
    found = one()
    set_flow(found, most_replays=2)
    replayed(found), replayed(found, "withdrawn"), replayed(found)
    return found


def expired():
    found = one(failed_at=(timezone.now() - timedelta(days=3)).isoformat())
    set_flow(found, replay_days=2)
    return found


def no_payload():
    return one(body=None)


def masked():
    found = one()
    set_letter(found, content_masked=True, masked={"1": 1})
    return found


def no_origin():
    found = one()
    set_letter(found, origin="")
    return found


def no_connection():
    return one(broker="elsewhere")


def not_approved():
    found = one()
    Connection.objects.update(approved_at=None, approved_by="")
    return found


SINGLE = [closed, under_way, in_plan, flow_forbids, processed, superseded, attempt_cap, expired, no_payload, masked, no_origin,
          no_connection, not_approved]  # fmt: skip


@pytest.mark.parametrize("make", SINGLE, ids=lambda make: make.__name__)
def test_a_letter_is_left_out_for_this_reason_alone(make):
    found = make()
    plan = plan_of([found])
    assert plan.figures["left_out"] == {make.__name__: 1}
    assert (plan.items_count, plan.sent_flow_ids, plan.flow_ids) == (0, [], [found.flow_id])


def test_every_reason_has_words_and_a_test():
    compensating = {"no_book", "nothing_to_undo", "being_undone", "book_changed", "needs_second", "not_proposed"}
    tested = {make.__name__ for make in SINGLE} | {"not_yours", "not_open"} | compensating
    assert tested == set(LEFT_OUT)


def test_a_letter_that_none_holds_for_is_sent():
    plan = plan_of([one()])
    assert (plan.items_count, plan.figures["left_out"]) == (1, {})


def test_letters_of_a_flow_that_the_author_only_sees_are_left_out_and_those_they_do_not_see_are_not_there():
    mine, seen, hidden = one(origin="mine"), one(origin="seen"), one(origin="hidden")
    teams = {name: Team.objects.create(name=name) for name in ("mine", "seen", "hidden")}
    for found, name in ((mine, "mine"), (seen, "seen"), (hidden, "hidden")):
        set_flow(found, team=teams[name])
    user = person("ada", Role.OPERATOR, team="mine")
    from console.identity.models import Membership

    Membership.objects.create(user=user, team=teams["seen"], environment=environment(), role=Role.VIEWER)

    plan = plan_of([mine, seen, hidden], by=actor(user))

    assert plan.figures["left_out"] == {"not_yours": 1}
    assert plan.figures["selected"] == 2
    assert set(PlanItem.objects.filter(plan=plan).values_list("dead_letter_id", flat=True)) == {mine.pk, seen.pk}
    assert plan.sent_flow_ids == [mine.flow_id]
    assert hidden.flow_id not in plan.flow_ids


def test_a_letter_that_was_closed_meanwhile_is_not_open_when_its_turn_comes():
    found = one()
    plan = plan_of([found], rate_per_s=None)
    start_plan(plan, by=ROOT)
    set_letter(found, state="closed", resolution="discarded", closed_at=timezone.now())
    advance_plan(plan.pk)
    assert PlanItem.objects.get(plan=plan).left_out == "not_open"


@pytest.mark.parametrize(
    ("changes", "left_out"),
    [
        ({}, {"processed": 1}),
        ({"outcome": "error"}, {}),
        ({"operation": "receive"}, {}),
        ({"occurred_at": (datetime.now(UTC) - timedelta(hours=2)).isoformat()}, {}),
        ({"message_id": "another"}, {}),
        ({"system": "warehouse"}, {}),
    ],
    ids=["success", "failed", "only received", "before it died", "another message", "another receiver"],
)
def test_only_a_success_of_the_message_after_its_death_is_processing(changes, left_out):
    found = one(failed_at=(timezone.now() - timedelta(hours=1)).isoformat())
    processed_since(found, **changes)
    assert plan_of([found]).figures["left_out"] == left_out


@pytest.mark.parametrize(
    ("changes", "left_out"),
    [
        ({}, {"superseded": 1}),
        ({"keys": {"order_no": "18"}}, {}),
        ({"keys": {"invoice_no": "17"}}, {}),
        ({"operation": "send"}, {}),
        ({"outcome": "error"}, {}),
        ({"occurred_at": (datetime.now(UTC) - timedelta(hours=2)).isoformat()}, {}),
        ({"destination": "another.flow"}, {}),
    ],
    ids=["newer and processed", "another value", "another key", "only sent", "failed", "older", "another flow"],
)
def test_only_a_newer_processed_message_of_the_same_key_and_flow_supersedes(changes, left_out):
    found = one(failed_at=(timezone.now() - timedelta(hours=1)).isoformat(), keys={"order_no": "17"})
    set_flow(found, supersede_key="order_no")
    processed_since(found, **{"message_id": "the newer one", "keys": {"order_no": "17"}} | changes)
    assert plan_of([found]).figures["left_out"] == left_out


def test_a_message_that_came_before_the_older_one_had_failed_is_newer_all_the_same():
    came, failed = timezone.now() - timedelta(hours=3), timezone.now() - timedelta(hours=1)
    first = event(message_id="the older one", occurred_at=came.isoformat(), destination="erp.orders")
    push("/ingest/v1/events", [first], key=agent_key())
    found = one(message_id="the older one", failed_at=failed.isoformat(), keys={"order_no": "17"})
    set_flow(found, supersede_key="order_no")
    between = (came + timedelta(hours=1)).isoformat()
    processed_since(found, message_id="the newer one", keys={"order_no": "17"}, occurred_at=between)
    assert plan_of([found]).figures["left_out"] == {"superseded": 1}


def test_the_cap_counts_the_replays_of_all_deaths_of_a_message():
    first, second, third = one(), one(), one()
    set_letter(second, previous=first)
    set_letter(third, previous=second)
    replayed(first, "failed_again"), replayed(second, "failed_again")
    set_flow(third, most_replays=3)
    assert plan_of([third]).figures["left_out"] == {}
    check_replayable(DeadLetter.objects.get(pk=third.pk), ROOT)
    set_flow(third, most_replays=2)
    assert plan_of([third]).figures["left_out"] == {"attempt_cap": 1}
    with pytest.raises(ReplayNotAllowed, match=r"replayed 2 times already, and erp.orders allows 2"):
        check_replayable(DeadLetter.objects.get(pk=third.pk), ROOT)


def test_a_single_replay_heeds_a_flow_that_forbids_them():
    found = flow_forbids()
    with pytest.raises(ReplayNotAllowed, match=r"the flow erp.orders forbids replays"):
        request_replay(DeadLetter.objects.get(pk=found.pk), by=ROOT, reason="x")
    assert not Replay.objects.exists()


def test_a_destination_of_its_own_stands_in_for_an_unknown_origin():
    found = no_origin()
    assert plan_of([found], destination="erp.orders").figures["left_out"] == {}


def test_a_draft_of_somebody_else_does_not_hold_a_letter_and_the_first_to_start_has_it():
    found = one()
    first, second = plan_of([found]), plan_of([found])
    assert (first.items_count, second.items_count) == (1, 1)


def test_a_group_is_taken_whole_with_what_was_merged_into_it():
    failed = one()
    other = one(error={"type": "OtherError", "message": "something else", "stack": ""}, reason="something else")
    while sweep_groups():
        pass
    speaks, merged = (
        FailureGroup.objects.get(pk=DeadLetter.objects.get(pk=pk).group_id) for pk in (failed.pk, other.pk)
    )
    assert speaks.pk != merged.pk
    taken = create_plan(
        Selection(source=Plan.Source.GROUP, group=speaks), environment=environment(), by=ROOT, reason="x"
    )
    assert taken.figures["selected"] == 1
    whole = merge_groups(speaks, [merged], by=ROOT, reason="the same")
    taken = create_plan(
        Selection(source=Plan.Source.GROUP, group=whole), environment=environment(), by=ROOT, reason="x"
    )
    assert set(taken.items.values_list("dead_letter_id", flat=True)) == {failed.pk, other.pk}


def test_a_query_that_elasticsearch_alone_can_answer_is_refused_in_words(settings):
    settings.SEARCH_BACKEND = "elasticsearch"
    query = parse_query("payload:4711")
    with pytest.raises(
        BadQuery, match="payload text is searched by Elasticsearch alone, and plans are made by PostgreSQL"
    ) as refused:
        create_plan(
            Selection(source=Plan.Source.QUERY, q="payload:4711", query=query), environment=environment(), by=ROOT, reason="x"
        )  # fmt: skip
    assert refused.value.status == 400  # to try again would be of no use
