"""What a group says of its failures: whom they touch, their share, its title, whether it grows. On the real PostgreSQL."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from console.audit.models import AuditEntry
from console.identity.models import Team
from messages.groups import few, refresh, standing
from messages.groups.present import reach_said
from messages.groups.queries import count_failing
from messages.groups.refresh import refresh_groups
from messages.groups.services import change_state, merge_groups, take_apart
from messages.groups.sweep import sweep_groups
from messages.models import DeadLetter, FailureGroup, Flow, GroupHour, Message
from tests.factories import ROOT, agent_key, environment, event, push
from tests.services.grouping import failed_event, push_letters, timeout

pytestmark = pytest.mark.django_db


def test_the_figures_follow_what_waits_and_whom_it_touches():
    letters = push_letters(*(timeout(number) for number in range(4)))
    push("/ingest/v1/events", [failed_event(9)], key=agent_key())
    sweep_groups()
    DeadLetter.objects.filter(pk=letters[0].pk).update(state="replaying", keys={**letters[0].keys, "amount": "12,500"})

    refresh_groups()
    group = FailureGroup.objects.get()
    assert (group.amounts_partial, reach_said(group)) == (True, "5 orders of 2 customers, at least 30")
    assert (group.letters, group.replaying, group.failed, group.customers, group.documents, group.word, group.amounts) == (
        4, 1, 1, 2, 5, "order", {"": "30"},
    )  # fmt: skip
    assert group.oldest_at == min(one.failed_at for one in [*letters, *Message.objects.exclude(failed_at=None)])
    assert refresh_groups(now=datetime.now(UTC) + timedelta(seconds=1)) == 0

    DeadLetter.objects.update(state="closed", resolution="discarded", closed_at=datetime.now(UTC))
    Message.objects.update(status=1)
    refresh_groups(now=datetime.now(UTC) + timedelta(minutes=1))

    group = FailureGroup.objects.get()
    assert (group.waiting, group.blast, group.oldest_at, group.spread_words, group.title) == (
        0, 0, None, "", "erp did not answer order … in 30 s",
    )  # fmt: skip


def test_what_failed_earlier_and_comes_later_makes_its_group_older():
    now = datetime.now(UTC)
    push_letters(timeout(1, failed_at=now.isoformat()))
    push_letters(timeout(2, failed_at=(now - timedelta(hours=3)).isoformat()))

    refresh_groups()
    assert FailureGroup.objects.get().first_seen_at == now - timedelta(hours=3)
    push("/ingest/v1/events", [failed_event(3, occurred_at=(now - timedelta(hours=5)).isoformat())], key=agent_key())
    sweep_groups()

    assert FailureGroup.objects.get().first_seen_at == now - timedelta(hours=5)


def fail_and_pass_again(count: int, *, passed: int, sent: datetime) -> None:
    """Messages that fail for one reason; the newest pass when they are tried again."""
    events = [
        failed_event(number, occurred_at=(sent + timedelta(seconds=number)).isoformat()) for number in range(count)
    ]
    push("/ingest/v1/events", events, key=agent_key())
    sweep_groups()
    refresh_groups()
    later = [one | {"outcome": "ok", "occurred_at": datetime.now(UTC).isoformat()} for one in events[count - passed :]]
    for one in later:
        one.pop("error")
        one["id"] = f"again {one['message_id']}"
    assert push("/ingest/v1/events", later, key=agent_key()).json()["accepted"] == passed


@pytest.mark.parametrize("page", [2, 3, 6, 10])
def test_messages_that_failed_count_though_many_newer_ones_of_their_cause_were_delivered_after_all(
    monkeypatch: pytest.MonkeyPatch, page: int
):
    now = datetime.now(UTC)
    fail_and_pass_again(10, passed=6, sent=now - timedelta(hours=2))
    monkeypatch.setattr(standing, "MOST_WALKED", page)

    refresh_groups(now=now + timedelta(minutes=1))

    group = FailureGroup.objects.get()
    assert (group.failed, group.documents, group.capped) == (4, 4, False)


def test_a_cause_that_is_too_large_to_look_through_does_not_leave_the_list_as_though_nothing_waited(
    monkeypatch: pytest.MonkeyPatch,
):
    """Until nothing is counted of the last day: then nothing of it can stand any more that failed once."""
    now = datetime.now(UTC)
    fail_and_pass_again(10, passed=8, sent=now - timedelta(hours=2))
    monkeypatch.setattr(standing, "MOST_WALKED", 3)
    monkeypatch.setattr(standing, "MOST_PAGES", 1)

    def said(after: timedelta) -> tuple[int, bool, int, str, int]:
        refresh_groups(now=now + after)
        group = FailureGroup.objects.get()
        return group.failed, group.capped, group.blast, reach_said(group), count_failing(ROOT, environment())

    few = said(timedelta(minutes=1))
    monkeypatch.setattr(standing, "MOST_PAGES", 2)
    enough = said(timedelta(minutes=2))
    monkeypatch.setattr(standing, "MOST_PAGES", 1)
    later = said(timedelta(hours=26))

    unknown = "more failed than was looked through, and some of it may wait"
    assert few == (0, True, 1, unknown, 1)
    assert enough == (1, True, 1_000_001_000_001, "at least 1 order", 1)
    assert later == (0, True, 0, "nothing waits", 0)


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


def test_a_whole_was_seen_first_and_last_when_its_parts_were_and_what_is_left_when_its_own_failures_were():
    now = datetime.now(UTC)

    def ago(hours: int) -> datetime:
        return now - timedelta(hours=hours)

    def failed(number: int, kind: str, hours: int) -> FailureGroup:
        error = {"type": kind, "message": kind}
        (one,) = push_letters(timeout(number, error=error, failed_at=ago(hours).isoformat()))
        return FailureGroup.objects.get(pk=one.group_id)

    def seen(group: FailureGroup) -> tuple[datetime, datetime]:
        refresh_groups()
        group.refresh_from_db()
        return group.first_seen_at, group.last_seen_at

    whole, old, new = failed(1, "Whole", 5), failed(2, "Old", 50), failed(3, "New", 2)
    DeadLetter.objects.update(state="closed", resolution="discarded", closed_at=now)
    merge_groups(whole, [old, new], by=ROOT, reason="one cause")
    assert (seen(whole), seen(old), seen(new)) == ((ago(50), ago(2)), (ago(50), ago(50)), (ago(2), ago(2)))

    take_apart(old, by=ROOT, reason="another cause")
    of_whole = ago(5).replace(minute=0, second=0, microsecond=0)
    assert (seen(whole), seen(old)) == ((of_whole, ago(2)), (ago(50), ago(50)))
    take_apart(new, by=ROOT, reason="another cause")

    assert (seen(whole), seen(new)) == ((of_whole, of_whole), (ago(2), ago(2)))


@pytest.mark.parametrize("is_apart", [False, True])
def test_a_merge_and_a_taking_apart_while_figures_are_read_are_not_lost_though_none_were_read_before(
    is_apart: bool, monkeypatch: pytest.MonkeyPatch
):
    now = datetime.now(UTC)
    days_ago = now - timedelta(days=3)
    (whole,) = push_letters(timeout(1, failed_at=now.isoformat()))
    (part,) = push_letters(timeout(2, failed_at=days_ago.isoformat(), error={"type": "V", "message": "v"}))
    DeadLetter.objects.update(state="closed", resolution="discarded", closed_at=now)
    refresh_groups()

    def group(pk: int | None) -> FailureGroup:
        return FailureGroup.objects.get(pk=pk)

    def merge() -> None:
        merge_groups(group(whole.group_id), [group(part.group_id)], by=ROOT, reason="one cause")

    if is_apart:
        merge()
        refresh_groups()
    FailureGroup.objects.update(figures_at=None)
    read = refresh.hours_of

    def meanwhile(*args: Any, **kwargs: Any) -> Any:
        monkeypatch.setattr(refresh, "hours_of", read)
        take_apart(group(part.group_id), by=ROOT, reason="another") if is_apart else merge()
        return read(*args, **kwargs)

    monkeypatch.setattr(refresh, "hours_of", meanwhile)
    refresh_groups()
    refresh_groups()

    assert (group(whole.group_id).first_seen_at > now - timedelta(days=1)) == is_apart


def test_a_part_that_failed_while_another_spoke_for_it_was_last_seen_then():
    now = datetime.now(UTC)
    [one], [other] = push_letters(timeout(1)), push_letters(timeout(2, error={"type": "ValueError", "message": "vat"}))
    whole, part = FailureGroup.objects.get(pk=one.group_id), FailureGroup.objects.get(pk=other.group_id)
    FailureGroup.objects.update(first_seen_at=now - timedelta(hours=9), last_seen_at=now - timedelta(hours=9))
    GroupHour.objects.update(hour=(now - timedelta(hours=9)).replace(minute=0, second=0, microsecond=0))
    DeadLetter.objects.update(state="closed", resolution="discarded", closed_at=now)
    merge_groups(whole, [part], by=ROOT, reason="one cause")
    again = failed_event(3, occurred_at=now.isoformat()) | {"error": {"type": "ValueError", "message": "vat"}}
    push("/ingest/v1/events", [again], key=agent_key())
    sweep_groups()
    part.refresh_from_db()

    take_apart(part, by=ROOT, reason="two causes")

    part.refresh_from_db()
    whole.refresh_from_db()
    this_hour = now.replace(minute=0, second=0, microsecond=0)
    assert part.last_seen_at == this_hour
    assert whole.last_seen_at < this_hour - timedelta(hours=8)


def test_what_is_said_of_the_last_hours_is_not_said_hours_later():
    push_letters(*(timeout(number) for number in range(5)))
    through(1, fails=False)
    refresh_groups()
    assert FailureGroup.objects.get().spread == "some"

    refresh_groups(now=datetime.now(UTC) + timedelta(hours=5))

    group = FailureGroup.objects.get()
    assert (group.letters, group.spread, group.spread_words) == (5, "", "")


def test_a_title_keeps_the_values_that_all_of_them_share():
    push_letters(timeout(1, error={"type": "E", "message": "erp:8443 did not answer in 30 s"}))
    push_letters(timeout(2, error={"type": "E", "message": "erp:8443 did not answer in 30 s"}))
    refresh_groups()
    assert FailureGroup.objects.get().title == "erp:8443 did not answer in 30 s"

    push_letters(timeout(3, error={"type": "E", "message": "erp:8444 did not answer in 30 s"}))
    refresh_groups()

    assert FailureGroup.objects.get().title == "… did not answer in 30 s"


def test_a_group_that_grows_escalates_even_when_somebody_took_it_and_calms_when_nothing_comes():
    now = datetime.now(UTC)
    push_letters(*(timeout(number) for number in range(12)))
    FailureGroup.objects.update(first_seen_at=now - timedelta(hours=9), state="acknowledged")
    GroupHour.objects.update(hour=now.replace(minute=0, second=0, microsecond=0))

    refresh_groups()
    assert FailureGroup.objects.get().state == "escalating"
    refresh_groups(now=now + timedelta(hours=4))

    assert FailureGroup.objects.get().state == "open"
    assert list(AuditEntry.objects.filter(object_kind="failuregroup").order_by("id").values_list("action", flat=True)) == [
        "group.escalated", "group.calmed",
    ]  # fmt: skip


def test_who_takes_a_group_that_escalated_keeps_it_until_its_failures_have_doubled():
    now = datetime.now(UTC)
    push_letters(*(timeout(number) for number in range(12)))
    FailureGroup.objects.update(first_seen_at=now - timedelta(hours=9))
    GroupHour.objects.update(hour=now.replace(minute=0, second=0, microsecond=0))
    refresh_groups()
    group = FailureGroup.objects.get()
    assert change_state(group, "acknowledge", by=ROOT).state == "acknowledged"

    for more, state in ((1, "acknowledged"), (12, "escalating")):
        push_letters(*(timeout(100 * more + number) for number in range(more)))
        refresh_groups()
        assert FailureGroup.objects.get().state == state
