"""Telling: what is due by each policy is found in rows, so that a dead worker, or a dead Redis, loses nothing.

One teller at a time in an environment, and no observer meanwhile. It writes the notices to delivery's outbox and what was told in one
transaction: both are there, or neither.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import structlog
from django.db import transaction
from django.db.models import F, Q

from alerts.breaches.moves import lock_breaches, lock_environment, now_utc, write
from alerts.breaches.notices import notice_of, thread_of
from alerts.breaches.policies import policies_for, promised_to, route_breaches, route_of
from alerts.breaches.routing import KNOWS, Case, Owed, Route, Told, owed
from alerts.breaches.states import FIRED
from alerts.delivery.services import tell
from alerts.models import AlertPolicy, Breach, BreachEntry, Telling
from alerts.notices import Happening, Notice

log = structlog.get_logger(__name__)
MOST = 500  # of one policy in one look: the next one goes on


def send(notice: Notice, channels: Sequence[int]) -> int:
    """Hand a notice to delivery, in this transaction; return how many channels are told: those that are there, and on. The only place that does."""
    return tell(notice, channels) if channels else 0


@dataclass(slots=True)
class Due:
    """A telling with its breach, and what is owed. theirs: the policies that tell of it by now, None where this one does."""

    telling: Telling
    breach: Breach
    owed: Owed
    theirs: Sequence[int] | None


def tell_due(*, now: datetime | None = None) -> int:
    """Tell what is due by every policy; return how many notices were written. May run twice at once, and die anywhere."""
    at = now or now_utc()
    _hand_over(at)
    policies = Telling.objects.filter(due_at__lte=at).order_by().values_list("policy_id", flat=True).distinct()
    told = 0
    for pk in sorted(policies):
        try:
            with transaction.atomic():
                told += _tell_of(pk, now)
        except Exception:  # a policy whose notices cannot be written must not keep others from being told
            log.exception("policy_not_told", policy=pk)
    return told


def _tell_of(policy_id: int, now: datetime | None) -> int:
    policy = AlertPolicy.objects.select_related("environment", "team").filter(pk=policy_id).first()
    if policy is None:
        return 0
    lock_environment(policy.environment_id)
    route, at = route_of(policy), now or now_utc()
    soon = Telling.objects.filter(policy=policy, due_at__lte=at + route.wait).order_by("due_at", "pk")[:MOST]
    breaches = lock_breaches([one.breach_id for one in soon])
    flows = {pk: one.flow_ids for pk, one in breaches.items()}
    by_now = policies_for(policy.environment_id, flows, promised=promised_to(breaches)) if breaches else {}
    due: list[Due] = []
    for telling in Telling.objects.filter(pk__in=[one.pk for one in soon], due_at__isnull=False).order_by("pk"):
        breach = breaches[telling.breach_id]
        tell_now = by_now.get(breach.pk, [])
        theirs = None if policy.pk in tell_now else tell_now
        found = _owed(telling, breach, replace(route, ends_only=theirs is not None), at)
        if found is None or found.at > at + route.wait:
            Telling.objects.filter(pk=telling.pk).update(due_at=found.at if found else None)
        else:
            due.append(Due(telling, breach, found, theirs))
    return sum(_tell_together(policy, route, group, at) for group in _groups(due))


def _hand_over(now: datetime) -> None:
    """Let the policies that tell by now of what fires do so: its flows may have changed hands, or come back to whom told before."""
    firing = Breach.objects.filter(state__in=FIRED).order_by().values_list("environment_id", flat=True).distinct()
    for environment_id in sorted(firing):
        try:
            if any(_left_out(environment_id, now)):
                _hand_over_in(environment_id, now)
        except Exception:  # as when a lock is not to be had: the next look; nobody else waits for it
            log.exception("not_handed_over", environment=environment_id)


@transaction.atomic
def _hand_over_in(environment_id: int, now: datetime) -> None:
    lock_environment(environment_id)
    lock_breaches(list(_fired_in(environment_id)))
    never, idle = _left_out(environment_id, now)
    route_breaches(environment_id, never, now=now)
    Telling.objects.filter(pk__in=idle).update(due_at=now)


def _left_out(environment_id: int, now: datetime) -> tuple[list[int], list[int]]:
    """Return (what fires that a policy was never asked to tell of, tellings at rest of policies that owe something); a few queries."""
    fired = _fired_in(environment_id)
    by_now = policies_for(environment_id, fired, promised=promised_to(fired))
    tellings = Telling.objects.filter(breach__in=list(fired)).order_by("pk")
    asked = set(tellings.values_list("breach_id", "policy_id"))
    never = [pk for pk, policies in by_now.items() if not asked.issuperset((pk, one) for one in policies)]
    resting = tellings.filter(due_at=None).select_related("breach", "policy")
    mine = (one for one in resting if one.policy_id in by_now.get(one.breach_id, []))
    return never, [one.pk for one in mine if _owed(one, one.breach, route_of(one.policy), now)]


def _fired_in(environment_id: int) -> dict[int, list[int]]:
    return dict(Breach.objects.filter(environment=environment_id, state__in=FIRED).values_list("pk", "flow_ids"))


def _owed(telling: Telling, breach: Breach, route: Route, now: datetime) -> Owed | None:
    case = Case(
        state=breach.state, severity=breach.severity, fired_at=breach.fired_at or breach.opened_at, held=breach.held
    )  # fmt: skip
    told = Told(
        said=telling.said,
        began_at=telling.began_at,
        told_at=telling.told_at,
        step=telling.step,
        stepped_at=telling.stepped_at,
    )
    unheard = breach.state == "firing" and not telling.channels
    if unheard and route.channels_for(breach.severity):
        told = Told()  # there was no channel to tell it over, and now there is
    return owed(case, told, route, now)


def _groups(due: Iterable[Due]) -> list[list[Due]]:
    """Return what is told together: first notices of one flow and severity, and further ones of the thread in which they were told."""
    found: dict[tuple[object, ...], list[Due]] = defaultdict(list)
    for one in due:
        if one.owed.first:
            flows = one.breach.flow_ids
            found["first", one.breach.severity, flows[0] if len(flows) == 1 else f"B-{one.breach.pk}"].append(one)
        else:
            found[one.owed.happening, one.telling.thread, one.owed.channels].append(one)
    return list(found.values())


def _tell_together(policy: AlertPolicy, route: Route, group: list[Due], now: datetime) -> int:
    """Tell one group when one of it is due: the others join it. Return how many notices were written."""
    ready = [one for one in group if one.owed.at <= now]
    if not ready:
        for one in group:
            Telling.objects.filter(pk=one.telling.pk).update(due_at=one.owed.at)
        return 0
    first = ready[0].owed
    if first.happening in (Happening.RESOLVED, Happening.ACKNOWLEDGED):
        return _tell_end(policy, route, ready, now)
    joined = sorted(group, key=lambda one: one.breach.pk)
    channels = first.channels
    thread = thread_of(joined[0].breach) if first.first else joined[0].telling.thread
    told = _send(first.happening, thread, [one.breach for one in joined], channels, now)
    for one in joined:
        telling = one.telling
        telling.said, telling.thread, telling.told_at = "firing", thread, now
        if first.first:
            telling.began_at, telling.step, telling.channels = now, 0, []
        if first.happening is Happening.ESCALATED:
            telling.step, telling.stepped_at = telling.step + 1, now
        telling.channels = sorted({*telling.channels, *channels})
        _after(one, route, now)
    pks = [one.breach.pk for one in joined]
    Breach.objects.filter(pk__in=pks).update(silence_over=None)  # it was said
    kind = BreachEntry.Kind.ESCALATED if first.happening is Happening.ESCALATED else BreachEntry.Kind.TOLD
    write(
        pks,
        kind,
        _told_words(policy, channels, told, joined, again=first.happening is Happening.FIRING and not first.first),
        now=now,
    )
    return 1


def _told_words(policy: AlertPolicy, channels: Sequence[int], told: int, group: Sequence[Due], *, again: bool) -> str:
    many = f"{len(channels)} channel{'' if len(channels) == 1 else 's'}"
    who = f"{policy}, {many}" if channels else f"{policy}: no channel"
    if told < len(set(channels)):
        who = f"{policy}: {told} of {many}, the rest is off or gone"
    together = f", together with {', '.join(one.breach.reference for one in group[:5])}" if len(group) > 1 else ""
    return f"{who}{together}{', again' if again else ''}"


def _tell_end(policy: AlertPolicy, route: Route, group: list[Due], now: datetime) -> int:
    """Say that a thread is over, or that somebody has it, once the last breach in it is; tell nobody before."""
    happening, thread = group[0].owed.happening, group[0].telling.thread
    states = ("firing", "acknowledged") if happening is Happening.RESOLVED else ("firing",)
    mine = [one.telling.pk for one in group]
    others = Telling.objects.filter(policy=policy, thread=thread, said__in=states).exclude(pk__in=mine)
    left = list(
        Breach.objects.filter(tellings__in=others, state__in=states)
        .select_related("environment", "owner")
        .order_by("pk")
    )
    last = not left
    told = 0
    knew = Telling.objects.filter(policy=policy, thread=thread).values_list("channels", flat=True)
    channels = tuple(sorted({channel for channels in knew for channel in channels} - _told_by_others(group)))
    untaken = happening is Happening.RESOLVED and any(one.telling.said == "firing" for one in group)
    taken = not last and untaken and all(one.state == "acknowledged" for one in left)  # it waited for what is over now
    if last:
        told = _send(happening, thread, _of_round(group), channels, now)
    elif taken:
        _send(Happening.ACKNOWLEDGED, thread, left, channels, now)
        words = f"{policy}, now that the rest is over: somebody has it"
        write([one.pk for one in left], BreachEntry.Kind.TOLD, words, now=now)
    for one in group:
        one.telling.said, one.telling.told_at = happening.value, now
        _after(one, route, now)
    whole = thread.rpartition("/")[2]
    if happening is Happening.RESOLVED:
        end, later = "is over", f"when all of {whole} is over"
    else:
        end, later = "somebody has it", f"when somebody has all of {whole}"
    words = f"{_told_words(policy, channels, told, group, again=False)}: {end}" if last else f"{policy} is told {later}"
    write([one.breach.pk for one in group], BreachEntry.Kind.TOLD, words, now=now)
    return int(last or taken)


def _told_by_others(group: Sequence[Due]) -> set[int]:
    """Return the channels that hear of these in the same thread by policies that took over from this one, or heard of their end by any other."""
    left = [one for one in group if one.theirs is not None]
    knows = Q(policy__in={policy for one in left for policy in one.theirs or ()}, said__in=KNOWS)
    heard = Q(said="resolved", told_at__gte=F("breach__resolved_at"))
    others = Telling.objects.filter(
        knows | heard, breach__in=[one.breach.pk for one in left], thread=group[0].telling.thread
    )
    return {channel for channels in others.values_list("channels", flat=True) for channel in channels}


def _of_round(group: Sequence[Due]) -> list[Breach]:
    """Return all that was told together with these and stands as they do: its end is told under the name of its beginning."""
    first = group[0].telling
    began = [one.telling.began_at for one in group]
    same = Telling.objects.filter(policy=first.policy_id, thread=first.thread, began_at__in=began)
    rows = Breach.objects.filter(tellings__in=same, state=group[0].breach.state).select_related("environment", "owner")
    return list(rows.order_by("pk"))


def _send(happening: Happening, thread: str, breaches: Sequence[Breach], channels: Sequence[int], now: datetime) -> int:
    notice = notice_of(happening, breaches, now=now)
    return send(replace(notice, thread=thread), channels)


def _after(one: Due, route: Route, now: datetime) -> None:
    """Write what is known now, and when there is more to tell."""
    telling = one.telling
    next_owed = _owed(telling, one.breach, route, now)
    telling.due_at = next_owed.at if next_owed else None
    telling.save(update_fields=["said", "thread", "channels", "began_at", "told_at", "step", "stepped_at", "due_at"])
