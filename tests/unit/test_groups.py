"""Fingerprints, classes, rules, states and figures of failure groups, from tables and from hostile input."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from messages.groups.classes import CLASSES, class_of, http_status_of
from messages.groups.fingerprint import LONGEST, Failure, Parts, fingerprint_of, in_common, normal, usual_parts
from messages.groups.reference import number_of, reference_of
from messages.groups.rules import Rule, fits, is_part, place
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
        (
            {"error_type": "DatabaseError", "message": "ORA-01017: invalid username/password; logon denied"},
            "authentication",
        ),
        (
            {"error_type": "OperationalError", "message": 'FATAL: password authentication failed for user "erp"'},
            "authentication",
        ),
        ({"error_type": "SqlError", "message": "Login failed for user 'sa'."}, "authentication"),
        ({"error_type": "LdapException", "message": "Invalid Credentials"}, "authentication"),
        ({"error_type": "SMTPError", "message": "535 Authentication credentials invalid"}, "authentication"),
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
