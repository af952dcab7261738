"""Page, part or redirect; and the tags a template may use wrongly."""

from datetime import UTC, datetime

import pytest
from django.contrib import messages as flash
from django.contrib.messages.storage.cookie import CookieStorage
from django.http import HttpRequest
from django.template import engines
from django.test import RequestFactory, override_settings
from django_htmx.middleware import HtmxDetails

from console.core.problems import page_for
from console.core.render import render_done, render_page, render_part
from tests.look.gallery import PLAIN_STATIC

PAGE, PART = "registration/locked.html", "parts/note.html"


@pytest.fixture(autouse=True)
def _plain_static():
    with override_settings(STORAGES=PLAIN_STATIC):
        yield


def request(**headers: str) -> HttpRequest:
    made = RequestFactory().get("/messages/", headers=headers)
    made.htmx = HtmxDetails(made)
    made._messages = CookieStorage(made)
    return made


def html(response) -> str:
    return response.content.decode()


@pytest.mark.parametrize(
    ("headers", "whole"),
    [
        ({}, True),
        ({"HX-Request": "true"}, False),
        ({"HX-Request": "true", "HX-Boosted": "true"}, True),
        ({"HX-Request": "true", "HX-History-Restore-Request": "true"}, True),
    ],
)
def test_only_a_swap_gets_the_part(headers, whole):
    response = render_page(request(**headers), PAGE, PART, {"title": "late"})

    assert html(response).startswith("<!doctype html>") is whole
    assert response["Vary"] == "HX-Request"


def test_a_refused_part_keeps_its_status():
    assert render_part(request(), PART, {}, status=422).status_code == 422


def test_flash_messages_ride_along_with_a_part():
    asked = request(**{"HX-Request": "true"})
    flash.success(asked, "Order <4711> is discarded.")

    body = html(render_part(asked, PART, {"title": "late"}))

    assert 'hx-swap-oob="beforeend"' in body
    assert "Order &lt;4711&gt; is discarded." in body


def test_a_plain_form_is_sent_on_by_get():
    response = render_done(request(), PART, dict, to="/dead-letters/1/")

    assert (response.status_code, response["Location"]) == (303, "/dead-letters/1/")


def test_a_swap_is_answered_with_the_part():
    response = render_done(request(**{"HX-Request": "true"}), PART, lambda: {"title": "queued"}, to="/x")

    assert response.status_code == 200
    assert "queued" in html(response)


@pytest.mark.parametrize("status", [500, 503])
def test_a_hard_error_is_drawn_without_user_session_or_database(status):
    response = page_for(request(), status, "The database does not answer.")

    assert response.status_code == status
    assert "The database does not answer." in html(response)


def test_an_error_answers_htmx_with_a_problem_that_becomes_a_toast():
    asked = request(**{"HX-Request": "true"})

    body = html(page_for(asked, 409, "it is <not> open any more"))

    assert "data-problem" in body
    assert "it is &lt;not&gt; open any more" in body
    assert "<!doctype" not in body


def drawn(source: str, **context: object) -> str:
    return engines["django"].from_string("{% load look %}" + source).render(context)


def test_an_instant_is_drawn_with_its_exact_value():
    at = datetime(2020, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC)

    assert drawn("{% when at 'clock' %}", at=at) == (
        '<time datetime="2020-01-02T03:04:05.678Z" title="2 Jan 2020, 03:04:05.678 UTC" data-when="clock">2 Jan 2020</time>'
    )


def test_a_chip_escapes_words_of_its_own():
    assert (
        drawn("{% state_chip 'replay' 'processed' text=words %}", words="<b>")
        == '<span class="chip good">&lt;b&gt;</span>'
    )


@pytest.mark.parametrize(
    "source", ["{% icon 'no-such-icon' %}", "{% state_chip 'replay' 'almost' %}", "{% when at 'soon' %}"]
)
def test_a_name_that_nobody_declared_is_refused(source):
    with pytest.raises(Exception, match=r"no-such-icon|almost|soon"):
        drawn(source, at=datetime.now(UTC))


@pytest.mark.parametrize("source", ["{% when at %}", "{{ at|age }}", "{{ at|duration_ms }}", "{{ at|filesize_short }}"])
def test_what_is_not_known_is_drawn_as_nothing(source):
    assert drawn(source, at=None) == ""
