"""REST of scheduled checks, and of the list that each expects."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema, inline_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from console.core.calendars import clock_text, parse_clock
from console.core.paging import parse_limit
from console.identity.access import get_visible_environment
from messages.access import get_visible_flow_named
from messages.api.base import CONFLICTS, PROBLEMS, View, number_or_404, validated
from messages.api.reconcile import COLUMN, LIST, PAGED, RECEIVED, ListParser, ReconciliationOut, parts_of
from messages.api.saved import OutboxMailOut
from messages.models import ReconciliationCheck
from messages.reconcile.access import get_visible_check
from messages.reconcile.check_services import NewCheck, add_check, change_check, receive_list_of_check, remove_check
from messages.reconcile.checking import about_of
from messages.reconcile.queries import find_checks
from messages.saved.outbox import cannot_tell, mails_about


class ReconciliationCheckOut(serializers.Serializer[Any]):
    """A scheduled check and what it decided last. Its hook for alerts is `state`: `raised` with the reason in `problem`."""

    id = serializers.IntegerField(source="pk")
    environment = serializers.SlugField(source="environment.slug")
    flow = serializers.CharField(source="flow.name")
    owner = serializers.CharField(source="owner.username", help_text="Who is told.")
    name = serializers.CharField()
    key = serializers.CharField(source="key_name")
    system = serializers.CharField(
        source="system.name",
        default=None,
        allow_null=True,
        help_text="The receiving system that alone decides; null: any.",
    )
    due = serializers.SerializerMethodField(help_text="Time of day.")
    days = serializers.ListField(child=serializers.IntegerField())
    time_zone = serializers.CharField()
    hours = serializers.IntegerField(help_text="Its list is of so many hours before it is due.")
    state = serializers.ChoiceField(choices=ReconciliationCheck.State.choices)
    state_since = serializers.DateTimeField()
    problem = serializers.CharField()
    cannot_tell = serializers.SerializerMethodField(
        help_text="Why no mail can reach its owner now, such as a missing mail address (`PATCH users/<id>`), and what to do; empty when mails go."
    )
    due_at = serializers.DateTimeField()
    checked_at = serializers.DateTimeField(allow_null=True)
    told_at = serializers.DateTimeField(allow_null=True)

    def get_due(self, check: ReconciliationCheck) -> str:
        return clock_text(check.minute)

    def get_cannot_tell(self, check: ReconciliationCheck) -> str:
        return cannot_tell(check.owner, reader=False)


class ReconciliationCheckWithMails(ReconciliationCheckOut):
    mails = serializers.SerializerMethodField()

    def get_mails(self, check: ReconciliationCheck) -> list[dict[str, Any]]:
        return list(OutboxMailOut(mails_about(about_of(check.pk)), many=True).data)


class ReconciliationCheckChangeIn(serializers.Serializer[Any]):
    """When a check is due, and of what its list is."""

    name = serializers.CharField(max_length=120)
    key = serializers.CharField(max_length=64)
    system = serializers.CharField(
        max_length=120, allow_blank=True, default="", help_text="The receiving system that alone decides; empty: any."
    )
    due = serializers.CharField(max_length=5, help_text="Time of day, e.g. 06:30.")
    days = serializers.ListField(child=serializers.IntegerField(), max_length=7, default=[1, 2, 3, 4, 5, 6, 7])
    time_zone = serializers.CharField(max_length=60, default="UTC")
    hours = serializers.IntegerField(default=24)


class ReconciliationCheckIn(ReconciliationCheckChangeIn):
    environment = serializers.SlugField()
    flow = serializers.CharField(max_length=200)


FOUND = inline_serializer(
    "ReconciliationCheckList",
    {"results": ReconciliationCheckOut(many=True), "next": serializers.URLField(allow_null=True)},
)


def _said(asked: dict[str, Any]) -> NewCheck:
    return NewCheck(
        name=asked["name"],
        key_name=asked["key"],
        minute=parse_clock(asked["due"]),
        days=asked["days"],
        time_zone=asked["time_zone"],
        hours=asked["hours"],
        system=asked["system"],
    )


class ReconciliationChecks(View):
    @extend_schema(operation_id="list_reconciliation_check", parameters=PAGED, responses={200: FOUND, **PROBLEMS})
    def get(self, request: Request) -> Response:
        """Scheduled checks with their states, the newest first."""
        found = find_checks(
            self.actor,
            environments=self.environments(),
            limit=parse_limit(request.query_params.get("limit")),
            cursor=request.query_params.get("cursor") or None,
        )
        return self.page(found, ReconciliationCheckOut)

    @extend_schema(
        operation_id="add_reconciliation_check",
        request=ReconciliationCheckIn,
        responses={201: ReconciliationCheckWithMails, **CONFLICTS},
    )
    def post(self, request: Request) -> Response:
        """Make a check; the key's user is told. For operators of the flow."""
        asked = validated(ReconciliationCheckIn, request.data)
        environment = get_visible_environment(self.actor, asked["environment"])
        flow = get_visible_flow_named(self.actor, environment, asked["flow"])
        made = add_check(flow, _said(asked), by=self.actor)
        return Response(ReconciliationCheckWithMails(get_visible_check(self.actor, made.pk)).data, status=201)


class OneReconciliationCheck(View):
    @extend_schema(operation_id="read_reconciliation_check", responses={200: ReconciliationCheckWithMails, **PROBLEMS})
    def get(self, request: Request, pk: str) -> Response:
        """One check, with its latest mails."""
        return Response(ReconciliationCheckWithMails(get_visible_check(self.actor, number_or_404(pk))).data)

    @extend_schema(
        operation_id="change_reconciliation_check",
        request=ReconciliationCheckChangeIn,
        responses={200: ReconciliationCheckWithMails, **CONFLICTS},
    )
    def put(self, request: Request, pk: str) -> Response:
        """Change a check; it begins anew, and the key's user is told from then on."""
        check = get_visible_check(self.actor, number_or_404(pk))
        change_check(
            check,
            _said(validated(ReconciliationCheckChangeIn, request.data, answers=ReconciliationCheckWithMails)),
            by=self.actor,
        )
        return Response(ReconciliationCheckWithMails(get_visible_check(self.actor, check.pk)).data)

    @extend_schema(operation_id="remove_reconciliation_check", responses={204: None, **PROBLEMS})
    def delete(self, request: Request, pk: str) -> Response:
        """Remove a check; its reconciliations stay."""
        remove_check(get_visible_check(self.actor, number_or_404(pk)), by=self.actor)
        return Response(status=204)


class ReconciliationCheckKeysList(View):
    parser_classes = (ListParser,)

    @extend_schema(
        operation_id="receive_reconciliation_check_list",
        parameters=[COLUMN],
        request=LIST,
        responses={202: ReconciliationOut, **RECEIVED},
    )
    def put(self, request: Request, pk: str) -> Response:
        """Send the list that is due next, as a body; sent again, it takes the place of the first."""
        check = get_visible_check(self.actor, number_or_404(pk))
        column = request.query_params.get("column", "").replace("\x00", "")
        one = receive_list_of_check(check, parts_of(request), column=column, by=self.actor)
        return Response(ReconciliationOut(one).data, status=202)
