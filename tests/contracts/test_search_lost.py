"""An Elasticsearch that lost something: PostgreSQL answers and says so until the index is whole again."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.conf import settings as configured
from django.db import connection
from elastic_transport import TransportError

from messages.ingest.partitions import create_partitions, partition_name
from messages.models import Flow, Message, SearchChange, SearchGeneration
from messages.search.backends import _made
from messages.search.elastic import indexing, rebuild, work
from messages.search.elastic.client import client
from messages.search.elastic.indexing import generations_of
from messages.search.elastic.names import index_of_message
from messages.search.elastic.outbox import attach, detach
from messages.search.elastic.rebuild import Filling, begin_generation, go_live
from messages.search.elastic.texts import READING
from messages.search.elastic.upkeep import build_what_is_missing, keep_up
from messages.search.elastic.whole import Lost, lead_to
from messages.search.parse import parse_query
from messages.search.queries import find_messages
from tests.contracts.test_search_outbox import send_events
from tests.factories import ROOT, environment

pytestmark = pytest.mark.engine
ERROR = {"type": "T", "message": "timed out", "stack": ""}


@pytest.fixture
def noted(committed: None, elasticsearch: Any) -> Iterator[None]:
    environment()
    attach()
    yield
    detach()
    SearchGeneration.objects.all().delete()


def failing(count: int, prefix: str) -> None:
    send_events(count, prefix, outcome="error", error=ERROR)


def asked(q: str = "error:timed") -> tuple[int, str, str]:
    """Return (rows found, by which back end, what the reader is told), of a process that has not waited in vain before."""
    _made.cache_clear()
    if names := indices():
        client().indices.refresh(index=names)
    found = find_messages(ROOT, environments=[environment()], query=parse_query(q))
    return len(found.rows), found.by, found.note


def indices() -> list[str]:
    return sorted(client().indices.get(index=f"{configured.ELASTICSEARCH_PREFIX}-*", allow_no_indices=True))


def live() -> SearchGeneration:
    return SearchGeneration.objects.get(state="live")


def today() -> str:
    [(alias, generation)] = generations_of({environment().pk})[environment().pk]
    return index_of_message(alias, generation.pk, datetime.now(UTC).date().toordinal(), generation.days_per_index)


def built(count: int = 12) -> int:
    failing(count, "e")
    work.keep()
    work.index()
    assert asked() == (count, "elasticsearch", "")
    return live().pk


def test_one_that_lost_everything_is_not_asked_before_it_is_built_anew(noted: None):
    first = built()
    client().indices.delete(index=indices())
    client().indices.delete_index_template(name=configured.ELASTICSEARCH_PREFIX)

    failing(1, "f")
    work.index()
    assert asked()[:2] == (13, "postgresql")
    keep_up()
    rows, by, note = asked()

    assert (rows, by) == (13, "postgresql")
    assert "its index is being built" in note
    work.keep()
    work.index()
    assert asked() == (13, "elasticsearch", "")
    assert live().pk != first
    assert all(f"-g{live().pk}-" in name for name in indices())


def test_one_index_of_several_that_is_lost_is_missed_by_the_next_search_even_when_a_write_makes_it_again(noted: None):
    first = built()
    client().indices.delete(index=today())

    rows, by, note = asked()
    assert (rows, by) == (12, "postgresql")
    assert "it lost a part of its index" in note
    failing(1, "f")
    work.index()
    assert today() in indices()
    assert asked()[:2] == (13, "postgresql")

    work.keep()
    assert asked()[:2] == (13, "postgresql")
    work.keep()
    assert asked() == (13, "elasticsearch", "")
    assert live().pk != first


def test_a_disk_that_was_set_back_is_seen_by_what_the_template_says(noted: None):
    first = built()
    name = configured.ELASTICSEARCH_PREFIX
    [found] = client().indices.get_index_template(name=name)["index_templates"]
    old = found["index_template"]
    assert old["_meta"]["kept"] == live().kept
    for turns, whole in ((1, True), (2, False)):
        SearchGeneration.objects.update(kept=old["_meta"]["kept"] + turns)
        client().indices.put_index_template(
            name=name, **{key: one for key, one in old.items() if key != "_meta"}, meta=old["_meta"]
        )
        keep_up()
        assert SearchGeneration.objects.filter(pk=first, state="live").exists() is whole

    work.keep()

    assert asked() == (12, "elasticsearch", "")


def template() -> dict[str, Any]:
    [found] = client().indices.get_index_template(name=configured.ELASTICSEARCH_PREFIX)["index_templates"]
    return dict(found["index_template"])


def said(**meta: Any) -> None:
    """Have another worker say something else of the template; None: it says nothing of it."""
    old = template()
    about = {name: value for name, value in (old["_meta"] | meta).items() if value is not None}
    rest = {name: value for name, value in old.items() if name != "_meta"}
    client().indices.put_index_template(name=configured.ELASTICSEARCH_PREFIX, **rest, meta=about)


@pytest.mark.parametrize("ahead", [1, 5])
def test_a_worker_whose_clock_is_behind_has_nothing_built_anew(noted: None, ahead: int):
    first = built()
    later = template()["_meta"]["kept"] + ahead
    said(kept=later)
    SearchGeneration.objects.update(kept=later)

    keep_up()
    keep_up()

    assert (live().pk, template()["_meta"]["kept"]) == (first, later)


def test_a_worker_of_before_which_says_no_turn_has_nothing_built_anew(noted: None):
    first = built()
    said(kept=None)

    keep_up()

    assert live().pk == first


@pytest.mark.parametrize("mapping", ["another", None])
def test_what_another_version_may_have_begun_is_built_anew(noted: None, mapping: str | None):
    first = built()
    said(mapping=mapping)

    work.keep()

    assert not SearchGeneration.objects.filter(pk=first, state="live").exists()
    work.keep()
    assert asked() == (12, "elasticsearch", "")


@pytest.mark.parametrize("of_payloads", [True, False])
def test_words_of_payloads_that_another_version_read_are_read_anew_while_they_are_searched(
    noted: None, of_payloads: bool
):
    first = built()
    Flow.objects.update(payload_search=of_payloads)
    said(texts=None)

    keep_up()

    assert (live().pk, SearchGeneration.objects.filter(state="building").exists()) == (first, of_payloads)
    assert asked() == (12, "elasticsearch", "")
    work.keep()
    assert (live().pk == first, template()["_meta"]["texts"]) == (not of_payloads, READING)
    assert asked() == (12, "elasticsearch", "")


def test_nothing_is_built_anew_after_a_restart(noted: None, elasticsearch: Any):
    first = built()

    elasticsearch.kill()
    work.keep()
    elasticsearch.start()
    client().cluster.health(wait_for_status="yellow", timeout="30s")
    work.keep()
    failing(1, "f")
    work.index()
    work.keep()

    assert asked() == (13, "elasticsearch", "")
    assert live().pk == first


def test_a_day_that_retention_lets_go_is_no_loss_nor_is_one_that_a_late_request_makes_again(noted: None):
    first = built()
    day, index, later = Message.objects.first().first_seen_on, today(), datetime.now(UTC) + timedelta(days=60)
    with connection.cursor() as cursor:
        cursor.execute(f"DROP TABLE {partition_name('messaging_message', day)}")
    try:
        keep_up(later)
        assert index not in indices()
        assert index not in live().indices
        assert asked() == (0, "elasticsearch", "")

        known = live().indices
        SearchGeneration.objects.update(indices=known | {index: "as another worker that keeps at once remembers it"})
        client().indices.create(index=index)
        keep_up(later)
        keep_up(later)
        assert index not in indices()
        assert live().pk == first
    finally:
        create_partitions()


def test_what_is_lost_while_it_is_built_does_not_go_live(noted: None, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(rebuild, "CHUNK", 5)
    failing(12, "e")
    begun = begin_generation(environment())

    def lose(now: SearchGeneration) -> None:
        if now.documents == 10:
            client().indices.delete(index=indices())

    with pytest.raises(Lost):
        Filling(begun, lose).fill()
    assert SearchGeneration.objects.get(pk=begun.pk).state == "retiring"
    work.keep()
    work.index()

    assert asked() == (12, "elasticsearch", "")


def test_one_filled_and_then_lost_does_not_go_live(noted: None):
    failing(12, "e")
    begun = begin_generation(environment())
    assert Filling(begun).fill()
    client().indices.delete(index=indices())

    with pytest.raises(Lost):
        go_live(begun)


def long_ago(count: int, prefix: str) -> None:
    """Have errors of two days ago, of which there is no index yet."""
    at = (datetime.now(UTC) - timedelta(days=2)).isoformat()
    send_events(count, prefix, outcome="error", error=ERROR, occurred_at=at)


def test_the_first_documents_of_a_new_index_are_found_as_soon_as_they_are_said_to_be_written(noted: None):
    first = built()
    long_ago(3, "f")

    work.index()

    assert not SearchChange.objects.exists()
    assert asked("error:timed age:<7d") == (15, "elasticsearch", "")
    assert sorted(live().indices) == indices()
    for _ in range(2):
        work.keep()
    assert asked("error:timed age:<7d") == (15, "elasticsearch", "")
    assert live().pk == first


class Killed(Exception):
    """In place of kill -9: nothing of ours catches it."""


@pytest.mark.parametrize("line", ["lead_to", "settle_changes"])
def test_killed_before_or_after_the_alias_leads_to_a_new_index_it_is_done_again(
    noted: None, monkeypatch: pytest.MonkeyPatch, line: str
):
    built()
    long_ago(3, "f")

    def die(*about: Any, **more: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(indexing, line, die)
        with pytest.raises(Killed):
            work.index()
    assert SearchChange.objects.exists()
    SearchChange.objects.update(not_before=None)  # its lease ended
    work.index()

    assert not SearchChange.objects.exists()
    assert asked("error:timed age:<7d") == (15, "elasticsearch", "")


def test_what_cannot_be_led_to_now_waits(noted: None, monkeypatch: pytest.MonkeyPatch):
    built()
    long_ago(3, "f")

    def away(**more: Any) -> None:
        raise TransportError("gone")

    monkeypatch.setattr(client().indices, "put_alias", away)
    work.index()

    assert {len(one) for one in SearchChange.objects.values_list("ids", flat=True)} == {3}


def test_an_index_made_while_its_generation_retires_is_not_behind_the_alias(
    noted: None, monkeypatch: pytest.MonkeyPatch
):
    built()
    old = live()
    [(alias, _)] = generations_of({environment().pk})[environment().pk]
    late = index_of_message(alias, old.pk, datetime.now(UTC).date().toordinal() - 2, old.days_per_index)
    client().indices.create(index=late)
    put = client().indices.put_alias

    def swap(**more: Any) -> None:
        SearchGeneration.objects.filter(pk=old.pk).update(state="retiring")
        put(**more)

    monkeypatch.setattr(client().indices, "put_alias", swap)
    lead_to(alias, old, [late])

    assert late not in client().indices.get_alias(name=alias)
    assert late not in SearchGeneration.objects.get(pk=old.pk).indices


def test_one_that_an_older_version_built_is_taken_as_whole_once_and_not_when_its_alias_is_gone(noted: None):
    first = built()
    SearchGeneration.objects.update(indices={}, kept=None)

    keep_up()
    assert sorted(live().indices) == indices()
    assert live().pk == first

    SearchGeneration.objects.update(indices={}, kept=None)
    client().indices.delete(index=indices())
    keep_up()
    assert not SearchGeneration.objects.filter(state="live").exists()


def test_an_index_being_built_that_has_nothing_yet_is_kept_up(noted: None):
    begin_generation(environment())

    keep_up()

    build_what_is_missing(budget_s=20)
    assert live().indices
