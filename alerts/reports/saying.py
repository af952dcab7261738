"""Dates and numbers as a language writes them, by Babel; words around them stay English. Pure.

Sources: Unicode CLDR through Babel: `percent_formats`, skeletons and intervals of UTS #35.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from zoneinfo import ZoneInfo

from babel import Locale, UnknownLocaleError
from babel.dates import format_date, format_interval, format_skeleton, format_time
from babel.numbers import format_decimal, format_percent

from alerts.objectives.burn import cut_amount, cut_ratio, digits_of, whole_percent

FALLBACK = "en-GB"
TAG = re.compile(r"[A-Za-z]{2,3}([-_][A-Za-z]{4})?([-_]([A-Za-z]{2}|\d{3}))?", re.ASCII)
SMALL = (
    *("no", "one", "two", "three", "four", "five", "six"),
    *("seven", "eight", "nine", "ten", "eleven", "twelve"),
)
ORDINALS = ("", "first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")


@lru_cache(maxsize=64)
def locale_of(language: str) -> Locale:
    """Return the locale of a BCP 47 tag such as "de-DE"; British English for one that Babel does not know."""
    try:
        if TAG.fullmatch(language):
            return Locale.parse(language.replace("_", "-"), sep="-")
    except (UnknownLocaleError, ValueError):
        pass
    return Locale.parse(FALLBACK, sep="-")


def is_known(language: str) -> bool:
    """Whether Babel knows the dates and numbers of this tag."""
    return locale_of(language) != locale_of(FALLBACK) or language.replace("_", "-") == FALLBACK


@dataclass(frozen=True, slots=True)
class Says:
    """Writes for one language and time zone, and calls messages what the audience calls them."""

    language: str
    zone: str
    noun: str = "message"
    nouns: str = "messages"

    def number(self, count: int) -> str:
        return self._decimal(count)

    def amount(self, amount: float) -> str:
        """Return an amount of a budget, cut: whole from ten on, one decimal below where there is one."""
        places = "#,##0" if abs(amount) >= 10 else "#,##0.#"
        return self._decimal(cut_amount(amount), places)

    def _decimal(self, number: float, pattern: str | None = None) -> str:
        locale = locale_of(self.language)
        symbols = locale.number_symbols.get("latn", {})
        if symbols.get("group") != "'":
            return str(format_decimal(number, format=pattern, locale=locale))
        # of a Swiss million Babel takes the two apostrophes for quotes, and leaves them out
        said = str(format_decimal(number, format=pattern, locale="en"))
        return said.translate(str.maketrans({",": "'", ".": symbols["decimal"], "-": symbols["minusSign"]}))

    def count(self, count: int) -> str:
        """Return a small count as a word, a larger one in digits."""
        return SMALL[count] if 0 <= count < len(SMALL) else self.number(count)

    def ordinal(self, count: int) -> str:
        """Return "third", "eleventh" as "11th", "21st"."""
        if 0 < count < len(ORDINALS):
            return ORDINALS[count]
        ending = "th" if count % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(count % 10, "th")
        return f"{self.number(count)}{ending}"

    def ratio(self, ratio: float | None, *, target: float = 0.99) -> str:
        """Return an attained ratio, cut and never rounded up: below its target it also reads so, and is not 100 % when it is less."""
        if ratio is None:
            return "not measured"
        return self._percent(*cut_ratio(ratio, target=target))

    def promised(self, target: float) -> str:
        """Return a target as it was promised, with all of its digits and no more."""
        return self._percent(Decimal(repr(round(target, 10))), digits_of(target))

    def share(self, share: float) -> str:
        """Return what is left of a budget: "12 %", "under 1 %"."""
        whole = whole_percent(share)
        return (
            f"under {self._percent(Decimal('0.01'), 0)}" if 0 < share < 0.01 else self._percent(Decimal(whole) / 100, 0)
        )

    def _percent(self, value: Decimal, digits: int) -> str:
        locale = locale_of(self.language)
        pattern = locale.percent_formats[None].pattern
        whole, _, rest = pattern.rpartition("0")
        pattern = f"{whole}0{'.' + '0' * digits if digits else ''}{rest}"
        if locale.language == "en":
            pattern = pattern.replace("%", "\u00a0%")  # as everywhere in the product
        return str(format_percent(value, format=pattern, locale=locale, decimal_quantization=False))

    def day(self, day: date) -> str:
        return str(format_skeleton("MMMMd", day, locale=locale_of(self.language)))

    def full_day(self, day: date) -> str:
        return str(format_skeleton("yMMMMd", day, locale=locale_of(self.language)))

    def days(self, first: date, last: date) -> str:
        """Return "1 to 31 October 2026", in other languages as they write it, "1.–31. Okt. 2026"."""
        if first == last:
            return self.full_day(first)
        whole = self.full_day(last)
        if locale_of(self.language).language == "en" and whole.startswith(str(last.day)):
            within = (first.year, first.month) == (last.year, last.month)
            return f"{first.day if within else self.full_day(first)} to {whole}"
        return str(format_interval(first, last, "yMMMMd", locale=locale_of(self.language)))

    def month(self, day: date, *, year: bool = False) -> str:
        return str(format_date(day, "LLLL y" if year else "LLLL", locale=locale_of(self.language)))

    def at(self, at: datetime) -> str:
        """Return an instant in the zone: "1 November 06:00"."""
        local = self.local(at)
        return f"{self.day(local.date())} {self._time(at)}"

    def between(self, since: datetime, until: datetime) -> str:
        """Return a time: "12 October 02:00 to 04:00", "12 October 22:00 to 13 October 02:00"."""
        same = self.local(since).date() == self.local(until).date()
        return f"{self.at(since)} to {self._time(until) if same else self.at(until)}"

    def local(self, at: datetime) -> datetime:
        return at.astimezone(ZoneInfo(self.zone))

    def _time(self, at: datetime) -> str:
        zone = ZoneInfo(self.zone)
        said = str(format_time(at.astimezone(UTC), "short", tzinfo=zone, locale=locale_of(self.language)))
        return said + _offset(at.astimezone(zone))

    def name(self) -> str:
        """Return the language in English: "German (Germany)"."""
        return locale_of(self.language).get_display_name("en") or self.language


def _offset(local: datetime) -> str:
    """Return the offset of a local time that the clocks show twice, " (UTC+2)"; "" of any other."""
    offset, other = local.utcoffset(), local.replace(fold=1 - local.fold).utcoffset()
    if offset is None or offset == other:
        return ""
    hours, minutes = divmod(abs(offset) // timedelta(minutes=1), 60)
    return f" (UTC{'-' if offset < timedelta() else '+'}{hours}{f':{minutes:02d}' if minutes else ''})"


def clean(text: str, most: int) -> str:
    """Return text as one line of at most so many characters, without control, bidirectional and unassigned ones: nothing moves what is beside it."""
    kept = "".join(one if unicodedata.category(one)[0] != "C" else " " for one in text[: 4 * most])
    line = " ".join(kept.split())
    return line if len(line) <= most else line[: most - 1].rstrip() + "…"


def listed(names: Sequence[str]) -> str:
    """Return "a", "a and b", "a, b and c"."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else ""


def sentence(text: str) -> str:
    """Return words as a sentence: a capital first, a full stop last."""
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith(('.', '?', '!')) else '.'}" if text else ""
