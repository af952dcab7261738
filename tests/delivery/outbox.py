"""Sentences of the tests of the outbox: what is told, sent, and how each row stands."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import time_machine

from alerts.delivery.notifiers.base import Told
from alerts.delivery.notifiers.memory import TOLD
from alerts.delivery.sending import at_once, look
from alerts.delivery.services import tell
from alerts.models import Channel, NoticeDelivery
from alerts.notices import Happening
from tests.delivery.notices import notice

LATER = Told(result="later", answer="HTTP 503: not now", status=503)
REFUSED = Told(result="refused", answer="HTTP 400: no", status=400)


def place(channel: Channel) -> str:
    return str(channel.settings["name"])


def told(channel: Channel) -> list[tuple[str, bool]]:
    return [(one.notice.happening.value, one.untold) for one in TOLD[place(channel)]]


def states(channel: Channel) -> list[str]:
    return list(NoticeDelivery.objects.filter(channel=channel).order_by("pk").values_list("state", flat=True))


def go(seconds: float = 0) -> int:
    """Send what is due so many seconds from now."""
    with time_machine.travel(datetime.now(UTC) + timedelta(seconds=seconds), tick=True):
        return look(begin=at_once)


def say(*happenings: Happening, channels: list[Channel], **changes: Any) -> None:
    for happening in happenings:
        tell(notice(happening, **changes), [one.pk for one in channels])
