"""What a flow says about replays of its messages, where a single dead letter is concerned; freeze.py asks the same of a whole selection."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from django.conf import settings
from django.db import connection

from console.identity.actor import Actor
from messages.models import DeadLetter, Flow
from messages.replay.lately import sent_lately

# A death that follows a replay knows the one before it; what was taken back before it left was no replay.
COUNT = """
WITH RECURSIVE deaths (id, previous_id, depth) AS (
    SELECT id, previous_id, 1 FROM messaging_deadletter WHERE id = %s
    UNION ALL SELECT o.id, o.previous_id, n.depth + 1 FROM deaths n JOIN messaging_deadletter o ON o.id = n.previous_id WHERE n.depth < 1000)
SELECT count(*) FROM deaths JOIN messaging_replay r ON r.dead_letter_id = deaths.id AND r.state <> 'withdrawn'
"""


def replays_of_message(letter: DeadLetter) -> int:
    """Return how often the message was replayed, all its deaths together."""
    with connection.cursor() as cursor:
        cursor.execute(COUNT, [letter.pk])
        return int(cursor.fetchone()[0])


def why_flow_forbids(letter: DeadLetter, by: Actor) -> str:
    """Return why the flow does not have this person replay this letter, in words; "" when it does."""
    flow = letter.flow
    if not flow.replay_allowed:
        return f"the flow {flow.name} forbids replays: an administrator of it allows them on its page"
    if flow.approve_above == 0 or settings.APPROVE_ABOVE == 0:
        return f"a second person must approve every replay in {flow.name}: make a plan of it"
    count = replays_of_message(letter)
    if count >= flow.most_replays:
        return (
            f"its message was replayed {count} times already, and {flow.name} allows {flow.most_replays}: "
            "find out why it fails again, or have an administrator allow more on the flow's page"
        )
    return why_not_one_more(flow, by)


def is_counted(flow: Flow) -> bool:
    """Whether somebody asks for a second person above some number in this flow."""
    return flow.approve_above is not None or settings.APPROVE_ABOVE is not None


def why_not_one_more(flow: Flow, by: Actor) -> str:
    """Return why this person sends no more by hand in this flow just now, in words; "" when they may."""
    if not is_counted(flow):
        return ""
    sent, most = sent_lately(by.name), settings.APPROVE_ABOVE
    if flow.approve_above is not None and sent.by_flow[flow.pk] >= flow.approve_above:
        return (
            f"you sent {sent.by_flow[flow.pk]:,} in {flow.name} within the last hour, and {_beyond(flow.approve_above)}"
        )
    if most is not None and sent.total >= most:
        return f"you sent {sent.total:,} within the last hour, and {_beyond(most)}"
    return ""


def _beyond(most: int) -> str:
    return f"above {most:,} a second person must approve: make a plan of it"


def why_not_together(letters: Sequence[DeadLetter], by: Actor) -> dict[int, str]:
    """Return {flow: why so many of its letters are not replayed at once without a second person}: what a plan of them would need.

    What the person sent within the last hour counts too.
    """
    flows = {letter.flow_id: letter.flow for letter in letters}
    if not any(is_counted(flow) for flow in flows.values()):
        return {}
    sent, counts = sent_lately(by.name), Counter(letter.flow_id for letter in letters)
    too_many = settings.APPROVE_ABOVE is not None and counts.total() + sent.total > settings.APPROVE_ABOVE
    return {
        pk: f"a second person must approve so many at once in {flow.name}{_already(sent.by_flow[pk])}: make a plan of them"
        for pk, flow in flows.items()
        if too_many or (flow.approve_above is not None and counts[pk] + sent.by_flow[pk] > flow.approve_above)
    }


def _already(sent: int) -> str:
    return f", where you sent {sent:,} within the last hour" if sent else ""
