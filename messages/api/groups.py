"""REST of failure groups: the list, one, what people do to it, and grouping rules with a preview."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema, inline_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from console.core.paging import parse_limit
from console.identity.access import get_visible_environment
from console.identity.models import Environment
from messages.access import can_operate
from messages.api.base import CONFLICTS, PROBLEMS, Problem, Reason, View, number_or_404, validated
from messages.api.group_serializers import (
    AppliedOut,
    ApplyIn,
    AssignIn,
    FailedHereOut,
    GroupOut,
    GroupReason,
    GroupRuleIn,
    GroupRuleOut,
    GroupRulePreviewIn,
    GroupRulePreviewOut,
    MergeIn,
    MoveGroupRuleIn,
    NewGroupRuleIn,
    NoteIn,
    NoteOut,
    OneGroupOut,
    RunbookIn,
    SplitIn,
    SplitOut,
    UnseenOut,
)
from messages.api.views import PAGE_PARAMETERS
from messages.groups.access import get_visible_group, get_visible_group_rule
from messages.groups.failed_here import failed_here
from messages.groups.queries import (
    TABS,
    Filter,
    find_groups,
    notes_of,
    owners_of,
    rules_in_order,
    runbook_of,
    trends_of,
    whole_of,
)
from messages.groups.regroup import place_waiting, split_by, take_out
from messages.groups.ruling import NewGroupRule, add_rule, change_rule, move_rule, preview_rule, remove_rule
from messages.groups.services import add_note, assign_group, change_state, merge_groups, set_runbook, take_apart
from messages.groups.unseen import died_unseen
from messages.models import FailureGroup

ENVIRONMENT = [parameter for parameter in PAGE_PARAMETERS if parameter.name == "environment"]
FILTERS = [
    OpenApiParameter("show", str, enum=list(TABS), description="Default `failing`: what waits and is not resolved."),
    OpenApiParameter("flow", str, description="Its name."),
    OpenApiParameter("state", str),
    OpenApiParameter("class", str),
    OpenApiParameter("owner", str, description="A user's name, or `none`."),
    OpenApiParameter(
        "q",
        str,
        description="A reference, such as `G-204`: that group alone; else words of a heading or an exception, no query.",
    ),
]


class Groups(View):
    @extend_schema(
        operation_id="list_groups",
        parameters=[*PAGE_PARAMETERS, *FILTERS],
        responses={
            200: inline_serializer(
                "GroupList",
                {
                    "results": GroupOut(many=True),
                    "next": serializers.URLField(allow_null=True),
                    "died_elsewhere": UnseenOut(many=True),
                    "failed_here": FailedHereOut(many=True),
                },
            ),
            **PROBLEMS,
        },
    )
    def get(self, request: Request) -> Response:
        """What fails, what reaches furthest first: by customers, then documents, then failures; and what died where the key may not look."""
        asked, environments = request.query_params, self.environments()
        only = Filter(
            q=asked.get("q", "").replace("\x00", "").strip()[:200],
            show=asked.get("show") or "failing",
            flow=asked.get("flow", "").replace("\x00", ""),
            state=asked.get("state", ""),
            failure_class=asked.get("class", ""),
            owner=asked.get("owner", "").replace("\x00", ""),
        )
        found = find_groups(
            self.actor,
            environments=environments,
            only=only,
            limit=parse_limit(asked.get("limit")),
            cursor=asked.get("cursor") or None,
        )
        response = self.page(found, GroupOut)
        response.data["died_elsewhere"] = self._died_elsewhere(environments)
        response.data["failed_here"] = self._failed_here(environments)
        return response

    def _died_elsewhere(self, environments: Sequence[Environment]) -> list[dict[str, Any]]:
        """Return it of each environment that has such, whatever the list is narrowed to."""
        unseen = (died_unseen(self.actor, environment) for environment in environments)
        return list(UnseenOut([one for one in unseen if one.count or one.at_least], many=True).data)

    def _failed_here(self, environments: Sequence[Environment]) -> list[dict[str, Any]]:
        told = (failed_here(self.actor, environment) for environment in environments)
        return list(FailedHereOut([one for one in told if one.causes], many=True).data)


class _One(View):
    def group(self, reference: str) -> FailureGroup:
        return get_visible_group(self.actor, reference)


class OneGroup(_One):
    @extend_schema(operation_id="get_group", responses={200: OneGroupOut, **PROBLEMS})
    def get(self, request: Request, reference: str) -> Response:
        """One group with its failures by hour and notes; its letters are `dead-letters?q=group:G-…`, its history is in `audit`."""
        group = self.group(reference)
        parts = whole_of(group)
        more: dict[str, Any] = {
            "runbook": runbook_of(group),
            "hours": trends_of([group], timezone.now())[group.pk],
            "notes": NoteOut(notes_of(group, parts).rows, many=True).data,
            "speaks_for": [one.reference for one in parts],
            "owners": owners_of(group) if can_operate(self.actor, group.flow) else [],
        }
        return Response(GroupOut(group).data | more)


class AcknowledgeGroup(_One):
    @extend_schema(operation_id="acknowledge_group", request=GroupReason, responses={200: GroupOut, **CONFLICTS})
    def post(self, request: Request, reference: str) -> Response:
        """Say that you are on it; a group without an owner becomes yours."""
        reason = validated(GroupReason, request.data)["reason"]
        return Response(GroupOut(change_state(self.group(reference), "acknowledge", by=self.actor, reason=reason)).data)


class ResolveGroup(_One):
    @extend_schema(operation_id="resolve_group", request=Reason, responses={200: GroupOut, **CONFLICTS})
    def post(self, request: Request, reference: str) -> Response:
        """Say that it is over; the next failure makes it regressed. Letters stay as they are."""
        reason = validated(Reason, request.data)["reason"]
        return Response(GroupOut(change_state(self.group(reference), "resolve", by=self.actor, reason=reason)).data)


class ReopenGroup(_One):
    @extend_schema(operation_id="reopen_group", request=Reason, responses={200: GroupOut, **CONFLICTS})
    def post(self, request: Request, reference: str) -> Response:
        """Open a resolved or acknowledged group again."""
        reason = validated(Reason, request.data)["reason"]
        return Response(GroupOut(change_state(self.group(reference), "reopen", by=self.actor, reason=reason)).data)


class AssignGroup(_One):
    @extend_schema(operation_id="assign_group", request=AssignIn, responses={200: GroupOut, **PROBLEMS})
    def post(self, request: Request, reference: str) -> Response:
        """Give it to an operator of its flow, or to nobody."""
        return Response(GroupOut(assign_group(self.group(reference), **validated(AssignIn, request.data), by=self.actor)).data)  # fmt: skip


class GroupRunbook(_One):
    @extend_schema(operation_id="set_group_runbook", request=RunbookIn, responses={200: GroupOut, **PROBLEMS})
    def put(self, request: Request, reference: str) -> Response:
        """Give it a runbook of its own."""
        url = validated(RunbookIn, request.data)["runbook_url"]
        return Response(GroupOut(set_runbook(self.group(reference), url, by=self.actor)).data)


class GroupNotes(_One):
    @extend_schema(
        operation_id="list_group_notes",
        parameters=[one for one in PAGE_PARAMETERS if one.name != "environment"],
        responses={
            200: inline_serializer(
                "GroupNoteList", {"results": NoteOut(many=True), "next": serializers.URLField(allow_null=True)}
            ),
            **PROBLEMS,
        },
    )
    def get(self, request: Request, reference: str) -> Response:
        """Its notes, and those of the groups that it speaks for, the newest first."""
        group, asked = self.group(reference), request.query_params
        limit, cursor = parse_limit(asked.get("limit") or "100"), asked.get("cursor") or None
        return self.page(notes_of(group, whole_of(group), limit=limit, cursor=cursor), NoteOut)

    @extend_schema(operation_id="add_group_note", request=NoteIn, responses={201: NoteOut, **PROBLEMS})
    def post(self, request: Request, reference: str) -> Response:
        """Write a note. It stays."""
        text = validated(NoteIn, request.data)["text"]
        return Response(NoteOut(add_note(self.group(reference), text, by=self.actor)).data, status=201)


class MergeGroup(_One):
    @extend_schema(operation_id="merge_groups", request=MergeIn, responses={200: GroupOut, **CONFLICTS})
    def post(self, request: Request, reference: str) -> Response:
        """Let this group speak for others of its flow. Nothing moves: `apart` takes it back."""
        asked = validated(MergeIn, request.data)
        sources = [self.group(one) for one in asked["groups"]]
        return Response(GroupOut(merge_groups(self.group(reference), sources, by=self.actor, reason=asked["reason"])).data)  # fmt: skip


class GroupApart(_One):
    @extend_schema(operation_id="take_group_apart", request=Reason, responses={200: GroupOut, **CONFLICTS})
    def post(self, request: Request, reference: str) -> Response:
        """Let a merged group speak for itself again."""
        reason = validated(Reason, request.data)["reason"]
        return Response(GroupOut(take_apart(self.group(reference), by=self.actor, reason=reason)).data)


class SplitGroup(_One):
    @extend_schema(operation_id="split_group", request=SplitIn, responses={201: SplitOut, **CONFLICTS})
    def post(self, request: Request, reference: str) -> Response:
        """Take letters out under a name, or tell all apart by one more part (`by`), those that wait and those that come."""
        asked, group = validated(SplitIn, request.data), self.group(reference)
        if asked["by"]:
            rule = split_by(group, asked["by"], by=self.actor, reason=asked["reason"])
            return Response({"group": None, "rule": rule.pk}, status=201)
        made = take_out(group, asked["letters"], asked["name"], by=self.actor, reason=asked["reason"])
        return Response({"group": GroupOut(made).data, "rule": None}, status=201)


class GroupRules(View):
    @extend_schema(
        operation_id="list_group_rules",
        parameters=ENVIRONMENT,
        responses={200: inline_serializer("GroupRuleList", {"results": GroupRuleOut(many=True)}), **PROBLEMS},
    )
    def get(self, request: Request) -> Response:
        """The grouping rules, the one that is tried first first."""
        rows = [rule for one in self.environments() for rule, _ in rules_in_order(self.actor, one)]
        return Response({"results": GroupRuleOut(rows, many=True).data})

    @extend_schema(
        operation_id="add_group_rule", request=NewGroupRuleIn, responses={201: GroupRuleOut, 409: Problem, **PROBLEMS}
    )
    def post(self, request: Request) -> Response:
        """Append a rule: what fails from then on is grouped by it."""
        asked = validated(NewGroupRuleIn, request.data)
        environment = get_visible_environment(self.actor, asked.pop("environment"))
        return Response(GroupRuleOut(add_rule(environment, _said(asked), by=self.actor)).data, status=201)


class OneGroupRule(View):
    @extend_schema(operation_id="get_group_rule", responses={200: GroupRuleOut, **PROBLEMS})
    def get(self, request: Request, pk: str) -> Response:
        """One grouping rule."""
        return Response(GroupRuleOut(get_visible_group_rule(self.actor, number_or_404(pk))).data)

    @extend_schema(
        operation_id="change_group_rule", request=GroupRuleIn, responses={200: GroupRuleOut, 409: Problem, **PROBLEMS}
    )
    def put(self, request: Request, pk: str) -> Response:
        """Replace what a rule says."""
        rule = get_visible_group_rule(self.actor, number_or_404(pk))
        return Response(
            GroupRuleOut(
                change_rule(rule, _said(validated(GroupRuleIn, request.data, answers=GroupRuleOut)), by=self.actor)
            ).data
        )

    @extend_schema(operation_id="remove_group_rule", request=Reason, responses={204: None, **PROBLEMS})
    def delete(self, request: Request, pk: str) -> Response:
        """Remove a rule, with a `reason`; its groups stay."""
        rule = get_visible_group_rule(self.actor, number_or_404(pk))
        remove_rule(rule, by=self.actor, reason=validated(Reason, request.data)["reason"])
        return Response(status=204)


class MoveGroupRule(View):
    @extend_schema(operation_id="move_group_rule", request=MoveGroupRuleIn, responses={204: None, **PROBLEMS})
    def post(self, request: Request, pk: str) -> Response:
        """Put a rule in a place of the order."""
        rule, asked = get_visible_group_rule(self.actor, number_or_404(pk)), validated(MoveGroupRuleIn, request.data)
        move_rule(rule, to=asked["to"], by=self.actor, reason=asked["reason"])
        return Response(status=204)


class PreviewGroupRule(View):
    @extend_schema(
        operation_id="preview_group_rule", request=GroupRulePreviewIn, responses={200: GroupRulePreviewOut, **PROBLEMS}
    )
    def post(self, request: Request) -> Response:
        """What a rule would do to the letters of the last seven days that the key may see. Nothing is written."""
        asked = validated(GroupRulePreviewIn, request.data)
        environment = get_visible_environment(self.actor, asked.pop("environment"))
        pk = asked.pop("instead_of", None)
        before = get_visible_group_rule(self.actor, pk) if pk else None
        found = preview_rule(environment, _said(asked), by=self.actor, instead_of=before)
        return Response(GroupRulePreviewOut(found).data)


class ApplyGroupRules(View):
    @extend_schema(operation_id="apply_group_rules", request=ApplyIn, responses={200: AppliedOut, **PROBLEMS})
    def post(self, request: Request) -> Response:
        """Place the letters that wait anew by the rules, of flows that the key operates."""
        asked = validated(ApplyIn, request.data)
        environment = get_visible_environment(self.actor, asked["environment"])
        moved, more = place_waiting(environment, by=self.actor, reason=asked["reason"])
        return Response({"moved": moved, "more": more})


def _said(asked: dict[str, Any]) -> NewGroupRule:
    return NewGroupRule(**asked | {"parts": tuple(asked["parts"])})
