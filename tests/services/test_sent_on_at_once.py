"""Several writers and sweeps tell at once of what was sent on to be tried again: real transactions."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from messages.ingest.sent_on import follow_sent_on
from messages.models import Message, MessageStatus
from tests.factories import agent_key, push
from tests.services.test_groups_at_once import at_once
from tests.services.test_sent_on import REFUSED, chain

pytestmark = pytest.mark.usefixtures("committed")


@pytest.mark.parametrize("passes", [True, False], ids=["passes", "fails"])
def test_whoever_tells_last_tells_what_all_say(passes: bool):
    key, chance = agent_key(), random.Random(11)
    events = [*chain(at_last={} if passes else REFUSED)]
    for number in range(6):
        copies = [one | {"id": f"{number}-{at}", "trace_id": f"{number + 1:032x}"} for at, one in enumerate(events)]
        chance.shuffle(copies)
        parts = [copies[at::4] for at in range(4)]

        answers = at_once(
            *(lambda part=part: push("/ingest/v1/events", part, key=key).status_code for part in parts), follow_sent_on
        )

        assert answers == [200] * 4 + [None]
    statuses = Counter(MessageStatus(one.status).name for one in Message.objects.all())
    assert statuses == ({"DELIVERED": 18} if passes else {"FAILED": 18})
