"""What a group says of one message or all: what came where it fails, what passed there, and how few were tried how often. On the real PostgreSQL."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from console.identity.models import Team
from messages.groups import tried
from messages.groups.refresh import refresh_groups
from messages.groups.ruling import NewGroupRule, add_rule
from messages.groups.services import merge_groups
from messages.groups.spread import Tried, spread_of
from messages.groups.sweep import sweep_groups
from messages.models import FailureGroup, Flow
from tests.factories import ROOT, agent_key, environment, event, push
from tests.services.grouping import failed_event, push_letters, timeout

pytestmark = pytest.mark.django_db


def through(count: int, *, fails: bool) -> None:
    """Orders that a broker's bridge processes and hands on, in the same flow, to the ERP, which fails or not."""
    events = []
    for number in range(count):
        hop = {
            "message_id": f"through {fails} {number} long enough",
            "destination": "erp.orders",
            "operation": "process",
        }
        failed = (
            {"outcome": "error", "error": {"type": "ErpTimeout", "message": "no answer", "stack": ""}} if fails else {}
        )
        keys = {"keys": {"order_no": f"48-{number}"}}
        events += [event(**hop, **keys, system="bridge"), event(**hop, **keys, system="erp", **failed)]
    assert push("/ingest/v1/events", events, key=agent_key()).json()["accepted"] == 2 * count


def test_what_passed_is_what_passed_the_station_that_fails():
    through(5, fails=True)
    sweep_groups()
    refresh_groups()

    group = FailureGroup.objects.get()
    assert (group.spread, group.spread_words.split(" in the last")[0]) == ("outage", "Nothing passed erp")


def test_the_share_of_a_cause_is_of_all_that_came_with_what_failed_of_other_causes():
    """40 messages fail of one cause, each tried three times, 10 of another, as letters; 10 pass. 60 came, not 20."""
    timeouts = [failed_event(number, id=f"{number} {times}") for number in range(40) for times in range(3)]
    push("/ingest/v1/events", timeouts, key=agent_key())
    sweep_groups()
    refused = {"error": {"type": "ValueError", "message": "vat"}}
    push_letters(*(timeout(number, system="erp", **refused) for number in range(100, 110)))
    through(10, fails=False)

    refresh_groups()

    told = dict(FailureGroup.objects.values_list("error_type", "spread_words"))
    assert [told[one].partition("passed.")[0] for one in ("ErpTimeout", "ValueError")] == [
        "67% of what came to erp in the last hours failed this way: 40 of 60, 10 failed otherwise, 10 ",
        "17% of what came to erp in the last hours failed this way: 10 of 60, 40 failed otherwise, 10 ",
    ]


def estate(count: int, fails: int, **of_queue: Any) -> None:
    """Orders that a shop sends to its exchange and the ERP takes from a queue behind it, where the first of them fail."""
    events = []
    for number in range(count):
        common = {"message_id": f"estate {number} of long enough", "keys": {"order_no": f"49-{number}"}}
        failed = {"outcome": "error", "error": {"type": "ErpTimeout", "message": "no answer", "stack": ""}}
        taken = {"system": "erp", "operation": "process", "destination": "q.orders"} | of_queue
        events += [
            event(**common, destination="ex.orders"),
            event(**common, **taken, **(failed if number < fails else {})),
        ]
    assert push("/ingest/v1/events", events, key=agent_key()).json()["accepted"] == len(events)


def read_anew() -> FailureGroup:
    sweep_groups()
    FailureGroup.objects.update(figures_at=None)
    refresh_groups()
    return FailureGroup.objects.get()


def test_what_passed_is_what_passed_in_the_flows_where_messages_of_the_group_fail():
    estate(40, 4)

    words = read_anew().spread_words

    assert words.startswith("10% of what came to erp in the last hours failed this way: 4 of 40, 36 passed.")


def test_what_passed_in_a_flow_that_readers_of_the_group_may_not_see_is_not_told_and_nothing_is_said_of_it():
    estate(40, 4)
    Flow.objects.filter(name="q.orders").update(team=Team.objects.create(name="Others"))

    group = read_anew()

    assert (group.failed, group.spread, group.spread_words) == (4, "", "")


def test_a_message_that_failed_and_passed_when_it_was_tried_again_came_once():
    fails = [failed_event(number, id=f"first try {number}") for number in range(20)]
    push("/ingest/v1/events", fails, key=agent_key())
    sweep_groups()
    again = [failed_event(number, id=f"second try {number}") | {"outcome": "ok"} for number in range(18)]
    for one in again:
        one.pop("error")

    push("/ingest/v1/events", again, key=agent_key())

    words = read_anew().spread_words
    assert words.startswith(
        "100% of what came to erp in the last hours failed this way: 20 of 20, 18 of them passed since, 0 passed at once."
    )


def test_many_small_groups_take_no_room_from_the_one_that_failed_often(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tried, "MOST_WALKED_IN_ALL", 600)
    fails = [failed_event(number, id=f"first try {number}") for number in range(60)]
    rare = [
        failed_event(100 + number) | {"error": {"type": f"Odd{chr(65 + number)}", "message": "no"}}
        for number in range(20)
    ]
    push("/ingest/v1/events", [*fails, *rare], key=agent_key())
    sweep_groups()
    again = [failed_event(number, id=f"second try {number}") | {"outcome": "ok"} for number in range(58)]
    for one in again:
        one.pop("error")
    push("/ingest/v1/events", again, key=agent_key())

    refresh_groups()
    FailureGroup.objects.update(figures_at=None)
    refresh_groups()

    (words,) = [
        one.spread_words for one in FailureGroup.objects.all() if one.last_seen_at and "60 of 80" in one.spread_words
    ]
    assert words.startswith(
        "75% of what came to erp in the last hours failed this way: 60 of 80, 58 of them passed since, 20 failed otherwise, 0 passed at once."
    )


@pytest.mark.parametrize(
    ("came", "ends"),
    [
        (Tried(failed=52, otherwise=0, passed=30, recovered=30, station="erp"), "Everything failed at first, and some of it passed since."),
        (Tried(failed=40, otherwise=8, passed=24, recovered=20, station="erp"), "Nearly everything failed at first, and some of it passed since."),
        (Tried(failed=40, otherwise=0, passed=30, recovered=20, station="erp"), "It is neither one message alone nor everything."),
    ],
)  # fmt: skip
def test_an_outage_that_is_over_is_not_said_to_have_been_less_than_everything(came: Tried, ends: str):
    assert spread_of({}, came).words.endswith(f"passed at once. {ends}")


def test_of_more_than_was_looked_through_each_number_says_what_it_is_at_least_or_at_most():
    came = Tried(failed=6_000, otherwise=0, passed=5_900, recovered=327, is_most=True, station="k", anywhere=5_900)

    assert spread_of({}, came).words.startswith(
        "At least 52% of what came to k in the last hours failed this way: 6,000 of at most 11,573, at least 327 of them passed since, "
        "at most 5,573 passed at once."
    )


def fan_out(count: int, fails: int) -> None:
    """Orders that go to two subscribers of one flow: the first of them fail at the CRM, and pass the ERP a moment later, some before."""
    now, events = datetime.now(UTC) - timedelta(minutes=1), []
    for number in range(count):
        common = {"message_id": f"fan-out {number} of long enough", "operation": "process", "destination": "orders"}
        failed = {"outcome": "error", "error": {"type": "CrmTimeout", "message": "no answer", "stack": ""}}
        events.append(event(**common, system="crm", occurred_at=now.isoformat(), **(failed if number < fails else {})))
        events.append(
            event(**common, system="erp", occurred_at=(now + timedelta(seconds=1 if number > 9 else -1)).isoformat())
        )
    assert push("/ingest/v1/events", events, key=agent_key()).json()["accepted"] == len(events)


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (40, "Nothing passed crm in the last hours:"),
        (100, "40% of what came to crm in the last hours failed this way: 40 of 100, 60 passed."),
    ],
)
def test_what_passed_elsewhere_did_not_pass_where_it_failed(count: int, words: str):
    fan_out(count, 40)

    assert read_anew().spread_words.startswith(words)


def test_a_whole_knows_the_flows_in_which_its_parts_fail():
    estate(100, 10)
    sweep_groups()
    (old,) = push_letters(timeout(1, origin="ex.orders", failed_at=(datetime.now(UTC) - timedelta(days=6)).isoformat()))
    part = FailureGroup.objects.exclude(pk=old.group_id).get()

    merge_groups(FailureGroup.objects.get(pk=old.group_id), [part], by=ROOT, reason="one cause")
    refresh_groups()

    words = FailureGroup.objects.get(pk=old.group_id).spread_words
    assert words.startswith("10% of what came to erp in the last hours failed this way: 10 of 100, 90 passed.")


def test_nothing_is_said_of_a_flow_in_which_things_are_sent_and_none_are_processed():
    estate(20, 0)
    push_letters(*(timeout(number, origin="ex.orders", system="") for number in range(5)))

    refresh_groups()

    assert set(FailureGroup.objects.values_list("spread", "spread_words")) == {("", "")}


def test_failures_of_other_exchanges_that_reach_the_same_queue_came_there_too():
    for exchange, count, fails in (("ex.a", 13, 3), ("ex.b", 410, 400)):
        events = []
        for number in range(count):
            common = {"message_id": f"{exchange} {number} of long enough"}
            error = {"outcome": "error", "error": {"type": "E", "message": "no answer", "stack": ""}}
            taken = {"system": "erp", "operation": "process", "destination": "q.erp"}
            events += [
                event(**common, destination=exchange),
                event(**common, **taken, **(error if number < fails else {})),
            ]
        assert push("/ingest/v1/events", events, key=agent_key()).json()["accepted"] == len(events)
    sweep_groups()

    refresh_groups()

    said = {words.partition(":")[0] for words in FailureGroup.objects.values_list("spread_words", flat=True)}
    assert said == {
        "Only 20 of 423 passed erp in the last hours; 3 failed this way, 400 otherwise",
        "Only 20 of 423 passed erp in the last hours; 400 failed this way, 3 otherwise",
    }


def test_a_sentence_that_began_empty_is_read_anew_while_letters_of_the_last_hours_wait():
    push_letters(*(timeout(number, system="erp") for number in range(10)))
    refresh_groups()
    assert FailureGroup.objects.get().spread_words == ""
    through(100, fails=False)

    refresh_groups(now=datetime.now(UTC) + timedelta(seconds=31))

    assert FailureGroup.objects.get().spread_words.startswith("9% of what came to erp")


def test_an_outage_with_several_words_for_it_is_one_for_each_of_them():
    failed = [failed_event(number) | {"error": {"type": f"Error{number % 4}", "message": "no"}} for number in range(40)]
    push("/ingest/v1/events", failed, key=agent_key())
    sweep_groups()

    refresh_groups()

    assert set(FailureGroup.objects.values_list("spread", "spread_words")) == {
        ("outage", "Nothing passed erp in the last hours; 10 failed this way, 30 otherwise: the destination or what leads to it is the trouble."),
    }  # fmt: skip


def test_an_outage_that_is_over_is_said_to_be_within_half_a_minute():
    push_letters(*(timeout(number, system="erp") for number in range(10)))
    push("/ingest/v1/events", [failed_event(99)], key=agent_key())
    assert read_anew().spread == "outage"
    through(100, fails=False)

    refresh_groups(now=datetime.now(UTC) + timedelta(seconds=31))

    group = FailureGroup.objects.get()
    assert (group.spread, group.spread_words.partition(" of")[0]) == ("some", "10%")


def test_what_passed_before_it_failed_at_the_same_system_has_not_passed_since():
    """Twenty orders pass the ERP, fail there when they come once more, and pass the bridge in the end; two stand failed."""
    now, events = datetime.now(UTC) - timedelta(minutes=1), []
    for number in range(22):
        common = {
            "message_id": f"there and back {number} long enough",
            "operation": "process",
            "destination": "erp.orders",
        }
        failed = {"outcome": "error", "error": {"type": "ErpTimeout", "message": "no answer", "stack": ""}}
        for at, system, said in ((0, "erp", {}), (1, "erp", failed), (2, "bridge", {}))[: 3 if number < 20 else 2]:
            events.append(event(**common, **said, system=system, occurred_at=(now + timedelta(seconds=at)).isoformat()))
    push("/ingest/v1/events", events, key=agent_key())

    assert "passed since" not in read_anew().spread_words


def test_nothing_is_said_where_some_of_the_other_failures_failed_elsewhere():
    rule = NewGroupRule(name="Of the other exchange", flow="ex.b", parts=("step",))
    add_rule(environment(), rule, by=ROOT)
    error = {"outcome": "error", "error": {"type": "E", "message": "no answer", "stack": ""}}
    events = []
    for exchange, queues in (("ex.a", ["q.erp"]), ("ex.b", ["q.erp", "q.other"])):
        for number in range(8):
            common = {"message_id": f"{exchange} {number} of long enough"}
            taken = {"system": "erp", "operation": "process", "destination": queues[number % len(queues)]}
            events += [event(**common, destination=exchange), event(**common, **taken, **(error if number < 4 else {}))]
    push("/ingest/v1/events", events, key=agent_key())
    sweep_groups()

    refresh_groups()

    said = dict(FailureGroup.objects.values_list("flow__name", "spread_words"))
    assert said["ex.a"] == ""
    assert said["ex.b"].startswith("25% of what came to erp in the last hours failed this way: 4 of 16, 4 failed")


def test_a_merged_cause_is_not_counted_as_another_one():
    through(6, fails=False)
    one, _, other, _ = push_letters(
        *(timeout(number, system="erp") for number in (1, 2)),
        *(timeout(number, system="erp", error={"type": "ValueError", "message": "vat"}) for number in (3, 4)),
    )
    merge_groups(FailureGroup.objects.get(pk=one.group_id), [other.group], by=ROOT, reason="one cause")

    refresh_groups()

    words = FailureGroup.objects.get(pk=one.group_id).spread_words
    assert words.startswith("40% of what came to erp in the last hours failed this way: 4 of 10, 6 passed.")


def test_what_is_said_of_the_last_hours_is_not_said_hours_later():
    push_letters(*(timeout(number) for number in range(5)))
    through(1, fails=False)
    refresh_groups()
    assert FailureGroup.objects.get().spread == "some"

    refresh_groups(now=datetime.now(UTC) + timedelta(hours=5))

    group = FailureGroup.objects.get()
    assert (group.letters, group.spread, group.spread_words) == (5, "", "")
