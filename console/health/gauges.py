"""Gauges whose truth is in the database: read when asked, so that they are right whatever process answers."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime

from django.conf import settings
from django.db.models import Count, Min
from django.utils import timezone
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from alerts.delivery.queries import dead_by_channel, waiting_by_channel
from alerts.objectives.queries import figures_of_flows, minutes_waiting
from alerts.reports.queries import failed_by_environment, given_up_by_environment, waiting_by_environment
from console.identity.models import Agent, Environment
from messages.catalog.queues import fresh_reports
from messages.compensation.queries import count_by_state, oldest_needing
from messages.ingest.clocks import latest_readings
from messages.ingest.partitions import TABLES
from messages.ingest.watch import rows_in_default
from messages.models import DeadLetter, IngestReject, Replay
from messages.plans.overdue import overdue_by_environment
from messages.retention.policies import last_finished
from messages.retention.rules import METADATA, PAYLOADS, ROLLUPS
from messages.retention.sizes import bytes_by_day, measured_parts
from messages.search.elastic.state import search_status


class StateCollector(Collector):
    """Dead letters that wait, their oldest age, replays by state, refused items."""

    def collect(self) -> Iterator[Metric]:
        now = timezone.now()
        waiting = GaugeMetricFamily(
            "waybill_dead_letters_waiting", "Dead letters that wait for a person.", labels=["environment", "flow"]
        )
        oldest = GaugeMetricFamily(
            "waybill_dead_letter_oldest_seconds",
            "Age of the oldest waiting dead letter.",
            labels=["environment", "flow"],
        )
        letters = DeadLetter.objects.exclude(state="closed").order_by()
        for environment, flow, count, first in letters.values_list("environment__slug", "flow__name").annotate(
            Count("id"), Min("failed_at")
        ):
            waiting.add_metric([environment, flow], count)
            oldest.add_metric([environment, flow], max(0.0, (now - first).total_seconds()))
        replays = GaugeMetricFamily("waybill_replays", "Replays by state.", labels=["state"])
        for state, count in Replay.objects.order_by().values_list("state").annotate(Count("id")):
            replays.add_metric([state], count)
        overdue = GaugeMetricFamily(
            "waybill_replays_overdue",
            "Replays that were sent and are not proved to be processed for too long, counted up to 10,000.",
            labels=["environment"],
        )
        for environment, count in overdue_by_environment(now=now).items():
            overdue.add_metric([environment], count)
        refused = GaugeMetricFamily(
            "waybill_ingest_refused_waiting", "Refused items that wait for a person.", labels=["environment", "code"]
        )
        rejects = IngestReject.objects.filter(settled_at=None).order_by()
        for environment, code, count in rejects.values_list("environment__slug", "code").annotate(Count("id")):
            refused.add_metric([environment, code], count)
        misplaced = GaugeMetricFamily(
            "waybill_ingest_rows_in_default",
            "Rows that found no partition of their day, counted up to 1,001.",
            labels=["table"],
        )
        for table, rows in (dict.fromkeys(TABLES, 0) | rows_in_default()).items():
            misplaced.add_metric([table], rows)
        yield from (waiting, oldest, replays, overdue, refused, misplaced)
        yield from agent_gauges(now)
        yield from queue_gauges(now)
        yield from retention_gauges(now)
        yield from search_gauges()
        yield from compensation_gauges(now)
        yield from notice_gauges(now)
        yield from report_gauges(now)
        yield from objective_gauges()


def agent_gauges(now: datetime) -> Iterator[Metric]:
    """How long agents have been silent, and how wrong their clocks are."""
    labels = ["environment", "agent"]
    silent = GaugeMetricFamily("waybill_agent_silent_seconds", "Seconds since an agent was last heard.", labels=labels)
    ahead = GaugeMetricFamily(
        "waybill_agent_clock_ahead_seconds",
        "How far the clock that is furthest ahead, among those an agent reports, is ahead of ours.",
        labels=labels,
    )
    agents = list(Agent.objects.select_related("environment"))
    readings = latest_readings(agents, now=now)
    for agent in agents:
        names = [agent.environment.slug, agent.name]
        if agent.last_seen_at is not None:
            silent.add_metric(names, (now - agent.last_seen_at).total_seconds())
        if agent.pk in readings:
            ahead.add_metric(names, readings[agent.pk][0].ahead.total_seconds())
    yield from (silent, ahead)


def queue_gauges(now: datetime) -> Iterator[Metric]:
    """What waits on the brokers, as harvesters said within ten minutes; what a broker does not tell is left out."""
    labels = ["environment", "broker", "queue"]
    depth = GaugeMetricFamily("waybill_queue_depth", "Dead letters that wait on a broker.", labels=labels)
    age = GaugeMetricFamily("waybill_queue_oldest_seconds", "Age of the oldest letter on a broker.", labels=labels)
    for environment, report in fresh_reports(now=now):
        names = [environment, str(report.get("broker")), str(report.get("queue"))]
        for gauge, value in ((depth, report.get("depth")), (age, report.get("lag_s"))):
            if value is not None:
                gauge.add_metric(names, value)
    yield from (depth, age)


def retention_gauges(now: datetime) -> Iterator[Metric]:
    """When retention last finished, the oldest day that each table keeps, what each kind takes."""
    run = GaugeMetricFamily("waybill_retention_last_run_seconds", "Seconds since a run of retention finished.")
    if (finished := last_finished()) is not None:
        run.add_metric([], (now - finished.started_at).total_seconds())
    oldest = GaugeMetricFamily(
        "waybill_retention_oldest_day_seconds", "Age of the oldest day that a table keeps.", labels=["table"]
    )
    parts = measured_parts()
    first: dict[str, date] = {}
    for part in parts:
        first[part.table.name] = min(part.day, first.get(part.table.name, part.day))
    for table, day in first.items():
        oldest.add_metric([table], (now - datetime(day.year, day.month, day.day, tzinfo=UTC)).total_seconds())
    stored = GaugeMetricFamily(
        "waybill_stored_bytes",
        "Bytes on disk with indexes, of tables partitioned by day; measured at most every five minutes.",
        labels=["environment", "kind"],
    )
    for pk, slug in Environment.objects.values_list("pk", "slug"):
        for kind in (PAYLOADS, METADATA, ROLLUPS):
            stored.add_metric([slug, kind], sum(bytes_by_day(parts, pk, kind).values()))
    yield from (run, oldest, stored)


def search_gauges() -> Iterator[Metric]:
    """How far the optional search back end is behind, and what it refused; without one nothing but the names."""
    behind = GaugeMetricFamily(
        "waybill_search_behind_seconds", "Age of the oldest change that the search index has not."
    )
    ready = GaugeMetricFamily(
        "waybill_search_ready",
        "1 when the index of an environment is there to be asked, else 0.",
        labels=["environment"],
    )
    refused = GaugeMetricFamily(
        "waybill_search_refused", "Documents that the index refused for what they are.", labels=["environment"]
    )
    if settings.SEARCH_BACKEND != "postgresql":
        status = search_status()
        behind.add_metric([], status.behind_s)
        for one in status.environments:
            ready.add_metric([one.environment], float(one.state in ("live", "rebuilding")))
            refused.add_metric([one.environment], one.refused)
    yield from (behind, ready, refused)


def compensation_gauges(now: datetime) -> Iterator[Metric]:
    """Compensations by state, and how long the oldest that needs a person has waited for one."""
    counted = GaugeMetricFamily("waybill_compensations", "Compensations by state.", labels=["state"])
    for state, count in count_by_state().items():
        counted.add_metric([state], count)
    oldest = GaugeMetricFamily(
        "waybill_compensation_oldest_stuck_seconds",
        "For how long the oldest compensation that needs a person has waited for one.",
        labels=["environment"],
    )
    for environment, since in oldest_needing(now).items():
        oldest.add_metric([environment], max(0.0, (now - since).total_seconds()))
    yield from (counted, oldest)


def notice_gauges(now: datetime) -> Iterator[Metric]:
    """What channels could not be told yet, and what was given up."""
    labels = ["environment", "channel"]
    waiting = GaugeMetricFamily("waybill_notices_waiting", "Notices that wait to be told.", labels=labels)
    oldest = GaugeMetricFamily("waybill_notice_oldest_seconds", "Age of the oldest notice that waits.", labels=labels)
    dead = GaugeMetricFamily("waybill_notices_given_up", "Notices that were given up in 90 days.", labels=labels)
    for environment, channel, count, first in waiting_by_channel():
        waiting.add_metric([environment, channel], count)
        oldest.add_metric([environment, channel], max(0.0, (now - first).total_seconds()))
    for environment, channel, count in dead_by_channel():
        dead.add_metric([environment, channel], count)
    yield from (waiting, oldest, dead)


def report_gauges(now: datetime) -> Iterator[Metric]:
    """Mails of reports that wait or were given up, and reports that could not be made."""
    labels = ["environment"]
    waiting = GaugeMetricFamily("waybill_report_mails_waiting", "Mails of reports that wait to be sent.", labels=labels)
    oldest = GaugeMetricFamily(
        "waybill_report_mail_oldest_seconds", "Age of the oldest mail of a report that waits.", labels=labels
    )
    dead = GaugeMetricFamily("waybill_report_mails_given_up", "Mails of reports that were given up.", labels=labels)
    failed = GaugeMetricFamily("waybill_reports_failed", "Reports that could not be made.", labels=labels)
    for environment, count, first in waiting_by_environment():
        waiting.add_metric([environment], count)
        oldest.add_metric([environment], max(0.0, (now - first).total_seconds()))
    for gauge, counts in ((dead, given_up_by_environment()), (failed, failed_by_environment())):
        for environment, count in counts:
            gauge.add_metric([environment], count)
    yield from (waiting, oldest, dead, failed)


def objective_gauges() -> Iterator[Metric]:
    """How the objectives of flows stand. Those on saved searches are not here: their names are for those who see the search."""
    labels = ["environment", "flow", "objective"]
    left = GaugeMetricFamily(
        "waybill_objective_budget_left_ratio",
        "Share of the error budget that is left; below 0 it is overspent.",
        labels=labels,
    )
    burn = GaugeMetricFamily(
        "waybill_objective_burn_rate",
        "How many times faster than allowed the last hour spent the budget.",
        labels=labels,
    )
    for environment, flow, objective, share, rate in figures_of_flows():
        left.add_metric([environment, flow, objective], share)
        burn.add_metric([environment, flow, objective], rate)
    waiting = GaugeMetricFamily(
        "waybill_objective_minutes_waiting",
        "Minutes of objectives on saved searches that changed and are to be counted yet, because there was no time or the search cannot be asked.",
        labels=["environment"],
    )
    for environment, minutes in minutes_waiting().items():
        waiting.add_metric([environment], minutes)
    yield from (left, burn, waiting)
