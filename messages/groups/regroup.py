"""Letters that change their group: taken out by a person, or placed anew by the rules. Their failures are counted where they are."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from uuid import UUID, uuid4

from django.db import transaction
from django.db.models import Q

from console.core.errors import Invalid
from console.core.ids import derived_uuid
from console.identity.actor import Actor
from console.identity.models import Environment
from messages.access import check_can_operate, operated_flows
from messages.groups.access import check_can_group
from messages.groups.assign import count_in_hours, group_messages
from messages.groups.fingerprint import VERSION, Parts, fingerprint_of, in_common, normal
from messages.groups.refresh import count_at_once
from messages.groups.rules import EXACT, USUAL, is_part
from messages.groups.services import TO_READ_ANEW, audit, check_reason, fresh, lock_whole
from messages.groups.sweep import home_rows
from messages.models import DeadLetter, FailureGroup, GroupRule

MOST_TAKEN = 500
MOST_PLACED = 50_000
MOST_COUNTED = 100  # groups that a split made, at once
CHUNK = 500
BUDGET_S = 20.0


def take_out(group: FailureGroup, ids: Collection[UUID], name: str, *, by: Actor, reason: str) -> FailureGroup:
    """Put letters of a group into a new one of their own, which no rule touches; what comes later is placed as before.

    Merging the new group back is the way to undo it. Raises Forbidden, Invalid, GroupState.
    """
    check_can_operate(by, group.flow)
    reason, name = check_reason(reason), check_name(name)
    with transaction.atomic():
        whole, made = _take_out(group, set(ids), name, by, reason)
    count_at_once([whole.pk, made.pk])
    return fresh(made)


def _take_out(
    group: FailureGroup, wanted: set[UUID], name: str, by: Actor, reason: str
) -> tuple[FailureGroup, FailureGroup]:
    """Return (the group, the new one)."""
    whole = lock_whole(group)
    if not 1 <= len(wanted) <= MOST_TAKEN:
        raise Invalid(f"tick 1 to {MOST_TAKEN} letters of {whole.reference} to take out")
    letters = _locked(Q(pk__in=wanted), Q(group=whole) | Q(group__merged_into=whole))
    if others := wanted - {one.pk for one in letters}:
        are = "is" if len(others) == 1 else "are"
        which = f"{len(others)} of {len(wanted)} letters {are} not in {whole.reference}, such as {min(others)}"
        raise Invalid(f"nothing was taken out: {which}")
    now = datetime.now(UTC)
    made = FailureGroup.objects.create(
        environment=whole.environment,
        flow=whole.flow,
        version=VERSION,
        fingerprint=derived_uuid("failure group by hand", uuid4()),
        by_hand=True,
        name=name,
        step=whole.step,
        error_type=whole.error_type,
        message=whole.message,
        destination=whole.destination,
        title=in_common([one.error_message or one.reason for one in letters[:50]]),
        failure_class=whole.failure_class,
        state="open",
        state_at=now,
        owner_id=whole.owner_id,
        first_seen_at=min(one.failed_at for one in letters),
        last_seen_at=max(one.failed_at for one in letters),
        letters=len(letters),
        oldest_at=min(one.failed_at for one in letters),
    )
    _move(letters, dict.fromkeys((one.pk for one in letters), made.pk))
    FailureGroup.objects.filter(pk=whole.pk).update(**TO_READ_ANEW)
    audit(by, "group.split", whole, reason=reason, details={"letters": len(letters), "into": made.reference})
    audit(by, "group.split", made, reason=reason, details={"letters": len(letters), "from": whole.reference})
    return whole, made


def split_by(group: FailureGroup, part: str, *, by: Actor, reason: str) -> GroupRule:
    """Tell a group's failures apart by one more part: a rule of the first place for exactly these, applied to what waits.

    part  of messages.groups.rules: queue, broker, reason, or key.<name>.   Raises Forbidden, Invalid, Conflict.
    """
    from messages.groups.ruling import NewGroupRule, add_rule, move_rule

    check_can_operate(by, group.flow)
    reason = check_reason(reason)
    if not is_part(part) or part in USUAL:
        raise Invalid("a group is split by queue, broker, reason or key.<name>")
    if group.by_hand:
        raise Invalid(f"{group.reference} was taken out by hand, and rules leave it alone: tick letters to take out")
    if not _is_usual(group):
        # its row does not say which failures it is for: a rule made from it would take other causes of the flow, too
        raise Invalid(f"{group.reference} comes of a grouping rule: add {part} to what that rule groups by instead")
    if merged := list(FailureGroup.objects.filter(merged_into=group).order_by("pk")[:3]):
        names = ", ".join(one.reference for one in merged)
        raise Invalid(
            f"{names} {'is' if len(merged) == 1 else 'are'} merged into {group.reference}: take apart first, then split each"
        )
    said = NewGroupRule(
        name=f"{group.reference} by {part}"[:120],
        flow=_exactly(group.flow.name),
        step=_exactly(group.step),
        error_type=_exactly(group.error_type),
        destination=_exactly(group.destination),
        words=f"{EXACT}{group.message}",
        parts=(*USUAL, part),
        failure_class=group.failure_class,
    )
    with transaction.atomic():
        rule = add_rule(group.environment, said, by=by)
        move_rule(rule, to=1, by=by, reason=reason)
        audit(by, "group.split", group, reason=reason, details={"by": part, "rule": rule.name})
    place_waiting(group.environment, by=by, reason=reason, only=group)
    made = FailureGroup.objects.filter(rule=rule).order_by("pk").values_list("pk", flat=True)
    count_at_once([group.pk, *made[:MOST_COUNTED]])
    return rule


def _is_usual(group: FailureGroup) -> bool:
    """Whether a group's failures belong together by the usual four parts, so that its row says all of them."""
    parts = Parts(step=group.step, error_type=group.error_type, message=group.message, destination=group.destination)
    return group.fingerprint == fingerprint_of(group.environment_id, group.flow_id, parts)


def _exactly(text: str) -> str:
    return text.replace("*", "?") or EXACT


def place_waiting(
    environment: Environment, *, by: Actor, reason: str, only: FailureGroup | None = None
) -> tuple[int, bool]:
    """Place the letters that wait anew by the rules, of flows that the actor operates, newest first, in transactions of 500.

    Returns (how many changed their group, whether more wait than it had time for: 20 s or 50,000 letters). Raises Forbidden, Invalid.
    """
    check_can_group(by, environment)
    reason = check_reason(reason)
    flows = list(operated_flows(by, environment).values_list("pk", flat=True))
    until, before, moved, seen = time.monotonic() + BUDGET_S, UUID(int=2**128 - 1), 0, 0
    while True:
        rows = DeadLetter.objects.filter(
            environment=environment, closed_at=None, flow_id__in=flows, group__by_hand=False, pk__lt=before
        )
        if only is not None:
            rows = rows.filter(Q(group=only) | Q(group__merged_into=only))
        ids = list(rows.order_by("-pk").values_list("pk", flat=True)[:CHUNK])
        moved += _place(ids)
        seen += len(ids)
        if len(ids) < CHUNK:
            more = False
            break
        before, more = ids[-1], True
        if time.monotonic() > until or seen >= MOST_PLACED:
            break
    if only is None:
        _audit_placed(environment, by, reason, moved)
    return moved, more


def _audit_placed(environment: Environment, by: Actor, reason: str, moved: int) -> None:
    from console.audit.services import record_audit

    details = {"letters": moved}
    record_audit(
        by,
        "group_rules.applied",
        environment,
        environment=environment,
        reason=reason,
        details=details,
        label="what waits",
    )


@transaction.atomic
def _place(ids: Collection[UUID]) -> int:
    letters = told_by_themselves(_locked(Q(pk__in=ids), Q(closed_at=None)))
    homes = home_rows(letters, datetime.now(UTC))
    going = [one for one in letters if homes[one.pk].group_id != one.group_id]
    touched = {one.group_id or 0 for one in going} | {homes[one.pk].group_id for one in going}
    _move(going, {one.pk: homes[one.pk].group_id for one in going})
    FailureGroup.objects.filter(pk__in=touched).update(**TO_READ_ANEW)
    return len(going)


def told_by_themselves(letters: Sequence[DeadLetter]) -> list[DeadLetter]:
    """Leave out letters that say nothing of their error and are in the group of their message, of which an event told more."""
    silent = [one for one in letters if one.message_uid and not (one.error_root_type or one.error_message)]
    groups = FailureGroup.objects.in_bulk({one.group_id for one in silent if one.group_id})
    told = {
        one.pk
        for one in silent
        if (group := groups.get(one.group_id or 0))
        and (group.rule_id is None or _is_usual(group))
        and _says_more(group, one)
    }
    return [one for one in letters if one.pk not in told]


def _says_more(group: FailureGroup, letter: DeadLetter) -> bool:
    return bool(group.error_type) or (bool(group.message) and group.message != normal(letter.reason))


def _locked(*conditions: Q) -> list[DeadLetter]:
    """Return letters, locked in the order in which every writer of several locks them."""
    rows = DeadLetter.objects.select_for_update(of=("self",), no_key=True).select_related("flow", "system")
    return list(rows.filter(*conditions).order_by("identity"))


def _move(letters: Collection[DeadLetter], groups: Mapping[UUID, int]) -> None:
    by_group: dict[int, list[UUID]] = {}
    for pk, group_id in groups.items():
        by_group.setdefault(group_id, []).append(pk)
    for group_id, pks in sorted(by_group.items()):
        DeadLetter.objects.filter(pk__in=pks).update(group_id=group_id)
    uids = {one.message_uid: one for one in letters if one.message_uid}
    group_messages(
        {uid: groups[one.pk] for uid, one in uids.items()},
        {uid: one.first_failed_at or one.failed_at for uid, one in uids.items()},
    )
    count_in_hours(
        letters=((groups[one.pk], one.failed_at) for one in letters),
        gone=((one.group_id, one.failed_at) for one in letters if one.group_id),
    )


def check_name(name: str) -> str:
    """Return a group's name, 1 to 200 characters; raises Invalid."""
    name = " ".join(name.replace("\x00", "").split())
    if not name or len(name) > 200:
        raise Invalid("give the new group a name of 1 to 200 characters")
    return name
