"""Breaches, silences and policies in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from alerts.breaches.channels import channel_words
from alerts.breaches.policies import route_of
from alerts.breaches.reference import reference_of
from alerts.models import AlertPolicy, Breach, BreachEntry, Silence, Telling
from console.core.words import age_words, exact_words, sentence
from messages.queries import Done

LOOKS = {
    "fired": "bad",
    "flapped": "bad",
    "escalated": "warn",
    "unwatched": "warn",
    "resolved": "good",
    "acknowledged": "move",
}
SAID = {
    "fired": "It fired.",
    "told": "Told:",
    "acknowledged": "acknowledged it.",
    "note": "wrote:",
    "assigned": "gave it",
    "escalated": "Escalated:",
    "silenced": "",
    "heard": "",
    "held": "",
    "unwatched": "Nobody looks at it any more: it stays as it is.",
    "resolved": "It is over.",
    "flapped": "It fired again.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line of the timeline, as parts/log.html draws it."""

    at: datetime
    text: str
    look: str = ""
    strong: str = ""
    quote: str = ""
    url: str = ""
    link: str = ""


def sentence_of(breach: Breach, *, now: datetime) -> str:
    """Return what stands below the title: since when, who has it, and why nobody is told."""
    if breach.state == "pending":
        fires = age_words(breach.fires_at - now)
        return f"It holds for {age_words(now - breach.opened_at)}; it fires in {fires}, if it still holds."
    fired = breach.fired_at or breach.opened_at
    if breach.state == "resolved":
        ended = breach.resolved_at or now
        return f"It is over: it fired for {age_words(ended - fired, long=True)}."
    words = f"It fires for {age_words(now - fired, long=True)}"
    who = f", {breach.acknowledged_by} is on it" if breach.state == "acknowledged" else ", nobody has taken it"
    times = f" It fired {breach.flaps + 1} times." if breach.flaps else ""
    well = f" It is well for {age_words(now - breach.clear_since)}." if breach.clear_since else ""
    silent = held_words(breach) if breach.inhibited_by_id is None else ""  # that one has a line with a link of its own
    return f"{words}{who}.{times}{well}{silent}"


def held_words(breach: Breach) -> str:
    """Return why nobody is told, with a space before; "" when nothing holds it back."""
    if breach.inhibited_by_id is not None:
        return f" Held back by {reference_of(breach.inhibited_by_id)}: nobody is told."
    if breach.silenced_by is not None:
        silence = breach.silenced_by
        return f" Silenced by {silence.author} until {silence.expires_at:%d %b, %H:%M} UTC: {sentence(silence.comment)}"
    if breach.is_excluded:
        return " Its time is excluded: it is not measured, stays open until it is, and nobody is told."
    return ""


def timeline(entries: Sequence[BreachEntry], done: Sequence[Done]) -> list[Line]:
    """Return what happened to a breach and to its flows meanwhile, newest first."""
    lines = [_entry(one) for one in entries]
    lines += [Line(at=one.at, text=one.words, url=one.url, link="Open") for one in done]
    return sorted(lines, key=lambda one: one.at, reverse=True)


def _entry(entry: BreachEntry) -> Line:
    said, text = SAID[entry.kind], entry.text
    quoted = entry.kind in ("note", "acknowledged") or (entry.kind == "resolved" and entry.by)
    if quoted:
        return Line(at=entry.at, look=LOOKS.get(entry.kind, ""), strong=entry.by, text=said, quote=text)
    words = " ".join(one for one in (said, text) if one)
    shown = words if entry.by else sentence(words)
    return Line(at=entry.at, look=LOOKS.get(entry.kind, ""), strong=entry.by, text=shown)


def told_words(tellings: Sequence[Telling], *, why_untold: str, names: dict[int, str]) -> list[str]:
    """Return who knows of a breach and what comes next, a line for each policy. why_untold: why no policy tells of it, "" when one does."""
    if not tellings:
        return [why_untold] if why_untold else []
    return [_told(one, names) for one in tellings]


def _told(telling: Telling, names: dict[int, str]) -> str:
    policy = telling.policy
    if not telling.said:
        when = f", next look {exact_words(telling.due_at)}" if telling.due_at else ""
        return f"{policy}: not told yet{when}"
    when = f"; next at {exact_words(telling.due_at)}" if telling.due_at else ""
    return f"{policy}: knows that it is {telling.said}, {channel_words(telling.channels, names)}{when}"


def state_of_silence(silence: Silence, *, now: datetime) -> str:
    """Return planned, running or over."""
    if silence.ended_at is not None or silence.expires_at <= now:
        return "over"
    return "planned" if silence.starts_at > now else "running"


def what_is_silenced(silence: Silence) -> str:
    """Return what a silence fits, in words."""
    if silence.about is not None and silence.key:
        return f"{silence.about.reference} {silence.about.title}"
    parts = [f"{silence.severity}s" if silence.severity else "everything"]
    if silence.source:
        parts.append(f"of {silence.source}s")
    if silence.key:
        parts.append(f"with the key {silence.key}")
    if silence.flow is not None:
        parts.append(f"about {silence.flow.name}")
    if silence.labels:
        parts.append("with " + ", ".join(f"{name}={value}" for name, value in sorted(silence.labels.items())))
    return " ".join(parts)


def policy_words(policy: AlertPolicy, names: dict[int, str]) -> str:
    """Return a policy in one sentence."""
    route = route_of(policy)
    words = [
        f"pages to {channel_words(policy.page_channels, names)}",
        f"tickets to {channel_words(policy.ticket_channels, names)}",
    ]
    if route.working is not None:
        words[1] += f" ({route.working.words()})"
    for step in policy.steps:
        words.append(f"after {step['after_minutes']} min to {channel_words(step['channels'], names)}")
    if policy.repeat_minutes:
        words.append(f"again every {policy.repeat_minutes} min")
    return sentence("; ".join(words))
