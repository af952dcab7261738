"""What /metrics says of agents."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from django.test import Client

from tests.factories import agent_key, event, push

pytestmark = pytest.mark.django_db


def gauge(name: str, agent: str) -> float:
    text = Client().get("/metrics").content.decode()
    [value] = re.findall(rf'^{name}{{agent="{agent}",environment="production"}} (\S+)$', text, re.M)
    return float(value)


def test_they_say_how_long_an_agent_is_silent_and_how_far_its_clock_is_ahead():
    agent_key("never heard")
    key = agent_key("shop")
    push("/ingest/v1/events", [event()], key=key)
    ahead = {
        "version": "1",
        "sent_at": (datetime.now(UTC) + timedelta(seconds=90)).isoformat(),
        "queues": [],
        "spooled": 0,
    }
    assert push("/ingest/v1/heartbeat", ahead, key=key).status_code == 200

    assert 0 <= gauge("waybill_agent_silent_seconds", "shop") < 60
    assert 80 < gauge("waybill_agent_clock_ahead_seconds", "shop") < 100
    with pytest.raises(ValueError, match="not enough values"):
        gauge("waybill_agent_silent_seconds", "never heard")
