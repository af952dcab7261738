"""Skeletons of error texts: whatever a text holds, its skeleton holds the core of it, in linear time."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from console.core.config import ROOT
from messages.ingest.error_texts import LONGEST, core_of, skeleton

ODD = st.text(alphabet=st.sampled_from("abef019-x .:%_\\ABZé\u0130σςΣ日\n"), max_size=40)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("row 4711 of 0b6f5c1a-22aa-4cde-9f00-a1b2c3d4e5f6 is missing", "row 0 of 0 is missing"),
        ("at 2026-11-24T10:00:00.123Z", "at 0T0:0:0.0Z"),
        ("deadlock detected, a bad face", "deadlock detected, a bad face"),
        ("HTTP 503 after 30000 ms", "HTTP 0 after 0 ms"),
        ("retry-after", "retry-after"),
        ("", ""),
    ],
)
def test_values_of_a_text_are_nothing_in_its_skeleton(text: str, expected: str):
    assert skeleton(text) == expected


@pytest.mark.parametrize(
    ("words", "core"),
    [
        ("nobodysaidthis", "nobodysaidthis"),
        ("timed out", "timed out"),
        ("deadlock detected", "lock detect"),
        ("error 4711 failed", "rror 0 fail"),
        ("4711", ""),
        ("dead beef", " "),
        ("face", ""),
        ("日本語", ""),
        ("straße war gesperrt", " war gesperrt"),
    ],
)
def test_of_the_words_of_a_search_what_is_sure_is_kept(words: str, core: str):
    assert core_of(words) == core


@given(text=ODD, start=st.integers(0, 40), length=st.integers(0, 40), turned=st.booleans())
@example(text="4aΣ ", start=2, length=1, turned=False)
@example(text="x12ab-34y", start=3, length=3, turned=True)
@settings(max_examples=1_000)
def test_whatever_stands_in_a_text_its_core_stands_in_the_skeleton(text: str, start: int, length: int, turned: bool):
    words = text[start : start + length]

    core = core_of(words.swapcase() if turned and words.isascii() else words)

    assert core.lower() in skeleton(text).lower()


@pytest.mark.parametrize(
    "text", ["a" * LONGEST, "-" * LONGEST, "1" * LONGEST, "a-" * (LONGEST // 2), "9a" * (LONGEST // 2)]
)
def test_hostile_texts_take_no_time(text: str):
    began = time.process_time()
    for _ in range(20):
        skeleton(text)
    assert time.process_time() - began < 1


def test_nobody_else_writes_errors_of_messages():
    """Whoever does must note them: else a search would not find them."""
    writes = re.compile(r"(?:INSERT INTO|UPDATE) messaging_message\b(?:(?!\"\"\").)*?error_message", re.DOTALL)
    found = {
        file.name
        for app in ("messages", "alerts", "console")
        for file in (ROOT / app).rglob("*.py")
        if writes.search(file.read_text())
    }

    assert found == {"messages_sql.py", "exceptions.py"}
