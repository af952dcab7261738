"""What an audience calls its messages: in the sentences, the budgets and the chart, and as text wherever it stands."""

from __future__ import annotations

from typing import Any

import lxml.html
import msgspec
import pytest

from alerts.reports.content import Content, Stands
from alerts.reports.errors import ScheduleInvalid
from alerts.reports.face import face_of
from alerts.reports.rendering import render
from alerts.reports.services import change_schedule
from alerts.reports.wishes import NewSchedule, checked
from tests.reports.samples import AUDIENCE, example, promise
from tests.reports.sending import NOW, beat, kept_promise, only_report, owner, scheduled

ORDERS: dict[str, Any] = {"name": "Order team", "cadence": "daily", "noun": "order", "nouns": "orders"}


def called(noun: str, nouns: str, *promises: Any) -> Content:
    told = msgspec.structs.replace(AUDIENCE, noun=noun, nouns=nouns)
    return example(audience=told, **({"promises": promises} if promises else {}))


def test_orders_are_orders_in_the_sentences_the_budgets_and_the_chart():
    face = face_of(called("order", "orders"))

    assert face.lead.startswith("Of 204,566 orders, ")
    assert "more than the 31 allowed" in face.promises[0].detail
    assert "29 orders more" in face.promises[0].detail
    assert face.chart is not None
    assert face.chart.title == "Late or lost orders a day"
    assert "message" not in " ".join([face.verdict, face.lead, *(one.detail for one in face.promises), face.chart.alt])


def test_one_is_an_order():
    one = promise(stands=Stands.MISSED, budget=4.0, left=-1.0, left_ratio=-0.25)

    assert "1 order more than the 4 allowed" in face_of(called("order", "orders", one)).promises[0].detail


def test_slow_ones_are_too_and_attempts_stay_attempts():
    slow = promise(kind="latency", stands=Stands.MISSED, budget=4.0, left=-2.0, left_ratio=-0.5)
    tried = promise(kind="success", objective=2)

    assert "2 slow invoices more" in face_of(called("invoice", "invoices", slow)).promises[0].detail
    assert face_of(called("invoice", "invoices", tried)).lead.startswith("Of 1,000 attempts")


@pytest.mark.parametrize("bad", ["", "  ", "x" * 41, "<b>order</b>", "#orders", "a\u202eb", "=1+1", "$x$", "order;"])
def test_what_is_no_word_is_refused_in_words(bad: str):
    for said in ({"noun": bad, "nouns": "orders"}, {"noun": "order", "nouns": bad}):
        with pytest.raises(ScheduleInvalid, match="once for one and once for several"):
            checked(NewSchedule(name="x", cadence="daily", **said))


def test_words_of_other_languages_are_words():
    columns = checked(NewSchedule(name="x", cadence="daily", noun="Bestellung", nouns="Aufträge für’s Lager"))

    assert (columns["noun"], columns["nouns"]) == ("Bestellung", "Aufträge für’s Lager")


def test_whatever_a_row_holds_is_text_in_all_of_it():
    """The border refuses it; what was frozen is drawn as text all the same."""
    attack = "<i>#read(1)</i>"
    made = render(called(attack, attack), open_url="https://x.example/r/1", stop_url="https://x.example/s/1")

    page = lxml.html.fromstring(made.html)
    assert page.xpath("//i") == []
    assert attack in page.text_content()
    assert any(name.endswith(".pdf") for name, *_ in made.attachments)


@pytest.mark.django_db
@pytest.mark.usefixtures("drawn_once")
def test_a_schedule_has_its_words_and_a_report_that_was_frozen_keeps_its_own():
    kept_promise(kind="freshness", limit_minutes=15)
    by = owner()
    made = scheduled(by, **ORDERS | {"receivers": ["olga@example.com"]})
    beat(NOW.replace(hour=8))

    change_schedule(made, NewSchedule(**ORDERS | {"noun": "invoice", "nouns": "invoices"}), by=by)

    report = only_report()
    assert (report.content["audience"]["noun"], report.content["audience"]["nouns"]) == ("order", "orders")
    made.refresh_from_db()
    assert (made.noun, made.nouns) == ("invoice", "invoices")
