"""Who is told: policies of teams and of environments, which of them a breach goes to, and which failure groups make a breach."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from django.db import IntegrityError, transaction

from alerts.breaches.access import OBJECTIVE, check_can_change_policy
from alerts.breaches.channels import check_channels
from alerts.breaches.moves import lock_breaches, lock_environment, look_at_tellings, now_utc
from alerts.breaches.routing import Route, Step
from alerts.breaches.states import FIRED
from alerts.models import AlertPolicy, Breach, GroupWatch, Objective, Telling
from console.audit.services import record_audit
from console.core.calendars import working_time
from console.core.errors import Conflict, Invalid, NotFound
from console.identity.access import check_can_administer
from console.identity.actor import Actor
from console.identity.models import Environment, Team
from messages.groups.classes import CLASSES
from messages.queries import teams_of_flows

MOST_CHANNELS = 20
MOST_STEPS = 10
DAY_MINUTES = 24 * 60


class PolicyExists(Conflict):
    """This team, or the environment, has its alert policy already: change that one."""

    code = "alert_policy_exists"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewStep:
    after_minutes: int
    channels: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPolicy:
    """Channels are ids. days: ISO weekdays on which tickets are told, between two minutes of the day; none: always.

    wait_s  for more of the same flow.   repeat_minutes  while it fires, 0: never.   quiet_minutes  for a breach that comes and goes.
    """

    page_channels: tuple[int, ...] = ()
    ticket_channels: tuple[int, ...] = ()
    steps: tuple[NewStep, ...] = ()
    days: tuple[int, ...] = ()
    from_minute: int = 8 * 60
    until_minute: int = 18 * 60
    time_zone: str = "UTC"
    wait_s: int = 30
    repeat_minutes: int = 240
    quiet_minutes: int = 30


def check_policy(said: NewPolicy) -> None:
    """Raise Invalid for a policy that could not be followed."""
    for channels in (said.page_channels, said.ticket_channels, *(one.channels for one in said.steps)):
        if len(channels) > MOST_CHANNELS:
            raise Invalid(f"a policy tells at most {MOST_CHANNELS} channels at a time")
        if any(not 0 < one < 10**18 for one in channels):
            raise Invalid("a channel is named by its number")
    if len(said.steps) > MOST_STEPS:
        raise Invalid(f"a policy escalates in at most {MOST_STEPS} steps")
    minutes = [one.after_minutes for one in said.steps]
    if minutes != sorted(set(minutes)) or any(not 1 <= one <= 7 * DAY_MINUTES for one in minutes):
        raise Invalid("steps follow each other, each after more minutes than the one before, at most a week")
    if any(not one.channels for one in said.steps):
        raise Invalid("a step names at least one channel")
    for name, value, most in (
        ("wait_s", said.wait_s, 600),
        ("repeat_minutes", said.repeat_minutes, 7 * DAY_MINUTES),
        ("quiet_minutes", said.quiet_minutes, DAY_MINUTES),
    ):
        if not 0 <= value <= most:
            raise Invalid(f"{name} is 0 to {most}")
    if 0 < said.repeat_minutes < 5:
        raise Invalid("repeat_minutes is 0, or 5 and more")
    working_time(said.days or (1,), said.from_minute, said.until_minute, said.time_zone)


def _every_channel(said: NewPolicy) -> set[int]:
    return {*said.page_channels, *said.ticket_channels, *(channel for one in said.steps for channel in one.channels)}


def add_policy(environment: Environment, team: Team | None, said: NewPolicy, *, by: Actor) -> AlertPolicy:
    """Say who is told of a team's flows, or of everything else. What fires already is told, too. Raises Forbidden, Invalid, PolicyExists."""
    check_can_change_policy(by, environment, team)
    check_policy(said)
    check_channels(by, environment, _every_channel(said))
    with transaction.atomic():
        lock_environment(environment.pk)
        try:
            with transaction.atomic():
                row = AlertPolicy.objects.create(environment=environment, team=team, **_columns(said))
        except IntegrityError as error:
            raise PolicyExists("it has its policy already: change that one") from error
        _audit(by, "alert_policy.created", row, said)
        _route_again(environment.pk, _lock_fired(environment.pk))
    return row


def change_policy(row: AlertPolicy, said: NewPolicy, *, by: Actor, reason: str = "") -> AlertPolicy:
    """Say anew who is told. What fires is looked at again, so that a new channel's next notice is right. Raises Forbidden, Invalid, NotFound."""
    check_can_change_policy(by, row.environment, row.team)
    check_policy(said)
    check_channels(by, row.environment, _every_channel(said))
    with transaction.atomic():
        _lock(row)
        AlertPolicy.objects.filter(pk=row.pk).update(**_columns(said))
        _audit(by, "alert_policy.changed", row, said, reason=reason)
        Telling.objects.filter(policy=row, breach__state__in=FIRED).update(due_at=now_utc())
    return AlertPolicy.objects.select_related("environment", "team").get(pk=row.pk)


def remove_policy(row: AlertPolicy, *, by: Actor, reason: str) -> None:
    """Tell nobody by this policy any more, but the end to whom it told; what fires goes to the policy that is there for it then. Raises Forbidden, NotFound."""
    check_can_change_policy(by, row.environment, row.team)
    with transaction.atomic():
        _lock(row)
        _audit(by, "alert_policy.removed", row, None, reason=reason)
        fired, mine = _lock_fired(row.environment_id), Telling.objects.filter(policy=row)
        mine.filter(said="").delete()
        AlertPolicy.objects.filter(pk=row.pk).update(removed_at=now_utc())
        AlertPolicy.objects.filter(pk=row.pk).exclude(pk__in=mine.values("policy")).delete()
        _route_again(row.environment_id, fired)


def _columns(said: NewPolicy) -> dict[str, object]:
    columns = asdict(said)
    columns["steps"] = [{"after_minutes": one.after_minutes, "channels": list(one.channels)} for one in said.steps]
    return columns | {name: list(columns[name]) for name in ("page_channels", "ticket_channels", "days")}


def _audit(by: Actor, action: str, row: AlertPolicy, said: NewPolicy | None, *, reason: str = "") -> None:
    record_audit(
        by, action, row, environment=row.environment, team_id=row.team_id, reason=reason, details=_columns(said) if said else {}
    )  # fmt: skip


def route_of(row: AlertPolicy) -> Route:
    """Return a policy as the rules of routing take it."""
    return Route(
        page_channels=tuple(row.page_channels),
        ticket_channels=tuple(row.ticket_channels),
        wait=timedelta(seconds=row.wait_s),
        repeat=timedelta(minutes=row.repeat_minutes),
        quiet=timedelta(minutes=row.quiet_minutes),
        steps=tuple(
            Step(after=timedelta(minutes=one["after_minutes"]), channels=tuple(one["channels"])) for one in row.steps
        ),
        working=working_time(row.days, row.from_minute, row.until_minute, row.time_zone) if row.days else None,
    )


def policies_for(
    environment_id: int, flows: Mapping[int, Collection[int]], *, promised: Mapping[int, int | None]
) -> dict[int, list[int]]:
    """Return {breach: policies that tell of it} of {breach: its flows}; a flow without a team's policy goes to the environment's.

    promised  of breaches of an objective on a saved search: the team that it is shared with, None when it is its maker's alone. They are
              told by that team's own policy or by none: the channels of others would tell people who may not see the search.
    """
    rows = AlertPolicy.objects.filter(environment=environment_id, removed_at=None).values_list("team_id", "pk")
    by_team = {team_id or 0: pk for team_id, pk in rows}  # 0: no team
    if not by_team:
        return {}
    teams = teams_of_flows({flow for ids in flows.values() for flow in ids})
    found: dict[int, list[int]] = defaultdict(list)
    for breach, ids in flows.items():
        if breach in promised:
            own = by_team.get(promised[breach] or -1)
            found[breach] = [own] if own is not None else []
            continue
        for team in sorted({teams.get(one) or 0 for one in ids} or {0}):
            policy = by_team.get(team, by_team.get(0))
            if policy is not None and policy not in found[breach]:
                found[breach].append(policy)
    return dict(found)


def promised_to(pks: Iterable[int]) -> dict[int, int | None]:
    """Return {breach: team} of those that are of an objective on a saved search: whom it is shared with, None for its maker alone."""
    found = Breach.objects.filter(pk__in=pks, source=OBJECTIVE, flow_ids=[]).values_list("pk", "key")
    keys = {pk: int(key) for pk, key in found if key.isdigit()}
    teams = dict(Objective.objects.filter(pk__in=keys.values()).values_list("pk", "team_id"))
    return {pk: teams.get(int(key)) if key.isdigit() else None for pk, key in found}


def route_breaches(environment_id: int, pks: Collection[int], *, now: datetime) -> None:
    """Let the policies of these breaches tell of them. Under the environment's lock, so that no policy comes between."""
    if not pks:
        return
    flows = dict(Breach.objects.filter(pk__in=pks).values_list("pk", "flow_ids"))
    rows = [
        Telling(breach_id=breach, policy_id=policy, due_at=now)
        for breach, policies in policies_for(environment_id, flows, promised=promised_to(pks)).items()
        for policy in policies
    ]
    Telling.objects.bulk_create(rows, ignore_conflicts=True, batch_size=1000)


def _lock(row: AlertPolicy) -> None:
    """Hold a policy's environment. Raises NotFound when somebody removed the policy meanwhile."""
    lock_environment(row.environment_id)
    if not AlertPolicy.objects.filter(pk=row.pk, removed_at=None).exists():
        raise NotFound("this alert policy was removed meanwhile")


def _lock_fired(environment_id: int) -> list[int]:
    """Return what fires there, held before what was told of it, as whoever acknowledges does."""
    rows = Breach.objects.filter(environment=environment_id, state__in=FIRED)
    return list(lock_breaches(list(rows.values_list("pk", flat=True))))


def _route_again(environment_id: int, fired: Collection[int]) -> None:
    """Tell by the policies as they are now of what fires."""
    now = now_utc()
    route_breaches(environment_id, fired, now=now)
    look_at_tellings(fired, now)


def watch_groups(environment: Environment, said: Mapping[str, str], *, by: Actor) -> None:
    """Say of which classes new, regressed and escalating failure groups make a breach, and of which severity; "" for none.

    What is new before that makes none. Raises Forbidden, Invalid.
    """
    check_can_administer(by, environment)
    for name, severity in said.items():
        if name not in CLASSES or severity not in ("", "page", "ticket"):
            raise Invalid(f"a class is one of {', '.join(CLASSES)}; it makes a page, a ticket, or nothing")
    with transaction.atomic():
        lock_environment(environment.pk)
        before = dict(GroupWatch.objects.filter(environment=environment).values_list("failure_class", "severity"))
        changed = {name: severity for name, severity in said.items() if before.get(name, "") != severity}
        for name, severity in changed.items():
            watches = GroupWatch.objects.filter(environment=environment, failure_class=name)
            if not severity:
                watches.delete()
            elif not watches.update(severity=severity):
                watches.create(environment=environment, failure_class=name, severity=severity, since=now_utc())
        if changed:
            record_audit(by, "group_watch.changed", environment, environment=environment, details=dict(changed))
