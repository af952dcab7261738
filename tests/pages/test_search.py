"""The search boxes: a refusal under the box with its column marked, what was meant as a link, completions as a part, no markup of others."""

from __future__ import annotations

import re

import pytest
from django.test import Client

from console.identity.models import Role, Team
from messages.models import Flow
from tests.factories import agent_key, environment, event, push, stored_letter
from tests.pages.people import signed_in, text_of
from tests.services.search_corpus import fill

pytestmark = pytest.mark.django_db
EVIL = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'><svg onload=alert(1)>",
    "</mark><b>x",
    "{{7*7}}",
    "javascript:alert(1)",
]
BOXES = ["/messages/", "/dead-letters/", "/changes/"]


@pytest.mark.parametrize("path", BOXES)
def test_a_refusal_marks_the_column_and_offers_what_was_meant(path: str):
    environment()

    page = signed_in().get(path, {"q": "flow:(a b"})

    html = page.content.decode()
    assert page.status_code == 400
    assert '<pre>flow:<mark class="hit">(</mark>a b</pre>' in html
    assert "Column 6." in text_of(page)
    assert re.search(
        r'Did you mean <a class="mono" href="\\?q=flow%3A%28a\\+b%29">flow:\\(a b\\)</a>'.replace("\\\\", "\\"), html
    )
    assert 'aria-invalid="true"' in html


def test_a_missing_end_is_marked_after_the_text_and_a_wrong_word_tells_the_words():
    environment()
    client = signed_in()

    ends, wrong = (
        client.get("/messages/", {"q": "a AND"}),
        client.get("/messages/", {"q": "status:faild flow:x", "window": "7d"}),
    )

    assert '<pre>a AND<mark class="hit">\xa0</mark></pre>' in ends.content.decode()
    assert "Status is one of moving, delivered, failed, dead, compensated, not “faild”." in text_of(wrong)
    assert 'href="?q=status%3Afailed+flow%3Ax&amp;window=7d"' in wrong.content.decode()


@pytest.mark.parametrize("evil", EVIL)
def test_markup_in_a_query_or_in_names_is_text(evil: str):
    push("/ingest/v1/events", [event(destination=evil, system=evil[:60], keys={"order_no": evil})], key=agent_key(evil))
    stored_letter(queue=evil, origin=evil)
    client = signed_in()

    answers = [
        client.get(path, {"q": q})
        for path in BOXES
        for q in (evil, f"status:{evil}", f"({evil}", f'"{evil}', f"{evil}:x")
    ]
    fields = ("flow", "system", "agent", "destination", "queue")
    answers += [
        client.get("/search/completions", {"q": f"{field}:", "of": of})
        for of in ("messages", "dead-letters")
        for field in fields
    ]
    answers += [client.get("/search/completions", {"q": evil, "of": evil, "at": evil})]

    for answer in answers:
        assert answer.status_code in (200, 400)
        for tag in ("<script>alert", "<img src", "<svg onload", "</mark><b>", 'href="javascript:'):
            assert tag not in answer.content.decode()


def test_completions_are_a_part_that_names_only_what_the_reader_may_see():
    push("/ingest/v1/events", [event(destination="orders"), event(destination="payroll")], key=agent_key())
    Flow.objects.filter(name="payroll").update(team=Team.objects.create(name="Payroll team"))

    mine = signed_in("member", Role.VIEWER).get("/search/completions", {"q": "flow:", "of": "messages"})
    theirs = signed_in("owner", Role.VIEWER, team="Payroll team").get(
        "/search/completions", {"q": "flow:", "of": "messages"}
    )

    assert re.findall(r'data-text="([^"]+)"', mine.content.decode()) == ["orders "]
    assert re.findall(r'data-text="([^"]+)"', theirs.content.decode()) == ["orders ", "payroll "]
    assert "<html" not in mine.content.decode()
    assert mine["Cache-Control"] == "no-store"
    assert Client().get("/search/completions", {"q": "flow:"}).status_code == 302


def test_a_text_that_is_too_long_is_told_so_and_not_cut():
    environment()

    page = signed_in().get("/messages/", {"q": "a" * 5000})

    assert page.status_code == 400
    assert "A query has at most 4,000 characters." in text_of(page)


def test_a_search_for_a_number_looks_through_everything_from_the_page_of_24_hours_as_well():
    fill()
    client = signed_in()

    usual, number, words, none = (
        client.get("/messages/", query) for query in ({}, {"q": "invoice_no:9001"}, {"q": "timed"}, {"q": "order_no:1"})
    )

    assert 'type="hidden" name="window"' not in usual.content.decode()
    assert "Invoice 9001" in text_of(number)
    assert "Invoice 9001" not in text_of(usual)
    assert ["As the query asks" in text_of(page) for page in (usual, number, words, none)] == [False, True, False, True]
    assert "fits order_no:1 , as far back as it asks." in text_of(none)


@pytest.mark.parametrize("path", ["/messages/", "/dead-letters/"])
def test_a_name_that_is_no_field_and_no_key_that_anything_carries_is_told_where_nothing_is_found(path: str):
    fill()
    client = signed_in()

    slip, known = client.get(path, {"q": "color:red"}), client.get(path, {"q": "order_no:0"})

    assert (
        "color is no field: taken for a business key, and nothing among the latest 300 that you may see carries it."
        in text_of(slip)
    )
    assert "no field" not in text_of(known)
