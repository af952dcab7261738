"""What harvesters say of the queues behind a connection: now, and as a trend of ten minutes a step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db.models import Max, Sum
from django.db.models.functions import TruncHour

from console.core.charts import Spark, spark
from console.core.words import age_words
from console.identity.access import visible_agents
from console.identity.actor import Actor
from console.identity.models import Agent, Environment
from messages.ingest.messages_sql import run_set_based
from messages.models import Connection, QueueReading

SLOT = timedelta(minutes=10)
KEPT = timedelta(days=7)
HOURS = 24
FRESH = timedelta(minutes=10)  # an agent that was not heard for longer says nothing of now
UPSERT = """
INSERT INTO messaging_queuereading AS r (agent_id, broker, queue, slot, depth, lag_s, harvested)
SELECT * FROM unnest(%b::int8[], %b::text[], %b::text[], %b::timestamptz[], %b::int8[], %b::float8[], %b::int8[])
ON CONFLICT (agent_id, broker, queue, slot) DO UPDATE SET
    depth = excluded.depth, lag_s = excluded.lag_s, harvested = r.harvested + excluded.harvested
"""
Report = Mapping[str, Any]


def note_queues(agent_id: int, reports: Sequence[Report], before: Sequence[Report], *, now: datetime) -> None:
    """Keep what a heartbeat says of its queues; `before` is what the one before it said, for what was harvested between."""
    slot = now - timedelta(minutes=now.minute % 10, seconds=now.second, microseconds=now.microsecond)
    counted = {_key(one): _number(one.get("harvested")) for one in before}
    rows: dict[tuple[str, str], tuple[Any, ...]] = {}
    for one in reports:
        key, harvested = _key(one), _number(one.get("harvested"))
        since = harvested - counted.get(key, 0)
        more = since if since >= 0 else harvested  # it was started anew and counts from zero
        rows[key] = (agent_id, *key, slot, one.get("depth"), one.get("lag_s"), more)
    if rows:
        run_set_based(UPSERT, [rows[key] for key in sorted(rows)])


def _key(report: Report) -> tuple[str, str]:
    return str(report.get("broker", "")), str(report.get("queue", ""))


def _number(value: object) -> int:
    return min(value, 2**53) if isinstance(value, int) and value > 0 else 0


def expire_queue_readings() -> int:
    """Forget readings of more than a week ago; return how many went."""
    return QueueReading.objects.filter(slot__lt=datetime.now(UTC) - KEPT).delete()[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueNow:
    """One queue as its harvester last said. harvested: letters in the last hour, about; stale: not heard for ten minutes."""

    agent: Agent
    broker: str
    queue: str
    mode: str
    depth: int | None
    lag_s: float | None
    harvested: int
    parked: int
    error: str
    as_of: datetime | None
    stale: bool
    trend: list[dict[str, Any]]

    @property
    def depths(self) -> Spark | None:
        """Return the most that waited by hour, None when nothing did."""
        return self._spark("depth", lambda most: f"most waiting by hour, last {HOURS} hours: up to {most:,}")

    @property
    def lags(self) -> Spark | None:
        """Return the age of the oldest by hour, None when nothing waited."""
        words = f"age of the oldest by hour, last {HOURS} hours: up to "
        return self._spark("lag_s", lambda most: words + age_words(timedelta(seconds=most)))

    def _spark(self, name: str, words: Callable[[int], str]) -> Spark | None:
        values = [int(hour[name] or 0) for hour in self.trend]
        return spark(values, label=words(max(values))) if any(values) else None

    @property
    def oldest(self) -> str:
        """Return the age of the oldest letter, "" when the broker does not tell."""
        return "" if self.lag_s is None else age_words(timedelta(seconds=self.lag_s))


def reports_by_broker(actor: Actor, environment: Environment) -> dict[str, list[Report]]:
    """Return what the agents of an environment last said, by broker: one query."""
    found: dict[str, list[Report]] = {}
    for agent in visible_agents(actor).filter(environment=environment).order_by("name"):
        for report in queue_reports(agent):
            found.setdefault(str(report.get("broker", "")), []).append(report)
    return found


def queue_reports(agent: Agent) -> list[Report]:
    """Return the queues of an agent's last heartbeat; what is no report is left out."""
    queues = agent.heartbeat.get("queues") if isinstance(agent.heartbeat, dict) else None
    return [one for one in queues or [] if isinstance(one, dict)]


def queues_of(actor: Actor, connection: Connection, *, now: datetime) -> list[QueueNow]:
    """Return the queues that harvesters read from the broker of this name, with their last 24 hours; two queries."""
    agents = list(visible_agents(actor).filter(environment_id=connection.environment_id).order_by("name"))
    first = now.replace(minute=0, second=0, microsecond=0) - timedelta(hours=HOURS - 1)
    readings = QueueReading.objects.filter(agent__in=agents, broker=connection.name, slot__gte=first)
    rows = (
        readings.annotate(hour=TruncHour("slot", tzinfo=UTC))
        .order_by()
        .values("agent_id", "queue", "hour")
        .annotate(depth=Max("depth"), lag=Max("lag_s"), taken=Sum("harvested"))
    )
    trends: dict[tuple[int, str], dict[int, dict[str, Any]]] = {}
    for row in rows:
        hour = int((row["hour"] - first) / timedelta(hours=1))
        trends.setdefault((row["agent_id"], row["queue"]), {})[hour] = dict(row)
    return [
        _queue_now(agent, report, trends.get((agent.pk, str(report.get("queue"))), {}), now)
        for agent in agents
        for report in queue_reports(agent)
        if report.get("broker") == connection.name
    ]


def _queue_now(agent: Agent, report: Report, trend: Mapping[int, Mapping[str, Any]], now: datetime) -> QueueNow:
    by_hour = [trend.get(hour, {}) for hour in range(HOURS)]
    last = by_hour[-1].get("taken") or 0
    before = by_hour[-2].get("taken") or 0
    part = now.minute / 60
    return QueueNow(
        agent=agent,
        broker=str(report.get("broker", "")),
        queue=str(report.get("queue", "")),
        mode=str(report.get("mode") or "move"),
        depth=report.get("depth"),
        lag_s=report.get("lag_s"),
        harvested=round(last + before * (1 - part)),
        parked=_number(report.get("parked")),
        error=str(report.get("error") or ""),
        as_of=agent.heartbeat_at,
        stale=agent.heartbeat_at is None or now - agent.heartbeat_at > FRESH,
        trend=[{"depth": hour.get("depth"), "lag_s": hour.get("lag")} for hour in by_hour],
    )


def fresh_reports(*, now: datetime) -> list[tuple[str, Report]]:
    """Return (environment, report) of every queue that was reported within ten minutes, the newest of each, for metrics."""
    found: dict[tuple[str, str, str], Report] = {}
    agents = Agent.objects.select_related("environment").filter(heartbeat_at__gt=now - FRESH).order_by("heartbeat_at")
    for agent in agents:
        for report in queue_reports(agent):
            found[(agent.environment.slug, *_key(report))] = report
    return [(key[0], report) for key, report in found.items()]
