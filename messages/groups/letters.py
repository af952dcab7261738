"""Dead letters as they are stored: which group each belongs to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from uuid import UUID

from messages.dead_letters.items import NewDeadLetter
from messages.groups.assign import (
    Home,
    Seen,
    count_in_hours,
    find_homes,
    group_messages,
    names_of_flows,
    rules_of,
    tell_failed,
)
from messages.groups.fingerprint import Failure
from messages.groups.nameless import counted_twice
from messages.ingest import clean
from messages.ingest.messages_sql import run

# Of a flow that the same people see: a group shows what its letters say, and a report of a letter's flow how its group is called.
OF_MESSAGES = """
SELECT v.id, g.id, coalesce(g.merged_into_id, g.id) FROM messaging_failuregroup g
JOIN messaging_message m ON m.group_id = g.id AND m.flow_id = g.flow_id
JOIN messaging_flow f ON f.id = g.flow_id
JOIN unnest(%b::uuid[], %b::uuid[], %b::int8[]) AS v (id, uid, flow_id) ON v.uid = m.id
JOIN messaging_flow o ON o.id = v.flow_id AND (o.id = f.id OR o.team_id IS NOT DISTINCT FROM f.team_id)
WHERE m.id = ANY(%b) ORDER BY g.id FOR KEY SHARE OF g
"""
# Their rows are locked by now, so that no sweep gives one a group, and counts it, at the same time.
COUNTED = """
SELECT m.group_id, m.failed_at FROM messaging_message m
WHERE m.id = ANY(%b) AND m.first_seen_on BETWEEN %b::date - 3 AND %b::date + 3 AND m.group_id IS NOT NULL
  AND NOT EXISTS (SELECT 1 FROM messaging_deadletter d WHERE d.message_uid = m.id AND d.id <> ALL(%b))
"""


def home_letters(
    environment_id: int, letters: Sequence[NewDeadLetter], flows: Mapping[UUID, int], now: datetime
) -> dict[UUID, Home]:
    """Return {letter id: its group}, inside of the caller's transaction and before the letters are written.

    A letter that says nothing of its error (SQS tells no reason) belongs to the group of its message, when an event told more.
    """
    if not letters:
        return {}
    rules = rules_of(environment_id)
    names = names_of_flows(flows.values()) if any(rule.flow for rule in rules) else {}
    told = _of_their_messages([letter for letter in letters if _is_silent(letter)], flows)
    others = [letter for letter in letters if letter.id not in told]
    seen = [
        Seen(failure=failure_of(one, flows[one.id], names.get(flows[one.id], "")), at=one.failed_at) for one in others
    ]
    homes = find_homes(environment_id, seen, rules, now, column="letters")
    return told | {letter.id: home for letter, home in zip(others, homes, strict=True)}


def failure_of(letter: NewDeadLetter, flow_id: int, flow: str) -> Failure:
    texts = letter.texts
    return Failure(
        flow_id=flow_id,
        flow=flow,
        step=clean.text(letter.item.system, 120),
        error_type=texts["error_root_type"],
        message=texts["error_message"] or texts["reason"],
        destination=texts["origin"] or texts["queue"],
        reason=letter.item.reason_code,
        queue=texts["queue"],
        broker=texts["broker"],
        keys=letter.keys,
    )


def _is_silent(letter: NewDeadLetter) -> bool:
    texts = letter.texts
    return letter.message_uid is not None and not (
        texts["error_type"] or texts["error_root_type"] or texts["error_message"]
    )


def _of_their_messages(letters: Iterable[NewDeadLetter], flows: Mapping[UUID, int]) -> dict[UUID, Home]:
    uids = {letter.id: letter.message_uid for letter in letters}
    if not uids:
        return {}
    asked = [list(uids), list(uids.values()), [flows[pk] for pk in uids], list(uids.values())]
    return {pk: Home(group, speaks_for) for pk, group, speaks_for in run(OF_MESSAGES, asked).fetchall()}


def count_letters(
    letters: Sequence[NewDeadLetter],
    flows: Mapping[UUID, int],
    homes: Mapping[UUID, Home],
    first_seen: Mapping[UUID, datetime],
    now: datetime,
) -> None:
    """Count letters that were written, tell resolved groups that they failed again, and give their messages the same group."""
    told = _counted_without_one(letters, first_seen)
    group_messages(
        {letter.message_uid: homes[letter.id].group_id for letter in letters if letter.message_uid}, first_seen
    )
    nameless = [letter for letter in letters if letter.message_uid is None]
    failures = ((flows[letter.id], letter.keys, letter.failed_at) for letter in nameless)
    no_more, again = counted_twice(failures, {letter.id for letter in nameless}, are_letters=True)
    tell_failed(((homes[letter.id].speaks_for, letter.failed_at) for letter in letters), now)
    count_in_hours(
        letters=((homes[letter.id].group_id, letter.failed_at) for letter in letters),
        messages=again,
        told=[*told, *no_more],
    )


def _counted_without_one(
    letters: Sequence[NewDeadLetter], first_seen: Mapping[UUID, datetime]
) -> list[tuple[int, datetime]]:
    """Return (group, when) of the messages of these letters, their first, that failed before and were counted by themselves."""
    if not first_seen:
        return []
    days = [at.date() for at in first_seen.values()]
    found = [list(first_seen), min(days), max(days), [letter.id for letter in letters]]
    return list(run(COUNTED, found).fetchall())
