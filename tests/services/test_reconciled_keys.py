"""Reconciliations as they are read: by whom, page by page, as a CSV, by an index."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from django.db import connection

from console.core.errors import Forbidden, Invalid
from console.core.paging import encode_cursor
from console.identity.actor import Actor
from console.identity.models import Role, Team
from messages.models import Flow, Message, MessageStatus, Plan, ReconciledKey, Reconciliation
from messages.plans.selection import Selection
from messages.plans.services import create_plan
from messages.queries import check_searchable
from messages.reconcile import export, queries
from messages.reconcile.access import visible_reconciliations
from messages.reconcile.evaluating import reconcile
from messages.reconcile.export import csv_of
from messages.reconcile.queries import ComparedAgain, every_key, find_keys, has_letters, letters_of_keys
from messages.reconcile.services import (
    NewReconciliation,
    begin_reconciliation,
    cancel_reconciliation,
    compare_again,
    receive_list,
    remove_reconciliation,
)
from messages.reconcile.sets import SETS, query_of
from messages.saved.services import NewSearch, save_search
from messages.search.parse import parse_query
from messages.search.queries import find_dead_letters, find_messages, matching_letters
from messages.search.query import BadQuery
from tests.factories import ROOT, actor, environment, person, stored_letter
from tests.services.reconciling import begun, compared, flow, message, operator

pytestmark = pytest.mark.django_db


def test_viewers_look_operators_compare_and_strangers_see_nothing():
    team = Team.objects.create(name="Order team")
    of = flow(team=team)
    one = compared("1\n", of=of)
    viewer, stranger = (
        actor(person("viewer", Role.VIEWER)),
        actor(person("stranger", Role.ADMINISTRATOR, team="Others")),
    )
    elsewhere = actor(person("elsewhere", Role.ADMINISTRATOR, slug="staging"))

    assert [visible_reconciliations(who).count() for who in (viewer, stranger, elsewhere)] == [1, 0, 0]
    for do in (compare_again, cancel_reconciliation, remove_reconciliation):
        with pytest.raises(Forbidden):
            do(one, by=viewer)
    with pytest.raises(Forbidden):
        receive_list(one, [b"1\n"], by=viewer)
    now = datetime.now(UTC)
    with pytest.raises(Forbidden):
        begin_reconciliation(
            of, NewReconciliation(name="", key_name="x", since=now, until=now + timedelta(hours=1)), by=viewer
        )
    one.refresh_from_db()
    assert one.state == "done"
    assert Flow.objects.get(pk=of.pk).team == team


def test_the_letters_behind_failed_keys_are_those_that_the_reader_may_see():
    letter = stored_letter(origin="orders", keys={"order_no": "1"})
    one = compared("1\n", of=letter.flow)
    rows = find_keys(one, SETS["failed"]).rows
    Flow.objects.update(team=Team.objects.create(name="Others"))

    assert [row.key for row in rows] == ["1"]
    assert letters_of_keys(actor(person("root", Role.VIEWER, team="Others")), one, rows) == {letter.message_uid: letter}
    assert letters_of_keys(operator(), one, rows) == {}


@pytest.mark.parametrize(
    "said",
    [
        {"key_name": " "},
        {"key_name": "x" * 65},
        {"key_name": "a\x00b"},
        {"name": "x" * 121},
        {"until": datetime(2020, 1, 1, tzinfo=UTC)},
        {"since": datetime(2020, 1, 1, tzinfo=UTC)},
    ],
)
def test_what_cannot_be_compared_is_refused(said: dict[str, Any]):
    with pytest.raises(Invalid):
        begun(**said)


def test_pages_of_a_set_walk_through_every_key_once_and_the_csv_has_them_all_without_formulas():
    for key in ("=1+1", "b", "b", "-5"):
        message(key)
    listed = [f"key {number:03d}" for number in range(60)]
    one = compared("\n".join(["=1+1", "b", "-5", '"a,""b"""', *listed]))

    walked, cursor = [], None
    while True:
        page = find_keys(one, SETS["never-seen"], limit=7, cursor=cursor)
        walked += [row.key for row in page.rows]
        cursor = page.next
        if cursor is None:
            break
    text = b"".join(csv_of(ROOT, one, None).streaming_content).decode()  # type: ignore[arg-type]

    assert walked == ['a,"b"', *listed]
    lines = text.split("\r\n")
    assert lines[0] == "order_no,outcome,times_on_list,line,messages,message_id,dead_letter_id"
    assert len(lines) == 1 + 64 + 1
    assert lines[1].startswith("'-5,processed,1,3,1,")
    assert lines[2].startswith("'=1+1,processed,1,1,1,")
    assert '"a,""b""",never seen,1,4,0,' in text
    with pytest.raises(Invalid):
        find_keys(one, SETS["twice"], cursor="nonsense")


def test_pages_and_sets_are_served_by_their_index():
    one = compared("".join(f"{number}\n" for number in range(5000)))
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE messaging_reconciled_key")
    for slug, index in (
        ("never-seen", "reconciled_key_by_kind"),
        ("arrived", "reconciled_key_by_kind"),
        ("twice", "reconciled_key_twice"),
    ):
        first, last = SETS[slug].kinds
        rows = ReconciledKey.objects.filter(reconciliation_id=one.pk, kind__gte=first, kind__lte=last)
        rows = rows.filter(messages__gt=1, listed__gt=0) if SETS[slug].twice else rows
        plan = rows.order_by("reconciliation_id", "kind", "key")[:51].explain()
        assert index in plan, plan
        assert "Sort" not in plan, plan


def test_of_a_message_that_died_again_and_again_the_newest_letter_alone_is_read(django_assert_num_queries: Any):
    first, second = (stored_letter(message_id="m-1", origin="orders", keys={"order_no": "1"}) for _ in range(2))
    one = compared("1\n", of=first.flow)

    rows = find_keys(one, SETS["failed"]).rows
    with django_assert_num_queries(1) as captured:
        found = letters_of_keys(ROOT, one, rows)

    assert list(found.values()) == [second]
    assert "DISTINCT ON" in captured[0]["sql"]


def test_a_set_is_a_search_for_the_letters_that_decided_by_themselves():
    own = stored_letter(id="a", message_id="", origin="orders", keys={"order_no": "1"})
    of_message = stored_letter(id="b", message_id="m-1", origin="orders", keys={"order_no": "2"})
    one = compared("1\n2\n", of=own.flow)
    rows, query = find_keys(one, SETS["failed"]).rows, parse_query(query_of(one, SETS["failed"]))
    text = b"".join(csv_of(ROOT, one, None).streaming_content).decode()  # type: ignore[arg-type]

    assert set(find_dead_letters(ROOT, environments=[environment()], query=query).rows) == {own, of_message}
    assert letters_of_keys(ROOT, one, rows) == {own.pk: own, of_message.message_uid: of_message}
    assert has_letters(ROOT, one, SETS["failed"])
    assert f"1,failed,1,1,1,,{own.pk}\r\n2,failed,1,2,1,{of_message.message_uid},\r\n" in text
    Flow.objects.update(team=Team.objects.create(name="Others"))
    assert letters_of_keys(operator(), one, rows) == {}


def test_the_letters_of_a_set_are_joined_and_not_looked_for_letter_by_letter():
    """Two conditions joined by OR enter no index: every letter of the environment would be read for a set of two."""
    own = stored_letter(id="a", message_id="", origin="orders", keys={"order_no": "1"})
    stored_letter(id="b", message_id="m-1", origin="orders", keys={"order_no": "2"})
    one = compared("1\n2\n", of=own.flow)
    query = parse_query(query_of(one, SETS["failed"]) + " status:waiting")

    letters = matching_letters(ROOT, environments=[environment()], query=query, window=None, now=datetime.now(UTC))

    assert letters.count() == 2
    assert "SubPlan" not in letters.explain()


def test_a_set_is_a_search_for_the_messages_that_decided_and_for_their_letters():
    letter = stored_letter(message_id="m-1", origin="orders", keys={"order_no": "1"})
    delivered = message("2", of=letter.flow)
    one = compared("1\n2\n3\n", of=letter.flow)

    def found(slug: str, who: Actor = ROOT) -> set[UUID]:
        query = parse_query(query_of(one, SETS[slug]))
        return {row.id for row in find_messages(who, environments=[environment()], query=query).rows}

    failed = parse_query(query_of(one, SETS["failed"]) + " status:waiting")
    letters = find_dead_letters(ROOT, environments=[environment()], query=failed).rows
    Flow.objects.update(team=Team.objects.create(name="Others"))

    assert (found("failed"), found("processed"), found("never-seen")) == ({letter.message_uid}, {delivered}, set())
    assert found("arrived") == {letter.message_uid, delivered}
    assert letters == [letter]
    for wrong in ("reconciled:7", f"reconciled:{one.pk}", f"reconciled:{one.pk}.nothing", f"reconciled:{one.pk}.fail*"):
        with pytest.raises(BadQuery, match="called as its page says"):
            find_messages(ROOT, environments=[environment()], query=parse_query(wrong))


def refusal(who: Actor, q: str, column: int) -> str:
    """Return the words in which lists, plans, saved searches and promises refuse a query: the same everywhere, and where."""
    query, here, words = parse_query(q), environment(), set()
    selection = Selection(source=Plan.Source.QUERY, q=q, query=query)
    for ask in (
        lambda: find_messages(who, environments=[here], query=query),
        lambda: find_dead_letters(who, environments=[here], query=query),
        lambda: create_plan(selection, environment=here, by=who, reason="x"),
        lambda: save_search(here, "messages", NewSearch(name="gone", q=q), by=who),
        lambda: check_searchable(who, here, q),
    ):
        with pytest.raises(BadQuery) as refused:
            ask()
        assert refused.value.column == column
        words.add(refused.value.detail)
    return words.pop() if len(words) == 1 else f"several: {words}"


@pytest.mark.parametrize("backend", ["postgresql", "elasticsearch"])
def test_a_set_of_a_reconciliation_that_is_gone_or_hidden_is_refused_in_the_same_words_and_never_empty(
    backend: str, settings: Any
):
    settings.SEARCH_BACKEND = backend
    letter = stored_letter(message_id="m-1", origin="orders", keys={"order_no": "1"})
    removed, hidden = compared("1\n", of=letter.flow), compared("1\n", of=letter.flow)
    remove_reconciliation(removed, by=operator())
    Flow.objects.update(team=Team.objects.create(name="Others"))

    words = {
        refusal(operator(), f"class:dead {sign}reconciled:{pk}.failed", 23 + len(sign))
        for pk in (removed.pk, hidden.pk, UUID(int=7))
        for sign in ("", "-")
    }

    assert len(words) == 1
    assert words.pop().startswith(
        "there is no such reconciliation here, or none that you may see: it may have been removed"
    )


def test_a_set_of_a_reconciliation_that_was_never_compared_is_refused_until_it_is():
    one = begun()
    q = f"reconciled:{one.pk}.failed"

    assert refusal(operator(), q, 12).startswith("this reconciliation has not been compared yet")
    receive_list(one, [b"1\n"], by=operator())
    reconcile()
    compare_again(one, by=operator())  # under way: what there is is of the last comparison

    assert find_messages(operator(), environments=[environment()], query=parse_query(q)).rows == []


def compared_of_ten() -> Reconciliation:
    """Return a reconciliation of ten keys, of which two are processed, two failed and six never seen."""
    for number in range(2):
        message(f"processed {number}"), message(f"failed {number}", MessageStatus.FAILED)
    listed = [
        f"{name} {number}" for name, most in (("processed", 2), ("failed", 2), ("never", 6)) for number in range(most)
    ]
    return compared("\n".join(listed) + "\n")


def compare_later(one: Reconciliation) -> None:
    """Compare it again after a failed key was processed, a processed one failed, and one that was never seen arrived."""
    Message.objects.filter(keys__order_no="failed 0").update(status=MessageStatus.DELIVERED)
    Message.objects.filter(keys__order_no="processed 0").update(status=MessageStatus.FAILED)
    message("never 5")
    compare_again(one, by=operator())
    reconcile()


@pytest.mark.parametrize("do", [compare_later, lambda one: remove_reconciliation(one, by=operator())])
def test_a_csv_of_a_list_that_is_compared_again_or_removed_meanwhile_says_that_it_is_not_whole_and_breaks_off(
    do: Callable[[Reconciliation], None], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(queries, "EXPORTED", 3)
    monkeypatch.setattr(export, "LINES", 2)
    one = compared_of_ten()
    parts = iter(csv_of(ROOT, one, None).streaming_content)  # type: ignore[arg-type]
    got = [next(parts)]

    do(one)
    with pytest.raises(ComparedAgain):
        got.extend(parts)

    lines = b"".join(got).decode().splitlines()
    assert [line.split(",")[0] for line in lines[1:4]] == ["processed 0", "processed 1", "failed 0"]
    assert "This file is not whole" in lines[4]
    assert len(lines) == 5


def test_a_csv_whose_list_is_compared_again_while_its_last_part_is_read_is_not_taken_for_whole(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(queries, "EXPORTED", 5)
    one = compared_of_ten()
    rows = every_key(one, SETS["never-seen"])
    got = [next(rows).key for _ in range(5)]

    compare_later(one)  # what was to be the last part is empty now

    with pytest.raises(ComparedAgain):
        next(rows)
    assert got == [f"never {number}" for number in range(5)]


def test_a_cursor_is_of_one_comparison():
    one = compared_of_ten()
    page = find_keys(one, SETS["never-seen"], limit=2)
    compare_again(one, by=operator())  # under way: what there is is still of the last one
    assert [row.key for row in find_keys(one, SETS["never-seen"], limit=2, cursor=page.next).rows] == [
        "never 2",
        "never 3",
    ]

    reconcile()

    with pytest.raises(ComparedAgain):
        find_keys(one, SETS["never-seen"], limit=2, cursor=page.next)
    one.refresh_from_db()
    page = find_keys(one, SETS["never-seen"], limit=2)
    assert page.next is not None
    assert find_keys(one, SETS["never-seen"], limit=2, cursor=page.next).rows
    with pytest.raises(Invalid):
        find_keys(one, SETS["never-seen"], cursor=encode_cursor(4, "never 1"))  # of a version before
