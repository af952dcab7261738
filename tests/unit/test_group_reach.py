"""How far a failure reaches, and whether it is one message or all, in words."""

from __future__ import annotations

from decimal import Decimal

import pytest

from messages.groups.figures import amount_words, blast_of, figure_of, reach_of, reach_words
from messages.groups.spread import Again, Tried, may_be_few, spread_of


def test_the_reach_counts_distinct_customers_and_documents_and_each_amount_once():
    order = {"order_no": "1", "customer_no": "7", "amount": "10.50", "currency": "eur"}
    reach = reach_of([
        order, order, {"order_no": "2", "customer_no": "7", "amount_eur": "5,50"}, {"invoice_no": "1", "customer_no": "8"},
        {"country": "DE"}, {"order_no": "3", "amount": "lots"}, {"order_no": "4", "amount": "1" * 400},
    ])  # fmt: skip

    assert (reach.customers, len(reach.documents), reach.documents["order_no=1"], reach.word) == (
        {"7", "8"},
        5,
        2,
        "",
    )
    assert reach_of([order]).word == "order"
    assert {currency: str(figure) for currency, figure in reach.amounts.items()} == {"EUR": "16.00"}
    assert reach.is_amount_partial


@pytest.mark.parametrize(
    ("text", "figure"),
    [
        ("12500", "12500"), ("12.5", "12.5"), ("12,50", "12.50"), ("-1234.567", "-1234.567"), ("0.125", "0.125"), ("-0,125", "-0.125"),
        ("1,234.56", "1234.56"), ("12.500,00", "12500.00"), ("1'234.50", "1234.50"), ("1’234’567", "1234567"), ("1 234,50", "1234.50"),
        ("1\u00a0234,50", "1234.50"), ("1\u202f234", "1234"), ("1,234,567", "1234567"), ("-1.234.567,8", "-1234567.8"), (" 7 ", "7"),
        ("12,500", None), ("12.500", None), ("-1,234", None), ("1,23,456.0", None), ("1,234.567,8", None), ("1,234,56", None), ("12.50 EUR", None),
        ("1,234 567", None), ("", None), ("1" * 400, None), ("1,234.", None), ("١٢", None), ("1.5\n", "1.5"), ("1e5", None), ("NaN", None),
    ],
)  # fmt: skip
def test_an_amount_is_read_as_it_is_written_and_not_at_all_when_it_may_be_two(text: str, figure: str | None):
    assert figure_of(text) == (None if figure is None else Decimal(figure))


def test_the_amount_of_a_document_is_that_of_the_failure_that_names_one():
    newest_first = [
        {"order_no": "1"}, {"order_no": "1", "amount": "12,500"}, {"order_no": "1", "amount": "", "total": "12.50"},
        {"order_no": "1", "amount": "99"}, {"amount": "1"}, {"amount": "1"},
    ]  # fmt: skip

    reach = reach_of(newest_first)
    partial = reach_of([*newest_first, {"order_no": "2", "amount": "12,500"}])

    assert (reach.amounts, reach.is_amount_partial) == ({"": Decimal("14.50")}, False)
    assert (partial.amounts, partial.is_amount_partial) == ({"": Decimal("14.50")}, True)
    assert reach_of([{"amount": "lots"}]).is_amount_partial


@pytest.mark.parametrize(
    ("other", "text", "figure"),
    [
        ("12.50", "1.234", "1.234"), ("12.50", "1,234", "1234"), ("12,50", "1.234", "1234"), ("12,50", "1,234", "1.234"),
        ("1.234,50", "1.234", "1234"), ("1,234.50", "1.234", "1.234"), ("1,234,567", "1,234", "1234"), ("1'234.5", "1,234", "1234"),
        ("1234.567", "-1.234", "-1.234"), ("12", "1.234", None), ("1'234", "1.234", None), ("lots", "1.234", None), ("1.234", "1.235", None),
    ],
)  # fmt: skip
def test_an_amount_that_may_be_two_is_read_as_the_other_values_of_its_key_say(
    other: str, text: str, figure: str | None
):
    asked = {"order_no": "1", "amount": text}

    reach = reach_of([asked, asked, {"order_no": "2", "amount": other}])
    alone = reach_of([asked, {"order_no": "2", "total": other}])

    assert (reach.is_amount_partial, alone.is_amount_partial) == (figure is None or other == "lots", True)
    if figure is not None:
        assert reach.amounts == {"": Decimal(figure) + (figure_of(other) or 0)}


def test_values_of_a_key_that_are_written_in_two_ways_decide_nothing():
    written = ({"order_no": str(number), "amount": text} for number, text in enumerate(("1.50", "1,50", "1.234")))

    reach = reach_of(written)

    assert (reach.amounts, reach.is_amount_partial) == ({"": Decimal(3)}, True)


def test_each_document_counts_by_the_first_of_its_names_that_any_value_of_the_group_makes_readable():
    first = {"order_no": "1", "gross": "12,500", "net": "10504.20"}
    second = {"order_no": "2", "gross": "99.50", "net": "83.61"}

    for rows in ([first, second], [second, first]):
        reach = reach_of(rows)
        assert (reach.amounts, reach.is_amount_partial) == ({"": Decimal("12599.50")}, False)


def test_one_value_decides_nothing_of_twenty_others():
    rows = [{"order_no": str(number), "amount": f"{number + 10},500"} for number in range(20)]

    reach = reach_of([*rows, {"order_no": "99", "amount": "99,5"}])
    told_often = reach_of([*rows, *[{"order_no": "99", "amount": "99,5"}] * 30])

    assert (
        (reach.amounts, reach.is_amount_partial)
        == (told_often.amounts, told_often.is_amount_partial)
        == ({"": Decimal("99.5")}, True)
    )


def test_figures_are_said_as_one_phrase():
    said = {
        "waiting": 181,
        "customers": 63,
        "documents": 181,
        "amounts": {"EUR": "74912.00"},
        "word": "order",
        "capped": False,
    }

    assert reach_words(**said) == "181 orders of 63 customers, €74,912"
    assert reach_words(**said | {"documents": 0, "customers": 1, "amounts": {}}) == "181 failures of 1 customer"
    assert reach_words(**said | {"capped": True, "customers": 0, "amounts": {}}) == "at least 181 orders"
    assert reach_words(**said, amounts_partial=True) == "181 orders of 63 customers, at least €74,912"
    assert (
        reach_words(**said | {"capped": True}, amounts_partial=True) == "at least 181 orders of 63 customers, €74,912"
    )
    some = {"customers_partial": True, "amounts_partial": True}
    assert reach_words(**said, **some) == "181 orders of at least 63 customers, at least €74,912"
    assert reach_words(**said | {"capped": True}, **some) == "at least 181 orders of 63 customers, €74,912"
    nameless = said | {"documents": 0, "capped": True}
    assert reach_words(**nameless) == "181 failures of at least 63 customers, at least €74,912"
    assert reach_words(**nameless, failed_capped=True) == "at least 181 failures of 63 customers, €74,912"
    part = said | {"documents_partial": True, "documents": 1, "customers": 1, "amounts": {"EUR": "12"}}
    assert reach_words(**part) == "181 failures, at least 1 order of 1 customer, €12"
    assert reach_words(**part, **some) == "181 failures, at least 1 order of at least 1 customer, at least €12"
    mixed = said | {"capped": True, "documents": 1, "customers": 1, "amounts": {"EUR": "12"}}
    assert reach_words(**mixed) == "181 failures, at least 1 order of 1 customer, €12"
    assert reach_words(**mixed, failed_capped=True) == "at least 181 failures, at least 1 order of 1 customer, €12"
    assert (amount_words({"EUR": "1"}, at_least=True), amount_words({}, at_least=True)) == ("at least €1", "")
    assert amount_words({"": "12.50", "CHF": "300", "EUR": "-1000.5"}) == "12.50 and CHF 300 and €-1,001"
    assert amount_words({"CHF": "1234.50", "EUR": "2284.49", "USD": "12.345"}) == "CHF 1,235 and €2,284 and $12.35"


def failing(*, customers: int = 0, documents: int = 0, waiting: int) -> int:
    """Return the rank of failures of which each names a document that so many do, or none of them any."""
    whom = [{"customer_no": str(number)} for number in range(customers)] or [{}]
    what = [{"order_no": str(number)} for number in range(documents)] or [{}]
    keys = [what[at % len(what)] | whom[at % len(whom)] for at in range(max(len(what), len(whom)))]
    return blast_of(reach_of([*keys, *keys[:1] * (waiting - len(keys))]), waiting=waiting)


def test_groups_are_ordered_by_customers_then_documents_then_failures():
    reaches = [(63, 181, 181), (2, 500, 900), (2, 3, 4), (0, 64, 64), (0, 0, 5000), (1, 1, 10_000)]

    blasts = {one: failing(customers=one[0], documents=one[1], waiting=one[2]) for one in reaches}

    assert sorted(reaches, key=blasts.__getitem__, reverse=True) == [
        (0, 0, 5000), (0, 64, 64), (63, 181, 181), (2, 500, 900), (2, 3, 4), (1, 1, 10_000),
    ]  # fmt: skip
    assert blast_of(reach_of([{"order_no": "1"}]), waiting=0) == 0
    assert blast_of(reach_of([{}]), waiting=10**9) < 2**63


@pytest.mark.parametrize("named", [{"order_no": "1"}, {"customer_no": "1"}, {"order_no": "1", "customer_no": "1"}])
def test_one_failure_of_many_that_names_something_leaves_the_rank_what_it_is_without_any(named: dict[str, str]):
    nameless = [{"trace": "x"}] * 499

    mixed = reach_of([named, *nameless])

    assert (mixed.is_document_partial, mixed.is_customer_partial) == ("order_no" in named, "customer_no" in named)
    assert blast_of(mixed, waiting=500) == blast_of(reach_of([{}, *nameless]), waiting=500)
    assert blast_of(mixed, waiting=9_000) == blast_of(reach_of([{}, *nameless]), waiting=9_000)  # 8,500 not read
    assert not any(
        (one.is_document_partial or one.is_customer_partial) for one in (reach_of([named] * 3), reach_of(nameless))
    )


def test_what_has_no_known_customer_ranks_as_one_and_a_document_has_the_customer_that_any_of_its_failures_names():
    orders = [{"order_no": str(number), "amount": "2"} for number in range(9)]

    mixed = reach_of([*orders, {"order_no": "0", "customer_no": "C"}, {"order_no": "9"}])
    known = reach_of([orders[0], {"order_no": "0", "customer_no": "C"}])

    assert (mixed.is_customer_partial, mixed.is_document_partial, mixed.is_amount_partial) == (True, False, True)
    assert (known.is_customer_partial, known.is_amount_partial) == (False, False)
    assert blast_of(mixed, waiting=11) // 10**12 == 10


def test_poison_is_told_from_an_outage():
    def tried(failed: int, passed: int, otherwise: int = 0, station: str = "") -> Tried:
        return Tried(failed=failed, otherwise=otherwise, passed=passed, station=station)

    assert spread_of({"order_no=4711": 12}, tried(12, 340)).words == (
        "One order, 4711, failed 12 times, while 340 others passed: look at it alone."
    )
    many = {f"order_no={n}": 1 for n in range(50)}
    assert spread_of(many, tried(50, 0)).kind == "outage"
    assert spread_of(many, tried(50, 0)).words.startswith("Nothing passed the flow in the last hours")
    assert spread_of(many, tried(50, 3, station="erp")).words.startswith("Only 3 of 53 passed erp in the last hours")
    assert spread_of(many, tried(50, 950)).words.startswith("5% of what came to the flow in the last hours failed this")
    assert spread_of(many, tried(10, 90, 400, "erp")).words == (
        "2% of what came to erp in the last hours failed this way: 10 of 500, 400 failed otherwise, 90 passed. "
        "It is neither one message alone nor everything."
    )
    assert spread_of(many, tried(10, 10, 400, "erp")).words == (
        "Only 10 of 420 passed erp in the last hours; 10 failed this way, 400 otherwise: the destination or what leads to it is the trouble."
    )
    assert spread_of({"order_no=1": 1}, tried(1, 0)).words == ""
    assert spread_of(many, None).words == ""  # a harvester alone tells of it: what passes is not known
    assert spread_of({"order_no=4711": 12}, None).kind == "poison"


@pytest.mark.parametrize(
    ("keys", "standing", "figures", "expected"),
    [
        (1, 1, (1, 0, 10, "erp"), True), (1, 1, (1, 0, 9, "erp"), False), (3, 3, (3, 0, 30, "erp"), True), (4, 4, (4, 0, 400, "erp"), False),
        (1, 1, (1, 0, 400, ""), False), (1, 1, (1, 400, 400, "erp"), False), (2, 2, (40, 0, 399, "erp"), False), (2, 2, (40, 0, 400, "erp"), True),
        (1, 1, (0, 0, 10, "erp"), True), (0, 0, (0, 0, 10, "erp"), False),
    ],
)  # fmt: skip
def test_few_keys_are_poison_only_where_ten_times_as_many_pass_the_same_station(
    keys: int, standing: int, figures: tuple[int, int, int, str], expected: bool
):
    failed, otherwise, passed, station = figures

    few = may_be_few(keys, standing, Tried(failed=failed, otherwise=otherwise, passed=passed, station=station))

    assert few is expected
    assert not may_be_few(keys, standing, None)


def test_few_that_are_tried_often_are_said_with_their_numbers():
    tried = Tried(failed=2, otherwise=0, passed=1, station="erp")
    many = Tried(failed=2, otherwise=0, passed=400, station="erp")
    both = {"order_no=1": 30, "order_no=2": 1_000}

    said = {
        spread_of(documents, figures, Again(times=times, standing=len(times), is_least=least)).words
        for documents, times, figures, least in (
            ({}, both, many, True),
            ({}, {"order_no=1": 3, "invoice_no=1": 3}, many, False),
            ({"order_no=1": 3}, {"order_no=1": 9}, tried, False),
        )
    }

    assert said == {
        "2 orders failed at least 1,030 times, while 400 others passed: look at them alone.",
        "2 documents failed 6 times, while 400 others passed: look at them alone.",
        "One order, 1, failed 9 times, while 1 other passed: look at it alone.",
    }
    assert spread_of({}, many, Again(times=both | {"order_no=2": 2}, standing=2)).kind == ""
