"""What a group says of one message or all: what came where it fails, what passed there, and how few were tried how often. On the real PostgreSQL."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from console.identity.models import Team
from messages.groups import few, refresh
from messages.groups.refresh import refresh_groups
from messages.groups.services import merge_groups
from messages.groups.sweep import sweep_groups
from messages.models import FailureGroup, Flow
from tests.factories import ROOT, agent_key, event, push
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


def test_no_document_is_to_be_looked_at_alone_while_letters_wait_that_name_none():
    push_letters(*(timeout(1, id=f"died {times}") for times in range(3)))
    refresh_groups()
    group = FailureGroup.objects.get()
    assert (group.spread, group.spread_words) == ("poison", "One order, 47-1, failed 3 times: look at it alone.")

    push_letters(*(timeout(1, id=f"of nobody {number}", keys={}, body="{}") for number in range(5)))
    refresh_groups()

    group = FailureGroup.objects.get()
    assert (group.letters, group.spread, group.spread_words) == (8, "", "")


def test_no_document_is_to_be_looked_at_alone_while_letters_wait_that_were_not_looked_at(
    monkeypatch: pytest.MonkeyPatch,
):
    push_letters(*(timeout(1, id=f"died {times}") for times in range(4)))
    monkeypatch.setattr(refresh, "MOST_READ", 3)

    refresh_groups()

    group = FailureGroup.objects.get()
    assert (group.capped, group.spread) == (True, "")


def tries(number: int, times: int, **changes: Any) -> list[dict[str, Any]]:
    return [failed_event(number, id=f"try {number} {one} {changes}") | changes for one in range(times)]


def spread_after(*events: dict[str, Any]) -> tuple[str, str]:
    push("/ingest/v1/events", list(events), key=agent_key())
    sweep_groups()
    FailureGroup.objects.update(figures_at=None)
    refresh_groups()
    group = FailureGroup.objects.get()
    return group.spread, group.spread_words


def test_one_message_that_fails_again_and_again_while_others_pass_is_to_be_looked_at_alone():
    """Attempts count as far as they failed at the group's step in the last hours, in whichever flow that readers of the group see."""
    through(40, fails=False)
    told = (
        tries(1, 20)
        + tries(1, 4, system="bridge")
        + tries(1, 2, destination="crm")
        + tries(1, 2, occurred_at=(datetime.now(UTC) - timedelta(hours=9)).isoformat())
    )

    spread = spread_after(*told)

    assert spread == ("poison", "One order, 47-1, failed 22 times, while 40 others passed: look at it alone.")


def test_few_messages_that_fail_again_and_again_are_poison_also_when_they_name_no_document():
    through(40, fails=False)

    one = spread_after(*(event | {"keys": {}} for event in tries(1, 5)))
    three = spread_after(*(event | {"keys": {}} for number in (2, 3) for event in tries(number, 3)))

    assert one == ("poison", "One message failed 5 times, while 40 others passed: look at it alone.")
    assert three == ("poison", "3 messages failed 11 times, while 40 others passed: look at them alone.")


def test_attempts_that_are_too_many_to_count_are_at_least(monkeypatch: pytest.MonkeyPatch):
    through(10, fails=False)
    monkeypatch.setattr(few, "MOST_TIMES", 4)

    assert spread_after(*tries(1, 5))[1].startswith("One order, 47-1, failed at least 4 times, while 10 others")


@pytest.mark.parametrize(
    ("messages", "passes", "kind"),
    [(1, 0, ""), (1, 9, ""), (2, 19, ""), (3, 30, "poison"), (4, 40, "some"), (30, 2, "outage"), (30, 0, "outage")],
)
def test_many_keys_that_fail_or_others_that_do_not_pass_are_no_poison_however_often_they_are_tried(
    messages: int, passes: int, kind: str
):
    through(passes, fails=False) if passes else None

    spread, words = spread_after(*(event for number in range(messages) for event in tries(number, 5)))

    assert spread == kind, words


def test_few_that_still_wait_after_an_outage_are_no_poison():
    through(60, fails=False)
    spread_after(*(event for number in range(20) for event in tries(number, 4)))
    passed = [
        failed_event(number) | {"outcome": "ok", "occurred_at": datetime.now(UTC).isoformat()}
        for number in range(1, 20)
    ]
    for one in passed:
        one.pop("error")

    spread, words = spread_after(*passed)

    assert FailureGroup.objects.get().failed == 1
    assert (spread, words.partition(" at once")[0]) == (
        "some", "25% of what came to erp in the last hours failed this way: 20 of 80, 19 of them passed since, 60 passed",
    )  # fmt: skip


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


def test_few_that_fail_after_the_others_passed_are_the_beginning_of_an_outage_and_no_poison():
    events = [failed_event(number) | {"outcome": "ok"} for number in range(10, 70)]
    for one in events:
        one.pop("error")
    earlier = (datetime.now(UTC) - timedelta(minutes=9)).isoformat()
    push("/ingest/v1/events", [one | {"occurred_at": earlier} for one in events], key=agent_key())

    spread, words = spread_after(*(event for number in range(2) for event in tries(number, 5)))

    assert (spread, words) == ("", "")


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


def test_an_order_that_passed_since_as_another_message_is_not_one_to_be_looked_at_alone():
    through(21, fails=False)
    tries_of_one = [failed_event(1) | {"message_id": f"the order, try {number}"} for number in range(5)]
    at = (datetime.now(UTC) + timedelta(seconds=1)).isoformat()
    passed = failed_event(1, occurred_at=at) | {"message_id": "the order at last", "outcome": "ok"}
    passed.pop("error")

    push("/ingest/v1/events", tries_of_one, key=agent_key())
    before = read_anew()
    push("/ingest/v1/events", [passed], key=agent_key())
    after = read_anew()

    assert (before.spread, before.spread_words) == (
        "poison", "One order, 47-1, failed 5 times, while 21 others passed: look at it alone.",
    )  # fmt: skip
    assert (after.spread, after.spread_words) == (
        "", "One order, 47-1, failed 5 times and has passed since, as another message: what waits may be superseded.",
    )  # fmt: skip


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
