"""Gauges whose truth is in the database: read when asked, so that they are right whatever process answers."""

from __future__ import annotations

from collections.abc import Iterator

from django.db.models import Count, Min
from django.utils import timezone
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from console.identity.models import Agent
from messages.models import DeadLetter, Replay


class StateCollector(Collector):
    """Dead letters that wait, their oldest age, replays by state, silence of agents."""

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
        silent = GaugeMetricFamily(
            "waybill_agent_silent_seconds", "Seconds since an agent was last heard.", labels=["environment", "agent"]
        )
        for environment, name, seen in Agent.objects.exclude(last_seen_at=None).values_list(
            "environment__slug", "name", "last_seen_at"
        ):
            silent.add_metric([environment, name], (now - seen).total_seconds() if seen else float("inf"))
        yield from (waiting, oldest, replays, silent)
