"""What is different: sound shares, the planted difference found among noise, nothing told of chance, bounded whatever the bodies are."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.core.words import share_words
from messages.different.features import MOST_ITEMS, MOST_PLACES, features_of
from messages.different.statistics import chance, is_more_than_chance, least_difference, wilson
from messages.different.traits import differences_of, in_words, round_between


def of(*bodies: Any, content_type: str = "application/json") -> list[Any]:
    texts = [body if isinstance(body, str) else json.dumps(body) for body in bodies]
    return [features_of(text.encode(), content_type) for text in texts]


def orders(count: int, seed: int, **changes: Any) -> list[dict[str, Any]]:
    """Orders with plenty of noise; a change is a value, or a function of the random generator."""
    chosen = random.Random(seed)
    made = []
    for _ in range(count):
        order: dict[str, Any] = {
            "order_no": f"{chosen.randrange(10**8, 10**9)}", "total": round(chosen.uniform(5, 9_000), 2), "country": chosen.choice(["DE", "FR", "NL"]),
            "customer": {"name": chosen.choice(["Ada", "Bob", "Cy"]), "vat": f"DE{chosen.randrange(10**9)}"},
            "lines": [{"sku": f"S{chosen.randrange(50)}", "qty": chosen.randrange(1, 9)} for _ in range(chosen.randrange(1, 5))],
            "express": chosen.random() < 0.5,
        }  # fmt: skip
        for place, change in changes.items():
            value = change(chosen) if callable(change) else change
            holder = order
            *way, last = place.split("__")
            for name in way:
                holder = holder[name]
            if value is ...:
                holder.pop(last)
            else:
                holder[last] = value
        made.append(order)
    return made


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"customer__vat": ...}, "customer.vat is missing"),
        ({"country": "CH"}, "country is CH"),
        ({"country": None}, "country is null"),
        ({"total": lambda chosen: f"{chosen.uniform(5, 900):.2f}"}, "total is a text"),
        ({"total": lambda chosen: round(chosen.uniform(10_001, 90_000), 2)}, "total is over 10,000"),
        ({"customer__name": lambda chosen: "x" * chosen.randrange(41, 60)}, "customer.name in characters is over 10"),
        ({"lines": []}, "lines in items is at most 0"),
        ({"lines": [{"qty": 1}, {"sku": "A", "qty": 1}]}, "lines[].sku is missing in one or more items"),
        ({"promo": "NEW"}, "promo is there"),
        ({"customer__vat": lambda chosen: f"CH{chosen.randrange(10**9)}"}, "customer.vat begins with C"),
        ({"customer": "•••"}, "customer is masked"),
    ],
    ids=["missing", "value", "null", "type", "number", "length", "empty array", "missing in an item", "present", "prefix", "masked"],
)  # fmt: skip
def test_the_planted_difference_is_found_among_the_noise(changes: dict[str, Any], words: str):
    failed, delivered = of(*orders(60, 1, **changes)), of(*orders(150, 2))

    found = differences_of(failed, delivered)

    told = [f"{one.place} {one.words}" for one in found] + [other for one in found for other in one.also]
    assert words in told
    assert found[0].place.split("[")[0].split(".")[0] in {place.split("__")[0] for place in changes}
    assert all((one.failed, one.of_failed, one.of_delivered) == (60, 60, 150) for one in found[:1])


def test_what_has_two_letters_is_told_whole_and_never_by_its_first():
    """What failed after 20:00 said "hour begins with 2"."""
    failed, delivered = (
        of(*({"hour": f"2{n % 4}"} for n in range(40))),
        of(*({"hour": f"{n % 20:02}"} for n in range(200))),
    )

    told = [one.words for one in differences_of(failed, delivered)]

    assert told
    assert all(words.startswith("is 2") for words in told)
    assert not [words for words in told if "begins" in words]


@pytest.mark.parametrize("seed", range(5))
def test_where_nothing_differs_nothing_is_told(seed: int):
    assert differences_of(of(*orders(100, seed)), of(*orders(200, 100 + seed))) == []


def test_a_difference_says_both_shares_as_one_sentence():
    failed = of(*orders(49, 1, customer__vat=...), *orders(1, 2))
    delivered = of(*orders(1, 3, customer__vat=...), *orders(299, 4))

    (found, *_) = differences_of(failed, delivered)

    assert in_words(found) == "customer.vat is missing in 98 % of failed, 0.3 % of delivered"
    assert 0.8 < found.least < 0.98


def test_a_few_messages_do_not_make_a_difference():
    assert differences_of(of(*orders(2, 1, country="CH")), of(*orders(3, 2))) == []


def test_of_traits_of_the_same_messages_the_plainest_is_told():
    failed, delivered = of(*orders(50, 1, customer=...)), of(*orders(100, 2))

    (found,) = differences_of(failed, delivered)

    assert (found.place, found.words) == ("customer", "is missing")
    assert set(found.also) == {"customer.name is missing", "customer.vat is missing"}


@pytest.mark.parametrize(
    ("failed", "delivered", "content_type", "words"),
    [
        (
            "<o><c>DE</c><v n='1'>x</v></o>",
            "<o><c>DE</c><v n='1'>x</v><vat>1</vat></o>",
            "text/xml",
            "o.vat is missing",
        ),
        ("<o><a x='1'/></o>", "<o><a x='2'/></o>", "text/xml", "o.a.@x is 1"),
        ("no;qty\n1;\n", "no;qty\n1;5\n", "text/csv", "column qty is missing"),
        ("plain", '{"a": 1}', "", "a is missing"),
    ],
)
def test_xml_csv_and_text_are_compared_too(failed: str, delivered: str, content_type: str, words: str):
    found = differences_of(
        of(*[failed] * 30, content_type=content_type), of(*[delivered] * 60, content_type=content_type)
    )

    assert words in [f"{one.place} {one.words}" for one in found] + [other for one in found for other in one.also]


# bounds -------------------------------------------------------------------------------------------------------------------


def test_what_is_nested_and_long_is_bounded():
    wide = {f"member {number}": number for number in range(5_000)}
    long = {"lines": [{"sku": number} for number in range(5_000)]}
    deep = "[" * 60 + "1" + "]" * 60

    for body in (wide, long, deep):
        (found,) = of(body)
        assert len(found.times) <= MOST_PLACES
        assert max(found.times.values()) <= MOST_ITEMS


@given(st.binary(max_size=200), st.sampled_from(["application/json", "text/xml", "text/csv", ""]))
def test_no_body_raises(body: bytes, content_type: str):
    found = features_of(body, content_type)

    differences_of([found] * 3, [features_of(b"{}", "")] * 3)


@given(st.recursive(st.none() | st.booleans() | st.floats(allow_nan=False) | st.integers() | st.text(max_size=8),
                    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4), max_leaves=12))  # fmt: skip
def test_no_json_raises_and_every_word_can_be_written(value: Any):
    for one in differences_of(of(value) * 30, of({"a": 1}) * 60):
        in_words(one).encode()


# statistics ---------------------------------------------------------------------------------------------------------------


def test_shares_lie_in_their_interval_and_more_messages_make_it_narrower():
    assert wilson(0, 0) == (0.0, 1.0)
    low, high = wilson(5, 10)
    assert low < 0.5 < high
    narrow_low, narrow_high = wilson(500, 1000)
    assert low < narrow_low < 0.5 < narrow_high < high
    assert wilson(10, 10)[1] == 1.0


def test_the_exact_test_is_that_of_the_tea_taster():
    assert chance(4, 4, 0, 4) == pytest.approx(1 / 70)  # R. A. Fisher, The Design of Experiments, 1935
    assert chance(3, 4, 1, 4) == pytest.approx(17 / 70)
    assert chance(0, 4, 4, 4) == pytest.approx(1)


@given(st.integers(1, 200), st.integers(1, 400), st.data())
def test_bounds_hold_for_every_pair_of_shares(of_failed: int, of_delivered: int, data: Any):
    failed, delivered = data.draw(st.integers(0, of_failed)), data.draw(st.integers(0, of_delivered))

    assert (
        -1.01
        <= least_difference(failed, of_failed, delivered, of_delivered)
        <= failed / of_failed - delivered / of_delivered + 1e-9
    )
    assert 0 <= chance(failed, of_failed, delivered, of_delivered) <= 1
    if failed / of_failed <= delivered / of_delivered:
        assert not is_more_than_chance(failed, of_failed, delivered, of_delivered, 1)


@pytest.mark.parametrize(
    ("low", "high", "between"),
    [(8_999.5, 10_001, 10_000), (9_998.2, 10_001, 10_000), (-3, 4, 0), (0.1234, 0.1239, 0.1234), (40, 41, 40), (-20.5, -10, -20), (3, 3, 3)],
)  # fmt: skip
def test_a_border_is_the_roundest_number_between(low: float, high: float, between: float):
    assert round_between(low, high) == pytest.approx(between)


@pytest.mark.parametrize(
    ("share", "words"),
    [(0, "0 %"), (1, "100 %"), (0.003, "0.3 %"), (0.0001, "under 0.1 %"), (0.984, "98 %"), (0.9999, "99.9 %")],
)
def test_a_share_is_never_said_to_be_all_or_none_when_it_is_not(share: float, words: str):
    assert share_words(share) == words
