"""Pure rules: when a report is due, what a link says, what differs, what a schedule may be, which states follow."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from django.core.signing import Signer

from alerts.reports import states
from alerts.reports.changes import changes_between, figures_that_differ
from alerts.reports.content import Cause, Content, Excluded
from alerts.reports.errors import ScheduleInvalid
from alerts.reports.links import (
    OPEN_SALT,
    BadLink,
    Opens,
    filled,
    open_token,
    open_url,
    parse_open,
    parse_stop,
    stop_token,
    stop_url,
)
from alerts.reports.present import period_words
from alerts.reports.timing import next_time, when_words
from alerts.reports.wishes import NewSchedule, checked, checked_receivers
from tests.reports.said import content, promise

BERLIN = "Europe/Berlin"
ROOT = Path(__file__).resolve().parents[2]


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("cadence", "hour", "weekday", "zone", "after", "due"),
    [
        ("daily", 7, 1, "UTC", "2026-11-26T06:59", "2026-11-26T07:00"),
        ("daily", 7, 1, "UTC", "2026-11-26T07:00", "2026-11-27T07:00"),  # after, never at: it has just gone
        ("daily", 7, 1, BERLIN, "2026-11-26T06:00", "2026-11-27T06:00"),
        ("weekly", 7, 1, BERLIN, "2026-11-26T12:00", "2026-11-30T06:00"),
        ("weekly", 7, 4, BERLIN, "2026-11-26T05:00", "2026-11-26T06:00"),
        ("monthly", 6, 1, "UTC", "2026-11-26T12:00", "2026-12-01T06:00"),
        ("monthly", 0, 1, "Pacific/Auckland", "2026-11-30T10:59", "2026-11-30T11:00"),
        # The clocks of Berlin: 29 March 2026 at 02:00 forward, 25 October at 03:00 back.
        ("daily", 7, 1, BERLIN, "2026-03-28T06:00", "2026-03-29T05:00"),
        ("daily", 2, 1, BERLIN, "2026-03-28T12:00", "2026-03-29T01:00"),  # there is no 02:00: at 03:00
        ("daily", 2, 1, BERLIN, "2026-10-24T12:00", "2026-10-25T00:00"),  # there are two: at the first
        ("daily", 2, 1, BERLIN, "2026-10-25T00:00", "2026-10-26T01:00"),  # and not at the second
        ("monthly", 7, 1, BERLIN, "2026-03-15T00:00", "2026-04-01T05:00"),
        ("weekly", 0, 6, "Pacific/Apia", "2011-12-29T00:00", "2011-12-30T10:00"),  # a zone that left out a Friday
    ],
)
def test_a_report_is_due_when_the_clocks_of_its_zone_say_so(
    cadence: str, hour: int, weekday: int, zone: str, after: str, due: str
):
    found = next_time(cadence, hour=hour, weekday=weekday, zone=ZoneInfo(zone), after=utc(after))

    assert found == utc(due)


def test_over_a_year_a_daily_report_is_due_once_on_every_local_day():
    zone, at, days = ZoneInfo(BERLIN), utc("2026-01-01T00:00"), []
    while at < utc("2027-01-01T00:00"):
        at = next_time("daily", hour=2, weekday=1, zone=zone, after=at)
        days.append(at.astimezone(zone).date())

    assert days == [days[0] + timedelta(days=number) for number in range(366)]


def test_when_is_said_in_words():
    assert when_words("weekly", hour=7, weekday=1, zone=BERLIN) == "every Monday at 07:00, Europe/Berlin"
    assert when_words("monthly", hour=6, weekday=1, zone="UTC") == "on the first of each month at 06:00, UTC"


@pytest.mark.parametrize(
    ("since", "until", "zone", "words"),
    [
        ("2026-11-25T00:00", "2026-11-26T00:00", "UTC", "25 November 2026"),
        ("2026-11-15T23:00", "2026-11-22T23:00", BERLIN, "16 to 22 November 2026"),
        ("2026-09-27T22:00", "2026-10-04T22:00", BERLIN, "28 September to 4 October 2026"),
        ("2025-12-28T23:00", "2026-01-04T23:00", BERLIN, "29 December 2025 to 4 January 2026"),
    ],
)
def test_a_period_is_said_by_its_local_days(since: str, until: str, zone: str, words: str):
    assert period_words(utc(since), utc(until), zone) == words


# links ---------------------------------------------------------------------------------------------------------------
SOON = utc("2026-12-26T06:00")
OPENS = Opens(report=7, receiver=3, schedule_epoch=0, receiver_epoch=2, until=SOON)


def test_a_link_says_what_it_opens_until_its_time_is_up():
    token = open_token(OPENS)

    assert parse_open(token, now=SOON - timedelta(seconds=1)) == OPENS
    with pytest.raises(BadLink):
        parse_open(token, now=SOON)


def test_a_link_that_opens_stops_nothing_and_one_that_stops_opens_nothing():
    with pytest.raises(BadLink):
        parse_stop(open_token(OPENS))
    with pytest.raises(BadLink):
        parse_open(stop_token(3), now=utc("2026-11-26T00:00"))


@pytest.mark.parametrize("token", ["", "x", ":", "a:b", "é" * 10, "x" * 10_000, "\x00", "W10:"])
def test_what_is_no_token_is_no_link(token: str):
    with pytest.raises(BadLink):
        parse_open(token, now=utc("2026-11-26T00:00"))


@pytest.mark.parametrize(
    ("salt", "said"),
    [
        (OPEN_SALT, {"report": 1}),
        (OPEN_SALT, [7, 3, 0, 2, "x"]),
        (OPEN_SALT, [7, 3, 0, 2, True]),
        (OPEN_SALT, [7, 3, 0, 2, -1]),
        ("another", [7, 3, 0, 2, 9_999_999_999]),
    ],
)
def test_what_was_not_signed_here_is_no_link(salt: str, said: Any):
    with pytest.raises(BadLink):
        parse_open(Signer(salt=salt).sign_object(said), now=utc("2026-11-26T00:00"))


def test_every_changed_letter_of_a_token_makes_it_worthless():
    token = open_token(OPENS)

    for at, letter in enumerate(token):
        changed = token[:at] + ("A" if letter != "A" else "B") + token[at + 1 :]
        with pytest.raises(BadLink):
            parse_open(changed, now=utc("2026-11-26T00:00"))


def test_links_are_put_where_they_belong():
    drawn = f'<a href="{open_url()}">open</a> {stop_url()}'

    assert filled(drawn, opens="O", stops="S") == '<a href="O">open</a> S'


def test_links_are_put_where_they_belong_when_the_console_has_moved(settings: Any):
    drawn = f'<a href="{open_url()}">open</a> {stop_url()}'
    settings.CONSOLE_URL = "https://waybill.example.com"

    assert filled(drawn, opens="O", stops="S") == '<a href="O">open</a> S'


# what differs --------------------------------------------------------------------------------------------------------
def told(changes: list) -> list[tuple[str, str, str]]:
    return [(one.what, one.before, one.now) for one in changes]


def with_promises(*promises) -> Content:
    return msgspec.structs.replace(content(), promises=tuple(promises))


def test_late_events_are_told_figure_by_figure():
    before = with_promises(promise(good=98, lost=2, attained=0.98, adjusted=0.98, left=-1.0, stands="missed"))
    now = with_promises(promise(good=100, lost=0, attained=1.0, adjusted=1.0, left=1.0, stands="kept"))

    assert told(figures_that_differ(before, now)) == [
        ("Orders arrive", "missed", "kept"),
        ("Orders arrive: attained", "98 %", "100 %"),
        ("Orders arrive: adjusted", "98 %", "100 %"),
        ("Orders arrive: good", "98", "100"),
        ("Orders arrive: lost", "2", "0"),
        ("Orders arrive: budget left", "-1 events", "1 events"),
    ]


def test_figures_are_cut_there_as_in_the_report():
    before = with_promises(promise(attained=1.0, adjusted=0.98, left=9.96))
    now = with_promises(promise(attained=0.9999997, adjusted=0.98997999, left=10.75))

    assert told(figures_that_differ(before, now)) == [
        ("Orders arrive: attained", "100 %", "99.9999 %"),
        ("Orders arrive: adjusted", "98 %", "98.9979 %"),
        ("Orders arrive: budget left", "9.9 events", "10 events"),
    ]


def test_an_exclusion_made_afterwards_is_told():
    out = Excluded(
        since=utc("2026-11-25T02:00"), until=utc("2026-11-25T04:00"), reason="maintenance", by="ada", events=3
    )
    now = msgspec.structs.replace(content(), exclusions=(out,))

    assert told(figures_that_differ(content(), now)) == [
        ("Excluded: maintenance", "", "2026-11-25 02:00 to 2026-11-25 04:00 UTC")
    ]


def test_exclusions_of_one_reason_and_time_are_told_apart_by_what_they_are_about():
    def excluded(*about: str) -> Content:
        times = {
            "since": utc("2026-11-25T02:00"),
            "until": utc("2026-11-25T04:00"),
            "reason": "moves",
            "by": "ada",
            "events": 3,
        }
        return msgspec.structs.replace(content(), exclusions=tuple(Excluded(about=one, **times) for one in about))

    span = "2026-11-25 02:00 to 2026-11-25 04:00 UTC"
    assert told(figures_that_differ(excluded("orders", "stock"), excluded("stock"))) == [
        ("Excluded: moves (orders)", span, "")
    ]


def test_a_promise_that_is_gone_or_new_is_told():
    one, other = promise(), promise(objective=2, name="Invoices")

    assert told(figures_that_differ(with_promises(one), with_promises(other))) == [
        ("Orders arrive", "kept", ""),
        ("Invoices", "", "kept"),
    ]


def test_what_is_being_counted_again_is_not_said_to_differ_before_it_is_counted():
    before = with_promises(promise(stands="kept"))
    now = with_promises(promise(stands="no_data", counting=True))

    assert figures_that_differ(before, now) == []
    assert told(changes_between(before, now)) == [("Orders arrive", "kept", "no data")]


def test_what_became_of_letters_since_is_no_other_figure_but_stands_in_a_revision():
    later = msgspec.structs.replace(content().letters, waiting=0, replayed=4)
    now = msgspec.structs.replace(content(), letters=later, promises=(promise(replayed=4),))

    assert figures_that_differ(content(), now) == []
    assert {one.what for one in changes_between(content(), now)} == {
        "Dead letters: replayed",
        "Dead letters: still wait",
        "Orders arrive: delivered by replay",
    }


def test_causes_of_one_title_in_two_flows_are_told_apart_in_a_revision():
    def with_causes(*counts: int) -> Content:
        none = dict.fromkeys(("replayed", "compensated", "discarded", "failed_again", "waiting"), 0)
        causes = (
            Cause(title="TimeoutError", flow=f"flow {number}", count=count, **none)
            for number, count in enumerate(counts)
        )
        return msgspec.structs.replace(content(), causes=tuple(causes))

    assert told(changes_between(with_causes(9, 4), with_causes(7, 4))) == [("Cause: TimeoutError (flow 0)", "9", "7")]


def test_causes_of_one_title_in_one_flow_are_added_up_in_a_revision():
    def with_causes(*counts: int) -> Content:
        none = dict.fromkeys(("replayed", "compensated", "discarded", "failed_again", "waiting"), 0)
        return msgspec.structs.replace(
            content(), causes=tuple(Cause(title="TimeoutError", flow="orders", count=count, **none) for count in counts)
        )

    assert told(changes_between(with_causes(9, 4), with_causes(7, 4))) == [("Cause: TimeoutError (orders)", "13", "11")]


def test_the_same_report_differs_in_nothing():
    assert changes_between(content(), content()) == []


# what a schedule may be -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "wrong",
    [{"name": " "}, {"name": "x" * 121}, {"cadence": "hourly"}, {"hour": 24}, {"hour": -1}, {"weekday": 0}, {"weekday": 8},
     {"language": "xx"}, {"link_days": 0}, {"link_days": 366}, {"time_zone": "Mars/Base"}, {"time_zone": "../etc/passwd"},
     {"flow_ids": range(501)}, {"objective_ids": range(501)}],
)  # fmt: skip
def test_a_schedule_that_cannot_be_is_refused_in_words(wrong: dict):
    with pytest.raises(ScheduleInvalid) as refused:
        checked(NewSchedule(**({"name": "x", "cadence": "daily"} | wrong)))

    assert len(str(refused.value)) > 20


@pytest.mark.parametrize(
    "wrong",
    [
        "no address",
        "a@b@c",
        "ada@example.com\nBcc: eve@example.com",
        "ä@example.com",
        '"x\x01"@example.com',
        f"{'x' * 250}@example.com",
    ],
)
def test_what_is_no_address_gets_nothing(wrong: str):
    with pytest.raises(ScheduleInvalid):
        checked_receivers([wrong])


def test_an_address_is_written_once_and_fifty_are_enough():
    assert checked_receivers([" Ada@Example.com ", "ada@example.com", ""]) == ["ada@example.com"]
    with pytest.raises(ScheduleInvalid):
        checked_receivers(f"a{number}@example.com" for number in range(51))


# states --------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("machine", [states.REPORT, states.MAIL])
def test_every_state_that_follows_is_a_state(machine: dict):
    assert {after for afters in machine.values() for after in afters} <= set(machine)
    assert set(states.REPORT) == set(states.REPORT_WORDS)
    assert set(states.MAIL) == set(states.MAIL_WORDS)


def test_no_web_process_loads_what_draws():
    asked = (
        "import django, sys; django.setup(); import console.urls; print([one for one in sys.modules if one in LOADED])"
    )
    asked = asked.replace("LOADED", "('css_inline', 'alerts.reports.rendering', 'alerts.reports.making')")
    environ = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "console.settings",
        "DATABASE_URL": "postgres://nobody@127.0.0.1:1/none",
    }

    done = subprocess.run(
        [sys.executable, "-c", asked], env=environ, cwd=ROOT, capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == "[]"
