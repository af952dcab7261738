"""What people do to failure groups: take them, resolve them, hand them over, write notes, merge and take apart. Each is audited.

Who changes a group's state or what it consists of holds its rows, and those of what is merged into it, FOR UPDATE in order of id: a
failure that is being stored refers to its group and is wholly before or wholly after.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import Any

from django.db import transaction
from django.db.models import F, Q

from console.audit.services import record_audit
from console.core.errors import Conflict, Invalid, NotFound
from console.core.ids import uuid7_floor
from console.identity.actor import Actor
from messages.access import check_can_operate
from messages.catalog.runbooks import check_runbook
from messages.groups.access import possible_owners
from messages.groups.assign import move
from messages.groups.refresh import count_at_once
from messages.groups.states import BY_PEOPLE, joined_state, next_state, states_before
from messages.groups.tried import LATE
from messages.ingest.messages_sql import run
from messages.models import DeadLetter, FailureGroup, GroupNote, Message

LONGEST_NOTE = 4_000
MOST_MERGED = 50  # at once
MOST_PARTS = 100  # that one group speaks for: its figures are read from each of them
MOST_LOOKED = 100  # newest letters, and as many messages, of a group among which the last failure is looked for
TO_READ_ANEW: dict[str, Any] = {
    "figures_at": None,
    "figures_no": F("figures_no") + 1,
    "spread": "",
    "spread_words": "",
}  # figures that are being read are of before
DONE = {"acknowledge": "group.acknowledged", "resolve": "group.resolved", "reopen": "group.reopened"}


class GroupState(Conflict):
    """The failure group is not in a state in which this can be done: look at it again."""

    code = "group_state"


def change_state(group: FailureGroup, happening: str, *, by: Actor, reason: str = "") -> FailureGroup:
    """Acknowledge, resolve or reopen a group; resolving and reopening need a reason. Who acknowledges a group that nobody owns, owns it.

    Raises Forbidden, Invalid, GroupState.
    """
    check_can_operate(by, group.flow)
    if happening not in BY_PEOPLE:
        raise Invalid(f"a failure group can be told to {', '.join(BY_PEOPLE)}")
    reason = clean(reason) if happening == "acknowledge" else check_reason(reason)
    with transaction.atomic():
        now = lock_whole(group)
        after = next_state(now.state, happening)
        if after is None:
            raise GroupState(f"{now.reference} is {now.state}: somebody was faster, or it cannot {happening}")
        values: dict[str, Any] = {"state": after, "state_at": datetime.now(UTC)}
        if happening == "acknowledge" and now.owner_id is None and by.user_id is not None:
            values["owner_id"] = by.user_id
        FailureGroup.objects.filter(pk=now.pk).update(**values)
        audit(by, DONE[happening], now, reason=reason, details={"was": now.state})
    return fresh(group)


def assign_group(group: FailureGroup, owner: str, *, by: Actor, reason: str = "") -> FailureGroup:
    """Make an operator of its flow the group's owner, or nobody with an empty name. Raises Forbidden, NotFound."""
    check_can_operate(by, group.flow)
    name = owner.replace("\x00", "").strip()[:150]
    found = possible_owners(group.flow).filter(username=name).first() if name else None
    if name and found is None:
        raise NotFound(f"no operator of {group.flow} is called {name}")
    with transaction.atomic():
        FailureGroup.objects.filter(pk=group.pk).update(owner=found)
        audit(by, "group.assigned", group, reason=clean(reason), details={"owner": name or "nobody"})
    return fresh(group)


def set_runbook(group: FailureGroup, url: str, *, by: Actor) -> FailureGroup:
    """Give the group a runbook of its own; an empty address leaves that of its rule or flow. Raises Forbidden, Invalid."""
    check_can_operate(by, group.flow)
    url = check_runbook(url)
    with transaction.atomic():
        FailureGroup.objects.filter(pk=group.pk).update(runbook_url=url)
        audit(by, "group.runbook_set", group, details={"runbook": url or "none"})
    return fresh(group)


def add_note(group: FailureGroup, text: str, *, by: Actor) -> GroupNote:
    """Write a note that stays. Raises Forbidden, Invalid."""
    check_can_operate(by, group.flow)
    text = text.replace("\x00", "").strip()
    if not text or len(text) > LONGEST_NOTE:
        raise Invalid(f"a note has 1 to {LONGEST_NOTE:,} characters")
    with transaction.atomic():
        note = GroupNote.objects.create(group=group, author=by.name, text=text)
        audit(by, "group.noted", group, details={"note": note.pk})
    return note


def merge_groups(target: FailureGroup, sources: Sequence[FailureGroup], *, by: Actor, reason: str) -> FailureGroup:
    """Let one group speak for others of the same flow: what they have, and what comes with their fingerprints. Nothing moves.

    The whole takes the most pressing state. It speaks for at most 100. Raises Forbidden, Invalid, GroupState when one was merged meanwhile.
    """
    reason = check_reason(reason)
    check_can_operate(by, target.flow)
    if not sources or len(sources) > MOST_MERGED:
        raise Invalid(f"name 1 to {MOST_MERGED} groups to merge into {target.reference}")
    for one in sources:
        check_can_operate(by, one.flow)
        if one.pk == target.pk:
            raise Invalid(f"{one.reference} cannot be merged into itself")
        if one.flow_id != target.flow_id:
            raise Invalid(
                f"{one.reference} is of another flow: a group is seen by those who see its flow, so it has only one"
            )
    with transaction.atomic():
        locked = _lock([target.pk, *(one.pk for one in sources)])
        now = locked[target.pk]
        joined = [locked[pk] for pk in sorted({one.pk for one in sources})]
        if any(one.merged_into_id is not None for one in (now, *joined)):
            raise GroupState("one of these groups was merged meanwhile: look at them again")
        pks = [one.pk for one in joined]
        _check_room(now, pks)
        state = joined_state([now.state, *(one.state for one in joined)])
        FailureGroup.objects.filter(Q(pk__in=pks) | Q(merged_into__in=pks)).update(merged_into=now.pk, blast=0)
        changed = {"state": state, "state_at": datetime.now(UTC)} if state != now.state else {}
        FailureGroup.objects.filter(pk=now.pk).update(**TO_READ_ANEW, **changed)
        audit(by, "group.merged", now, reason=reason, details={"with": ", ".join(one.reference for one in joined)})
        for one in joined:
            audit(by, "group.merged", one, reason=reason, details={"into": now.reference})
    count_at_once([target.pk])
    return fresh(target)


def _check_room(group: FailureGroup, joined: Sequence[int]) -> None:
    """Raise Invalid for a whole that is too large. Counted under the lock: what another merge brought while we waited is in it."""
    parts = FailureGroup.objects.filter(Q(pk__in=joined) | Q(merged_into__in=[group.pk, *joined])).count()
    if parts > MOST_PARTS:
        raise Invalid(
            f"{group.reference} would speak for {parts} groups, and {MOST_PARTS} are the most: "
            "make a grouping rule that tells them alike, and apply it to what waits"
        )


def take_apart(group: FailureGroup, *, by: Actor, reason: str) -> FailureGroup:
    """Let a merged group speak for itself again, in the state that it had, regressed when it was resolved and failed meanwhile.

    Raises Forbidden, Invalid, GroupState.
    """
    check_can_operate(by, group.flow)
    reason = check_reason(reason)
    with transaction.atomic():
        locked = _lock([group.pk, *([group.merged_into_id] if group.merged_into_id else [])])
        now = locked[group.pk]
        if now.merged_into_id is None:
            raise GroupState(f"{now.reference} is not merged into another group")
        target = locked.get(now.merged_into_id)
        if target is None:
            raise GroupState(f"{now.reference} was merged into another group meanwhile: look at it again")
        rest = [pk for pk, one in locked.items() if target.pk in (pk, one.merged_into_id) and pk != now.pk]
        (_, last), (rest_first, rest_last) = _first_and_last_failure([now.pk]), _first_and_last_failure(rest)
        FailureGroup.objects.filter(pk=now.pk).update(
            merged_into=None, last_seen_at=max(now.last_seen_at, last or now.last_seen_at), **TO_READ_ANEW
        )
        without: dict[str, Any] = {}
        if rest_first and now.first_seen_at <= target.first_seen_at < rest_first:
            without["first_seen_at"] = rest_first
        if rest_last and last and rest_last < target.last_seen_at:  # retries of what stands are read anew
            without["last_seen_at"] = rest_last
        FailureGroup.objects.filter(pk=target.pk).update(**TO_READ_ANEW, **without)
        audit(by, "group.taken_apart", now, reason=reason, details={"was in": target.reference})
        audit(by, "group.taken_apart", target, reason=reason, details={"without": now.reference})
        if now.state in states_before("fail") and _failed_since(now):
            move(now.pk, now.state, "fail", "group.regressed", datetime.now(UTC))
    count_at_once([now.pk, target.pk])
    return fresh(group)


# The hours are of all, the times of the newest letters and messages: the last failure is among these, or it is known to the hour.
FIRST_AND_LAST = """
SELECT min(first.hour), max(greatest(last.hour, letters.at, messages.at)) FROM unnest(%b::int8[]) AS g (id)
CROSS JOIN LATERAL (SELECT hour FROM messaging_grouphour WHERE group_id = g.id AND letters + messages > 0 ORDER BY hour LIMIT 1) first
CROSS JOIN LATERAL (SELECT hour FROM messaging_grouphour WHERE group_id = g.id AND letters + messages > 0 ORDER BY hour DESC LIMIT 1) last
CROSS JOIN LATERAL (
    SELECT max(failed_at) AS at FROM (
        SELECT failed_at FROM messaging_deadletter WHERE group_id = g.id ORDER BY id DESC LIMIT %b
    ) d
) letters
CROSS JOIN LATERAL (
    SELECT max(failed_at) AS at FROM (
        SELECT failed_at FROM messaging_message WHERE group_id = g.id AND first_seen_on >= (last.hour - %b)::date
          AND first_seen_at >= last.hour - %b ORDER BY first_seen_at DESC, id DESC LIMIT %b
    ) m
) messages
"""


def _first_and_last_failure(pks: Sequence[int]) -> tuple[datetime | None, datetime | None]:
    """Return (the first hour in which, when last) these groups' own failures were: what a whole says is of all that it speaks for."""
    (found,) = run(FIRST_AND_LAST, [list(pks), MOST_LOOKED, LATE, LATE, MOST_LOOKED]).fetchall()
    return found


def _failed_since(group: FailureGroup) -> bool:
    """Whether a letter died and came, or a message failed, since the group is in its state: another group was told of it."""
    since = group.state_at
    messages = Message.objects.filter(
        group=group, failed_at__gt=since, first_seen_at__gt=since - LATE, first_seen_on__gte=(since - LATE).date()
    )
    letters = DeadLetter.objects.filter(group=group, pk__gte=uuid7_floor(since), failed_at__gt=since)
    return letters.exists() or messages.exists()


def lock_whole(group: FailureGroup) -> FailureGroup:
    """Lock a group with all that is merged into it, inside the caller's transaction; raises GroupState for one that is itself merged."""
    now = _lock([group.pk])[group.pk]
    if now.merged_into_id is not None:
        raise GroupState(f"{now.reference} was merged into another group, which speaks for it")
    return now


def _lock(pks: Collection[int]) -> dict[int, FailureGroup]:
    """Return these groups, locked with those that are merged into them. FOR UPDATE: it waits for failures that are being stored."""
    rows = FailureGroup.objects.select_for_update(of=("self",)).select_related("flow", "environment")
    found = {row.pk: row for row in rows.filter(Q(pk__in=pks) | Q(merged_into__in=pks)).order_by("pk")}
    if missing := set(pks) - set(found):
        raise NotFound(f"there is no failure group {min(missing)}")
    return found


def fresh(group: FailureGroup) -> FailureGroup:
    return FailureGroup.objects.select_related("flow__team", "environment", "owner").get(pk=group.pk)


def clean(reason: str) -> str:
    return reason.replace("\x00", "").strip()[:1000]


def check_reason(reason: str) -> str:
    """Return the reason, trimmed to 1,000 characters; raises Invalid without one."""
    if not (found := clean(reason)):
        raise Invalid("say why: the reason is kept in the audit list")
    return found


def audit(
    by: Actor, action: str, group: FailureGroup, *, reason: str = "", details: dict[str, Any] | None = None
) -> None:
    record_audit(
        by,
        action,
        group,
        environment=group.environment,
        team_id=group.flow.team_id,
        reason=reason,
        details=details,
    )
