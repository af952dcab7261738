"""REST of who is told: alert policies, and the failure groups that make a breach."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema, inline_serializer
from rest_framework.request import Request
from rest_framework.response import Response

from alerts.api.breach_serializers import (
    AlertPolicyIn,
    AlertPolicyOut,
    GroupWatchesIn,
    GroupWatchesOut,
    NewAlertPolicyIn,
)
from alerts.api.breaches import PAGE_PARAMETERS
from alerts.breaches.access import get_visible_policy, teams_with_policy
from alerts.breaches.policies import NewPolicy, NewStep, add_policy, change_policy, remove_policy, watch_groups
from alerts.breaches.queries import find_policies, watched_classes
from console.core.errors import NotFound
from console.identity.access import get_visible_environment
from console.identity.models import Environment, Team
from messages.api.base import CONFLICTS, PROBLEMS, Reason, View, number_or_404, validated

ENVIRONMENT = [one for one in PAGE_PARAMETERS if one.name == "environment"]
LIST = inline_serializer("AlertPolicyList", {"results": AlertPolicyOut(many=True)})
WATCHES = inline_serializer("GroupWatchList", {"results": GroupWatchesOut(many=True)})


def _said(asked: dict[str, Any]) -> NewPolicy:
    steps = tuple(
        NewStep(after_minutes=one["after_minutes"], channels=tuple(one["channels"])) for one in asked.pop("steps")
    )  # fmt: skip
    lists: dict[str, Any] = {name: tuple(asked.pop(name)) for name in ("page_channels", "ticket_channels", "days")}
    return NewPolicy(steps=steps, **lists, **asked)


class AlertPolicies(View):
    @extend_schema(operation_id="list_alert_policies", parameters=ENVIRONMENT, responses={200: LIST, **PROBLEMS})
    def get(self, request: Request) -> Response:
        """Who is told, by team; the one without a team tells of everything else."""
        return Response({"results": AlertPolicyOut(find_policies(self.actor, self.environments()), many=True).data})

    @extend_schema(operation_id="add_alert_policy", request=NewAlertPolicyIn, responses={201: AlertPolicyOut, **CONFLICTS})  # fmt: skip
    def post(self, request: Request) -> Response:
        """Say who is told of a team's flows, or of everything else. What fires now is told, too."""
        asked = validated(NewAlertPolicyIn, request.data)
        environment = get_visible_environment(self.actor, asked.pop("environment"))
        team = self._team(environment, asked.pop("team", None))
        return Response(AlertPolicyOut(add_policy(environment, team, _said(asked), by=self.actor)).data, status=201)

    def _team(self, environment: Environment, name: str | None) -> Team | None:
        if not name:
            return None
        found = next((one for one in teams_with_policy(self.actor, environment) if one.name == name), None)
        if found is None:
            raise NotFound("there is no such team whose policy you may make")
        return found


class OneAlertPolicy(View):
    @extend_schema(operation_id="get_alert_policy", responses={200: AlertPolicyOut, **PROBLEMS})
    def get(self, request: Request, pk: str) -> Response:
        """One policy."""
        return Response(AlertPolicyOut(get_visible_policy(self.actor, number_or_404(pk))).data)

    @extend_schema(operation_id="change_alert_policy", request=AlertPolicyIn, responses={200: AlertPolicyOut, **PROBLEMS})  # fmt: skip
    def put(self, request: Request, pk: str) -> Response:
        """Replace what a policy says."""
        policy = get_visible_policy(self.actor, number_or_404(pk))
        said = _said(validated(AlertPolicyIn, request.data, answers=AlertPolicyOut))
        return Response(AlertPolicyOut(change_policy(policy, said, by=self.actor)).data)

    @extend_schema(operation_id="remove_alert_policy", request=Reason, responses={204: None, **PROBLEMS})
    def delete(self, request: Request, pk: str) -> Response:
        """Tell nobody by it any more, with a `reason`."""
        policy = get_visible_policy(self.actor, number_or_404(pk))
        remove_policy(policy, by=self.actor, reason=validated(Reason, request.data)["reason"])
        return Response(status=204)


class GroupWatches(View):
    @extend_schema(operation_id="list_group_watches", parameters=ENVIRONMENT, responses={200: WATCHES, **PROBLEMS})
    def get(self, request: Request) -> Response:
        """Of which classes new, regressed and escalating failure groups make a breach."""
        found = [{"environment": one.slug, "classes": watched_classes(self.actor, one)} for one in self.environments()]
        return Response({"results": found})

    @extend_schema(operation_id="watch_groups", request=GroupWatchesIn, responses={200: GroupWatchesOut, **PROBLEMS})
    def put(self, request: Request) -> Response:
        """Change it for the classes that are named. What is new before makes none."""
        asked = validated(GroupWatchesIn, request.data, answers=GroupWatchesOut)
        environment = get_visible_environment(self.actor, asked["environment"])
        watch_groups(environment, asked["classes"], by=self.actor)
        return Response({"environment": environment.slug, "classes": watched_classes(self.actor, environment)})
