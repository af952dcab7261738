"""Templates, pace, approved hosts, scrubbing, frozen notices, states: tables."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from alerts.delivery.frozen import freeze, thaw
from alerts.delivery.notifiers.base import BadChannel
from alerts.delivery.outbound import host_of, is_allowed, judge, parse_approved
from alerts.delivery.pace import BACKOFF_S, MOST_TRIES, next_try_s, rest_s
from alerts.delivery.secrets import scrubbed
from alerts.delivery.states import STATES, TRANSITIONS, WORDS, diagram
from alerts.delivery.templates import FIELDS, BadTemplate, Words, check_template, worded
from alerts.notices import Happening
from tests.delivery.notices import hostile, notice

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{title}", "Orders delivered in 5 min"),
        ("{{title}} {severity}", "{title} page"),
        ("{flow}/{service}.", "orders: shop → erp/."),
        ("}}{{", "}{"),
        ("{facts}", "Attained: 96.5 %\nTarget: 99 %"),
        ("100 % %s $title", "100 % %s $title"),
    ],
)
def test_a_template_is_filled_and_nothing_else(template: str, text: str):
    check_template(template, most=200)

    assert worded(Words(text=template), notice())[1] == text


@pytest.mark.parametrize(
    "template",
    [
        "{", "}", "{title", "{}", "{0}", "{title.__class__}", "{title[0]}", "{title!r}", "{title:>9999999999}", "{ title }", "{% if x %}", "{{title}",
        "{title}\x00", "x" * 201,
    ],
)  # fmt: skip
def test_a_template_with_anything_but_named_fields_is_refused(template: str):
    with pytest.raises(BadTemplate):
        check_template(template, most=200)


def test_what_is_filled_in_is_not_looked_at_again():
    assert (
        worded(Words(title="{title} {summary}"), notice(title="{summary}", summary="{title}"))[0] == "{summary} {title}"
    )


def test_a_title_is_one_line_and_never_empty():
    assert worded(Words(title="{service}"), notice(title="a\r\nb"))[0] == "Firing: a b"


@pytest.mark.parametrize(
    ("happening", "title"),
    [
        (Happening.FIRING, "Firing: Orders delivered in 5 min"),
        (Happening.ESCALATED, "Still not acknowledged: Orders delivered in 5 min"),
        (Happening.RESOLVED, "Resolved: Orders delivered in 5 min"),
    ],
)
def test_our_own_words_say_what_happened(happening: Happening, title: str):
    assert worded(Words(), notice(happening))[0] == title


def test_tries_wait_longer_and_longer_and_end():
    waits = [next_try_s(tries, asked_s=None, chance=0.5) for tries in range(1, MOST_TRIES)]

    assert waits == [pytest.approx(one) for one in BACKOFF_S]
    assert next_try_s(MOST_TRIES, asked_s=None, chance=0.5) is None
    assert 6_000 < sum(BACKOFF_S) < 9_000


@pytest.mark.parametrize(
    ("asked", "least", "most"), [(None, 3.9, 6.1), (60.0, 60, 60), (1.0, 3.9, 6.1), (1e9, 3_600, 3_600)]
)
def test_what_a_receiver_asks_for_is_heeded_up_to_an_hour(asked: float | None, least: float, most: float):
    waits = [next_try_s(1, asked_s=asked, chance=chance) for chance in (0.0, 0.5, 1.0)]

    assert all(least <= wait <= most for wait in waits if wait is not None)


@pytest.mark.parametrize(
    ("failures", "rest"), [(0, None), (4, None), (5, 30), (6, 60), (8, 240), (9, 300), (10_000, 300)]
)
def test_a_channel_rests_after_five_failures(failures: int, rest: float | None):
    assert rest_s(failures) == rest


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://hooks.example.com/x", "hooks.example.com"),
        ("http://HOOKS.example.com:80/", "hooks.example.com"),
        ("http://hooks.example.com:9093", "hooks.example.com:9093"),
        ("http://[::1]:8080/x", "[::1]:8080"),
    ],
)
def test_a_host_is_written_as_it_is_approved(url: str, host: str):
    assert host_of(url) == host == parse_approved(host.upper())
    assert is_allowed(url, {host})


@pytest.mark.parametrize(
    ("url", "allowed", "may"),
    [
        ("https://a.example.com/", {"b.example.com"}, False),
        ("https://a.example.com:8443/", {"a.example.com"}, False),
        ("https://a.example.com.evil.org/", {"a.example.com"}, False),
        ("https://x.logic.azure.com/", {"*.logic.azure.com"}, True),
        ("https://xlogic.azure.com/", {"*.logic.azure.com"}, False),
        ("https://x.logic.azure.com:22/", {"*.logic.azure.com"}, False),
    ],
)
def test_only_an_approved_host_and_port_is_allowed(url: str, allowed: set[str], may: bool):
    assert is_allowed(url, allowed) is may


@pytest.mark.parametrize(
    "text",
    [
        "",
        "*",
        "*.example.com",
        "https://x",
        "x/y",
        "x y",
        "169.254.169.254",
        "x:0",
        "x:99999",
        "[fe80::1]",
        "a@b",
        "x:80:80",
        "-",
    ],
)
def test_what_is_no_host_cannot_be_approved(text: str):
    with pytest.raises(BadChannel):
        parse_approved(text)


@pytest.mark.parametrize(
    ("status", "headers", "result", "pause"),
    [
        (200, {}, "taken", None),
        (204, {"Retry-After": "5"}, "taken", None),
        (301, {"Location": "https://evil.example.com"}, "refused", None),
        (400, {}, "refused", None),
        (401, {}, "refused", None),
        (404, {}, "refused", None),
        (408, {}, "later", None),
        (429, {"Retry-After": "7"}, "later", 7),
        (500, {}, "later", None),
        (503, {"retry-after": "3"}, "later", 3),
        (503, {"Retry-After": "soon"}, "later", None),
    ],
)
def test_an_answer_is_judged_by_its_status(status: int, headers: dict[str, str], result: str, pause: float | None):
    told = judge(status, headers, b"words \x00 \xff of theirs")

    assert (told.result, told.retry_after_s) == (result, pause)
    assert "\x00" not in told.answer


def test_no_secret_and_no_piece_of_a_secret_address_stays_in_an_answer():
    url = "https://hooks.slack.com/services/T00000000/B00000000/verysecretpart?sig=signature1234"
    text = f"no_service for {url}; path /services/T00000000/B00000000/verysecretpart, verysecretpart, sig signature1234, key {'k' * 32}"

    told = scrubbed(text, [url, "k" * 32])

    assert all(one not in told for one in ("verysecret", "B0000", "signature", "kkkk"))
    assert scrubbed("ok, abc", ["abc", ""]) == "ok, abc"  # shorter than a secret can be


@pytest.mark.parametrize("made", [notice(), notice(Happening.RESOLVED), hostile()])
def test_a_frozen_notice_is_json_of_bounded_size_and_thaws(made: object):
    frozen = freeze(made)  # type: ignore[arg-type]

    again = thaw(json.loads(json.dumps(frozen)))
    assert list(again.facts) == [name for name, _ in frozen["facts"]]
    assert freeze(again) == frozen
    assert len(json.dumps(frozen)) < 400_000


def test_what_postgresql_does_not_take_is_replaced():
    frozen = freeze(notice(title="a\x00b\ud800", facts={"x\x00": "\udfff"}))

    assert frozen["title"] == "a\ufffdb?"
    json.dumps(frozen, ensure_ascii=False).encode()


def test_the_states_and_their_diagram_in_the_docs_are_the_codes_own():
    page = (DOCS / "notifications.md").read_text()

    assert diagram() in page
    assert [state for state, words in WORDS.items() if f"| {state} | {words} |" not in page] == []
    assert {state for state, _ in STATES} == set(TRANSITIONS)
    assert all(after in TRANSITIONS for afters in TRANSITIONS.values() for after in afters)


def test_every_field_of_templates_is_in_the_docs():
    page = (DOCS / "notifications.md").read_text()

    assert [name for name in FIELDS if f"`{{{name}}}`" not in page] == []
