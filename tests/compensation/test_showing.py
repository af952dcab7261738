"""What is shown of what a step sends: which inputs a masking rule may cover; and titles for those who may not read values."""

from __future__ import annotations

import pytest

from messages.compensation.acting import parse_due
from messages.compensation.actions import covers
from messages.compensation.present import joined_words
from messages.compensation.steps import plain_title
from messages.masking.paths import parse_json_path, parse_xpath


@pytest.mark.parametrize(
    ("rule", "path", "hidden"),
    [
        ("$.card", "$.card", True),
        ("$.card", "$.card.number", True),  # what holds it is masked
        ("$.card.number", "$.card", False),  # an object is no input
        ("$.card", "$.amount", False),
        ("$..number", "$.card.number", True),
        ("$..number", "$.card.holder.name", False),
        ("$.*", "$.amount", True),
        ("$.*.number", "$.card.number", True),
        ("$.*.number", "$.number", False),
        ("$.items[0].iban", "$.items[0].iban", True),
        ("$.items[0].iban", "$.items[1].iban", False),
        ("$.items[*].iban", "$.items[1].iban", True),
        ("$.items[1].iban", "$.items[*].iban", True),
        ("$.card.number", "$..number", True),  # the input may lead there
        ("$.a.b.c.number", "$..number", True),
        ("$.rows[?@.kind=='card'].value", "$.rows[0].value", True),  # a condition is taken as fulfilled
        ("$['a b']", "$['a b']", True),
    ],
)
def test_a_json_rule_covers_what_it_leads_to_and_what_lies_in_it(rule: str, path: str, hidden: bool):
    assert covers(parse_json_path(rule), parse_json_path(path)) is hidden


@pytest.mark.parametrize(
    ("rule", "path", "hidden"),
    [
        ("/order/card", "/order/card", True),
        ("/order/card", "/order/card/text()", True),
        ("/order/card/text()", "/order/card", True),
        ("//card", "/order/payment/card", True),
        ("/order/card", "/order/amount", False),
        ("/order/@no", "/order/@no", True),
    ],
)
def test_an_xml_rule_does_too(rule: str, path: str, hidden: bool):
    assert covers(parse_xpath(rule), parse_xpath(path)) is hidden


def test_titles_lists_and_times_are_read_and_written_as_people_do():
    assert plain_title("refund {amount} of {order_no}") == "refund amount of order no"
    assert plain_title("{} {A} {<b>}") == "{} {A} {<b>}"
    assert [joined_words(one) for one in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == ["", "a", "a and b", "a, b and c"]
    assert parse_due("  ") is None
    due = parse_due("2026-11-26T22:00")
    assert due is not None
    assert due.isoformat() == "2026-11-26T22:00:00+00:00"
