"""REST of breaches: the list, one, and what people do to it."""

from __future__ import annotations

from typing import Any

from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema, inline_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from alerts.api.breach_serializers import (
    AssignBreachIn,
    BreachNoteIn,
    BreachOut,
    BreachReason,
    EntryOut,
    OneBreachOut,
    SilenceBreachIn,
    SilenceOut,
)
from alerts.breaches.access import can_operate_breach, get_visible_breach
from alerts.breaches.acts import acknowledge, add_note, assign, close
from alerts.breaches.channels import names_of_channels
from alerts.breaches.present import told_words
from alerts.breaches.queries import (
    TABS,
    Filter,
    done_meanwhile,
    entries_of,
    find_breaches,
    holding,
    owners_of,
    tellings_of,
    why_untold,
)
from alerts.breaches.silences import silence_breach
from alerts.breaches.states import STATES
from alerts.models import Breach
from console.core.paging import parse_limit
from messages.api.base import CONFLICTS, LIST_PARAMETERS, PROBLEMS, Reason, View, validated

PAGE_PARAMETERS = [one for one in LIST_PARAMETERS if one.name in ("limit", "cursor", "environment")]
FILTERS = [
    OpenApiParameter("show", str, enum=list(TABS), description="Default `open`; with a `state`, `all`."),
    OpenApiParameter("q", str, description="A reference, such as `B-12`: that breach alone; else words of its title."),
    OpenApiParameter("flow", str, description="Its name."),
    OpenApiParameter("state", str, enum=list(STATES)),
    OpenApiParameter("source", str),
    OpenApiParameter("severity", str, enum=["page", "ticket"]),
    OpenApiParameter("owner", str, description="A user's name, or `none`."),
]
LIST = inline_serializer(
    "BreachList", {"results": BreachOut(many=True), "next": serializers.URLField(allow_null=True)}
)  # fmt: skip


class Breaches(View):
    @extend_schema(operation_id="list_breaches", parameters=[*PAGE_PARAMETERS, *FILTERS], responses={200: LIST, **PROBLEMS})  # fmt: skip
    def get(self, request: Request) -> Response:
        """What is wrong, the newest first."""
        asked = {name: str(value).replace("\x00", "").strip()[:300] for name, value in request.query_params.items()}
        only = Filter(
            q=asked.get("q", ""),
            show=asked.get("show") or ("all" if asked.get("state") else "open"),
            flow=asked.get("flow", ""),
            state=asked.get("state", ""),
            source=asked.get("source", ""),
            severity=asked.get("severity", ""),
            owner=asked.get("owner", ""),
        )
        found = find_breaches(
            self.actor,
            environments=self.environments(),
            only=only,
            limit=parse_limit(asked.get("limit")),
            cursor=asked.get("cursor") or None,
        )
        return self.page(found, BreachOut)


class _One(View):
    def breach(self, reference: str) -> Breach:
        return get_visible_breach(self.actor, reference)


class OneBreach(_One):
    @extend_schema(operation_id="get_breach", responses={200: OneBreachOut, **PROBLEMS})
    def get(self, request: Request, reference: str) -> Response:
        """One breach with its timeline, what was done to its flows meanwhile, and who knows of it."""
        breach, now = self.breach(reference), timezone.now()
        more: dict[str, Any] = {
            "timeline": EntryOut(entries_of(breach), many=True).data,
            "meanwhile": [
                {"at": one.at, "words": one.words, "url": one.url} for one in done_meanwhile(self.actor, breach, now=now)
            ],
            "told": told_words(
                tellings_of(breach),
                why_untold=why_untold(self.actor, breach),
                names=names_of_channels(self.actor, breach.environment),
            ),
            "holds_back": [one.reference for one in holding(self.actor, breach)],
            "owners": owners_of(breach) if can_operate_breach(self.actor, breach) else [],
        }  # fmt: skip
        return Response(BreachOut(breach).data | more)


class AcknowledgeBreach(_One):
    @extend_schema(operation_id="acknowledge_breach", request=BreachReason, responses={200: BreachOut, **CONFLICTS})
    def post(self, request: Request, reference: str) -> Response:
        """Say that you are on it: nobody further is called. A breach without an owner becomes yours."""
        reason = validated(BreachReason, request.data)["reason"]
        return Response(BreachOut(acknowledge(self.breach(reference), by=self.actor, reason=reason)).data)


class AssignBreach(_One):
    @extend_schema(operation_id="assign_breach", request=AssignBreachIn, responses={200: BreachOut, **CONFLICTS})
    def post(self, request: Request, reference: str) -> Response:
        """Give it to an operator of all its flows, or to nobody."""
        asked = validated(AssignBreachIn, request.data)
        return Response(BreachOut(assign(self.breach(reference), **asked, by=self.actor)).data)


class BreachNotes(_One):
    @extend_schema(operation_id="add_breach_note", request=BreachNoteIn, responses={201: EntryOut, **CONFLICTS})
    def post(self, request: Request, reference: str) -> Response:
        """Write a note. It stays in the timeline."""
        text = validated(BreachNoteIn, request.data)["text"]
        return Response(EntryOut(add_note(self.breach(reference), text, by=self.actor)).data, status=201)


class SilenceBreach(_One):
    @extend_schema(operation_id="silence_breach", request=SilenceBreachIn, responses={201: SilenceOut, **CONFLICTS})
    def post(self, request: Request, reference: str) -> Response:
        """Tell nobody of it until `expires_at`."""
        asked = validated(SilenceBreachIn, request.data)
        made = silence_breach(self.breach(reference), **asked, by=self.actor)
        return Response(SilenceOut(made, context={"now": timezone.now()}).data, status=201)


class CloseBreach(_One):
    @extend_schema(operation_id="close_breach", request=Reason, responses={200: BreachOut, **CONFLICTS})
    def post(self, request: Request, reference: str) -> Response:
        """End one that nobody looks at any more (`unwatched_since`), or that could not be measured for more than an hour (`frozen_at`)."""
        reason = validated(Reason, request.data)["reason"]
        return Response(BreachOut(close(self.breach(reference), by=self.actor, reason=reason)).data)
