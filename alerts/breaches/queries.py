"""Reads of breaches: the list, the first sentence, one with its timeline, silences, policies."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlencode

from django.db.models import Count, F, Min, Q, QuerySet
from django.urls import reverse

from alerts.breaches.access import (
    possible_owners,
    visible_breaches,
    visible_group_watches,
    visible_policies,
    visible_silences,
)
from alerts.breaches.policies import policies_for, promised_to
from alerts.breaches.reference import number_of
from alerts.breaches.states import FIRED, OPEN, STATES
from alerts.delivery.elsewhere import alerts_meanwhile
from alerts.models import AlertPolicy, Breach, BreachEntry, ExternalAlert, Silence, Telling
from console.core.errors import Invalid
from console.core.paging import Page, decode_number_cursor, encode_cursor
from console.identity.actor import Actor
from console.identity.counted import count_up_to
from console.identity.models import Environment
from messages.access import visible_flows
from messages.queries import Done, done_to_flows

TABS = ("open", "resolved", "all")
SILENCE_TABS = ("running", "over", "all")
SOURCES = ("objective", "group", "replay", "compensation", "check", "agent", "ingest")
MOST_COUNTED = 10_000
MOST_ENTRIES = 200
MOST_SHOWN = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """What a list of breaches is narrowed to; empty is everything. owner: a user's name, or "none". q: a reference, or words of a title."""

    q: str = ""
    show: str = "open"
    flow: str = ""
    state: str = ""
    source: str = ""
    severity: str = ""
    owner: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The numbers of the first sentence: what fires and nobody has taken, what is taken, what is held back, the oldest that nobody has."""

    pages: int = 0
    tickets: int = 0
    taken: int = 0
    held: int = 0
    pending: int = 0
    oldest_at: datetime | None = None
    first: Breach | None = None

    @property
    def fired(self) -> int:
        """Return how many fired and are not over, as count_firing counts them."""
        return self.pages + self.tickets + self.taken + self.held


def check_filter(only: Filter) -> None:
    """Raise Invalid for a word that no breach can have."""
    for name, value, words in (
        ("show", only.show, TABS),
        ("state", only.state, ("", *STATES)),
        ("severity", only.severity, ("", "page", "ticket")),
        ("source", only.source, ("", *SOURCES)),
    ):
        if value not in words:
            raise Invalid(f"{name} is one of {', '.join(one for one in words if one)}, not “{value[:40]}”")


def find_breaches(
    actor: Actor,
    *,
    environments: Sequence[Environment],
    only: Filter | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> Page[Breach]:
    """Return breaches, the newest first. Keyset by id. Raises Invalid, InvalidCursor."""
    only = only or Filter()
    check_filter(only)
    rows = visible_breaches(actor).filter(environment__in=environments)
    number = number_of(only.q)
    rows = rows.filter(pk=number) if number is not None else _shown(rows, only)
    for name in ("state", "source", "severity"):
        if value := getattr(only, name):
            rows = rows.filter(**{name: value})
    if only.flow:
        flows = visible_flows(actor).filter(environment__in=environments, name=only.flow).order_by()
        rows = rows.filter(flow_ids__overlap=list(flows.values_list("pk", flat=True)) or [0])
    if only.owner:
        rows = rows.filter(owner=None) if only.owner == "none" else rows.filter(owner__username=only.owner)
    if cursor:
        rows = rows.filter(pk__lt=decode_number_cursor(cursor))
    found = list(rows.order_by("-pk")[: limit + 1])
    return Page(found[:limit], encode_cursor(found[limit - 1].pk) if len(found) > limit else None)


def _shown(rows: QuerySet[Breach], only: Filter) -> QuerySet[Breach]:
    if only.q:
        rows = rows.filter(title__icontains=only.q)
    if only.show == "open":
        return rows.filter(state__in=OPEN)
    return rows.filter(state="resolved") if only.show == "resolved" else rows


def verdict_of(actor: Actor, environment: Environment) -> Verdict:
    """Return the numbers of the first sentence; one query where nothing is open, else three."""
    if not count_up_to(1, _open, actor, environment):
        return Verdict()
    rows = _open(actor, environment).order_by()
    held = Q(inhibited_by__isnull=False) | Q(silenced_by__isnull=False) | Q(is_excluded=True)
    free = Q(state="firing") & ~held
    found = rows.aggregate(
        pages=Count("pk", filter=free & Q(severity="page")),
        tickets=Count("pk", filter=free & Q(severity="ticket")),
        taken=Count("pk", filter=Q(state="acknowledged")),
        held=Count("pk", filter=Q(state="firing") & held),
        pending=Count("pk", filter=Q(state="pending")),
        oldest_at=Min("fired_at", filter=free),
    )
    first = rows.filter(free).order_by("severity", "fired_at", "pk").first() if found["oldest_at"] else None
    return Verdict(**found, first=first)


def open_breaches_of(actor: Actor, environment: Environment, source: str, key: str) -> list[Breach]:
    """Return the open breaches of one thing, at most one a severity, pages first."""
    rows = visible_breaches(actor).filter(environment=environment, source=source, key=key, state__in=OPEN)
    return list(rows.order_by("severity", "pk"))


def count_firing(actor: Actor, environment: Environment) -> int:
    """Return how many breaches fire there, at most 10,001; served by the index of the open ones."""
    return count_up_to(MOST_COUNTED + 1, _firing, actor, environment)


def _firing(actor: Actor, environment: Environment) -> QuerySet[Breach]:
    return _open(actor, environment).filter(state__in=FIRED)


def _open(actor: Actor, environment: Environment) -> QuerySet[Breach]:
    return visible_breaches(actor).filter(environment=environment, state__in=OPEN)


def owner_names(actor: Actor, environment: Environment) -> list[str]:
    """Return who owns breaches that the actor sees."""
    rows = visible_breaches(actor).filter(environment=environment, owner__isnull=False).order_by("-pk")
    return sorted(set(rows.values_list("owner__username", flat=True)[:1000]))


def owners_of(breach: Breach) -> list[str]:
    """Return the names of those who may own a breach."""
    return list(possible_owners(breach).values_list("username", flat=True)[:MOST_SHOWN])


def entries_of(breach: Breach) -> list[BreachEntry]:
    """Return the newest lines of a breach's timeline, newest first."""
    return list(BreachEntry.objects.filter(breach=breach)[:MOST_ENTRIES])


def done_meanwhile(actor: Actor, breach: Breach, *, now: datetime) -> list[Done]:
    """Return replays, changes and alerts from elsewhere of its flows, from an hour before it was seen until it was over, that the actor may see."""
    if not breach.flow_ids:
        return []
    since, until = breach.opened_at - timedelta(hours=1), breach.resolved_at or now
    done = done_to_flows(actor, breach.environment, breach.flow_ids, since=since, until=until)
    told = alerts_meanwhile(actor, breach.environment, breach.flow_ids, since=since, until=until)
    return sorted([*done, *(line for one in told for line in _told_elsewhere(one))], key=lambda one: one.at)


def _told_elsewhere(one: ExternalAlert) -> Iterator[Done]:
    """Yield when an alert of another system began and when it was over."""
    url = f"{reverse('breaches')}?{urlencode({'show': 'elsewhere', 'flow': one.flow.name if one.flow else ''})}"
    said = f": {one.summary}" if one.summary else ""
    yield Done(at=one.starts_at, words=f"elsewhere {one.name} fired{said}", url=url)
    if one.ends_at is not None:
        yield Done(at=one.ends_at, words=f"elsewhere {one.name} was over", url=url)


def flows_of(actor: Actor, breach: Breach) -> list[tuple[int, str]]:
    """Return (id, name) of the flows that a breach is about."""
    return list(visible_flows(actor).filter(pk__in=breach.flow_ids).order_by("name").values_list("pk", "name"))


def holding(actor: Actor, breach: Breach) -> list[Breach]:
    """Return the breaches that this one holds back and that the actor may see."""
    return list(visible_breaches(actor).filter(inhibited_by=breach, state__in=FIRED).order_by("pk")[:MOST_SHOWN])


def tellings_of(breach: Breach) -> list[Telling]:
    """Return who is told of a breach, by which policy."""
    return list(Telling.objects.filter(breach=breach).select_related("policy__team").order_by("pk"))


def find_silences(
    actor: Actor,
    *,
    environments: Sequence[Environment],
    show: str = "running",
    q: str = "",
    now: datetime,
    limit: int = 50,
    cursor: str | None = None,
) -> Page[Silence]:
    """Return silences, the newest first; `running` with those that begin later; q: part of the comment. Raises Invalid, InvalidCursor."""
    if show not in SILENCE_TABS:
        raise Invalid(f"show is one of {', '.join(SILENCE_TABS)}, not “{show[:40]}”")
    rows = visible_silences(actor).filter(environment__in=environments)
    running = Q(ended_at=None, expires_at__gt=now)
    if show != "all":
        rows = rows.filter(running if show == "running" else ~running)
    if q:
        rows = rows.filter(comment__icontains=q)
    if cursor:
        rows = rows.filter(pk__lt=decode_number_cursor(cursor))
    found = list(rows.order_by("-pk")[: limit + 1])
    return Page(found[:limit], encode_cursor(found[limit - 1].pk) if len(found) > limit else None)


def find_policies(actor: Actor, environments: Sequence[Environment]) -> list[AlertPolicy]:
    """Return the policies there: at most one for each team, that of the environment last."""
    rows = visible_policies(actor).filter(environment__in=environments)
    return list(rows.order_by("environment", F("team__name").asc(nulls_last=True))[:1000])


def why_untold(actor: Actor, breach: Breach) -> str:
    """Return why no policy tells of a breach, in words; "" when one does, or will."""
    promised = promised_to([breach.pk])
    if policies_for(breach.environment_id, {breach.pk: breach.flow_ids}, promised=promised).get(breach.pk):
        return ""
    if breach.pk not in promised:
        others = bool(find_policies(actor, [breach.environment]))
        return f"nobody: no policy {'tells of its flows, and none of everything else' if others else 'says who is told here'}"
    if promised[breach.pk] is None:
        return "nobody: its objective is on a search that its maker shares with no team"
    return "nobody: its objective is on a saved search, and the team it is shared with has no policy of its own"


def policies_of_channel(actor: Actor, environment: Environment, channel: int) -> list[AlertPolicy]:
    """Return the policies that tell over a channel, at once or in a step."""
    return [one for one in find_policies(actor, [environment]) if channel in _channels_of(one)]


def _channels_of(policy: AlertPolicy) -> set[int]:
    later = {channel for step in policy.steps for channel in step["channels"]}
    return {*policy.page_channels, *policy.ticket_channels, *later}


def watched_classes(actor: Actor, environment: Environment) -> dict[str, str]:
    """Return {class of failure groups: severity of the breach that one makes}."""
    rows = visible_group_watches(actor).filter(environment=environment)
    return dict(rows.values_list("failure_class", "severity"))
