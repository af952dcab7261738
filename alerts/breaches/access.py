"""Who may see and do what with breaches, silences and alert policies: whoever sees, or operates, all of a breach's flows."""

from __future__ import annotations

from collections.abc import Sequence

from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import CharField, Q, QuerySet
from django.db.models.functions import Cast

from alerts.breaches.reference import number_of
from alerts.models import AlertPolicy, Breach, GroupWatch, Objective, Silence
from alerts.objectives.access import visible_objectives
from console.core.errors import Forbidden
from console.identity.access import can_administer
from console.identity.actor import Actor
from console.identity.models import Environment, Membership, Role, Team, User
from messages.access import can_operate, get_one, operated_flows, visible_flows
from messages.models import Flow

OBJECTIVE = "objective"  # source of the breaches of promises, whose key is the objective's number
OF_NO_FLOW = ("agent", "ingest")  # sources whose breaches have no flows: for every member of the environment


def visible_breaches(actor: Actor) -> QuerySet[Breach]:
    """Return the breaches all of whose flows the actor may see; one without flows is for every member of its environment.

    But that of an objective on a saved search, which has no flows either, is for those who see the objective.
    """
    breaches = Breach.objects.select_related("environment", "owner", "inhibited_by", "silenced_by")
    if actor.is_superuser:
        return breaches
    seen = ArraySubquery(visible_flows(actor).order_by().values("pk"))
    promised = visible_objectives(actor).order_by().values(as_text=Cast("pk", CharField()))
    no_flows = Q(flow_ids=[]) & (~Q(source=OBJECTIVE) | Q(key__in=promised))
    own = breaches.filter(environment_id__in=list(actor.grants))
    return own.filter(no_flows | Q(flow_ids__contained_by=seen) & ~Q(flow_ids=[]))


def get_visible_breach(actor: Actor, reference: str) -> Breach:
    return get_one(visible_breaches(actor), "breach", pk=number_of(reference) or 0)


def can_operate_breach(actor: Actor, breach: Breach) -> bool:
    """Whether the actor operates every flow of a breach; of one without flows, anything in its environment."""
    if not actor.has_role(breach.environment_id, None, Role.OPERATOR):
        return False
    if actor.is_superuser or not breach.flow_ids:
        return True
    operated = operated_flows(actor, breach.environment).filter(pk__in=breach.flow_ids).order_by()
    return operated.count() == len(set(breach.flow_ids))


def check_can_operate_breach(actor: Actor, breach: Breach) -> None:
    if not can_operate_breach(actor, breach):
        raise Forbidden("only operators of its flows may do this; you may look")


def possible_owners(breach: Breach) -> QuerySet[User]:
    """Return who may own a breach: operators of each of its flows, of the environment when it has none, by name."""
    operators = Membership.objects.filter(environment=breach.environment_id, role__gte=Role.OPERATOR)
    own = Q(pk__in=operators.values("user"))
    for team_id in teams_of(breach.flow_ids):
        own &= Q(pk__in=operators.filter(team=team_id).values("user"))
    return User.objects.filter(Q(is_superuser=True) | own, is_active=True).order_by("username")


def teams_of(flow_ids: Sequence[int]) -> set[int]:
    """Return the teams that these flows belong to."""
    owned = Flow.objects.filter(pk__in=flow_ids, team__isnull=False)
    return set(owned.values_list("team_id", flat=True))


def team_that_alone_sees(flow_ids: Sequence[int]) -> int | None:
    """Return the team whose members alone see a breach of these flows, None when others do; for the audit list."""
    teams = set(Flow.objects.filter(pk__in=flow_ids).values_list("team_id", flat=True))
    return None if not teams or None in teams else min(one for one in teams if one)


def audited_as(breach: Breach) -> tuple[int | None, str]:
    """Return (the team that alone reads of it in the audit list, None for everybody; what it is called there, "" for its own name).

    That of an objective on a saved search is its team's; on a search that is its maker's alone nobody else reads what it is called.
    """
    if breach.source != OBJECTIVE or breach.flow_ids:
        return team_that_alone_sees(breach.flow_ids), ""
    pk = int(breach.key) if breach.key.isdigit() else 0
    team_id = Objective.objects.filter(pk=pk).values_list("team_id", flat=True).first()
    return team_id, "" if team_id else f"{breach.reference}, of an objective of one’s own"


def visible_silences(actor: Actor) -> QuerySet[Silence]:
    """Return the silences of flows that the actor may see, those made on a breach that they may see, and those of an environment.

    What was made on a breach that never fired is seen when the breach is gone, too.
    """
    silences = Silence.objects.select_related("environment", "flow__team", "about")
    if actor.is_superuser:
        return silences
    flows, breaches = visible_flows(actor).order_by().values("pk"), visible_breaches(actor).order_by().values("pk")
    own = Q(flow__isnull=True) & (Q(key="") | Q(source__in=OF_NO_FLOW)) | Q(flow__in=flows) | Q(about__in=breaches)
    return silences.filter(own, environment_id__in=list(actor.grants))


def get_visible_silence(actor: Actor, pk: int) -> Silence:
    return get_one(visible_silences(actor), "silence", pk=pk)


def can_silence(actor: Actor, environment: Environment, flow: Flow | None) -> bool:
    """Whether the actor may silence a flow, its operators; or whatever fits in the environment, its administrators."""
    return can_operate(actor, flow) if flow is not None else can_administer(actor, environment)


def check_can_silence(actor: Actor, environment: Environment, flow: Flow | None) -> None:
    if flow is not None and flow.environment_id != environment.pk:
        raise Forbidden("a silence and its flow are of one environment")
    if not can_silence(actor, environment, flow):
        who = f"operators of {flow.name}" if flow else f"administrators of {environment.slug}"
        raise Forbidden(f"only {who} may silence this: it would be silent for others, too")


def can_end_silence(actor: Actor, silence: Silence) -> bool:
    if silence.flow is None and silence.about is not None:
        return can_operate_breach(actor, silence.about)
    if silence.key and silence.source in OF_NO_FLOW:
        return actor.has_role(silence.environment_id, None, Role.OPERATOR)
    return can_silence(actor, silence.environment, silence.flow)


def check_can_end_silence(actor: Actor, silence: Silence) -> None:
    if not can_end_silence(actor, silence):
        raise Forbidden("only who could have made this silence may end it")


def visible_policies(actor: Actor) -> QuerySet[AlertPolicy]:
    """Return the alert policies of the actor's environments: everybody may know who is told."""
    policies = AlertPolicy.objects.filter(removed_at=None).select_related("environment", "team")
    return policies if actor.is_superuser else policies.filter(environment_id__in=list(actor.grants))


def get_visible_policy(actor: Actor, pk: int) -> AlertPolicy:
    return get_one(visible_policies(actor), "alert policy", pk=pk)


def can_change_policy(actor: Actor, environment: Environment, team: Team | None) -> bool:
    """Whether the actor may say who is told: the team's administrators there; for everything else, administrators of the environment."""
    return actor.has_role(environment.pk, team.pk if team else None, Role.ADMINISTRATOR)


def check_can_change_policy(actor: Actor, environment: Environment, team: Team | None) -> None:
    if not can_change_policy(actor, environment, team):
        raise Forbidden(f"only administrators of {team.name if team else environment.slug} say who is told")


def teams_with_policy(actor: Actor, environment: Environment) -> list[Team]:
    """Return the teams for which the actor may make a policy there."""
    return [team for team in Team.objects.all()[:500] if can_change_policy(actor, environment, team)]


def visible_group_watches(actor: Actor) -> QuerySet[GroupWatch]:
    watches = GroupWatch.objects.select_related("environment")
    return watches if actor.is_superuser else watches.filter(environment_id__in=list(actor.grants))
