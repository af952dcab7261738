"""How deliveries and channels are shown: chips of their states. Pure."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from alerts.models import Channel, NoticeDelivery

CHIPS = {
    "queued": ("move still", "queued"),
    "sending": ("move", "sending"),
    "delivered": ("good", "delivered"),
    "failed": ("warn", "tried again"),
    "dead": ("bad", "given up"),
    "superseded": ("", "superseded"),
}


def chip_of(delivery: NoticeDelivery) -> tuple[str, str]:
    """Return (look, words) of a delivery's state."""
    return CHIPS[delivery.state]


def channel_chip(channel: Channel, last: NoticeDelivery | None) -> tuple[str, str]:
    """Return (look, words) of what a channel is worth at this moment."""
    if not channel.enabled:
        return "", "off"
    if channel.is_resting:
        return "bad", "not answering"
    if last is not None and last.state == "dead":
        return "bad", "last one given up"
    if channel.failures:
        return "warn", "failing"
    return ("good", "works") if last is not None and last.state == "delivered" else ("", "on")


def line_of(delivery: NoticeDelivery) -> dict[str, Any]:
    look, words = chip_of(delivery)
    at: datetime = delivery.created_at
    return {"delivery": delivery, "look": look, "words": words, "at": at}
