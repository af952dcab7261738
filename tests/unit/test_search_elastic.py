"""Elasticsearch's pure parts: questions, documents, names, words, the breaker; with hostile input."""

from __future__ import annotations

import json
import time
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.core.config import load_config
from console.core.errors import ConfigurationError
from console.core.ids import uuid7
from messages.search.base import Question, Unsuited
from messages.search.elastic.breaker import Breaker
from messages.search.elastic.documents import (
    MAPPING,
    MOST_TEXT,
    Death,
    LetterRow,
    MessageRow,
    Text,
    Told,
    Touch,
    document_of_letter,
    document_of_message,
)
from messages.search.elastic.names import (
    MOST_INDICES,
    alias_of,
    days_per_index,
    index_of_letter,
    index_of_message,
    parts_of,
)
from messages.search.elastic.texts import MOST_READ, text_of
from messages.search.elastic.translate import body_of
from messages.search.elastic.words import CHUNK, LONGEST_WORD, anywhere, chunks, folded, key_term, microseconds, moment
from messages.search.parse import parse_query
from messages.search.query import EVERYTHING, BadQuery, Node, Query, Refused, depth_of

NOW = datetime(2026, 11, 26, 10, tzinfo=UTC)
ID = UUID("9eb43137-0000-7000-8000-000000000001")


def question(q: str | Query, **more: Any) -> Question:
    known: dict[str, Any] = {
        "target": "messages", "environments": [], "flows": None, "read_flows": [], "named": lambda field, leaf: [7], "hashed": lambda name, value: [],
        "now": NOW,
        "since": None, "until": None, "after": None, "limit": 51,
    }  # fmt: skip
    return Question(query=parse_query(q) if isinstance(q, str) else q, **(known | more))


def asked(q: str, **more: Any) -> Any:
    return body_of(question(q, **more))["query"]["bool"]["filter"][-1]


@pytest.mark.parametrize(
    ("q", "clause"),
    [
        ("", {"match_all": {}}),
        ("-*", {"bool": {"must_not": [{"match_all": {}}]}}),
        ("status:dead", {"term": {"status": 3}}),
        ("flow:orders", {"terms": {"flow": [7]}}),
        ("group:G-7", {"terms": {"group": [7]}}),
        ("group:*", {"exists": {"field": "group"}}),
        ("order_no:4711", {"terms": {"keys": ["8:order_no=4711"]}}),
        ("order_no:*", {"term": {"key_names": "order_no"}}),
        ("class:a*b", None),
        ('class:"a*b?\\\\"', {"bool": {"should": [{"wildcard": {"error_type": {"value": "*A\\*B\\?\\\\*"}}}], "minimum_should_match": 1}}),
        ("message_id:m*", {"prefix": {"message_id": "m"}}),
        ("at:>2026-11-26T09:00:00Z", {"range": {"at": {"gt": microseconds(NOW - timedelta(hours=1))}}}),
        ("age:>1h", {"range": {"at": {"lt": microseconds(NOW - timedelta(hours=1))}}}),
        ("duration:>=2s", {"range": {"duration_us": {"gte": 2_000_000}}}),
        ("a OR b c", {"bool": {"filter": [None, None]}}),
    ],
)  # fmt: skip
def test_questions(q: str, clause: Any):
    if clause is None:
        with pytest.raises(BadQuery):
            asked(q)
        return
    found = asked(q)

    if q == "a OR b c":
        assert [set(part["bool"]) for part in found["bool"]["filter"]] == [{"should", "minimum_should_match"}] * 2
    else:
        assert found == clause


def test_rights_windows_and_positions_are_in_every_question():
    body = body_of(question("error:x", flows=[3, 4], since=NOW, until=NOW + timedelta(hours=1), after=(NOW, ID)))
    letters = body_of(question("error:x", target="dead-letters", after=(None, ID)))

    assert body["query"]["bool"]["filter"][:3] == [
        {"term": {"kind": "message"}},
        {"terms": {"flow": [3, 4]}},
        {"range": {"at": {"gte": microseconds(NOW), "lt": microseconds(NOW) + 3_600_000_000}}},
    ]
    assert (body["sort"], body["search_after"]) == ([{"at": "desc"}, {"id": "desc"}], [microseconds(NOW), str(ID)])
    assert (letters["sort"], letters["search_after"]) == ([{"id": "desc"}, {"at": "desc"}], [str(ID), -(2**62)])


@pytest.mark.parametrize(("q", "path"), [("system:x", "touched"), ("destination:x", "touched"), ("reason:x", "died")])
def test_what_a_message_has_of_others_is_asked_with_the_rights_over_those(q: str, path: str):
    inner = asked(q, flows=[3])["nested"]["query"]["bool"]["filter"]

    assert inner[0] == {"terms": {f"{path}.flow": [3]}}


def test_payloads_are_asked_of_flows_whose_payloads_the_reader_may_read():
    assert asked("payload:x", flows=[3, 4], read_flows=[4])["nested"]["query"]["bool"]["filter"] == [
        {"terms": {"payload.flow": [4]}},
        {"match_phrase": {"payload.text": "x"}},
    ]


@pytest.mark.parametrize("q", [f"error:{'x' * (LONGEST_WORD + 1)}"])
def test_what_cannot_be_answered_alike_is_not_asked(q: str):
    with pytest.raises(Unsuited):
        asked(q)


@given(st.text(max_size=60))
def test_any_text_is_a_question_or_no_query(text: str):
    try:
        query = parse_query(text)
    except BadQuery:
        return
    for target in ("messages", "dead-letters"):
        try:
            body_of(question(query, target=target))
        except (Unsuited, Refused, KeyError):  # words outside of a vocabulary: PostgreSQL has refused those before
            continue


@given(st.text())
def test_folding_keeps_the_number_of_letters_and_is_done_once(text: str):
    assert len(folded(text)) == len(text)
    assert folded(folded(text)) == folded(text)


@given(st.text(min_size=1, max_size=LONGEST_WORD), st.integers(0, 30_000), st.sampled_from(["x", "ü", "日", "𝒳"]))
def test_a_part_of_a_long_text_lies_whole_in_one_chunk(part: str, at: int, filler: str):
    text = filler * at + part + filler * 9_000

    found = chunks(text)

    assert any(folded(part) in one for one in found)
    assert all(len(one) <= CHUNK and len(one.encode("utf-8", "surrogatepass")) < 32_766 for one in found)


@given(st.text(max_size=20), st.text(max_size=20), st.text(max_size=20), st.text(max_size=20))
def test_two_keys_are_one_term_only_when_they_are_the_same(name: str, value: str, other: str, another: str):
    assert (key_term(name, value) == key_term(other, another)) == ((name, value) == (other, another))


def test_a_pattern_takes_every_letter_as_it_is():
    assert anywhere("a*b?c\\d") == "*A\\*B\\?C\\\\D*"


@given(st.datetimes(datetime(1970, 1, 1), datetime(2199, 1, 1), timezones=st.just(UTC)))
def test_times_keep_their_microseconds(at: datetime):
    assert moment(microseconds(at)) == at


def message_row(**more: Any) -> MessageRow:
    known: dict[str, Any] = {
        "id": ID, "environment": 1, "day": 1, "flow": 2, "message_id": "m", "correlation": None, "trace": None, "first_seen_at": NOW,
        "began_at": NOW, "last_seen_at": NOW, "status": 0, "keys": {}, "error_type": None, "error_message": None,
    }  # fmt: skip
    return MessageRow(**(known | more))


def names_of(document: dict[str, Any], path: str = "") -> set[str]:
    names = set()
    for name, value in document.items():
        names.add(path + name)
        if isinstance(value, list) and value and isinstance(value[0], dict):
            names |= {one for item in value for one in names_of(item, f"{path}{name}.")}
    return names


def mapped(properties: dict[str, Any], path: str = "") -> set[str]:
    return {path + name for name in properties} | {
        one for name, kind in properties.items() for one in mapped(kind.get("properties", {}), f"{path}{name}.")
    }


def test_whatever_a_sender_calls_its_keys_a_document_has_only_mapped_fields():
    keys = {f"{number}.{'x' * 50}": "v" for number in range(32)}
    row = message_row(
        keys=keys, error_type="T", error_message="e", correlation="c", trace=ID, last_seen_at=NOW + timedelta(seconds=2),
        touched=[Touch(1, 2, 3, "d"), Touch(1, 2, None, None)], told=[Told(1, keys, "T", "e")],
        died=[Death(1, "r", "expired")], texts=[Text(1, date(2026, 1, 1), "x" * 99_999)],
    )  # fmt: skip
    letter = LetterRow(
        id=ID, environment=1, flow=2, system=3, agent=4, state="closed", resolution="gone", failed_at=NOW, broker="b", queue="q", origin="o",
        reason="r", reason_code="expired", error_type="t", error_root_type="t", error_message="m", message_id="m", correlation="c", trace=ID,
        keys=keys, texts=[Text(1, date(2026, 1, 1), "x")],
    )  # fmt: skip

    of_message, of_letter = document_of_message(row), document_of_letter(letter)

    assert names_of(of_message) | names_of(of_letter) <= mapped(MAPPING["properties"])
    assert mapped(MAPPING["properties"]) - names_of(of_message) - names_of(of_letter) == {"group"}
    assert (of_message["duration_us"], len(of_message["payload"][0]["text"])) == (2_000_000, MOST_TEXT)
    assert set(document_of_message(message_row())) == {
        "kind",
        "id",
        "at",
        "duration_us",
        "flow",
        "status",
        "message_id",
    }


def test_names_lead_back_to_their_parts_and_others_to_nothing():
    alias = alias_of("waybill", 1, "Prod_g5-messages-20260101")
    today = date(2026, 11, 26)
    message, letter = index_of_message(alias, 7, today.toordinal(), 1), index_of_letter(alias, 7, uuid7())

    assert parts_of(message) == (alias, 7, "messages", today)
    assert parts_of(letter)[:3] == (alias, 7, "letters")  # type: ignore[index]
    assert [
        parts_of(one) for one in (".security", "waybill-e1-x", "x-gx-messages-20261126", "x-g1-events-20261126")
    ] == [None] * 4


@given(st.integers(2, 400), st.integers(700_000, 750_000))
def test_a_generation_has_few_indices_and_each_day_lies_in_one(metadata_days: int, day: int):
    days = days_per_index(metadata_days)
    names = {index_of_message("a", 1, day + number, days) for number in range(metadata_days + 2)}

    assert len(names) <= MOST_INDICES + 2
    first = parts_of(index_of_message("a", 1, day, days))[3].toordinal()  # type: ignore[index]
    assert first <= day < first + days


def test_a_breaker_lets_one_try_after_each_pause():
    breaker = Breaker(pause_s=10)
    assert breaker.lets_through(0)
    breaker.failed("it is dead", 0)

    assert [breaker.lets_through(at) for at in (1, 9.9, 10, 10.1, 19.9, 20)] == [False, False, True, False, False, True]
    assert breaker.why == "it is dead"
    breaker.worked()
    assert (breaker.lets_through(20.1), breaker.lets_through(20.2)) == (True, True)


@pytest.mark.parametrize(
    ("url", "urls"),
    [
        ("", ()),
        ("http://es", ("http://es:9200",)),
        ("https://u:p%40ss@es:9243/path/, http://[::1]:9200", ("https://u:p%40ss@es:9243/path", "http://[::1]:9200")),
    ],
)
def test_addresses(url: str, urls: tuple[str, ...]):
    assert load_config({"ELASTICSEARCH_URL": url}).elasticsearch_urls == urls


@pytest.mark.parametrize(
    "url", ["es:9200", "ftp://u:sesame@es", "http://", "http://es:99999", "https://u:sesame@es?x=1", "http://es,sesame"]
)
def test_addresses_that_are_none_are_refused_without_being_repeated(url: str):
    with pytest.raises(ConfigurationError) as refused:
        load_config({"ELASTICSEARCH_URL": url})
    assert "sesame" not in str(refused.value)


TWO_LOGINS = {"ELASTICSEARCH_API_KEY": "k", "ELASTICSEARCH_URL": "http://u:p@es"}


@pytest.mark.parametrize(
    "more",
    [*({"ELASTICSEARCH_PREFIX": one} for one in ("Way", "-x", "a*")), {"ELASTICSEARCH_CA": "/nowhere"}, TWO_LOGINS],
)
def test_settings_that_do_not_fit_are_refused(more: dict[str, str]):
    with pytest.raises(ConfigurationError):
        load_config(more)


def depth(clause: Any) -> int:
    if isinstance(clause, dict):
        return max((depth(value) for value in clause.values()), default=0) + ("bool" in clause)
    return max(map(depth, clause), default=0) if isinstance(clause, list) else 0


def test_a_question_is_no_deeper_than_its_query():
    tree: Node = parse_query("(((((a OR b) c) OR d) e) OR f)").root
    query = Query(tree)

    assert query.root != EVERYTHING
    assert depth(body_of(question(query))["query"]) <= depth_of(tree) + 2
    assert (
        depth(body_of(question(query, flows=[1]))["query"]) <= depth_of(tree) + 5
    )  # of 30 that it takes, 20 are a reader's


# words of payloads ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("body", "content_type", "text"),
    [
        (rb'{"n":"M\u00fcnch \ud83d\ude00"}', "", '{"n":"Münch 😀"}'),
        (rb'["half \ud800"]', "", '["half ?"]'),
        (rb'"C:\\temp \"q\" a\/b\nx \\u00fc"', "", '"C:\\temp "q" a/b\nx \\u00fc"'),
        (rb'{"cut": "\u00fc \u00', "", '{"cut": "ü '),
        (rb'{"cut": "\\', "", '{"cut": "\\'),
        (rb'{"no JSON": "\x41 \u00fc"}', "", r'{"no JSON": "\x41 \u00fc"}'),
        (b'\xef\xbb\xbf {"n":"\\u00fc"}', "", ' {"n":"ü"}'),
        (b"<n>M&#252;n&#xFC; &amp;#252; &lt;&#0;&#55296;&#9999999;&nbsp;</n>", "", "<n>Münü &#252; <   &nbsp;</n>"),
        (b"<n>\xfc</n>", "text/xml; charset=ISO-8859-1", "<n>ü</n>"),
        (b"<?xml version='1.0' encoding='windows-1252'?><n>\x80</n>", "", "<?xml version='1.0' encoding='windows-1252'?><n>€</n>"),
        (b"<?xml version='1.0' encoding='latin1'?><n>\xc3\xbc</n>", "", "<?xml version='1.0' encoding='latin1'?><n>ü</n>"),
        (b"<?xml version='1.0' encoding='idna'?><n>\xfc</n>", "", "<?xml version='1.0' encoding='idna'?><n>\ufffd</n>"),
        (b"\xfc", "text/plain; charset=iso-8859-15", "ü"),
        (rb"plain \u00fc &#252;", "text/plain", r"plain \u00fc &#252;"),
        (b"a\x00b", "", ""),
        (b"", "", ""),
    ],
)  # fmt: skip
def test_a_body_is_read_without_the_escapes_of_json_and_xml_and_by_its_charset(
    body: bytes, content_type: str, text: str
):
    assert text_of(body, content_type) == text


@pytest.mark.parametrize(
    "part",
    [rb"\"a", rb"\\", rb"\u00fca", rb"\ud800", b"&#1;a", b"&lt;", b"&", b"&#9", b"<?xml ", b"<?xml encoding=", b"[", b'{"', b" ", b"\xfc"],
)  # fmt: skip
def test_bodies_of_nothing_but_escapes_cost_little_and_can_be_sent(part: bytes):
    for first in (b'{"', b"<a>", b"<?xml ", b""):
        began = time.process_time()
        text = text_of(first + part * (4 * MOST_READ // len(part)), "text/xml; charset=latin-1")

        assert time.process_time() - began < 0.5
        assert len(text.encode()) <= 4 * MOST_TEXT


@given(st.text())
def test_whatever_a_json_text_holds_is_read_as_it_is(text: str):
    for escaped in (True, False):
        body = json.dumps([text], ensure_ascii=escaped).encode("utf-8", "replace")
        meant = text.encode("utf-8", "replace").decode()
        assert text_of(body, "") == f'["{meant}"]'[:MOST_TEXT]
