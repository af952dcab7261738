"""Letters beyond ASCII: both back ends take the same ones for one."""

from __future__ import annotations

import unicodedata

import pytest
from django.db import connection

from messages.search.elastic.words import folded
from tests.contracts.test_search_backends import Lists, lists  # noqa: F401  a fixture
from tests.factories import agent_key, event, push

pytestmark = [pytest.mark.django_db, pytest.mark.engine]


def test_letters_that_look_alike_are_the_same_whatever_the_back_end(lists: Lists):  # noqa: F811
    words = [
        "straße", "STRASSE", "İstanbul", "ﬁn", "100% *sure*?", "back\\slash", "under_score", "a\tb\nc", "日本語", "𝒳 astral", "e\u0301",
    ]  # fmt: skip
    failures = [
        event(message_id=f"w{number}", outcome="error", error={"type": "T", "message": word, "stack": ""})
        for number, word in enumerate(words)
    ]
    assert push("/ingest/v1/events", failures, key=agent_key()).json()["accepted"] == len(words)
    asked = [
        "straße", "STRASSE", "strasse", "STRAßE", "istanbul", "İST", "fin", "100%", "*sure*", "?", "\\", "_", "a\tb", "日本", "𝒳", "é",
    ]  # fmt: skip

    found = {word: lists.names(f'error:"{word.replace(chr(92), chr(92) * 2)}"') for word in asked}

    assert found["straße"] == found["STRAßE"] == ["w0"]
    assert found["STRASSE"] == found["strasse"] == ["w1"]
    assert found["100%"] == found["*sure*"] == found["?"] == ["w4"]
    assert (found["\\"], found["_"], found["a\tb"], found["日本"], found["𝒳"], found["é"]) == (
        ["w5"],
        ["w6"],
        ["w7"],
        ["w8"],
        ["w9"],
        [],
    )
    assert found["fin"] == []


ALIKE = [  # (what is looked for, in what, whether it is found)
    ("σφαλματοσ", "ΣΦΑΛΜΑΤΟΣ", True), ("σφαλματος", "ΣΦΑΛΜΑΤΟΣ", False), ("BAĞLANTI", "Bağlantı yok", False), ("BAĞLANTı", "Bağlantı yok", True),
    ("50 μs", "50 µs", False), ("S LONG", "ſ long", False), ("MAß 7", "MAẞ 7", True), ("MASS 7", "MAẞ 7", False), ("2 ω", "2 \u2126", True),
    ("4 k", "4 \u212a", True), ("9 å", "9 \u212b", True), ("ᾼ", "ᾳ", True), ("ΑΙ", "ᾳ", False), ("ǅ", "ǆ", True), ("ი", "Ი", True), ("ꭰ", "Ꭰ", True),
    ("İZMIR", "izmir", True), ("ızmir", "izmir", False), ("ЖУК", "жук", True), ("ÅNGSTRÖM", "ångström", True), ("ŉ", "ʼn", False),
]  # fmt: skip


def test_letters_are_alike_that_have_one_lower_case(lists: Lists):  # noqa: F811
    failures = [
        event(message_id=f"w{number}", outcome="error", error={"type": "T", "message": text, "stack": ""})
        for number, (_, text, _) in enumerate(ALIKE)
    ]
    assert push("/ingest/v1/events", failures, key=agent_key()).json()["accepted"] == len(ALIKE)

    found = {
        (word, text): f"w{number}" in lists.names(f'error:"{word}"') for number, (word, text, _) in enumerate(ALIKE)
    }

    assert found == {(word, text): is_found for word, text, is_found in ALIKE}


def test_all_letters_that_postgresql_takes_for_one_are_one_in_the_index(db: None):
    """Python and PostgreSQL are of different years: a letter that either does not know yet is left out."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT n, lower(chr(n)) FROM generate_series(1, 0x1ffff) n WHERE n NOT BETWEEN 0xd800 AND 0xdfff"
        )
        lower = dict(cursor.fetchall())

    known = {chr(n): of_it for n, of_it in lower.items() if unicodedata.category(chr(n)) != "Cn"}
    assert {one: folded(one) == folded(of_it) for one, of_it in known.items()} == dict.fromkeys(known, True)
    assert len({folded(one) for one in known}) == len(set(known.values()))
