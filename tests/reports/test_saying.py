"""Dates and numbers of a language, words in English; figures are cut, not rounded."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
from babel.localedata import locale_identifiers

from alerts.reports.saying import Says, clean, is_known, listed, locale_of
from tests.reports.samples import HOSTILE

SAYS = Says("en-GB", "Europe/Berlin")


@pytest.mark.parametrize(
    ("ratio", "target", "said"),
    [
        (0.9956, 0.995, "99.56\u00a0%"),
        (0.99897, 0.999, "99.89\u00a0%"),  # missed, and reads so
        (0.999, 0.999, "99.90\u00a0%"),
        (0.9999899, 0.9999, "99.998\u00a0%"),
        (0.999999, 0.99999, "99.999\u00a0%"),
        (0.9999999999, 0.99, "99.999\u00a0%"),  # never 100 % when it is less
        (1.0, 0.99, "100\u00a0%"),
        (0.0, 0.99, "0.00\u00a0%"),
        (2 / 3, 0.99, "66.66\u00a0%"),
        (None, 0.99, "not measured"),
    ],
)
def test_a_ratio_is_cut_so_that_it_never_reads_better_than_it_is(ratio, target, said):
    assert SAYS.ratio(ratio, target=target) == said


@pytest.mark.parametrize(
    ("target", "said"), [(0.995, "99.5"), (0.99999, "99.999"), (0.9, "90"), (0.29, "29"), (0.99999999, "99.999999")]
)
def test_a_target_is_written_as_it_was_promised(target, said):
    assert SAYS.promised(target) == f"{said}\u00a0%"


@pytest.mark.parametrize(
    ("language", "number", "ratio", "days", "day", "month"),
    [
        ("en-GB", "123,230", "99.56\u00a0%", "1 to 31 October 2026", "12 October", "October"),
        ("de-DE", "123.230", "99,56\u00a0%", "1.–31. Okt. 2026", "12. Oktober", "Oktober"),
        ("fr-FR", "123\u202f230", "99,56\u00a0%", "1–31 oct. 2026", "12 octobre", "octobre"),
        ("tr-TR", "123.230", "%99,56", "1–31 Eki 2026", "12 Ekim", "Ekim"),
        ("hi-IN", "1,23,230", "99.56%", "1–31 अक्टू॰ 2026", "12 अक्टूबर", "अक्टूबर"),
    ],
)
def test_each_language_writes_its_own(language, number, ratio, days, day, month):
    says = Says(language, "Europe/Berlin")

    assert says.number(123_230) == number
    assert says.ratio(0.9956) == ratio
    assert says.days(date(2026, 10, 1), date(2026, 10, 31)) == days
    assert (says.day(date(2026, 10, 12)), says.month(date(2026, 10, 1))) == (day, month)


@pytest.mark.parametrize(
    "language", ["", "xx", "english", "../../etc/passwd", "de-DE; rm", "en_GB.UTF-8", "d" * 1000, HOSTILE, "de\x00"]
)
def test_a_tag_that_nobody_knows_writes_as_british_english(language):
    assert locale_of(language) == locale_of("en-GB")
    assert not is_known(language)


def test_every_language_that_babel_knows_can_write_every_date():
    at = datetime(2026, 11, 1, 5, tzinfo=UTC)
    for language in locale_identifiers()[::9]:
        says = Says(language.replace("_", "-"), "Asia/Kolkata")
        told = (
            says.at(at),
            says.between(at, at),
            says.days(date(2026, 12, 28), date(2027, 1, 3)),
            says.full_day(at.date()),
            says.name(),
            says.ratio(0.5),
        )
        assert all(told), language


@pytest.mark.parametrize(
    ("since", "until", "said"),
    [
        ("2026-10-12 00:00", "2026-10-12 02:00", "12 October 02:00 to 04:00"),
        ("2026-10-12 20:00", "2026-10-13 00:00", "12 October 22:00 to 13 October 02:00"),
        ("2026-10-25 00:30", "2026-10-25 01:30", "25 October 02:30 (UTC+2) to 02:30 (UTC+1)"),  # the hour that is twice
        ("2026-10-24 23:30", "2026-10-25 02:00", "25 October 01:30 to 03:00"),
    ],
)
def test_times_are_those_of_the_zone(since, until, said):
    assert SAYS.between(*(datetime.fromisoformat(one).replace(tzinfo=UTC) for one in (since, until))) == said


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("a\u202eb\x00\r\n c\u200bd", "a b c d"),
        ("x" * 30, "x" * 19 + "…"),
        ("  ", ""),
        ("\ud800", ""),
        ("Größe 漢字 🚚", "Größe 漢字 🚚"),
    ],
)
def test_what_others_wrote_is_one_line(text, cleaned):
    assert clean(text, 20) == cleaned


@pytest.mark.parametrize(
    ("zone", "at", "said"),
    [
        ("Australia/Lord_Howe", "2026-04-04 14:45", "5 April 01:45 (UTC+11)"),
        ("Australia/Lord_Howe", "2026-04-04 15:15", "5 April 01:45 (UTC+10:30)"),
        ("Europe/London", "2026-10-25 01:30", "25 October 01:30 (UTC+0)"),
        ("America/New_York", "2026-11-01 05:30", "1 November 01:30 (UTC-4)"),
        ("America/New_York", "2026-03-08 07:00", "8 March 03:00"),  # what the clocks leave out is never an instant
    ],
)
def test_a_time_that_the_clocks_show_twice_has_its_offset(zone, at, said):
    assert Says("en-GB", zone).at(datetime.fromisoformat(at).replace(tzinfo=UTC)) == said


def test_ordinals_are_those_of_english():
    counts = (1, 10, 11, 12, 13, 20, 21, 22, 23, 24, 31, 41, 101, 111, 112, 1_021)

    said = [SAYS.ordinal(count) for count in counts]

    assert said[:2] == ["first", "tenth"]
    assert said[2:9] == ["11th", "12th", "13th", "20th", "21st", "22nd", "23rd"]
    assert said[9:] == ["24th", "31st", "41st", "101st", "111th", "112th", "1,021st"]


@pytest.mark.parametrize(
    ("language", "amount"), [("de-CH", "-1'234'567"), ("fr-CH", "-1'234'567"), ("gsw", "\u22121'234'567")]
)
def test_a_swiss_million_has_its_apostrophes(language, amount):
    says = Says(language, "Europe/Zurich")

    assert [says.number(count) for count in (999, 999_999, 1_000_000, 12_345_678_901)] == [
        "999",
        "999'999",
        "1'000'000",
        "12'345'678'901",
    ]
    assert says.amount(-1_234_567) == amount
    assert says.amount(1.5) == ("1,5" if language == "fr-CH" else "1.5")


def test_every_language_that_babel_knows_parts_a_million():
    said = {language: Says(language.replace("_", "-"), "UTC").number(1_234_567) for language in locale_identifiers()}

    assert {language for language, number in said.items() if len(number) < 9} <= {"en_US_POSIX"}


def test_names_are_listed_as_people_do():
    assert [listed(["a", "b", "c"][:count]) for count in range(4)] == ["", "a", "a and b", "a, b and c"]
