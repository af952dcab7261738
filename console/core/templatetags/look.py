"""Filters and tags of the look: `{% load look %}`. The rules are in console.core.words; docs/look.md lists them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache

from django import template
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from lucide.templatetags.lucide import lucide

from console.core import charts, words

register = template.Library()

STYLES = ("clock", "age", "exact")


@lru_cache(maxsize=256)
def _icon(name: str, size: int, classes: str) -> SafeString:
    return SafeString(lucide(name, size=size, **{"class": f"i {classes}".strip(), "aria-hidden": "true"}))


@register.simple_tag
def icon(name: str, classes: str = "", size: int = 16) -> SafeString:
    """{% icon "search" %}: a lucide icon as inline SVG, hidden from screen readers; an unknown name raises."""
    return _icon(str(name), size, str(classes))


@register.filter
def age(value: datetime | timedelta | None, style: str = "short") -> str:
    """{{ letter.failed_at|age }} → "42 min"; |age:"long" → "1 day 2 h"; nothing for None."""
    if value is None:
        return ""
    span = value if isinstance(value, timedelta) else timezone.now() - value
    return words.age_words(span, long=style == "long")


@register.simple_tag
def when(at: datetime | None, style: str = "clock") -> str | SafeString:
    """{% when event.occurred_at %}: a <time> that times.js turns to the reader's zone; UTC without scripts.

    style  clock "10:14:02" or "23 Nov 10:14", age "42 min" (counts on), exact to the millisecond.
    """
    if at is None:
        return ""
    if style not in STYLES:
        raise template.TemplateSyntaxError(f"when: the style is one of {', '.join(STYLES)}, not {style!r}")
    now = timezone.now()
    shown = {
        "clock": lambda: words.clock_words(at, now=now),
        "age": lambda: words.age_words(now - at),
        "exact": lambda: words.exact_words(at),
    }[style]()
    stamp = at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return format_html(
        '<time datetime="{}" title="{}" data-when="{}">{}</time>', stamp, words.exact_words(at), style, shown
    )


@register.filter
def iso(at: datetime) -> str:
    """{{ at|iso }} → "2026-11-24T10:14:02.118Z", for attributes that scripts read."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@register.filter
def duration_ms(milliseconds: float | None) -> str:
    """{{ 43|duration_ms }} → "43 ms", "2.9 s", "1 min 32 s"; nothing for None."""
    return "" if milliseconds is None else words.duration_words(milliseconds)


@register.filter
def duration_us(microseconds: float | None) -> str:
    """{{ step.duration_us|duration_us }}: as duration_ms, from microseconds."""
    return "" if microseconds is None else words.duration_words(microseconds / 1000)


@register.filter
def filesize_short(size_bytes: int | None) -> str:
    """{{ letter.size_bytes|filesize_short }} → "1.1 KB"; nothing for None."""
    return "" if size_bytes is None else words.size_words(size_bytes)


@register.filter
def share(value: float) -> str:
    """{{ 0.984|share }} → "98 %", "0.3 %"."""
    return words.share_words(value)


@register.filter
def action(value: str) -> str:
    """{{ entry.action|action }} → "agent key created"."""
    return words.action_words(value)


@register.filter
def of_one(plural: str, count: int) -> str:
    """Return the word for so many rows: "1 breach", "2 breaches". plural: what a list is of, as its pager says it."""
    if count != 1:
        return plural
    ending = 2 if plural.endswith(("ches", "shes", "sses")) else 1
    return plural[:-ending]


@register.filter
def sentence(value: str) -> str:
    """{{ replay.detail|sentence }} → "It died again: no answer."."""
    return words.sentence(value)


@register.filter
def count_capped(count: int, cap: int = words.COUNT_CAP) -> str:
    """{{ 10001|count_capped }} → "10,000+"; below the cap "9,312"."""
    return words.count_words(count, cap)


@register.simple_tag
def state_chip(kind: str, state: str, text: str = "") -> SafeString:
    """{% state_chip "replay" replay.state %}, or with words of its own: … text="processed, proved by erp".

    kind  message, dead_letter, resolution, replay, outcome, agent, connection, change, group, failure, check (words.CHIPS); others raise.
    """
    chip = words.chip_of(kind, str(state))
    return format_html('<span class="chip {}">{}</span>', chip.look, text or chip.words)


@register.simple_tag
def letter_chip(letter: object) -> SafeString:
    """{% letter_chip letter %}: a dead letter's chip; when it is closed, its resolution."""
    resolution = getattr(letter, "resolution", None)
    return state_chip("resolution", resolution) if resolution else state_chip("dead_letter", letter.state)  # type: ignore[attr-defined]


@register.filter
def meter(value: float, of: float) -> str:
    """{{ 12|meter:100 }} → "12%", for the width of a bar in SVG."""
    return charts.meter(value, of)


WINDOWS = {"1h": "Last hour", "24h": "Last 24 hours", "7d": "Last 7 days", "30d": "Last 30 days"}


@register.simple_tag
def window_choices() -> list[tuple[str, str]]:
    return list(WINDOWS.items())


@register.filter
def window_words(window: str) -> str:
    """{{ "24h"|window_words }} → "Last 24 hours"; an exact range is shown as it was asked for."""
    return WINDOWS.get(window, window)
