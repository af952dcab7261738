"""Messages that have their group and fail once more at its step: no sweep meets them, and a group that was resolved is to know.

Whoever stores failed events asks it of exactly these, after its commit: however late they come and however many others do. Where it dies
between the two the sweep finds them by their time, as far as it looks: ten minutes, and the newest of an environment.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction
from django.db.models import Min, QuerySet

from messages.groups.assign import tell_failed
from messages.groups.states import states_before
from messages.ingest.messages_sql import run
from messages.models import FailureGroup

LATELY = timedelta(minutes=10)
MOST_AGAIN = 2_000  # failed events that the sweep looks through
REMEMBERED = timedelta(days=30)
A_DAY_OFF = timedelta(days=4)  # a message's events may have come before the one that made its row; as in AGAIN

STORED = "unnest(%b::uuid[], %b::int8[], %b::int8[], %b::timestamptz[], %b::timestamptz[])"
NEWEST = """(
    SELECT message_uid, flow_id, system_id, occurred_at, received_at FROM messaging_event
    WHERE environment_id = %b AND outcome = 2 AND occurred_at > %b AND message_uid IS NOT NULL ORDER BY occurred_at DESC LIMIT %b
)"""
# As in FLOWS of tried.py: a message of an exchange's flow may fail in that of a queue. Only flows that whoever sees the message sees.
AGAIN = """
SELECT whole.id, max(e.occurred_at) FROM {events} AS e (message_uid, flow_id, system_id, occurred_at, received_at)
JOIN messaging_message m ON m.id = e.message_uid AND m.status = 2
    AND m.first_seen_on >= %b AND m.first_seen_on BETWEEN e.occurred_at::date - 4 AND e.occurred_at::date + 4
JOIN messaging_flow f ON f.id = m.flow_id
JOIN messaging_flow o ON o.id = e.flow_id AND (o.id = f.id OR o.team_id IS NULL OR o.team_id = f.team_id)
JOIN messaging_system s ON s.id = e.system_id
JOIN messaging_failuregroup g ON g.id = m.group_id AND g.step IN ('', s.name)
JOIN messaging_failuregroup whole ON whole.id = coalesce(g.merged_into_id, g.id) AND whole.state = ANY(%b)
WHERE e.received_at > whole.state_at GROUP BY whole.id
"""
Again = tuple[
    UUID, int, int, datetime, datetime
]  # a failed event: its message, flow, system, when it was and when it came


def tell_again(failed: Sequence[Again], now: datetime) -> None:
    """Say of resolved groups that these events, which are stored, are failures of messages of theirs."""
    since = _resolved(now).aggregate(since=Min("state_at"))["since"]
    later = [one for one in failed if since and one[3] > since]
    if later:
        _tell(STORED, [list(column) for column in zip(*later, strict=True)], min(one[3] for one in later), now)


def tell_newest_again(now: datetime) -> None:
    """The same, of the newest failed events of ten minutes."""
    for environment_id in _resolved(now).order_by().values_list("environment_id", flat=True).distinct():
        _tell(NEWEST, [environment_id, now - LATELY, MOST_AGAIN], now, now)


def _resolved(now: datetime) -> QuerySet[FailureGroup]:
    return FailureGroup.objects.filter(state__in=states_before("fail"), state_at__gt=now - REMEMBERED)


@transaction.atomic
def _tell(events: str, asked: list[object], first: datetime, now: datetime) -> None:
    asked = [*asked, (first - A_DAY_OFF).date(), sorted(states_before("fail"))]
    tell_failed(run(AGAIN.format(events=events), asked).fetchall(), now)
