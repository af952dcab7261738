"""The outbox of the search back end: written with the change, emptied by workers, nothing lost and nothing older over newer."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from django.conf import settings as configured
from django.db import connection, connections, transaction

from messages.dead_letters.services import discard_dead_letter
from messages.models import DeadLetter, Message, SearchChange, SearchGeneration, Unindexed
from messages.search.elastic import indexing, work
from messages.search.elastic.bulk import Item, Outcome, send
from messages.search.elastic.client import client
from messages.search.elastic.documents import MAPPING, SETTINGS
from messages.search.elastic.indexing import generations_of, index_changes, letter_items, message_items
from messages.search.elastic.names import index_of_message
from messages.search.elastic.outbox import attach, claim_changes, detach, next_version, settle_changes
from messages.search.elastic.rebuild import put_template
from messages.search.elastic.upkeep import build_what_is_missing, keep_up
from messages.search.elastic.work import note_changes_or_not
from tests.engines.stub_elastic import StubElastic, pointed_at
from tests.factories import ROOT, agent_key, environment, event, push, stored_letter

pytestmark = pytest.mark.engine


@pytest.fixture
def noted(committed: None) -> Iterator[None]:
    """Real commits, whose changes are noted."""
    attach()
    yield
    detach()
    SearchGeneration.objects.all().delete()


def send_events(count: int, prefix: str = "e", **more: Any) -> list[Message]:
    events = [event(message_id=f"{prefix}{number:05d}", **more) for number in range(count)]
    assert push("/ingest/v1/events", events, key=agent_key()).json()["accepted"] == count
    return list(Message.objects.filter(message_id__startswith=prefix).order_by("message_id"))


def documents(**query: Any) -> list[dict[str, Any]]:
    pattern = f"{configured.ELASTICSEARCH_PREFIX}-*"
    client().indices.refresh(index=pattern)
    found = client().search(index=pattern, size=1000, query=query or {"match_all": {}})
    return [hit["_source"] for hit in found["hits"]["hits"]]


def ids_waiting() -> set[UUID]:
    return {one for ids in SearchChange.objects.values_list("ids", flat=True) for one in ids}


@pytest.mark.django_db
def test_without_a_back_end_nothing_is_noted():
    send_events(3)
    stored_letter()

    assert not SearchChange.objects.exists()


def test_a_batch_is_one_row_and_a_rollback_leaves_none(noted: None):
    messages = send_events(500)

    [row] = SearchChange.objects.all()
    assert (row.kind, set(row.ids)) == (SearchChange.Kind.MESSAGE, {message.id for message in messages})
    assert (row.first_on, row.last_on) == (messages[0].first_seen_on, messages[0].first_seen_on)

    SearchChange.objects.all().delete()
    with transaction.atomic():
        Message.objects.update(status=2)
        assert SearchChange.objects.exists()
        transaction.set_rollback(True)
    assert not SearchChange.objects.exists()


def test_a_statement_over_many_rows_is_cut_into_rows_of_a_thousand(noted: None):
    send_events(1200)
    SearchChange.objects.all().delete()

    Message.objects.update(status=2)

    assert sorted(len(ids) for ids in SearchChange.objects.values_list("ids", flat=True)) == [201, 999]


def test_whatever_changes_a_letter_is_noted(noted: None):
    letter = stored_letter()
    assert ids_waiting() == {letter.pk, letter.message_uid}
    SearchChange.objects.all().delete()

    discard_dead_letter(letter, by=ROOT, reason="test")
    assert ids_waiting() == {letter.pk, letter.message_uid}
    SearchChange.objects.all().delete()

    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM messaging_deadletter WHERE id = %s", [letter.pk])
    assert ids_waiting() == {letter.pk, letter.message_uid}


def test_changes_that_nobody_noted_make_the_index_one_to_build_again(elasticsearch: Any, noted: None):
    environment()
    build_what_is_missing(budget_s=20)
    assert set(SearchGeneration.objects.values_list("state", flat=True)) == {"live"}

    configured.SEARCH_BACKEND = "postgresql"
    note_changes_or_not()
    send_events(1)
    configured.SEARCH_BACKEND = "elasticsearch"
    note_changes_or_not()

    assert set(SearchGeneration.objects.values_list("state", flat=True)) == {"retiring"}
    keep_up()
    build_what_is_missing(budget_s=20)
    assert len(documents(term={"kind": "message"})) == 1
    assert set(SearchGeneration.objects.values_list("state", flat=True)) == {"live"}


def test_nothing_is_lost_while_it_is_away(elasticsearch: Any, noted: None):
    environment()
    build_what_is_missing(budget_s=20)
    with pointed_at("http://127.0.0.1:9", configured):
        messages = send_events(20)
        letter = stored_letter(message_id="")
        index_changes()
        assert ids_waiting() == {message.id for message in messages} | {letter.pk}

    SearchChange.objects.update(not_before=None)
    index_changes()

    assert not SearchChange.objects.exists()
    assert len(documents(term={"kind": "message"})) == 20
    assert [one["id"] for one in documents(term={"kind": "letter"})] == [str(letter.pk)]


def test_a_day_behind_the_outbox_is_thrown_away_and_the_index_is_built_anew(elasticsearch: Any, noted: None):
    environment()
    build_what_is_missing(budget_s=20)
    send_events(5)
    SearchChange.objects.update(changed_at=datetime.now(UTC) - timedelta(hours=25))

    with pointed_at("http://127.0.0.1:9", configured):
        work.keep()
        send_events(5, "f")
        index_changes()
        assert not SearchChange.objects.exists()  # nothing is kept for an index that is not there
        assert set(SearchGeneration.objects.values_list("state", flat=True)) == {"retiring"}

    work.keep()
    assert len(documents(term={"kind": "message"})) == 10
    assert set(SearchGeneration.objects.values_list("state", flat=True)) == {"live"}


def test_items_that_it_refuses_for_now_wait_alone(noted: None, settings: Any):
    environment()
    SearchGeneration.objects.create(environment=environment(), days_per_index=1)
    messages = send_events(10)
    busy = {str(message.id) for message in messages[:3]}
    settings.SEARCH_BACKEND = "elasticsearch"

    with StubElastic(lambda item: 429 if item["_id"] in busy else 201) as stub, pointed_at(stub.url, settings):
        index_changes()
        [row] = SearchChange.objects.all()
        assert ({str(one) for one in row.ids}, row.attempt) == (busy, 1)
        assert row.not_before > datetime.now(UTC)

        busy.clear()
        SearchChange.objects.update(not_before=None)
        index_changes()

    assert not SearchChange.objects.exists()
    assert not Unindexed.objects.exists()


def test_one_that_it_never_takes_is_set_aside_with_the_reason_and_the_others_go_on(elasticsearch: Any, noted: None):
    where = environment()
    generation = SearchGeneration.objects.create(environment=where, days_per_index=1)
    [(alias, _)] = generations_of({where.pk})[where.pk]
    today = index_of_message(alias, generation.pk, datetime.now(UTC).date().toordinal(), 1)
    other = MAPPING["properties"] | {"error_message": {"type": "long"}}
    client().indices.create(index=today, mappings=MAPPING | {"properties": other}, settings=SETTINGS)

    send_events(3)
    [poison] = send_events(1, "p", outcome="error", error={"type": "T", "message": "secret words", "stack": ""})
    index_changes()

    [unindexed] = Unindexed.objects.all()
    assert (unindexed.object_id, unindexed.environment_id, unindexed.kind) == (poison.id, where.pk, 1)
    assert "error_message" in unindexed.reason
    assert "SECRET" not in unindexed.reason.upper()
    assert (len(documents(term={"kind": "message"})), SearchChange.objects.count()) == (3, 0)

    Message.objects.filter(id=poison.id).update(error_message="4711")
    index_changes()
    assert (len(documents(term={"kind": "message"})), Unindexed.objects.count()) == (4, 0)


def test_an_index_that_refuses_everything_is_wrong_itself(noted: None, settings: Any):
    SearchGeneration.objects.create(environment=environment(), days_per_index=1)
    send_events(30)
    settings.SEARCH_BACKEND = "elasticsearch"

    with StubElastic(lambda item: 400) as stub, pointed_at(stub.url, settings):
        index_changes()

    assert (len(ids_waiting()), Unindexed.objects.count()) == (30, 0)


def test_an_older_state_never_covers_a_newer_one(elasticsearch: Any, noted: None):
    where = environment()
    put_template()
    SearchGeneration.objects.create(environment=where, days_per_index=1)
    kept = generations_of({where.pk})[where.pk]
    [message] = send_events(1)
    day = (message.first_seen_on, message.first_seen_on)

    slow = list(message_items(where.pk, [message.id], day, kept, next_version(), frozenset()))
    Message.objects.update(status=2)
    send(message_items(where.pk, [message.id], day, kept, next_version(), frozenset()))
    outcome = send(slow)

    assert outcome.done == {message.id}
    assert [one["status"] for one in documents()] == [2]
    # The control: what keeps it is the version, nothing else.
    send([replace(slow[0], version=next_version())])
    assert [one["status"] for one in documents()] == [0]


def test_a_letter_that_retention_let_go_is_not_made_again_by_a_late_request(elasticsearch: Any, noted: None):
    where = environment()
    put_template()
    SearchGeneration.objects.create(environment=where, days_per_index=1)
    kept = generations_of({where.pk})[where.pk]
    letter = stored_letter(message_id="")
    late = list(letter_items(where.pk, [letter.pk], kept, next_version(), frozenset()))
    index_changes()
    assert len(documents(term={"kind": "letter"})) == 1

    DeadLetter.objects.filter(pk=letter.pk).delete()
    index_changes()
    send(late)

    assert documents(term={"kind": "letter"}) == []


def test_workers_share_rows_and_what_a_dead_one_had_is_taken_again(noted: None):
    for number in range(6):
        send_events(1, f"w{number}-")

    first, second = claim_changes(4), claim_changes(4)
    assert (len(first), len(second), claim_changes()) == (4, 2, [])

    SearchChange.objects.filter(pk__in=[one.pk for one in first]).update(
        not_before=datetime.now(UTC) - timedelta(seconds=1)
    )  # its lease ended
    again = claim_changes()
    assert [one.pk for one in again] == [one.pk for one in first]
    settle_changes(first[:1], {first[0].ids[0]})  # the dead one was only slow: how long this waits is not its to say
    assert SearchChange.objects.get(pk=first[0].pk).not_before > datetime.now(UTC) + timedelta(seconds=20)
    settle_changes(first[1:])  # what it has written is written
    assert SearchChange.objects.count() == 3
    settle_changes([*again, *second])
    assert not SearchChange.objects.exists()


def test_two_that_are_each_slower_than_their_lease_empty_the_outbox(noted: None):
    """Each has the rows taken by the other before it is done."""
    send_events(1)
    stored_letter(message_id="")

    first = claim_changes()
    SearchChange.objects.update(not_before=datetime.now(UTC) - timedelta(seconds=1))
    second = claim_changes()
    settle_changes(first)

    assert [one.pk for one in first] == [one.pk for one in second]
    assert not SearchChange.objects.exists()


def test_the_lease_is_renewed_with_each_request(noted: None, settings: Any, monkeypatch: pytest.MonkeyPatch):
    SearchGeneration.objects.create(environment=environment(), days_per_index=1)
    send_events(60)
    settings.SEARCH_BACKEND = "elasticsearch"
    monkeypatch.setattr(indexing, "AT_ONCE", 10)
    leases: list[timedelta] = []

    def send_when_it_is_nearly_over(items: Iterator[Item]) -> Outcome:
        leases.append(SearchChange.objects.get().not_before - datetime.now(UTC))
        SearchChange.objects.update(not_before=datetime.now(UTC) + timedelta(seconds=1))
        return send(items)

    monkeypatch.setattr(indexing, "send", send_when_it_is_nearly_over)
    with StubElastic() as stub, pointed_at(stub.url, settings):
        assert index_changes() == 60

    assert len(leases) == 6
    assert min(leases) > timedelta(seconds=30)
    assert not SearchChange.objects.exists()


def test_rows_are_settled_as_they_are_written_and_the_rest_is_left_when_time_is_up(
    noted: None, settings: Any, monkeypatch: pytest.MonkeyPatch
):
    SearchGeneration.objects.create(environment=environment(), days_per_index=1)
    first, _, third = (send_events(10, prefix) for prefix in "abc")
    settings.SEARCH_BACKEND = "elasticsearch"
    monkeypatch.setattr(indexing, "AT_ONCE", 15)

    with StubElastic() as stub, pointed_at(stub.url, settings):
        assert index_changes(budget_s=0.001) == 15
        assert len(ids_waiting()) == 15
        assert not ids_waiting() & {one.id for one in first}
        assert ids_waiting() > {one.id for one in third}
        assert index_changes() == 15

    assert not SearchChange.objects.exists()


class Killed(Exception):
    """In place of kill -9: nothing of ours catches it."""


BEFORE_ALL = ["next_version", "generations_of", "searchable_flows"]
IN_EACH_PART = ["read_messages", "send", "lead_to", "_note_refused", "settle_changes", "hold_changes"]


def stop_at(line: str, turn: int, rows: Any, patch: pytest.MonkeyPatch, *, dies: bool) -> list[str]:
    """Have who comes to this line that often stop there until its lease has ended and another has done all. Returns its calls, as they come."""
    true, calls = getattr(indexing, line), []

    def meanwhile(*about: Any) -> Any:
        calls.append(line)
        if len(calls) == turn:
            patch.setattr(indexing, line, true)
            SearchChange.objects.update(not_before=None)
            rows.filter(message_id__startswith="b").update(status=2)
            index_changes()
            rows.filter(message_id__startswith="c").update(status=3)
            if dies:
                raise Killed
        return true(*about)

    patch.setattr(indexing, line, meanwhile)
    return calls


@pytest.mark.parametrize("dies", [True, False])
def test_who_stops_at_any_line_while_another_does_its_work_leaves_the_index_as_the_rows_are(
    elasticsearch: Any, noted: None, monkeypatch: pytest.MonkeyPatch, dies: bool
):
    environment()
    build_what_is_missing(budget_s=20)
    monkeypatch.setattr(indexing, "AT_ONCE", 10)

    for line, turn in [*((line, 1) for line in BEFORE_ALL), *((line, 2) for line in IN_EACH_PART)]:
        for prefix in "abcd":
            send_events(8, f"{prefix} {line} ")
        calls = stop_at(line, turn, Message.objects.filter(message_id__contains=f" {line} "), monkeypatch, dies=dies)
        with contextlib.suppress(Killed):
            index_changes()
        assert len(calls) == turn, line
        SearchChange.objects.update(not_before=None)
        index_changes()
        assert not SearchChange.objects.exists(), line

    stored = {str(pk): status for pk, status in Message.objects.values_list("id", "status")}
    assert {one["id"]: one["status"] for one in documents(term={"kind": "message"})} == stored
    assert set(stored.values()) == {0, 2, 3}


def test_after_hours_away_a_row_that_is_refused_for_now_waits_a_minute(noted: None, settings: Any):
    SearchGeneration.objects.create(environment=environment(), days_per_index=1)
    [busy, _] = send_events(2)
    SearchChange.objects.update(attempt=20_000)
    settings.SEARCH_BACKEND = "elasticsearch"

    with StubElastic(lambda item: 429 if item["_id"] == str(busy.id) else 201) as stub, pointed_at(stub.url, settings):
        index_changes()

    assert ids_waiting() == {busy.id}


@pytest.mark.timeout(60)
def test_several_workers_beside_ingest_leave_the_index_as_the_rows_are(elasticsearch: Any, noted: None):
    environment()
    agent_key()
    build_what_is_missing(budget_s=20)
    done = threading.Event()

    def work() -> None:
        try:
            while not done.is_set():
                index_changes(budget_s=1)
        finally:
            connections.close_all()

    def change(number: int) -> None:
        try:
            for turn in range(4):
                send_events(30, f"c{number}{turn}-")
                Message.objects.filter(message_id__startswith=f"c{number}").update(status=turn)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(5) as pool:
        workers = [pool.submit(work) for _ in range(2)]
        for one in [pool.submit(change, number) for number in range(3)]:
            one.result()
        done.set()
        for worker in workers:
            worker.result()
    SearchChange.objects.update(not_before=None)
    index_changes()

    stored = {str(pk): status for pk, status in Message.objects.values_list("id", "status")}
    assert len(stored) == 360
    assert {one["id"]: one["status"] for one in documents(term={"kind": "message"})} == stored
