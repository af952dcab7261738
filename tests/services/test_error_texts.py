"""Which errors the messages of a day have: kept with every way a message gets one, bounded, and never in the way of an answer."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from django.db import connection
from django.db.models import Q
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from messages.ingest import error_texts
from messages.ingest.error_texts import LONGEST, MOST, reach_back
from messages.models import ErrorTextsSince
from messages.search.conditions import ALL, Scope
from messages.search.parse import parse_query
from messages.search.queries import find_messages
from messages.search.query import Query, Term
from messages.search.said import days_saying
from messages.search.window import parse_window
from tests.factories import ROOT, agent_key, environment, event, push, stored_letter

pytestmark = pytest.mark.django_db
NOW = datetime.now(UTC)
TODAY = NOW.date()
LONG_AGO = TODAY - timedelta(days=40)


def noted_since(day: date = LONG_AGO, begun_on: date = LONG_AGO) -> None:
    ErrorTextsSince.objects.create(pk=1, begun_on=begun_on, since=day)


def fails(*texts: str, days_ago: float = 0, kind: str = "Failure") -> list[str]:
    """Push a failed message for each text; return their message ids."""
    at = (datetime.now(UTC) - timedelta(days=days_ago, minutes=1)).isoformat()
    error = [{"type": kind, "message": text, "stack": ""} for text in texts]
    events = [event(outcome="error", error=one, occurred_at=at, operation="process") for one in error]
    assert push("/ingest/v1/events", events, key=agent_key()).json()["accepted"] == len(texts)
    return [one["message_id"] for one in events]


def kept() -> set[tuple[date, str | None]]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT day, text FROM messaging_message_text")
        return set(cursor.fetchall())


def days(words: str) -> Q:
    scope = Scope(actor=ROOT, environments=[environment()], now=NOW, since=NOW - timedelta(days=30))
    return days_saying(words, scope)


def only(*found: date) -> Q:
    return Q(first_seen_on__lt=NOW.date() - timedelta(days=34)) | Q(first_seen_on__in=list(found))


def found(q: str) -> list[str]:
    """Up to now and not to the moment this file was read: what was stored in the minutes between is found too."""
    window = parse_window("30d", now=datetime.now(UTC))
    page = find_messages(ROOT, environments=[environment()], query=parse_query(q), window=window)
    return sorted(row.message_id for row in page.rows)


def test_a_day_whose_errors_do_not_have_the_words_is_not_looked_through():
    noted_since()
    old = fails("order 4711 Timed Out", days_ago=3)
    fails("no price for article 12", "no price for article 13")

    assert kept() == {
        (TODAY - timedelta(days=3), "order 0 timed out"), (TODAY - timedelta(days=3), "failure"), (TODAY, "failure"),
        (TODAY, "no price for article 0"),
    }  # fmt: skip
    assert days("timed out") == only(TODAY - timedelta(days=3))
    assert days("nobodysaidthis") == only()
    assert days("FAILURE") == only(TODAY - timedelta(days=3), TODAY)
    assert days("4711") == ALL
    assert found("error:timed") == old
    assert found("error:4711") == old
    assert found("class:failure -error:price") == old
    assert found("error:nobodysaidthis") == found("nobodysaidthis") == []


def test_a_short_window_is_looked_through_without_asking():
    noted_since()
    scope = Scope(actor=ROOT, environments=[environment()], now=NOW, since=NOW - timedelta(days=1))

    assert days_saying("nobodysaidthis", scope) == ALL


def test_nothing_is_left_out_before_somebody_noted_it():
    fails("timed out")

    assert days("nobodysaidthis") == ALL
    noted_since(TODAY + timedelta(days=2))
    assert days("nobodysaidthis") == ALL
    ErrorTextsSince.objects.update(since=TODAY)
    assert days("nobodysaidthis") == Q(first_seen_on__lt=TODAY) | Q(first_seen_on__in=[])
    assert len(found("error:timed")) == 1


@pytest.mark.parametrize("texts", [["x" * (LONGEST + 1)], [chr(0x100 + n) + " is wrong" for n in range(20)]])
def test_a_day_with_too_much_to_keep_is_looked_through(texts: list[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(error_texts, "NOTE_MANY", error_texts.NOTE_MANY.replace(f"> {MOST}", "> 20"))
    noted_since()
    fails(*texts)

    assert (TODAY, None) in kept()
    assert days("nobodysaidthis") == only(TODAY)
    before = kept()
    fails("something else")
    assert kept() == before
    assert len(found('error:"something else"')) == 1


def test_an_error_that_came_by_a_dead_letter_or_a_log_is_noted():
    noted_since()
    stored_letter(error={"type": "", "message": "", "stack": ""}, reason="Rejected by 10.0.0.1")
    error_texts.note_attached([(TODAY, environment().pk, 1, None, "Logged 5 times")])

    assert {text for _, text in kept()} >= {"rejected by 0.0.0.0", "logged 0 times"}


def test_earlier_days_are_noted_once_no_older_process_can_be_writing():
    fails("timed out 1", days_ago=2)
    fails("timed out 2", "cut off")
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM messaging_message_text")
    begun = TODAY - timedelta(days=2)

    assert reach_back(begun) == 0
    assert ErrorTextsSince.objects.get().since == TODAY
    assert reach_back(TODAY - timedelta(days=1)) == 0
    assert reach_back(TODAY) > 0
    assert {text for day, text in kept() if day < TODAY} == {"timed out 0", "failure"}
    assert ErrorTextsSince.objects.get().since <= TODAY - timedelta(days=2)
    assert reach_back(TODAY) == 0


def test_a_day_of_before_with_too_many_errors_is_noted_as_such(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(error_texts, "MOST", 3)
    fails("a zz", "b zz", "c zz", "d zz", days_ago=1)
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM messaging_message_text")
    noted_since(TODAY, begun_on=TODAY - timedelta(days=5))

    reach_back(TODAY, most_days=1)

    assert kept() == {(TODAY - timedelta(days=1), None)}


def test_messages_that_went_well_ask_nothing_more(django_assert_max_num_queries):
    key = agent_key()
    push("/ingest/v1/events", [event()], key=key)

    with django_assert_max_num_queries(100) as asked:
        push("/ingest/v1/events", [event()], key=key)

    assert not [one for one in asked.captured_queries if "message_text" in one["sql"]]
    assert kept() == set()


@pytest.mark.django_db(transaction=True)
def test_what_was_committed_is_not_written_again_and_what_was_undone_is():
    noted_since()
    fails("timed out")
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM messaging_message_text WHERE text = 'timed out'")
    fails("timed out")
    assert {text for _, text in kept()} == {"failure"}

    error_texts.forget()
    fails("timed out")
    assert {text for _, text in kept()} == {"failure", "timed out"}


PIECES = st.sampled_from(["time", "d out", "4711", "dead", "beef-1", " ", "É", "x", "%", "_", "\\", "a1"])


@given(
    texts=st.lists(st.lists(PIECES, min_size=1, max_size=5), min_size=1, max_size=4),
    words=st.lists(PIECES, min_size=1, max_size=2),
)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_answer_changes_for_what_is_noted(texts: list[list[str]], words: list[str]):
    ErrorTextsSince.objects.all().delete()
    fails(*("".join(one) + "!" for one in texts))
    asked = "".join(words).strip() or "x"
    query, window = Query(Term("error", asked)), parse_window("30d", now=datetime.now(UTC))

    def ids() -> list[str]:
        page = find_messages(ROOT, environments=[environment()], query=query, window=window, limit=200)
        return [row.message_id for row in page.rows]

    before = ids()
    noted_since()
    assert ids() == before
