"""Webhook: the notice as JSON, signed. docs/notifications.md has the lines that verify it."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from typing import Any

from alerts.delivery.notifiers.base import BadChannel, Field, Said, Telling
from alerts.delivery.notifiers.http import JSON, HTTPNotifier, as_json
from alerts.delivery.notifiers.words import iso
from alerts.delivery.outbound import Call

LEAST_SECRET = 16


class Webhook(HTTPNotifier):
    """Any 2xx is taken. `Waybill-Delivery` is the same however often one notice is sent."""

    kind = "webhook"
    label = "Webhook"
    fields = (
        Field(
            name="url",
            label="URL",
            help="Where the JSON is posted to. Its host is approved by an administrator of the console.",
        ),
        Field(
            name="secret",
            label="Signing secret",
            help="Signs every request with HMAC-SHA-256; 16 characters at least.",
            secret=True,
        ),
    )

    def check(self, said: Said) -> None:
        super().check(said)
        if len(said["secret"]) < LEAST_SECRET:
            raise BadChannel(f"Signing secret: it has at least {LEAST_SECRET} characters")

    def render(self, telling: Telling, said: Said) -> Sequence[Call]:
        body, stamp = as_json(document(telling)), str(int(telling.now.timestamp()))
        headers = {
            **JSON,
            "Waybill-Delivery": telling.key,
            "Waybill-Timestamp": stamp,
            "Waybill-Signature": f"v1={signature(said['secret'], stamp, body)}",
        }
        return [Call(url=said["url"], body=body, headers=headers)]


def document(telling: Telling) -> dict[str, Any]:
    """Return what is posted: version 1 of it, to which members may be added and none taken away."""
    notice = telling.notice
    return {
        "version": 1,
        "delivery": telling.key,
        "happening": notice.happening.value,
        "thread": notice.thread,
        "severity": notice.severity,
        "environment": notice.environment,
        "title": notice.title,
        "summary": notice.summary,
        "heading": telling.title,
        "text": telling.text,
        "starts_at": iso(notice.starts_at),
        "ends_at": iso(notice.ends_at) if notice.ends_at else None,
        "beginning_told": not telling.untold,
        "facts": dict(notice.facts),
        "links": dict(notice.links),
        "labels": dict(notice.labels),
    }


def signature(secret: str, stamp: str, body: bytes) -> str:
    """Return the hexadecimal HMAC-SHA-256 of `stamp`, a dot and the body."""
    return hmac.new(secret.encode(), stamp.encode() + b"." + body, hashlib.sha256).hexdigest()


WEBHOOK = Webhook()
