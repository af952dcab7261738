"""What the overview says, read from dead letters that wait (a partial index), figures of failure groups and rollups, never from events."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from math import ceil
from operator import itemgetter
from typing import Any

from django.db.models import Case, Count, DateTimeField, F, Func, Min, Q, QuerySet, Value, When

from console.identity.access import visible_agents
from console.identity.actor import Actor
from console.identity.counted import count_up_to
from console.identity.models import Agent, Environment
from messages.access import visible_dead_letters, visible_events
from messages.figures.queries import Figures, joined, read_figures
from messages.figures.ranges import range_of
from messages.groups.assign import names_of_flows
from messages.groups.queries import Newest, groups_with_failed_messages, newest_waiting, speaking_groups
from messages.groups.refresh import hours_of
from messages.ingest.clocks import latest_readings
from messages.models import ClockReading, DeadLetter, Event, FailureGroup
from messages.search.window import parse_window

MOST_COUNTED = 10_000
SHOWN_GROUPS = 8
SPARK_HOURS = 24
MOST_POINTS = 96  # of the chart
ALIVE = timedelta(seconds=60)
LATE = timedelta(minutes=10)
EPOCH = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(slots=True, kw_only=True)
class Failing:
    """What waits of one failure group; `hours` counts it by hour of failure, oldest of 24 first.

    group    None for letters that were stored before there were groups, and that the sweep has not reached yet.
    letters  that are open or being replayed.   failed  messages without a letter that stand so, as the group's figures have them; where
             there are some, `hours` are all failures of the group, of the first eight.
    """

    flow_id: int
    flow: str
    group: FailureGroup | None = None
    letters: int = 0
    failed: int = 0
    at_least: bool = False
    replaying: int = 0
    oldest_at: datetime
    oldest_failed_at: datetime | None = None
    oldest_open_at: datetime | None = None
    hours: list[int] = field(default_factory=lambda: [0] * SPARK_HOURS)
    parts: set[int | None] = field(default_factory=set)  # its own and what was merged into it
    newest: Newest | None = None  # of the first eight
    sample: DeadLetter | None = None

    @property
    def waiting(self) -> int:
        return self.letters + self.failed

    @property
    def error_type(self) -> str:
        return self.group.error_type if self.group else ""

    @property
    def systems(self) -> list[str]:
        """Return the name of the system that failed last, as far as it is known."""
        named = (self.newest and self.newest.system) or (self.group and self.group.step)
        return [named] if named else []

    @property
    def is_resolved(self) -> bool:
        """Whether somebody said that it is over; its letters wait all the same."""
        return self.group is not None and self.group.state == "resolved"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The first sentence: how many flows fail, how much waits for a person and how much is being replayed, since when, the largest group.

    at_least  more waits than was looked at.
    oldest  the open letter that failed first; a failed message without one may have waited since before it: `oldest_at`.
    What is resolved fails no more: its letters wait, and its flow is not among `flows`, nor it the largest.
    """

    flows: int
    waiting: int
    replaying: int
    oldest: DeadLetter | None
    oldest_at: datetime | None
    largest: Failing | None
    at_least: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """Delivered and failed a minute in one step of the chart, which begins at `at`."""

    at: datetime
    delivered: float
    failed: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenAgent:
    """An agent with what its silence means: alive (< 1 min), late (< 10 min), silent, or new (never heard)."""

    agent: Agent
    state: str
    heard_at: datetime | None
    clocks: list[ClockReading] = field(default_factory=list)

    @property
    def clock(self) -> str:
        """Return what the worst of its clocks says, nothing when none is certainly wrong."""
        return next((one.words for one in self.clocks if one.is_wrong), "")

    @property
    def queues(self) -> list[dict[str, Any]]:
        """Return the queues of the last heartbeat."""
        return [queue for queue in self.agent.heartbeat.get("queues") or [] if isinstance(queue, dict)]

    @property
    def depth(self) -> int:
        """Return how many letters wait in those queues, as far as the agent could count."""
        return sum(queue.get("depth") or 0 for queue in self.queues)


def waiting_letters(actor: Actor, environment: Environment) -> QuerySet[DeadLetter]:
    """Return the dead letters that are open or being replayed; served by the index dead_letter_waiting."""
    return visible_dead_letters(actor).filter(environment=environment, closed_at=None)


def count_waiting(actor: Actor, environment: Environment) -> int:
    """Return how many dead letters wait, at most 10,001."""
    return count_up_to(MOST_COUNTED + 1, waiting_letters, actor, environment)


def find_failing(actor: Actor, environment: Environment, *, now: datetime) -> list[Failing]:
    """Return every failure group of which something waits, the largest first, resolved ones last; the first eight with their newest letter.

    Letters are counted as it is now, failed messages without one are those of the groups' figures, which a worker brings up to date.
    """
    this_hour = now.replace(minute=0, second=0, microsecond=0)
    since = this_hour - timedelta(hours=SPARK_HOURS - 1)
    rows = list(
        waiting_letters(actor, environment)
        .order_by()
        .annotate(hour=Case(When(failed_at__gte=since, then=_step_of("failed_at", timedelta(hours=1)))))
        .values("flow_id", "group_id", "hour")
        .annotate(
            count=Count("pk"),
            oldest_at=Min("failed_at"),
            oldest_open_at=Min("failed_at", filter=Q(state=DeadLetter.State.OPEN)),
            replaying=Count("pk", filter=Q(state__in=["replaying", "compensating"])),
        )
    )
    speaking = speaking_groups(actor, {row["group_id"] for row in rows if row["group_id"]})
    homeless = {row["flow_id"] for row in rows if row["group_id"] not in speaking}
    names = {one.flow_id: one.flow.name for one in speaking.values()}
    names |= names_of_flows(homeless) if homeless else {}
    groups: dict[tuple[int, int | None], Failing] = {}
    for row in rows:
        group = speaking.get(row["group_id"])
        key = (row["flow_id"], group.pk if group else None)
        found = groups.setdefault(
            key, Failing(flow_id=key[0], flow=names[key[0]], group=group, oldest_at=row["oldest_at"])
        )
        found.parts.add(row["group_id"])
        found.letters += row["count"]
        found.replaying += row["replaying"]
        found.oldest_at = min(found.oldest_at, row["oldest_at"])
        found.oldest_open_at = min(filter(None, (found.oldest_open_at, row["oldest_open_at"])), default=None)
        if row["hour"] is not None:
            found.hours[max(0, spark_position(row["hour"], now))] += row["count"]
    _add_failed_messages(actor, environment, groups)
    ordered = sorted(groups.values(), key=lambda group: (group.is_resolved, -group.waiting, group.oldest_at))
    _add_newest(ordered[:SHOWN_GROUPS])
    add_hours(ordered[:SHOWN_GROUPS], now=now)
    return ordered


def _add_failed_messages(actor: Actor, environment: Environment, groups: dict[tuple[int, int | None], Failing]) -> None:
    """Add what failed and has no dead letter, as the list of groups counts it."""
    for group, parts in groups_with_failed_messages(actor, environment):
        at = group.failed_oldest_at or group.oldest_at or group.last_seen_at
        found = groups.setdefault(
            (group.flow_id, group.pk),
            Failing(flow_id=group.flow_id, flow=group.flow.name, group=group, oldest_at=at),
        )
        found.parts.update(parts)
        found.failed, found.at_least = group.failed, group.failed_capped
        found.oldest_failed_at, found.oldest_at = at, min(found.oldest_at, at)


def add_hours(groups: Sequence[Failing], *, now: datetime) -> None:
    """Give groups with failed messages their failures by hour: letters that wait are but a part of them."""
    wanted = {at: group for at, group in enumerate(groups) if group.failed}
    parts = {at: [part for part in group.parts if part] for at, group in wanted.items()}
    for at, hours in (hours_of(parts, now) if parts else {}).items():
        wanted[at].hours = hours


def spark_position(at: datetime, now: datetime) -> int:
    """Return which of the 24 hours a time falls into, the present one last; below 0 before them."""
    this_hour = now.replace(minute=0, second=0, microsecond=0)
    return min(SPARK_HOURS - 1, SPARK_HOURS - 1 + (at - this_hour) // timedelta(hours=1))


def _add_newest(groups: Sequence[Failing]) -> None:
    newest = newest_waiting({part for group in groups for part in group.parts if part})
    for group in groups:
        group.newest = max((newest[part] for part in group.parts if part in newest), default=None)


def add_samples(actor: Actor, environment: Environment, groups: Sequence[Failing]) -> None:
    """Give each group its newest letter as a whole; the page needs its system only."""
    letters = waiting_letters(actor, environment).in_bulk([group.newest.pk for group in groups if group.newest])
    for group in groups:
        group.sample = letters.get(group.newest.pk) if group.newest else None


def _step_of(field: str, step: timedelta) -> Func:
    """Return the start of the step that a time falls into; unlike date_trunc it stays a time with a zone."""
    return Func(Value(step), F(field), Value(EPOCH), function="date_bin", output_field=DateTimeField())


def verdict_of(actor: Actor, environment: Environment, groups: Sequence[Failing]) -> Verdict:
    """Return the numbers of the first sentence, from the groups already read and one look for the oldest letter."""
    failing = [group for group in groups if not group.is_resolved]
    since = (at for group in groups for at in (group.oldest_open_at, group.oldest_failed_at) if at)
    return Verdict(
        flows=len({group.flow_id for group in failing}),
        waiting=sum(group.waiting - group.replaying for group in groups),
        replaying=sum(group.replaying for group in groups),
        oldest=_oldest(actor, environment, groups),
        oldest_at=min(since, default=None),
        largest=failing[0] if failing else None,
        at_least=any(group.at_least for group in groups),
    )


def _oldest(actor: Actor, environment: Environment, groups: Sequence[Failing]) -> DeadLetter | None:
    """Return the open letter that failed first, looked for in its own group: of all that wait, each would be read and sorted."""
    of_open = [(group.oldest_open_at, group) for group in groups if group.oldest_open_at]
    if not of_open:
        return None
    at, group = min(of_open, key=itemgetter(0))
    own = Q(group__in=group.parts - {None})
    if None in group.parts:
        own |= Q(group=None)
    letters = waiting_letters(actor, environment).filter(own, flow=group.flow_id, state=DeadLetter.State.OPEN)
    return letters.filter(failed_at=at).order_by("id").first()


def recent_figures(actor: Actor, environment: Environment, *, window: str, now: datetime) -> Figures:
    """Return what went through in "1h" or "24h", step by step as the page Figures counts it, so that both say the same."""
    return read_figures(actor, environment, range_of(parse_window(window, now=now), now=now))


def message_rates(figures: Figures) -> list[Rate]:
    """Return what was processed and what failed a minute, in at most 96 points: of an hour by the minute, of a day by 15."""
    together = ceil(len(figures.steps) / MOST_POINTS)
    points = [joined(figures.steps[at : at + together]) for at in range(0, len(figures.steps), together)]
    minutes = together * figures.range.step / timedelta(minutes=1)
    return [Rate(at=point.at, delivered=point.delivered / minutes, failed=point.failed / minutes) for point in points]


def heard_at(agent: Agent) -> datetime | None:
    """Return when the agent last sent anything."""
    return max((at for at in (agent.last_seen_at, agent.heartbeat_at) if at), default=None)


def agent_state(agent: Agent, now: datetime) -> str:
    """Return alive, late, silent or new (never heard); requests are noted at most every 10 s, so under a minute is alive."""
    heard = heard_at(agent)
    if heard is None:
        return "new"
    silence = now - heard
    return "alive" if silence < ALIVE else "late" if silence < LATE else "silent"


def seen_agents(actor: Actor, environment: Environment, *, now: datetime, most: int = 200) -> list[SeenAgent]:
    """Return the environment's agents by name with what their silence means."""
    agents = list(visible_agents(actor).filter(environment=environment)[:most])
    clocks = latest_readings(agents, now=now)
    return [
        SeenAgent(agent=agent, state=agent_state(agent, now), heard_at=heard_at(agent), clocks=clocks.get(agent.pk, []))
        for agent in agents
    ]


def has_data(actor: Actor, environment: Environment) -> bool:
    """Whether anything ever arrived here that this actor may see."""
    return any(count_up_to(1, rows, actor, environment) for rows in (_letters, _events))


def _letters(actor: Actor, environment: Environment) -> QuerySet[DeadLetter]:
    return visible_dead_letters(actor).filter(environment=environment)


def _events(actor: Actor, environment: Environment) -> QuerySet[Event]:
    return visible_events(actor).filter(environment=environment)
