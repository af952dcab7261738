"""Fingerprints, classes, rules, states and figures of failure groups, from tables and from hostile input."""

from __future__ import annotations

import itertools
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from messages.groups.classes import CLASSES, class_of, http_status_of
from messages.groups.figures import amount_words, blast_of, figure_of, reach_of, reach_words
from messages.groups.fingerprint import LONGEST, Failure, Parts, fingerprint_of, in_common, normal, usual_parts
from messages.groups.reference import number_of, reference_of
from messages.groups.rules import Rule, fits, is_part, place
from messages.groups.spread import Again, Tried, may_be_few, spread_of
from messages.groups.states import STATES, TRANSITIONS, joined_state, next_state, offered, trend_of
from messages.masking.rules import MARK


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("", ""),
        ("erp did not answer in 30 s", "erp did not answer in … s"),
        ("erp.example:8443 did not answer", "… did not answer"),
        ("order 4711-2209 is unknown", "order … is unknown"),
        ("order ORD-1 of customer 'Smith & Sons' refused", "order … of customer … refused"),
        ("'vat_number' is required", "'vat_number' is required"),  # which field it is says what is wrong
        ('field "customer.vat" is missing', 'field "customer.vat" is missing'),
        ('field "vat" is missing', "field … is missing"),
        ("can't reach it, it doesn't answer", "can't reach it, it doesn't answer"),
        ("no row 7f3c2a10-9b1e-4c57-8a80-3f1d2b7c9e55", "no row …"),
        ("at 2026-11-24T10:14:02.118Z and 2026-11-24 10:14:02", "at … and …"),
        ("to <ops@example.com> via https://erp.example/orders/4711?x=1", "to <…> via …"),
        ("10.0.0.1:5432 refused, 10.0.0.2:5432 refused", "… refused, … refused"),
        ("ids 1, 2, 3, 4 are taken", "ids … are taken"),
        ("HTTP 503 from erp", "HTTP 503 from erp"),
        ("HTTP 404 from erp", "HTTP 404 from erp"),
        ("status code 429", "status code 429"),
        ("waited 503 ms", "waited … ms"),
        ("ORA-00942: table or view does not exist", "ORA-00942: table or view does not exist"),
        ("java.net.SocketTimeoutException: Read timed out", "java.net.SocketTimeoutException: Read timed out"),
        ("first line 1\nsecond line", "first line …"),
        ("\n\n  spaced   out \t 7", "spaced out …"),
        ("token eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9eyJhbGciOiJIUzI1NiIs refused", "token … refused"),
        ("card •••1111 refused", "card … refused"),
        ("vat ••• refused", "vat … refused"),
        ("card •••1111 of 'customer.name' is unknown", "card … of 'customer.name' is unknown"),
        ("••• ••• is not known", "… is not known"),
    ],
)  # fmt: skip
def test_the_normal_form_of_a_message_is_without_its_values(message: str, expected: str):
    assert normal(message) == expected
    assert normal(expected) == expected


@pytest.mark.parametrize(
    "hostile",
    ["'" * 100_000, "a'" * 50_000, "1" * 1_000_000, "a.b-" * 250_000, "http://" * 100_000, "a:" * 500_000, "\n" * 1_000_000,
     "x" * 1_000_000, "1 , " * 250_000, "\ud800\x00\u202e" * 1000, "é" * 100_000, "\"'`" * 100_000],
)  # fmt: skip
def test_hostile_text_has_a_short_normal_form_at_once(hostile: str):
    assert len(normal(hostile)) <= LONGEST
    assert len(in_common([hostile, hostile])) <= LONGEST
    assert class_of(error_type=hostile, message=hostile) in CLASSES
    assert fingerprint_of(1, 1, usual_parts(Failure(flow_id=1, error_type=hostile, message=hostile)))


@given(st.text())
def test_no_text_breaks_the_normal_form_and_it_is_its_own(text: str):
    once = normal(text)

    assert len(once) <= LONGEST
    assert normal(once) == once or len(once) == LONGEST


def test_a_title_keeps_the_values_that_all_failures_share():
    assert in_common(["erp:8443 did not answer in 30 s"] * 2) == "erp:8443 did not answer in 30 s"
    assert in_common(["order 1 of erp:8443 failed", "order 2 of erp:8443 failed"]) == "order … of erp:8443 failed"
    assert in_common([]) == ""


def test_a_fingerprint_is_the_same_for_the_same_cause_and_differs_in_each_part():
    one = Failure(flow_id=1, step="erp", error_type="E", message="order 1 failed", destination="erp.orders")
    same = Failure(flow_id=1, step="ERP", error_type="E", message="order 2 failed", destination="erp.orders")
    prints = {
        fingerprint_of(1, 1, usual_parts(one)), fingerprint_of(2, 1, usual_parts(one)), fingerprint_of(1, 2, usual_parts(one)),
        *(fingerprint_of(1, 1, parts) for parts in (
            Parts(step="erp"), Parts(error_type="erp"), Parts(message="erp"), Parts(destination="erp"), Parts(rule=7),
            Parts(more=(("queue", "erp"),)), Parts(more=(("broker", "erp"),)),
        )),
    }  # fmt: skip

    assert fingerprint_of(1, 1, usual_parts(one)) == fingerprint_of(1, 1, usual_parts(same))
    assert len(prints) == 10
    # Stored in every installation: a change of the rule needs a new VERSION.
    assert str(fingerprint_of(1, 1, usual_parts(one))) == "95d6df82-97f4-8c29-8edb-c27578302373"


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"reason": "throttled", "message": "timed out"}, "throttled"),
        ({"reason": "auth"}, "authentication"),
        ({"reason": "deserialization"}, "contract"),
        ({"error_type": "java.net.SocketTimeoutException"}, "transient"),
        ({"error_type": "ErpTimeout", "message": "x"}, "transient"),
        ({"error_type": "requests.exceptions.ConnectionError"}, "transient"),
        ({"error_type": "org.springframework.dao.DataIntegrityViolationException"}, "data"),
        ({"error_type": "ValueError", "message": "vat_number is required"}, "data"),
        ({"error_type": "com.fasterxml.jackson.core.JsonParseException"}, "contract"),
        ({"error_type": "AccessDeniedException"}, "authentication"),
        ({"error_type": "java.lang.OutOfMemoryError"}, "poison"),
        ({"error_type": "TooManyRequests"}, "throttled"),
        ({"error_type": "ArticleNotFound", "message": "article LAMP is not in the master data"}, "data"),
        ({"error_type": "java.lang.ClassNotFoundException"}, "configuration"),
        ({"error_type": "HttpError", "message": "HTTP 503 Service Unavailable"}, "transient"),
        ({"error_type": "HttpError", "message": "status: 401"}, "authentication"),
        ({"error_type": "HttpError", "message": "the ERP returned 422"}, "data"),
        ({"message": "Too Many Requests"}, "throttled"),
        ({"message": "no such queue erp.orders"}, "configuration"),
        ({"message": "connection refused"}, "transient"),
        ({"reason": "delivery_limit"}, "unknown"),
        ({}, "unknown"),
    ],
)
def test_a_failure_has_a_class_by_the_shipped_rules(said: dict[str, str], expected: str):
    assert class_of(**said) == expected
    assert CLASSES[expected].action.endswith(".")


def test_http_statuses_are_read_where_a_word_says_so():
    assert [http_status_of(one) for one in ("HTTP/1.1 503 x", "status=404", "503 orders", "error 5031")] == [
        503,
        404,
        None,
        None,
    ]


FAILURE = Failure(
    flow_id=1, flow="orders: shop → erp", step="erp", error_type="ErpTimeout", message="Did not answer in 30 s",
    destination="erp.orders", reason="delivery_limit", queue="erp.orders.dlq", keys={"country": "DE"},
)  # fmt: skip


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        ({"flow": "orders*"}, True), ({"flow": "ORDERS: shop*"}, True), ({"flow": "orders"}, False), ({"step": "e?p"}, True),
        ({"error_type": "*Timeout"}, True), ({"error_type": "*timeout*x"}, False), ({"words": "NOT ANSWER"}, True),
        ({"words": "answered"}, False), ({"words": "= did not answer in … S"}, True), ({"words": "= did not answer"}, False),
        ({"destination": "*.orders"}, True), ({"destination": "*o*d*rs"}, True),
        ({"reason": "delivery_limit"}, True), ({"reason": "expired"}, False), ({"step": "erp", "words": "nothing"}, False),
        ({"step": "????"}, False), ({"step": "*?*?*?"}, True), ({"step": "*?*?*?*?"}, False), ({"destination": "*" * 300}, True),
    ],
)  # fmt: skip
def test_a_rule_fits_when_all_of_its_patterns_do(patterns: dict[str, str], expected: bool):
    assert fits(Rule(id=1, name="x", **patterns), FAILURE) is expected


def test_a_pattern_of_many_stars_takes_no_time_on_a_long_text():
    hostile = Failure(flow_id=1, destination="a" * 20_000)

    assert not fits(Rule(id=1, name="x", destination="*a" * 100 + "*b"), hostile)
    assert not fits(Rule(id=1, name="x", destination="?" * 200 + "b*"), hostile)


def test_the_first_rule_that_fits_decides_and_no_rule_means_the_usual_way():
    one = Rule(id=4, name="ERP away", step="erp", failure_class="poison")
    by_country = Rule(id=5, name="By country", step="erp", parts=("key.country", "queue"))
    as_usual = Rule(
        id=6,
        name="Only a class",
        step="erp",
        parts=("message", "step", "destination", "error_type"),
        failure_class="data",
    )
    none = Rule(id=7, name="crm", step="crm")

    placed = [place(FAILURE, rules) for rules in ([none, one, by_country], [by_country, one], [as_usual], [none], [])]

    assert [found.name for found in placed] == ["ERP away", "By country: DE, erp.orders.dlq", "", "", ""]
    assert [found.failure_class for found in placed] == ["poison", "transient", "data", "transient", "transient"]
    assert placed[0].parts == Parts(rule=4)
    assert placed[1].parts == Parts(rule=5, more=(("key.country", "DE"), ("queue", "erp.orders.dlq")))
    assert placed[2].parts == placed[3].parts == placed[4].parts == usual_parts(FAILURE)
    assert [is_part(one) for one in ("step", "key.country", "key.", "flow", "", "key.a b")] == [
        True,
        True,
        False,
        False,
        False,
        False,
    ]


def test_every_way_between_states_is_in_the_one_dict():
    happenings = ("acknowledge", "resolve", "reopen", "fail", "grow", "calm")

    ways = {
        (state, what): after
        for state, what in itertools.product(STATES, happenings)
        if (after := next_state(state, what))
    }

    assert ways == {
        ("open", "acknowledge"): "acknowledged", ("open", "resolve"): "resolved", ("open", "grow"): "escalating",
        ("acknowledged", "reopen"): "open", ("acknowledged", "resolve"): "resolved", ("acknowledged", "grow"): "escalating",
        ("escalating", "acknowledge"): "acknowledged", ("escalating", "resolve"): "resolved", ("escalating", "calm"): "open",
        ("regressed", "acknowledge"): "acknowledged", ("regressed", "resolve"): "resolved", ("regressed", "grow"): "escalating",
        ("resolved", "reopen"): "open", ("resolved", "fail"): "regressed",
    }  # fmt: skip
    assert {after for ways in TRANSITIONS.values() for after in ways.values()} == set(STATES)
    assert [offered(state) for state in ("open", "acknowledged", "resolved")] == [
        ["acknowledge", "resolve"], ["resolve", "reopen"], ["reopen"],
    ]  # fmt: skip
    assert joined_state(["resolved", "acknowledged", "regressed"]) == "regressed"


@pytest.mark.parametrize(
    ("hours", "age", "expected"),
    [
        ([0, 0, 50], 0.5, ""), ([0, 0, 50], 5, "grow"), ([4, 20, 40], 5, ""), ([4, 20, 41], 5, "grow"), ([0, 1, 9], 5, ""),
        ([9, 0, 0], 5, "calm"), ([9, 1, 0], 5, ""), ([9, 0, 1], 5, ""),
    ],
)  # fmt: skip
def test_a_group_grows_or_calms_by_its_hours(hours: list[int], age: float, expected: str):
    assert trend_of(hours, age_hours=age) == expected


def test_references_are_read_as_people_write_them():
    assert [number_of(one) for one in ("G-204", "g204", " 204 ", "G-0", "G-", "x", "G-" + "9" * 30)] == [
        204,
        204,
        204,
        None,
        None,
        None,
        None,
    ]
    assert reference_of(204) == "G-204"


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
        "order",
    )
    assert {currency: str(figure) for currency, figure in reach.amounts.items()} == {"EUR": "16.00"}
    assert reach.is_partial


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

    assert (reach.amounts, reach.is_partial) == ({"": Decimal("14.50")}, False)
    assert (partial.amounts, partial.is_partial) == ({"": Decimal("14.50")}, True)
    assert reach_of([{"amount": "lots"}]).is_partial


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

    assert (reach.is_partial, alone.is_partial) == (figure is None or other == "lots", True)
    if figure is not None:
        assert reach.amounts == {"": Decimal(figure) + (figure_of(other) or 0)}


def test_values_of_a_key_that_are_written_in_two_ways_decide_nothing():
    written = ({"order_no": str(number), "amount": text} for number, text in enumerate(("1.50", "1,50", "1.234")))

    reach = reach_of(written)

    assert (reach.amounts, reach.is_partial) == ({"": Decimal(3)}, True)


def test_each_document_counts_by_the_first_of_its_names_that_any_value_of_the_group_makes_readable():
    first = {"order_no": "1", "gross": "12,500", "net": "10504.20"}
    second = {"order_no": "2", "gross": "99.50", "net": "83.61"}

    for rows in ([first, second], [second, first]):
        reach = reach_of(rows)
        assert (reach.amounts, reach.is_partial) == ({"": Decimal("12599.50")}, False)


def test_one_value_decides_nothing_of_twenty_others():
    rows = [{"order_no": str(number), "amount": f"{number + 10},500"} for number in range(20)]

    reach = reach_of([*rows, {"order_no": "99", "amount": "99,5"}])
    told_often = reach_of([*rows, *[{"order_no": "99", "amount": "99,5"}] * 30])

    assert (
        (reach.amounts, reach.is_partial)
        == (told_often.amounts, told_often.is_partial)
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
    assert reach_words(**said, partial=True) == "181 orders of 63 customers, at least €74,912"
    assert reach_words(**said | {"capped": True}, partial=True) == "at least 181 orders of 63 customers, €74,912"
    assert (amount_words({"EUR": "1"}, at_least=True), amount_words({}, at_least=True)) == ("at least €1", "")
    assert amount_words({"": "12.50", "CHF": "300", "EUR": "-1000.5"}) == "12.50 and CHF 300 and €-1,000"


def test_groups_are_ordered_by_customers_then_documents_then_failures():
    reaches = [(63, 181, 181), (2, 500, 900), (2, 3, 4), (0, 64, 64), (0, 0, 5000), (1, 1, 10**9)]

    blasts = {one: blast_of(customers=one[0], documents=one[1], waiting=one[2]) for one in reaches}

    assert sorted(reaches, key=blasts.__getitem__, reverse=True) == [
        (0, 0, 5000), (0, 64, 64), (63, 181, 181), (2, 500, 900), (2, 3, 4), (1, 1, 10**9),
    ]  # fmt: skip
    assert blast_of(customers=9, documents=9, waiting=0) == 0
    assert blast_of(customers=10**9, documents=10**9, waiting=10**9) < 2**63


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


@pytest.mark.parametrize("masked", ["vat ••• refused", "vat •••6789 refused", "vat ••• ••• refused"])
def test_what_a_masking_rule_replaced_is_a_value_like_any_other(masked: str):
    assert MARK in masked
    assert normal(masked) == normal("vat DE811128135 refused") == "vat … refused"
    assert in_common([masked, masked]) == masked
    assert in_common([masked, "vat DE811128135 refused"]) == "vat … refused"
    for words in ("= vat ••• refused", "= vat … refused"):
        assert fits(Rule(id=1, name="x", words=words), Failure(flow_id=1, message=masked))


def test_marks_that_are_no_mask_stay_as_they_were():
    assert [normal(one) for one in ("• order x1 refused", "•x1 is •• wrong", "a•b")] == [
        "• order … refused",
        "•… is •• wrong",
        "a•b",
    ]
