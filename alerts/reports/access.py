"""Who may see and do what with report schedules and reports.

Members of an environment see which schedules it has; to whom they go is for the schedule's owner and the environment's administrators. A report
is seen by whoever sees every objective and flow that it tells of. Operators make schedules, which tell of what they see themselves; a schedule is
changed by its owner and by administrators. Addresses that are no member's are put there by administrators alone, and what such a schedule tells
is from then on theirs alone to change.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import Q, QuerySet
from django.db.models.functions import Lower

from alerts.models import Objective, Report, ReportReceiver, ReportSchedule
from alerts.objectives.access import visible_objectives
from alerts.reports.content import Audience
from alerts.reports.links import BadLink, parse_open, parse_stop
from console.audit.models import AuditEntry
from console.core.errors import Forbidden, NotFound
from console.identity.access import can_administer, visible_environments
from console.identity.actor import Actor, actor_of
from console.identity.models import Environment, Role, User
from messages.access import get_one, visible_flows
from messages.queries import Flow


def visible_schedules(actor: Actor) -> QuerySet[ReportSchedule]:
    """Return the schedules of the actor's environments: that they are there, when they go, of what."""
    rows = ReportSchedule.objects.select_related("environment", "owner")
    return rows.filter(environment__in=visible_environments(actor).order_by().values("pk"))


def get_visible_schedule(actor: Actor, pk: int) -> ReportSchedule:
    return get_one(visible_schedules(actor), "report schedule", pk=pk)


def visible_reports(actor: Actor) -> QuerySet[Report]:
    """Return the reports that tell of nothing that the actor may not see; those that tell of nothing yet too, without their content."""
    rows = Report.objects.select_related("schedule__environment", "schedule__owner").defer("content")
    if actor.is_superuser:
        return rows
    flows = list(visible_flows(actor).order_by().values_list("pk", flat=True))
    searches = list(visible_objectives(actor).filter(flow__isnull=True).order_by().values_list("pk", flat=True))
    all_seen = Q(search_ids__contained_by=searches)
    if (
        actor.user_id is not None
    ):  # a promise on a search that was removed is nobody's: what it said is still its owner's to read
        hidden = Objective.objects.filter(environment__in=list(actor.grants), flow__isnull=True).exclude(
            pk__in=searches
        )
        mine = Q(schedule__owner=actor.user_id)
        all_seen |= mine & ~Q(search_ids__overlap=ArraySubquery(hidden.order_by().values("pk")))
    return rows.filter(all_seen, environment__in=list(actor.grants), flow_ids__contained_by=flows)


def get_visible_report(actor: Actor, pk: int) -> Report:
    return get_one(visible_reports(actor), "report", pk=pk)


def removed_that_may_be_told(actor: Actor, removals: Sequence[AuditEntry]) -> list[AuditEntry]:
    """Return those audited removals of objectives whose flow the actor sees.

    Nobody is told of one on a search: whom it had been shown to is not known any more; nor of what an entry of before 2026-11-28 tells.
    """
    flows = {one.details["flow"] for one in removals if one.details.get("flow") is not None}
    seen = set(visible_flows(actor).filter(pk__in=flows).order_by().values_list("pk", flat=True))
    return [one for one in removals if one.details.get("flow") in seen]


def get_receiver(actor: Actor, one: ReportSchedule, pk: int) -> ReportReceiver:
    """Return a receiver of a schedule, for who sees them; raises Forbidden, NotFound."""
    check_can_see_receivers(actor, one)
    rows = ReportReceiver.objects.filter(schedule=one).select_related("schedule__environment")
    return get_one(rows, "receiver of this schedule", pk=pk)


def can_make_schedules(actor: Actor, environment: Environment) -> bool:
    """Whether the actor may make schedules there: its operators, who are people. A report is gathered with somebody's rights."""
    return actor.user_id is not None and actor.has_role(environment.pk, None, Role.OPERATOR)


def check_can_make_schedules(actor: Actor, environment: Environment) -> int:
    """Return whose a new schedule is; raises Forbidden."""
    if actor.user_id is None:
        raise Forbidden("a report is gathered with a person's rights: sign in, or use a person's key")
    if not actor.has_role(environment.pk, None, Role.OPERATOR):
        raise Forbidden(f"operators of {environment.slug} make report schedules; you may look")
    return actor.user_id


def _is_owner(actor: Actor, one: ReportSchedule) -> bool:
    return (
        actor.user_id is not None
        and one.owner_id == actor.user_id
        and actor.has_role(one.environment_id, None, Role.OPERATOR)
    )


def can_see_receivers(actor: Actor, one: ReportSchedule) -> bool:
    """Whether the actor may read the addresses: people's, and not everybody's business."""
    return can_administer(actor, one.environment) or _is_owner(actor, one)


def check_can_see_receivers(actor: Actor, one: ReportSchedule) -> None:
    if not can_see_receivers(actor, one):
        raise Forbidden(f"who gets {one.name} is told its owner and administrators of {one.environment.slug}")


def can_send_outside(actor: Actor, one: ReportSchedule) -> bool:
    """Whether what the actor writes, or chooses among older reports, may leave the house: to addresses that are no member's."""
    return can_administer(actor, one.environment)


def can_send(actor: Actor, one: ReportSchedule) -> bool:
    """Whether the actor may preview it, send it, revise its reports, revoke its links and switch it off."""
    return can_see_receivers(actor, one)


def check_can_send(actor: Actor, one: ReportSchedule) -> None:
    if not can_send(actor, one):
        raise Forbidden(
            f"the owner of {one.name} and administrators of {one.environment.slug} may do this; you may look"
        )


def check_can_change_schedule(actor: Actor, one: ReportSchedule, *, outside: bool) -> None:
    """Raise Forbidden for who may not change a schedule. outside: an address that is no member's gets it, before or after the change."""
    check_can_send(actor, one)
    if outside and not can_administer(actor, one.environment):
        raise Forbidden(
            f"an address of nobody in {one.environment.slug} is put there by its administrators, who alone change what such a schedule tells"
        )


def check_sees_what_it_tells(actor: Actor, one: ReportSchedule) -> None:
    """Raise Forbidden for who would have a schedule tell somebody, perhaps themselves, of what its owner sees and they do not."""
    if _is_owner(actor, one) or actor.is_superuser:
        return
    wanted: tuple[Iterable[int], Iterable[int]] = one.flow_ids, one.objective_ids
    if not one.flow_ids and not one.objective_ids and one.owner is not None:
        owner = actor_of(one.owner, via="system")
        flows = visible_flows(owner).filter(environment=one.environment_id).order_by().values_list("pk", flat=True)
        objectives = visible_objectives(owner).filter(environment=one.environment_id).order_by()
        wanted = list(flows), list(objectives.values_list("pk", flat=True))
    flows_seen, objectives_seen = _seen(actor, one.environment, *wanted)
    if set(wanted[0]) - flows_seen or set(wanted[1]) - objectives_seen:
        raise Forbidden(
            f"you do not see everything that {one.name} tells: {one.owner or 'an administrator of everything'} says of what and to whom"
        )


def check_can_send_outside(actor: Actor, environment: Environment) -> None:
    if not can_administer(actor, environment):
        raise Forbidden(
            f"only administrators of {environment.slug} send reports to addresses that are not those of its members"
        )


def member_addresses(environment: Environment, addresses: Iterable[str]) -> set[str]:
    """Return those of these addresses, in small letters, whose people have an account that is on and may see the environment."""
    people = User.objects.filter(is_active=True).alias(small=Lower("email")).filter(small__in=list(addresses))
    found = people.filter(memberships__environment=environment) | people.filter(is_superuser=True)
    return {address.lower() for address in found.values_list("email", flat=True)}


def who_left(environment: Environment, receivers: Iterable[ReportReceiver]) -> set[str]:
    """Return the addresses of those who were members and are none any more, or whose account is off: they get nothing."""
    theirs = {one.address for one in receivers if not one.outside}
    return theirs - member_addresses(environment, theirs) if theirs else set()


def check_about(actor: Actor, environment: Environment, flow_ids: Iterable[int], objective_ids: Iterable[int]) -> None:
    """Raise NotFound unless the actor sees every one of these flows and objectives there."""
    flows, objectives = _seen(actor, environment, flow_ids, objective_ids)
    missing = len(set(flow_ids) - flows) + len(set(objective_ids) - objectives)
    if missing:
        raise NotFound(f"{missing} of the flows and objectives that were chosen are not there, or not for you")


def hindrance_of(one: ReportSchedule, owner: Actor, about: Audience) -> str:
    """Return why the schedule's owner may not have a report about this now, in words; "" when they may. What was removed is left out of it."""
    if not owner.has_role(one.environment_id, None, Role.OPERATOR):
        return f"its owner {owner.name} is no operator of {one.environment.slug} any more"
    if not about.flow_ids and not about.objective_ids:
        return ""
    flows = set(Flow.objects.filter(environment=one.environment_id, pk__in=about.flow_ids).values_list("pk", flat=True))
    rows = Objective.objects.filter(environment=one.environment_id, pk__in=about.objective_ids)
    objectives = set(rows.order_by().values_list("pk", flat=True))
    if not flows and not objectives:
        return "nothing is left of the flows and objectives that it was about"
    seen = _seen(owner, one.environment, flows, objectives)
    lost = len(flows - seen[0]) + len(objectives - seen[1])
    return f"its owner {owner.name} does not see {lost} of its flows and objectives any more" if lost else ""


def _seen(
    actor: Actor, environment: Environment, flow_ids: Iterable[int], objective_ids: Iterable[int]
) -> tuple[set[int], set[int]]:
    flows = visible_flows(actor).filter(environment=environment, pk__in=list(flow_ids))
    objectives = visible_objectives(actor).filter(environment=environment, pk__in=list(objective_ids))
    return (
        set(flows.order_by().values_list("pk", flat=True)),
        set(objectives.order_by().values_list("pk", flat=True)),
    )


# people without an account: what a signed link lets them see --------------------------------------------------------------
def report_of_link(token: str, *, now: datetime) -> tuple[Report, ReportReceiver]:
    """Return the report that a link opens, and whose link it is; raises BadLink for one that is not ours, has ended or was revoked."""
    said = parse_open(token, now=now)
    receivers = ReportReceiver.objects.select_related("schedule__environment")
    receiver = receivers.filter(pk=said.receiver, removed_at=None, link_epoch=said.receiver_epoch).first()
    if receiver is None or receiver.schedule.link_epoch != said.schedule_epoch or not is_still_theirs(receiver):
        raise BadLink
    reports = Report.objects.filter(pk=said.report, schedule=receiver.schedule_id, state="frozen").defer("content")
    if (report := reports.first()) is None:
        raise BadLink
    return report, receiver


def is_still_theirs(receiver: ReportReceiver) -> bool:
    """Whether it is the address of somebody who may have the reports: put there as no member's, or of a member whose account is on."""
    return receiver.outside or bool(member_addresses(receiver.schedule.environment, [receiver.address]))


def receiver_of_link(token: str) -> ReportReceiver:
    """Return whose mails a link stops; raises BadLink."""
    rows = ReportReceiver.objects.select_related("schedule__environment")
    if (found := rows.filter(pk=parse_stop(token)).first()) is None:
        raise BadLink
    return found
