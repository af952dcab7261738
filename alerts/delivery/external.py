"""Webhooks of Alertmanager (version 4) and of Grafana, which adds members of its own, read into alerts from elsewhere. Pure.

Source: Prometheus documentation, "webhook_config"; Grafana documentation, "webhook notifier". `endsAt` is year 1 while an alert fires.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

MOST_ALERTS, MOST_PAIRS, MOST_NAME, MOST_VALUE = 1_000, 50, 200, 2_000
KNOWN = ("flow", "alertname", "severity", "summary", "description")  # of labels and annotations: what is read
EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
FURTHEST = timedelta(days=1)
FRACTION = re.compile(r"(\.\d{6})\d+")  # Go writes nanoseconds


class NotAWebhook(ValueError):
    """The body is no webhook of Alertmanager; the sentence says what is missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """One alert as it was heard. ends_at: None while it fires."""

    fingerprint: str
    name: str
    severity: str
    summary: str
    starts_at: datetime
    ends_at: datetime | None
    labels: dict[str, str]
    annotations: dict[str, str]
    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """An alert that cannot be read, by its place."""

    index: int
    detail: str


def read_webhook(data: bytes, *, now: datetime) -> tuple[list[Heard], list[Refused]]:
    """Return what the body tells, and what of it cannot be read; raises NotAWebhook."""
    try:
        body = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise NotAWebhook("the body is not JSON") from error
    alerts = body.get("alerts") if isinstance(body, dict) else None
    if not isinstance(alerts, list):
        raise NotAWebhook("the body has no list `alerts`: send the webhook of Alertmanager or Grafana")
    if len(alerts) > MOST_ALERTS:
        raise NotAWebhook(f"the body has {len(alerts)} alerts; at most {MOST_ALERTS} are taken: set max_alerts")
    heard: list[Heard] = []
    refused: list[Refused] = []
    for index, alert in enumerate(alerts):
        try:
            heard.append(_alert(alert, now))
        except ValueError as error:
            refused.append(Refused(index=index, detail=str(error)[:300]))
    return heard, refused


def _alert(alert: Any, now: datetime) -> Heard:
    if not isinstance(alert, dict):
        raise ValueError("it is no object")
    labels, annotations = _pairs(alert.get("labels")), _pairs(alert.get("annotations"))
    if not labels:
        raise ValueError("it has no labels")
    starts_at = _time(alert.get("startsAt"), "startsAt")  # as it was sent: it is a part of the alert's identity
    if starts_at > now + FURTHEST:
        raise ValueError("its startsAt is more than a day ahead")
    status = alert.get("status")
    if status not in ("firing", "resolved"):
        raise ValueError("its status is neither firing nor resolved")
    ends_at = None
    if status == "resolved":
        ends_at = max(min(_time(alert.get("endsAt"), "endsAt"), now), starts_at)
    return Heard(
        fingerprint=_fingerprint(alert.get("fingerprint"), labels),
        name=labels.get("alertname", "alert")[:200] or "alert",
        severity=labels.get("severity", "")[:40],
        summary=" ".join((annotations.get("summary") or annotations.get("description") or "").split())[:1000],
        starts_at=starts_at,
        ends_at=ends_at,
        labels=labels,
        annotations=annotations,
        url=_url(alert),
    )


def _pairs(value: Any) -> dict[str, str]:
    """Return labels or annotations as texts that PostgreSQL takes: at most 50, those that are known here and the first of the others."""
    if not isinstance(value, Mapping):
        return {}
    kept = [*(name for name in KNOWN if name in value), *(name for name in value if name not in KNOWN)][:MOST_PAIRS]
    return {_text(name, MOST_NAME): _text(value[name], MOST_VALUE) for name in kept}


def _text(value: Any, most: int) -> str:
    text = value if isinstance(value, str) else json.dumps(value)[: most * 2]
    return text[:most].replace("\x00", "\ufffd").encode("utf-8", "replace").decode()


def _time(value: Any, name: str) -> datetime:
    try:
        at = datetime.fromisoformat(FRACTION.sub(r"\1", value)) if isinstance(value, str) else None
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise ValueError(f"its {name} is no RFC 3339 time")
    try:
        at = at.astimezone(UTC)
    except OverflowError as error:
        raise ValueError(f"its {name} is out of range") from error
    if at < EARLIEST:
        raise ValueError(f"its {name} is out of range")
    return at


def _fingerprint(value: Any, labels: Mapping[str, str]) -> str:
    """Return the sender's fingerprint, or one of the labels where it sends none."""
    if isinstance(value, str) and re.fullmatch(r"[0-9A-Za-z_-]{1,64}", value, re.ASCII):
        return value
    return hashlib.sha256(json.dumps(sorted(labels.items())).encode()).hexdigest()


def _url(alert: Mapping[str, Any]) -> str:
    """Return the sender's page: Grafana's panel or dashboard, else where the alert was made; only of the web."""
    for name in ("panelURL", "dashboardURL", "generatorURL"):
        url = alert.get(name)
        if isinstance(url, str) and url.startswith(("https://", "http://")) and url.isprintable() and len(url) <= 2_000:
            return _text(url, 2_000)
    return ""
