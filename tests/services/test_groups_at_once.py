"""Several agents, sweeps and operators at the same group at once: real transactions, and the guards shown at work."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import connection, connections, transaction

from console.audit.models import AuditEntry
from console.core.errors import ConsoleError
from messages.groups import assign, nameless, services, sweep
from messages.groups.queries import find_groups
from messages.groups.rules import USUAL
from messages.groups.ruling import NewGroupRule, add_rule
from messages.groups.sweep import sweep_groups
from messages.ingest import writer
from messages.models import DeadLetter, FailureGroup, GroupHour, GroupRule, Message
from messages.search.parse import parse_query
from messages.search.queries import find_dead_letters
from tests.factories import ROOT, agent_key, environment, event, letter, push, stored_letter
from tests.services.grouping import failed_event

pytestmark = pytest.mark.usefixtures("committed")


def at_once(*jobs: Callable[[], object]) -> list[object]:
    """Run jobs in threads that begin together; return what each returned or raised."""
    start, results = threading.Barrier(len(jobs)), [None] * len(jobs)  # type: list[object]

    def run(number: int, job: Callable[[], object]) -> None:
        try:
            start.wait(20)
            results[number] = job()
        except ConsoleError as error:
            results[number] = error
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=one) for one in enumerate(jobs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return results


def waits_for_a_lock() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_clear_snapshot()")  # a transaction sees one state of the others
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
        return bool(cursor.fetchone()[0])


def until(condition: Callable[[], bool]) -> None:
    done = threading.Event()
    for _ in range(200):
        if condition():
            return
        done.wait(0.05)
    raise AssertionError("it did not happen within ten seconds")


def one(number: int, **changes: Any) -> dict[str, Any]:
    return letter(error={"type": "ErpTimeout", "message": f"no answer to {number}", "stack": ""}, **changes)


def taken(letters: list[dict[str, Any]], key: str) -> int:
    """Push as an agent does: what is answered with 503, because a lock was not to be had in time, is sent again. Return how many were taken."""
    for _ in range(20):
        answer = push("/ingest/v1/dead-letters", letters, key=key)
        if answer.status_code != 503:
            return int(answer.json()["accepted"])
    raise AssertionError(answer.content)


def total(column: str) -> int:
    return sum(GroupHour.objects.values_list(column, flat=True))


def test_two_agents_that_bring_the_first_letters_of_a_group_make_one():
    keys = [agent_key(f"harvester {number}") for number in range(6)]

    def bring(key: str) -> Callable[[], object]:
        letters = [one(number) for number in range(5)] + [
            letter(error={"type": f"E{n}", "message": "x"}) for n in "abc"
        ]
        return lambda: taken(letters, key)

    assert at_once(*(bring(key) for key in keys)) == [8] * 6

    assert FailureGroup.objects.count() == 4
    assert DeadLetter.objects.filter(group=None).count() == 0
    assert total("letters") == DeadLetter.objects.count() == 48


def held(work: Callable[[], object], meanwhile: Callable[[], object]) -> tuple[bool, list[object]]:
    """Do `work` in an open transaction, start `meanwhile`, and commit once that waits or is done. Returns whether it waited."""
    results: list[object] = []

    def other() -> None:
        try:
            results.append(meanwhile())
        finally:
            connections.close_all()

    thread = threading.Thread(target=other)
    with transaction.atomic():
        work()
        thread.start()
        until(lambda: waits_for_a_lock() or not thread.is_alive())
        waited = thread.is_alive()
    thread.join(30)
    return waited, results


@pytest.mark.parametrize("guarded", [True, False])
def test_a_letter_without_a_message_id_and_its_message_that_is_swept_meanwhile_are_counted_once(
    monkeypatch: pytest.MonkeyPatch, guarded: bool
):
    push("/ingest/v1/events", [failed_event(1)], key=agent_key())
    nameless_letter, key = one(1, message_id="", origin="erp.orders", keys={"order_no": "47-1"}), agent_key("harvester")
    if not guarded:
        monkeypatch.setattr(nameless, "_hold", list)

    waited, _ = held(lambda: push("/ingest/v1/dead-letters", [nameless_letter], key=key), sweep_groups)

    assert (waited, total("letters") + total("messages")) == ((True, 1) if guarded else (False, 2))


def test_who_resolves_waits_for_a_letter_that_is_being_stored_and_resolves_it_too():
    stored_letter(error=one(1)["error"])
    group, key = FailureGroup.objects.get(), agent_key("harvester")

    waited, _ = held(
        lambda: push("/ingest/v1/dead-letters", [one(2)], key=key),
        lambda: services.change_state(FailureGroup.objects.get(pk=group.pk), "resolve", by=ROOT, reason="over"),
    )

    assert waited
    assert FailureGroup.objects.get().state == "resolved"
    assert not AuditEntry.objects.filter(action="group.regressed").exists()


def test_a_letter_that_comes_while_somebody_resolves_waits_and_regresses_the_group():
    stored_letter(error=one(1)["error"])
    group, key = FailureGroup.objects.get(), agent_key("harvester")

    waited, answers = held(
        lambda: services.change_state(group, "resolve", by=ROOT, reason="over"),
        lambda: taken([one(2)], key),
    )

    assert (waited, answers) == (True, [1])
    assert FailureGroup.objects.get().state == "regressed"


def test_without_the_lock_a_letter_would_slip_past_who_resolves(monkeypatch: pytest.MonkeyPatch):
    """The negative control: an update alone neither waits for the letter nor makes it wait."""
    stored_letter(error=one(1)["error"])
    group, key = FailureGroup.objects.get(), agent_key("harvester")

    waited, _ = held(
        lambda: push("/ingest/v1/dead-letters", [one(2)], key=key),
        lambda: FailureGroup.objects.filter(pk=group.pk).update(state="resolved", state_at=datetime.now(UTC)),
    )

    assert not waited


def test_a_letter_whose_group_follows_a_rule_holds_off_no_one_who_says_something_of_the_group():
    """A sweep holds messages and then waits for their group; a letter that held the group and waited for its message would end one of them."""
    stored_letter(error=one(1)["error"])
    group, key = FailureGroup.objects.get(), agent_key("harvester")
    said = NewGroupRule(name="away", error_type="ErpTimeout", parts=USUAL, failure_class="data")
    add_rule(environment(), said, by=ROOT)

    waited, _ = held(
        lambda: push("/ingest/v1/dead-letters", [one(2)], key=key),
        lambda: FailureGroup.objects.filter(pk=group.pk).update(last_seen_at=datetime.now(UTC)),
    )

    assert not waited
    assert FailureGroup.objects.get().failure_class == "data"


def test_letters_that_arrive_while_their_group_is_merged_all_belong_to_the_whole():
    first, second = (
        stored_letter(error=one(1)["error"]),
        stored_letter(error={"type": "Other", "message": "x", "stack": ""}),
    )
    keys = [agent_key(f"harvester {number}") for number in range(4)]
    target, source = FailureGroup.objects.get(pk=second.group_id), FailureGroup.objects.get(pk=first.group_id)

    def bring(key: str) -> Callable[[], object]:
        return lambda: [taken([one(n)], key) for n in range(6)]

    results = at_once(
        *(bring(key) for key in keys), lambda: services.merge_groups(target, [source], by=ROOT, reason="one trouble")
    )

    assert results[:4] == [[1] * 6] * 4
    found = find_dead_letters(
        ROOT, environments=[environment()], query=parse_query(f"group:{target.reference}"), limit=100
    )
    assert len(found.rows) == 26 == total("letters")
    assert [row.pk for row in find_groups(ROOT, environments=[environment()]).rows] == [target.pk]


def test_of_two_operators_who_acknowledge_one_is_told_that_the_other_was_faster():
    stored_letter(error=one(1)["error"])
    group = FailureGroup.objects.get()

    results = at_once(*[lambda: services.change_state(group, "acknowledge", by=ROOT)] * 2)

    assert sorted(type(result).__name__ for result in results) == ["FailureGroup", "GroupState"]
    assert AuditEntry.objects.filter(action="group.acknowledged").count() == 1


def test_two_groups_merged_into_each_other_at_once_leave_one():
    pks = [stored_letter(error={"type": kind, "message": "x", "stack": ""}).group_id for kind in ("A", "B")]
    a, b = FailureGroup.objects.get(pk=pks[0]), FailureGroup.objects.get(pk=pks[1])

    results = at_once(
        lambda: services.merge_groups(a, [b], by=ROOT, reason="x"),
        lambda: services.merge_groups(b, [a], by=ROOT, reason="x"),
    )

    assert sorted(type(result).__name__ for result in results) == ["FailureGroup", "GroupState"]
    assert FailureGroup.objects.filter(merged_into=None).count() == 1


@pytest.mark.parametrize("guarded", [True, False])
def test_two_sweeps_at_once_count_each_message_once(guarded: bool, monkeypatch: pytest.MonkeyPatch):
    """Also without the advisory lock, which only spares work: the update takes what has no group, and counts what it took."""
    events = [
        event(
            system="erp",
            operation="process",
            outcome="error",
            error={"type": "E", "message": "no", "stack": ""},
            destination="x",
        )
        for _ in range(120)
    ]
    push("/ingest/v1/events", events, key=agent_key())
    if not guarded:
        monkeypatch.setattr(sweep, "LOCK", None)
        real = sweep._until_done

        def unguarded(chunk: Callable[[datetime], int], most: int) -> int:
            with transaction.atomic():
                return chunk(datetime.now(UTC))

        assert real is not unguarded
        monkeypatch.setattr(sweep, "_until_done", unguarded)

    at_once(sweep_groups, sweep_groups, sweep_groups)
    sweep_groups()

    assert Message.objects.filter(group=None).count() == 0
    assert total("messages") == 120
    assert FailureGroup.objects.count() == 1


def test_two_merges_at_once_do_not_make_a_whole_that_is_too_large(monkeypatch: pytest.MonkeyPatch):
    """Each alone has room; the second counts what the first brought while it waited."""
    monkeypatch.setattr(services, "MOST_PARTS", 3)
    pks = [stored_letter(error={"type": kind, "message": "x", "stack": ""}).group_id for kind in "ABCDE"]
    target, *others = [FailureGroup.objects.get(pk=pk) for pk in pks]

    results = at_once(
        lambda: services.merge_groups(target, others[:2], by=ROOT, reason="x"),
        lambda: services.merge_groups(target, others[2:], by=ROOT, reason="x"),
    )

    assert sorted(type(result).__name__ for result in results) == ["FailureGroup", "Invalid"]
    assert FailureGroup.objects.filter(merged_into=target.pk).count() == 2


def test_a_letter_is_stored_also_when_the_rule_that_its_group_is_to_follow_is_removed_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
):
    first = stored_letter()
    add_rule(environment(), NewGroupRule(name="timeouts", words="did not answer", parts=USUAL), by=ROOT)
    follow = assign._follow

    def follow_what_is_gone(pk: int, ruled: tuple[int | None, str, str]) -> None:
        GroupRule.objects.all().delete()
        follow(pk, ruled)

    monkeypatch.setattr(assign, "_follow", follow_what_is_gone)

    later = stored_letter()

    assert not GroupRule.objects.exists()
    assert (later.group_id, later.group.rule_id) == (first.group_id, None)


@pytest.mark.parametrize("dies", [False, True])
def test_a_message_that_fails_once_more_regresses_its_group_when_its_event_is_stored_else_in_the_next_sweep(
    dies: bool, monkeypatch: pytest.MonkeyPatch
):
    push("/ingest/v1/events", [failed_event(1)], key=agent_key())
    sweep_groups()
    FailureGroup.objects.update(state="resolved", state_at=datetime.now(UTC))

    def death(*_: object) -> None:
        raise ConnectionError

    if dies:
        monkeypatch.setattr(writer, "tell_again", death)
    answer = push("/ingest/v1/events", [failed_event(1, occurred_at=datetime.now(UTC).isoformat())], key=agent_key())

    assert answer.json()["accepted"] == 1
    assert FailureGroup.objects.get().state == ("resolved" if dies else "regressed")
    sweep_groups()
    assert FailureGroup.objects.get().state == "regressed"
    assert AuditEntry.objects.filter(action="group.regressed").count() == 1
