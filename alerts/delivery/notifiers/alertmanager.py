"""Alertmanager, API v2: posted to every peer, posted again before it would time out, ended by `endsAt`.

Peers share silences and the notification log, not alerts: each has to be told, and no load balancer may stand between (its documentation).
Labels are an alert's identity, so those of the thread's first notice are used throughout.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import Any

from alerts.delivery.notifiers.base import BadChannel, Field, Said, Telling, Told
from alerts.delivery.notifiers.http import JSON, HTTPNotifier, as_json
from alerts.delivery.notifiers.words import cut, first_link, iso, one_line, untold_words, web_links
from alerts.delivery.outbound import Call, parse_url, send
from alerts.notices import Happening

REPEAT_S = 60.0
LASTS = timedelta(seconds=4 * REPEAT_S)  # as Prometheus: four posts may get lost before it ends by itself
MOST_PEERS = 9
NAME = re.compile(r"[^a-zA-Z0-9_]")


class Alertmanager(HTTPNotifier):
    """Taken when one peer took it: the others get it with the next repetition."""

    kind = "alertmanager"
    label = "Alertmanager"
    fields = (
        Field(
            name="peers",
            label="Peers",
            help="Every instance, parted by commas: https://am-1.example.com:9093, https://am-2.example.com:9093.",
        ),
        Field(name="username", label="User name", help="Where a proxy asks for one.", required=False),
        Field(name="password", label="Password", secret=True, required=False),
    )
    repeat_s: float | None = REPEAT_S
    longest_s = 30.0
    at_once = 4

    def check(self, said: Said) -> None:
        super().check(said)
        peers = self.addresses(said)
        if not 1 <= len(peers) <= MOST_PEERS:
            raise BadChannel(f"Peers: name 1 to {MOST_PEERS} addresses")
        for peer in peers:
            if parse_url(peer).query:
                raise BadChannel("Peers: an address ends with its path")

    def addresses(self, said: Said) -> list[str]:
        return [peer.strip().rstrip("/") for peer in said.get("peers", "").split(",") if peer.strip()]

    def render(self, telling: Telling, said: Said) -> Sequence[Call]:
        headers = dict(JSON)
        if said.get("username"):
            pair = f"{said['username']}:{said.get('password', '')}"
            headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        body = as_json([alert(telling)])
        return [Call(url=f"{peer}/api/v2/alerts", body=body, headers=headers) for peer in self.addresses(said)]

    def tell(self, telling: Telling, said: Said, allowed: Collection[str]) -> Told:
        calls = self.render(telling, said)
        told = [(call, send(call, allowed, timeout_s=(self.longest_s - 2) / len(calls))) for call in calls]
        took = [one for _, one in told if one.result == "taken"]
        rest = "; ".join(
            f"{call.url.removesuffix('/api/v2/alerts')}: {one.answer}" for call, one in told if one.result != "taken"
        )
        if took:
            return Told(
                result="taken",
                status=took[0].status,
                answer=f"{len(took)} of {len(told)} peers took it{f'; {rest}' if rest else ''}",
            )
        worst = next((one for _, one in told if one.result == "later"), told[0][1])
        return Told(result=worst.result, status=worst.status, answer=rest, retry_after_s=worst.retry_after_s)


def alert(telling: Telling) -> dict[str, Any]:
    """Return one alert of the array; pure. Firing: it ends by itself unless it is posted again."""
    notice = telling.notice
    ends = telling.now + LASTS
    if notice.happening is Happening.RESOLVED:
        ends = min(notice.ends_at or telling.now, telling.now)
    elif notice.happening is Happening.TEST:
        ends = telling.now + timedelta(minutes=1)
    links = web_links(notice)
    annotations = {
        "summary": cut(one_line(telling.title), 1_000),
        "description": cut("\n".join(part for part in (telling.text, untold_words(telling)) if part), 10_000),
        "dashboard_url": first_link(notice),
        "runbook_url": next((url for words, url in links.items() if "runbook" in words.lower()), ""),
        **{
            NAME.sub("_", name)[:100]: cut(value, 1_000)
            for name, value in list(notice.facts.items())[:30]
            if not name[:1].isdigit()
        },
    }
    made = {
        "labels": labels(telling),
        "annotations": {name: value for name, value in annotations.items() if name and value},
        "startsAt": iso(min(notice.starts_at, ends)),
        "endsAt": iso(ends),
    }
    return made | ({"generatorURL": first_link(notice)} if first_link(notice) else {})


def labels(telling: Telling) -> dict[str, str]:
    """Return the labels: alertname, severity, environment, what the notice carries (slo, flow, service, team, window), and the thread."""
    first = telling.opened
    given = {NAME.sub("_", name)[:100]: value for name, value in list(first.labels.items())[:30]}
    if "objective" in given:
        given.setdefault("slo", given.pop("objective"))
    given |= {
        "alertname": one_line(first.title),
        "severity": first.severity,
        "environment": first.environment,
        "waybill_thread": first.thread,
    }
    return {name: cut(value, 500) for name, value in given.items() if value and name and not name[0].isdigit()}


ALERTMANAGER = Alertmanager()
