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
        ("2026-10-25 00:30", "2026-10-25 01:30", "25 October 02:30 to 02:30"),  # the hour that is twice
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


def test_names_are_listed_as_people_do():
    assert [listed(["a", "b", "c"][:count]) for count in range(4)] == ["", "a", "a and b", "a, b and c"]
