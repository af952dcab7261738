"""A notice made of the breaches that it tells of: the first of them gives it its name, the others are facts."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from urllib.parse import urlencode

from django.conf import settings

from alerts.models import Breach, BreachEntry
from alerts.notices import Happening, Notice
from console.core.words import age_words
from messages.queries import names_of_flows

MOST_OTHERS = 10
MOST_ENDS = 3


def thread_of(breach: Breach) -> str:
    """Return what a breach is called by whoever is told of it."""
    return f"waybill/{breach.environment.slug}/{breach.reference}"


def address_of(breach: Breach, path: str = "") -> str:
    """Return where a breach, or what it is about, is in the console, for a mail."""
    return f"{settings.CONSOLE_URL}{path or f'/breaches/{breach.reference}/'}?{urlencode({'environment': breach.environment.slug})}"


def notice_of(happening: Happening, breaches: Sequence[Breach], *, now: datetime) -> Notice:
    """Return the notice about breaches of one severity, at least one; its thread is the first one's."""
    first = breaches[0]
    links = {"Open the breach": address_of(first)}
    if first.url:
        links["Open what it is about"] = address_of(first, first.url)
    fired = first.fired_at or first.opened_at
    ends = [one.resolved_at for one in breaches]
    ended = None if None in ends else max(at for at in ends if at)  # of what was told together: with the last of it
    return Notice(
        happening=happening,
        thread=thread_of(first),
        severity=first.severity,
        environment=first.environment.slug,
        title=first.title,
        summary=first.summary,
        starts_at=fired,
        ends_at=ended,
        facts=_facts(happening, breaches, (ended or now) - fired),
        links=links,
        labels={**first.labels, "environment": first.environment.slug, "source": first.source, "severity": first.severity, "breach": first.reference},
    )  # fmt: skip


def _facts(happening: Happening, breaches: Sequence[Breach], lasted: timedelta) -> dict[str, str]:
    first = breaches[0]
    facts: dict[str, str] = {}
    names = names_of_flows(first.flow_ids[:5])
    if names:
        facts["Flow"] = ", ".join(sorted(names.values()))
    facts["For"] = age_words(lasted)
    if happening is Happening.ACKNOWLEDGED and first.acknowledged_by:
        facts["Acknowledged by"] = first.acknowledged_by
    if happening is Happening.RESOLVED and (closed := _closed_by_a_person(breaches)):
        facts["Closed by"] = closed
    if first.owner is not None:
        facts["Owner"] = first.owner.username
    if first.flaps:
        facts["Comes and goes"] = f"fired {first.flaps + 1} times since {first.opened_at:%d %b, %H:%M} UTC"
    if first.unwatched_since:
        facts["Not looked at"] = f"since {first.unwatched_since:%d %b, %H:%M} UTC: nobody knows whether it still holds"
    over = next((one.silence_over for one in breaches if one.silence_over), None)
    if over is not None:
        ended = over.ended_at or over.expires_at
        facts["Silence"] = f"just expired, {ended:%d %b, %H:%M} UTC: “{over.comment}”, {over.author}"
    for number, other in enumerate(breaches[1 : MOST_OTHERS + 1], 2):
        facts[f"Also {number - 1}"] = f"{other.reference} {other.title}: {other.summary}"
    if len(breaches) > MOST_OTHERS + 1:
        facts["And"] = f"{len(breaches) - MOST_OTHERS - 1} more of the same flow"
    return facts


def _closed_by_a_person(breaches: Sequence[Breach]) -> str:
    """Return who said that it is over, and why: of several, of which one; "" where each was seen to be."""
    ends = BreachEntry.objects.filter(breach__in=breaches, kind=BreachEntry.Kind.RESOLVED).order_by("breach_id", "-pk")
    names = {one.pk: f" ({one.reference})" if len(breaches) > 1 else "" for one in breaches}
    said = [f"{one.by}{names[one.breach_id]}: {one.text}" for one in ends.distinct("breach_id") if one.by]
    more = [f"{len(said) - MOST_ENDS} more by people"] if len(said) > MOST_ENDS else []
    return "; ".join([*said[:MOST_ENDS], *more])
