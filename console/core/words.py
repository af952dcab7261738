"""Figures as an operator says them: ages, durations, sizes, counts, states. Pure; the templates' filters call these."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

MINUTE, HOUR, DAY = 60, 3600, 86400
COUNT_CAP = 10_000
CLOCK_TRUSTED = timedelta(milliseconds=100)
LATE_REPORTS = timedelta(minutes=1)


def age_words(span: timedelta, *, long: bool = False) -> str:
    """Return a span as one or two units: "4 s", "42 min", "3 h 10", "1 d 2 h"; long: "3 h 10 min", "1 day 2 h".

    A span below zero (a clock ahead of ours) is "0 s". static/js/times.js counts on with the same rule.
    """
    seconds = max(0, int(span.total_seconds()))
    if seconds < MINUTE:
        return f"{seconds} s"
    if seconds < HOUR:
        return f"{seconds // MINUTE} min"
    if seconds < DAY:
        hours, minutes = seconds // HOUR, seconds % HOUR // MINUTE
        return f"{hours} h" if not minutes else f"{hours} h {minutes:02d}{' min' if long else ''}"
    days, hours = seconds // DAY, seconds % DAY // HOUR
    unit = (" day" if days == 1 else " days") if long else " d"
    return f"{days}{unit}" if not hours or days >= 14 else f"{days}{unit} {hours} h"


def duration_words(milliseconds: float) -> str:
    """Return a duration: "0.4 ms", "43 ms", "2.9 s", "1 min 32 s", "2 h 05"; "0 ms" for nothing and below."""
    if milliseconds <= 0:
        return "0 ms"
    if milliseconds < 10:
        return f"{milliseconds:.1f} ms".replace(".0 ", " ")
    if round(milliseconds) < 1000:
        return f"{milliseconds:.0f} ms"
    if milliseconds < 59_950:
        return f"{milliseconds / 1000:.1f} s"
    seconds = round(milliseconds / 1000)
    if seconds < HOUR:
        return f"{seconds // MINUTE} min {seconds % MINUTE:02d} s"
    return age_words(timedelta(seconds=seconds))


def clock_words_of(ahead: timedelta, *, exact: bool) -> str:
    """Return what a reading says of a clock: "right", "2.4 s ahead", "3 s behind"; "right, or late by 5 min" when only what came tells.

    exact  the clock told its own time; else `ahead` is the least that it can be ahead, and a clock behind looks like a late report.
    """
    words = duration_words(abs(ahead) / timedelta(milliseconds=1))
    if ahead > CLOCK_TRUSTED:
        return f"{words} ahead"
    if exact:
        return f"{words} behind" if ahead < -CLOCK_TRUSTED else "right"
    return f"behind, or what it reports is late, by {words}" if ahead < -LATE_REPORTS else "right"


def size_words(size_bytes: int) -> str:
    """Return a size: "812 B", "1.1 KB", "20 MB"; 1 KB is 1,024 bytes."""
    size = float(size_bytes)
    for unit in ("B", "KB", "MB", "GB"):
        if size < 1024 or unit == "GB":
            break
        size /= 1024
    if unit == "B" or size >= 10:
        return f"{size:,.0f} {unit}"
    return f"{size:.1f} {unit}".replace(".0 ", " ")


def share_words(share: float) -> str:
    """Return a share: "98 %", "0.3 %" below one per cent, "99.9 %" above 99; never "0 %" or "100 %" for what is not."""
    percent = share * 100
    if 0 < percent < 1:
        return f"{percent:.1f} %" if percent >= 0.05 else "under 0.1 %"
    if 99 < percent < 100:
        return f"{int(percent * 10) / 10:.1f} %"
    return f"{percent:.0f} %"


def count_words(count: int, cap: int = COUNT_CAP) -> str:
    """Return a count with separators, or "10,000+" when counting stopped at the cap."""
    return f"{cap:,}+" if count > cap else f"{count:,}"


def clock_words(at: datetime, *, now: datetime) -> str:
    """Return an instant in UTC as a list shows it: "10:14:02" today, "23 Nov 10:14" this year, "3 Dec 2025" before."""
    at, now = at.astimezone(UTC), now.astimezone(UTC)
    if at.date() == now.date():
        return f"{at:%H:%M:%S}"
    if at.year == now.year:
        return f"{at.day} {at:%b %H:%M}"
    return f"{at.day} {at:%b} {at.year}"


def exact_words(at: datetime) -> str:
    """Return an instant to the millisecond: "24 Nov 2026, 10:14:02.118 UTC"."""
    at = at.astimezone(UTC)
    return f"{at.day} {at:%b} {at.year}, {at:%H:%M:%S}.{at.microsecond // 1000:03d} UTC"


def action_words(action: str) -> str:
    """Return an audited action in plain words: "agent_key.created" → "agent key created"."""
    return action.replace(".", " ").replace("_", " ")


def sentence(text: str) -> str:
    """Return a detail as a sentence of its own: a capital first, a full stop last."""
    text = text.strip()
    return text and text[0].upper() + text[1:] + ("" if text[-1] in ".?" else ".")


@dataclass(frozen=True, slots=True, kw_only=True)
class Chip:
    """How a state looks: `look` is the stylesheet's class, `words` what it says."""

    look: str
    words: str


def _chip(look: str, words: str) -> Chip:
    return Chip(look=look, words=words)


# kind → state → chip. One table, so that a state looks the same on every page. "still": moving, but not by our hand.
CHIPS: dict[str, dict[str, Chip]] = {
    "message": {
        "moving": _chip("move still", "moving"),
        "delivered": _chip("good", "delivered"),
        "failed": _chip("bad", "failed"),
        "dead": _chip("bad", "dead"),
    },
    "dead_letter": {
        "open": _chip("bad", "open"),
        "replaying": _chip("move", "replaying"),
        "closed": _chip("idle", "closed"),
    },
    "resolution": {
        "processed": _chip("good", "processed"),
        "discarded": _chip("idle", "discarded"),
        "failed_again": _chip("bad", "failed again"),
        "gone": _chip("idle", "gone from the broker"),
    },
    "replay": {
        "queued": _chip("idle", "queued"),
        "sending": _chip("move", "sending"),
        "sent": _chip("move", "sent, waiting for the broker"),
        "confirmed": _chip("move", "confirmed, waiting for proof"),
        "processed": _chip("good", "processed"),
        "failed_again": _chip("bad", "failed again"),
        "refused": _chip("bad", "refused"),
        "unknown": _chip("warn", "unknown"),
        "withdrawn": _chip("idle", "taken back"),
    },
    "plan": {
        "draft": _chip("idle", "draft"),
        "awaiting_approval": _chip("warn", "waits for approval"),
        "approved": _chip("idle", "approved, not started"),
        "scheduled": _chip("move still", "scheduled"),
        "running": _chip("move", "running"),
        "paused": _chip("warn", "paused"),
        "aborted": _chip("bad", "stopped itself"),
        "finished": _chip("idle", "finished"),
        "stopped": _chip("idle", "stopped"),
        "cancelled": _chip("idle", "cancelled"),
        "expired": _chip("idle", "expired"),
    },
    "item": {
        "waiting": _chip("idle", "waiting"),
        "queued": _chip("idle", "queued"),
        "sending": _chip("move", "sending"),
        "sent": _chip("move", "sent"),
        "confirmed": _chip("move", "confirmed"),
        "processed": _chip("good", "processed"),
        "failed_again": _chip("bad", "failed again"),
        "refused": _chip("bad", "refused"),
        "unknown": _chip("warn", "unknown"),
        "left_out": _chip("idle", "left out"),
        "withdrawn": _chip("idle", "taken back"),
    },
    "outcome": {
        "ok": _chip("good", "ok"),
        "error": _chip("bad", "error"),
        "unset": _chip("idle", "unset"),
    },
    "agent": {
        "alive": _chip("good", "alive"),
        "late": _chip("warn", "late"),
        "silent": _chip("bad", "silent"),
        "new": _chip("idle", "not seen yet"),
    },
    "connection": {
        "approved": _chip("good", "approved"),
        "waiting": _chip("warn", "waits for approval"),
        "disabled": _chip("idle", "disabled"),
    },
    "change": {
        "planned": _chip("idle", "planned"),
        "running": _chip("move", "going on"),
        "open": _chip("warn", "window open"),
        "lost": _chip("warn", "no end reported"),
        "over": _chip("idle", "over"),
        "done": _chip("idle", "done"),
        "succeeded": _chip("good", "succeeded"),
        "failed": _chip("bad", "failed"),
        "cancelled": _chip("idle", "cancelled"),
        "withdrawn": _chip("idle", "withdrawn"),
    },
    "move": {
        "running": _chip("move", "running"),
        "completed": _chip("good", "completed"),
        "cancelling": _chip("warn", "stopping"),
        "cancelled": _chip("idle", "stopped"),
        "failed": _chip("bad", "failed"),
        "unknown": _chip("warn", "unknown"),
    },
    "health": {
        "well": _chip("good", "well"),
        "failures": _chip("warn", "some failed"),
        "failing": _chip("bad", "failing"),
        "quiet": _chip("idle", "silent"),
    },
    "group": {
        "open": _chip("bad", "open"),
        "acknowledged": _chip("move still", "acknowledged"),
        "escalating": _chip("bad", "escalating"),
        "regressed": _chip("bad", "regressed"),
        "resolved": _chip("good", "resolved"),
    },
    "failure": {
        "transient": _chip("warn", "transient"),
        "throttled": _chip("warn", "throttled"),
        "data": _chip("idle", "data"),
        "configuration": _chip("idle", "configuration"),
        "authentication": _chip("idle", "authentication"),
        "contract": _chip("idle", "contract"),
        "poison": _chip("bad", "poison"),
        "unknown": _chip("idle", "not known"),
    },
    "subscription": {
        "new": _chip("idle", "not looked yet"),
        "calm": _chip("good", "calm"),
        "raised": _chip("warn", "raised"),
        "broken": _chip("bad", "broken"),
        "stopped": _chip("idle", "stopped"),
    },
    "reconciliation": {
        "waiting": _chip("warn", "waits for its list"),
        "receiving": _chip("move", "the list is coming"),
        "queued": _chip("move", "waits for a worker"),
        "running": _chip("move", "being compared"),
        "done": _chip("good", "compared"),
        "cancelled": _chip("idle", "cancelled"),
        "failed": _chip("bad", "failed"),
    },
    "objective": {
        "filling": _chip("move", "counting its history"),
        "kept": _chip("good", "kept"),
        "burning": _chip("bad", "burning too fast"),
        "spent": _chip("bad", "budget spent"),
        "no_data": _chip("warn", "no data"),
    },
    "mail": {
        "waiting": _chip("move", "on its way"),
        "sent": _chip("good", "sent"),
        "given_up": _chip("bad", "not sent"),
    },
    "check": {
        "yes": _chip("good", "yes"),
        "no": _chip("bad", "no"),
        "not asked": _chip("idle", "not asked"),
    },
}


def chip_of(kind: str, state: str) -> Chip:
    """Return the chip of a state; raises KeyError for a kind or state that nobody declared."""
    return CHIPS[kind][state]
