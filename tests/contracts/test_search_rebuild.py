"""Rebuilding the index: killed at any line and run again it is whole, searched all the while, and leaves nothing behind."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any
from uuid import uuid4

import pytest
from django.conf import settings as configured
from django.core.management import CommandError, call_command
from django.db import connection

from messages.ingest.partitions import create_partitions, partition_name
from messages.management.commands import search
from messages.models import Flow, Message, SearchChange, SearchGeneration
from messages.search.base import Away
from messages.search.elastic import rebuild
from messages.search.elastic.client import client
from messages.search.elastic.indexing import generations_of, index_changes
from messages.search.elastic.names import alias_of, index_of_message
from messages.search.elastic.outbox import attach, detach
from messages.search.elastic.rebuild import Filling, RebuildElsewhere, begin_generation, go_live, point_alias
from messages.search.elastic.upkeep import build_what_is_missing, keep_up
from tests.contracts.test_search_outbox import documents, send_events
from tests.engines.stub_elastic import pointed_at
from tests.factories import environment, stored_letter

pytestmark = pytest.mark.engine


class Killed(Exception):
    """In place of kill -9: nothing of ours catches it."""


def kill(now: SearchGeneration) -> None:
    raise Killed


@pytest.fixture
def noted(committed: None, elasticsearch: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(rebuild, "CHUNK", 10)
    environment()
    attach()
    yield
    detach()
    SearchGeneration.objects.all().delete()


def rebuilt(*options: str) -> list[str]:
    out = StringIO()
    call_command("search", "rebuild", *options, stdout=out)
    return out.getvalue().splitlines()


def searched() -> set[str]:
    """Return the ids behind the alias of production."""
    alias = alias_of(configured.ELASTICSEARCH_PREFIX, environment().pk, "production")
    client().indices.refresh(index=alias)
    return {hit["_id"] for hit in client().search(index=alias, size=1000)["hits"]["hits"]}


def stored() -> set[str]:
    return {str(pk) for pk in Message.objects.values_list("id", flat=True)}


def indices() -> set[str]:
    return set(client().indices.get(index=f"{configured.ELASTICSEARCH_PREFIX}-*"))


def test_a_rebuild_says_how_far_it_is_and_leaves_one_generation(noted: None):
    send_events(35)
    stored_letter(message_id="")

    first, second = rebuilt(), rebuilt()

    assert first[-1] == second[-1] == "production: live"
    assert first[-2] == "production: 36 documents, all there"
    assert len(searched()) == 36
    keep_up()
    assert SearchGeneration.objects.count() == 1
    assert {name.split("-g")[1].split("-")[0] for name in indices()} == {str(SearchGeneration.objects.get().pk)}


@pytest.mark.parametrize("chunk", [1, 5])
def test_killed_after_any_chunk_it_goes_on_where_it_was(noted: None, chunk: int):
    send_events(35)
    told: list[int] = []

    def die(now: SearchGeneration) -> None:
        told.append(now.documents)
        if len(told) == chunk:
            raise Killed

    generation = begin_generation(environment())
    try:
        Filling(generation, die).fill()
    except Killed:
        SearchGeneration.objects.update(lease_until=datetime.now(UTC) - timedelta(seconds=1), leased_by=uuid4())
    Message.objects.filter(message_id="e00003").update(status=2)
    index_changes()

    rebuilt()

    assert searched() == stored()
    assert [one["status"] for one in documents(term={"message_id": "e00003"})] == [2]
    assert SearchGeneration.objects.get(state="live").documents == 35


def test_run_again_at_once_after_it_was_killed_it_says_that_it_waits_and_goes_on(noted: None):
    send_events(35)
    generation = begin_generation(environment())
    with pytest.raises(Killed):
        Filling(generation, kill).fill()
    SearchGeneration.objects.update(lease_until=datetime.now(UTC) + timedelta(seconds=2), leased_by=uuid4())

    lines = rebuilt()

    assert lines[0] == "production: another process fills its index, or died less than 120 s ago: waiting for it"
    assert (lines[-1], searched()) == ("production: live", stored())


def test_killed_between_the_swap_and_saying_so_it_is_searched_and_said_again(noted: None):
    send_events(12)
    rebuilt()
    generation = begin_generation(environment())
    assert Filling(generation).fill()
    generation.refresh_from_db()
    point_alias(alias_of(configured.ELASTICSEARCH_PREFIX, environment().pk, "production"), generation)

    assert searched() == stored()
    rebuilt()

    assert searched() == stored()
    assert SearchGeneration.objects.get(state="live").pk == generation.pk


def test_what_changes_while_it_is_built_is_in_it(noted: None):
    send_events(25)

    def change(now: SearchGeneration) -> None:
        if now.documents == 10:
            send_events(5, "late")
            Message.objects.filter(message_id="e00000").update(status=3)
            index_changes()

    generation = begin_generation(environment())
    Filling(generation, change).fill()
    go_live(generation)

    assert searched() == stored()
    assert len(stored()) == 30
    assert [one["status"] for one in documents(term={"message_id": "e00000"})] == [3]


def test_two_never_fill_at_once_and_one_that_lost_its_lease_moves_nothing(noted: None, monkeypatch: pytest.MonkeyPatch):
    send_events(35)
    generation = begin_generation(environment())
    slow = Filling(generation)
    slow._move()

    with pytest.raises(RebuildElsewhere):
        Filling(SearchGeneration.objects.get(pk=generation.pk)).fill()
    monkeypatch.setattr(search, "WAITED", timedelta())
    with pytest.raises(CommandError, match="another process fills"):
        rebuilt()

    SearchGeneration.objects.update(lease_until=datetime.now(UTC) - timedelta(seconds=1))
    assert rebuilt()[-1] == "production: live"
    with pytest.raises(RebuildElsewhere):
        slow.fill()


def test_away_in_the_middle_it_says_so_and_goes_on(noted: None):
    send_events(15)
    begin_generation(environment())

    with (
        pointed_at("http://127.0.0.1:9", configured),
        pytest.raises(CommandError, match="cannot be reached; run this again"),
    ):
        rebuilt()

    rebuilt()
    assert searched() == stored()


def test_anew_throws_away_what_was_begun(noted: None):
    begun = begin_generation(environment())

    rebuilt("--anew", "--environment", "production")
    keep_up()

    assert not SearchGeneration.objects.filter(pk=begun.pk).exists()
    with pytest.raises(CommandError, match="there is no environment nowhere"):
        rebuilt("--environment", "nowhere")


def test_status_says_how_it_stands(noted: None):
    def said() -> str:
        out = StringIO()
        call_command("search", "status", stdout=out)
        return out.getvalue()

    send_events(5)
    assert "outbox: 1 rows wait" in said()
    assert "production: missing" in said()
    begin_generation(environment())
    assert "production: building, 0 documents" in said()
    rebuilt()
    index_changes()
    assert "outbox: 0 rows wait" in said()
    assert "production: live, 5 documents when built, 0 refused" in said()
    configured.SEARCH_BACKEND, configured.ELASTICSEARCH_URLS = "postgresql", ()
    assert said() == "ELASTICSEARCH_URL is not set: PostgreSQL searches.\n"
    with pytest.raises(CommandError, match="ELASTICSEARCH_URL is not set"):
        rebuilt()


def test_indices_of_days_that_retention_let_go_are_deleted_and_held_days_lose_what_is_gone(noted: None):
    day = send_events(6)[0].first_seen_on
    build_what_is_missing(budget_s=20)
    [(alias, generation)] = generations_of({environment().pk})[environment().pk]
    index, later = index_of_message(alias, generation.pk, day.toordinal(), 1), datetime.now(UTC) + timedelta(days=60)

    with connection.cursor() as cursor:  # as a run beside a legal hold leaves it
        cursor.execute("DELETE FROM messaging_message WHERE message_id < 'e00002'")
    keep_up(later)
    assert searched() == stored()
    assert len(stored()) == 4

    with connection.cursor() as cursor:
        cursor.execute(f"DROP TABLE {partition_name('messaging_message', day)}")
    try:
        keep_up()
        assert index in indices()  # nothing is due by the policy
        keep_up(later)
        assert index not in indices()
        assert searched() == set()
    finally:
        create_partitions()


def test_words_of_a_payload_leave_with_the_payload_and_with_the_permission(noted: None):
    Flow.objects.create(environment=environment(), name="orders", payload_search=True)
    for name in ("p1", "p2"):
        send_events(1, name, payload={"content_type": "text/plain", "body": "a quick fox"})
    build_what_is_missing(budget_s=20)

    def with_words() -> int:
        index_changes()
        return len(documents(nested={"path": "payload", "query": {"match": {"payload.text": "fox"}}}))

    assert with_words() == 2
    letter = stored_letter(origin="orders", body="a quick wolf")
    wolves = {"path": "payload", "query": {"match": {"payload.text": "wolf"}}}
    with connection.cursor() as cursor:
        cursor.execute(
            "DELETE FROM messaging_payload WHERE id IN (SELECT id FROM messaging_event WHERE message_id LIKE 'p1%')"
        )
    keep_up()
    assert with_words() == 2  # not due: retention has not asked
    keep_up(datetime.now(UTC) + timedelta(days=20))
    assert with_words() == 1
    assert {one["kind"] for one in documents(nested=wolves)} == {"letter"}

    Flow.objects.update(payload_search=False)
    keep_up()
    assert with_words() == 0
    assert documents(nested=wolves) == []
    assert searched() == stored() | {str(letter.pk)}


def test_an_index_that_a_late_request_made_again_is_deleted_and_a_strangers_is_not(noted: None):
    build_what_is_missing(budget_s=20)
    prefix = configured.ELASTICSEARCH_PREFIX
    mine, other = f"{prefix}-e1-production-g999999-messages-20261126", f"{prefix}-essays-graphs"
    for name in (mine, other):
        client().indices.create(index=name)

    keep_up()

    assert mine not in indices()
    assert other in indices()


def test_two_consoles_under_one_prefix_do_not_take_each_others_indices(noted: None):
    send_events(3)
    rebuilt()
    before = indices()
    client().indices.put_index_template(
        name=configured.ELASTICSEARCH_PREFIX, index_patterns=["none-*"], meta={"console": "another"}
    )

    for does in (keep_up, lambda: rebuilt("--anew")):
        with pytest.raises((Away, CommandError), match="another console uses its names"):
            does()
    assert indices() == before


def test_a_new_day_comes_under_the_alias(noted: None):
    build_what_is_missing(budget_s=20)
    send_events(3)
    index_changes()
    keep_up()

    assert searched() == stored()
    assert not SearchChange.objects.exists()
