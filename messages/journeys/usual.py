"""Where a journey that stopped would have gone: the systems after this one on the way of the last message that was delivered."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from django.db.models import Min
from django.db.models.expressions import RawSQL
from django.utils import timezone

from console.identity.actor import Actor
from messages.access import visible_events
from messages.journeys.stitch import Journey
from messages.models import DeadLetter, MessageStatus

BACK = timedelta(days=1)
SETTLED = timedelta(seconds=30)  # what was sent on by then has arrived, as a rule

# No index leads from a flow to its messages, so the newest of the environment are walked, and no more than 5,000 of them: a flow
# that is rarer than that shows no further stations. Rollups would be cheaper and not true: they know which systems send where, not
# which of it follows from what. Receivers that start a trace of their own are found by their links to the sender's.
TRACES_OF_THE_LAST_DELIVERED = """(
WITH RECURSIVE newest AS (
    SELECT flow_id, status, trace_id, first_seen_at FROM messaging_message
    WHERE environment_id = %s AND first_seen_at BETWEEN %s AND %s AND first_seen_on >= %s
    ORDER BY first_seen_at DESC, id DESC LIMIT 5000
), way (trace_id, depth) AS (
    (SELECT trace_id, 0 FROM newest WHERE flow_id = %s AND status = %s AND trace_id IS NOT NULL
     ORDER BY first_seen_at DESC LIMIT 1)
    UNION
    SELECT l.trace_id, way.depth + 1 FROM way JOIN messaging_trace_link l ON l.linked_trace_id = way.trace_id
    WHERE way.depth < 5 AND l.occurred_at >= %s
) SELECT trace_id FROM way LIMIT 50)"""


def with_unreached(actor: Actor, journey: Journey) -> Journey:
    """Name the stations that a journey which stopped has not reached; one query, none for one that arrived."""
    if (stop := _stop(journey)) is not None:
        journey.unreached = _after(usual_way(actor, *stop), [station.system for station in journey.stations])
    return journey


def usual_way(actor: Actor, environment_id: int, flow_id: int) -> list[str]:
    """Return the systems, in order, that the last delivered message of this flow passed, of the flows that the actor may see."""
    now = timezone.now()
    since = now - BACK
    traces = RawSQL(  # noqa: S611  constants and parameters
        TRACES_OF_THE_LAST_DELIVERED,
        [environment_id, since, now - SETTLED, since.date(), flow_id, MessageStatus.DELIVERED, since],
    )
    events = visible_events(actor).filter(
        environment_id=environment_id, occurred_at__range=(since, now), trace_id__in=traces
    )
    first = events.exclude(system__name="waybill").values_list("system__name").annotate(first=Min("occurred_at"))
    return [name for name, _ in first.order_by("first", "system__name")[:50]]


def _stop(journey: Journey) -> tuple[int, int] | None:
    """Return (environment id, flow id) of where it stopped: a letter that nothing brought back, or a failure at the end."""
    if not journey.stations:
        return None
    for letter in reversed([one for one, number in journey.letters if number is None]):
        if letter.state != DeadLetter.State.CLOSED or letter.resolution in (
            DeadLetter.Resolution.DISCARDED,
            DeadLetter.Resolution.GONE,
        ):
            return letter.environment_id, letter.flow_id
    last = journey.stations[-1]
    if last.state != "failed":
        return None
    there = [step for step in journey.steps if step.system == last.system]
    step = next((step for step in reversed(there) if step.outcome == "error"), there[-1] if there else None)
    return (step.event.environment_id, step.event.flow_id) if step else None


def _after(usual: Sequence[str], reached: Sequence[str]) -> list[str]:
    """Return what comes on the usual way after the last station reached; nothing when the ways have none in common."""
    passed = [index for index, name in enumerate(usual) if name in reached]
    return [name for name in usual[passed[-1] + 1 :] if name not in reached] if passed else []
