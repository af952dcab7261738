"""Attributes that nothing needs cleaning are taken as they are; whether they are is found by a quick look, which must miss nothing."""

from __future__ import annotations

import pytest

from messages.ingest import clean

LONG = "n" * (clean.KEY_BYTES + 1)


@pytest.mark.parametrize(
    "raw",
    [
        {"a": "b\x00c"},
        {"a": "lone \ud800"},
        {"a": "é"},
        {"a\x00b": "c"},
        {LONG: "c"},
        {"a": "x" * (clean.ATTRIBUTES_BYTES + 1)},
        {"a": "x" * clean.SHORT, "b": "x" * clean.SHORT, "c": "x"},
        {"a": 2**70},
        {"a": float("nan")},
        {"a": ["b\x00"]},
        {"a": None},
        {},
        {"order_no": "4711"},
    ],
    ids=lambda raw: f"{len(raw)} of {ascii(str(raw))[:30]}",
)
def test_the_quick_look_says_what_the_whole_cleaning_says_also_of_names_that_were_seen(raw: dict[str, object]):
    whole = clean._cleaned(dict(raw))

    assert clean.attributes(dict(raw)) == whole
    assert clean.attributes(dict(raw)) == whole


def test_many_short_values_under_long_names_that_were_all_seen_are_cut_where_they_are_too_much_together():
    many: dict[str, object] = {f"name-{number:03d}" + "n" * 240: "x" * 200 for number in range(150)}
    for name, value in many.items():
        clean.attributes({name: value})

    kept = clean.attributes(dict(many))

    assert (kept == clean._cleaned(dict(many)), kept["waybill.attributes_cut"]) == (True, 150 - (len(kept) - 1))


def test_what_needs_no_cleaning_is_not_copied():
    raw: dict[str, object] = {"messaging.system": "kafka", "order_no": "4711"}
    clean.attributes(dict(raw))

    assert clean.attributes(raw) is raw


def test_a_business_number_keeps_all_its_digits():
    assert clean.key_value(9400111899223197428490) == "9400111899223197428490"
    assert clean.key_value(-7) == "-7"
    assert clean.key_value(10**400) == "number too large"
