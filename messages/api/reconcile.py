"""REST of reconciliations: begun, given their list as a stream, read set by set or as a CSV."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.http import StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, inline_serializer
from rest_framework import serializers
from rest_framework.exceptions import UnsupportedMediaType
from rest_framework.parsers import BaseParser
from rest_framework.request import Request
from rest_framework.response import Response

from console.core.bodies import refusal_of
from console.core.errors import ConsoleError
from console.core.paging import parse_limit
from console.identity.access import get_visible_environment
from messages.access import get_visible_flow_named
from messages.api.base import (
    CONFLICTS,
    LIST_PARAMETERS,
    PROBLEMS,
    Moment,
    PerhapsReason,
    View,
    problems,
    uuid_or_404,
    validated,
)
from messages.models import ReconciledKey, Reconciliation
from messages.reconcile.access import get_visible_reconciliation
from messages.reconcile.export import csv_of
from messages.reconcile.queries import as_shown, find_keys, find_reconciliations, letters_of_keys
from messages.reconcile.services import (
    NewReconciliation,
    begin_reconciliation,
    cancel_reconciliation,
    compare_again,
    receive_keys,
    receive_list,
    remove_reconciliation,
)
from messages.reconcile.sets import SETS, set_named

PAGED = [one for one in LIST_PARAMETERS if one.name in ("limit", "cursor", "environment")]
COLUMN = OpenApiParameter("column", str, description="Header of the CSV's column, when it is not called like the key.")
SET = OpenApiParameter("set", str, description=f"One of {', '.join(SETS)}.", enum=list(SETS))
PART = 64 * 1024


class ReconciliationOut(serializers.Serializer[Any]):
    """A reconciliation. listed = processed + failed + moving + never; twice are counted among them; counts are of `evaluated_at`."""

    id = serializers.UUIDField()
    environment = serializers.SlugField(source="environment.slug")
    flow = serializers.CharField(source="flow.name")
    check = serializers.IntegerField(source="of_check_id", allow_null=True)
    name = serializers.CharField()
    key = serializers.CharField(source="key_name")
    system = serializers.CharField(
        source="system.name",
        default=None,
        allow_null=True,
        help_text="The receiving system that alone decides; null: any.",
    )
    since = serializers.DateTimeField()
    until = serializers.DateTimeField()
    created_at = serializers.DateTimeField()
    created_by = serializers.CharField()
    state = serializers.ChoiceField(choices=Reconciliation.State.choices)
    problem = serializers.CharField()
    steps_done = serializers.IntegerField()
    steps = serializers.IntegerField()
    received_at = serializers.DateTimeField(allow_null=True)
    lines = serializers.IntegerField(help_text="Lines that say something: keys and bad ones.")
    blank_lines = serializers.IntegerField()
    bad_lines = serializers.IntegerField()
    bad = serializers.ListField(child=serializers.DictField(), help_text="The first 100 of them: `line` and `why`.")
    evaluated_at = serializers.DateTimeField(allow_null=True)
    listed = serializers.IntegerField(help_text="Different keys of the list.")
    repeated = serializers.IntegerField(help_text="Lines that say a key again.")
    arrived = serializers.IntegerField()
    processed = serializers.IntegerField()
    failed = serializers.IntegerField()
    moving = serializers.IntegerField()
    never = serializers.IntegerField()
    twice = serializers.IntegerField()
    unlisted = serializers.IntegerField()
    messages = serializers.IntegerField(help_text="Of the flow in the period.")
    without_key = serializers.IntegerField()


class ReconciliationIn(serializers.Serializer[Any]):
    """What is compared. `keys` may carry a short list at once; a longer one is sent to `…/list`."""

    environment = serializers.SlugField()
    flow = serializers.CharField(max_length=200)
    key = serializers.CharField(max_length=64, help_text="Name of the business key, e.g. order_no.")
    since = Moment(help_text="Messages first seen from then on…")
    until = Moment(help_text="… and before then.")
    system = serializers.CharField(
        max_length=120, allow_blank=True, default="", help_text="The receiving system that alone decides; empty: any."
    )
    name = serializers.CharField(max_length=120, allow_blank=True, default="")
    keys = serializers.ListField(
        child=serializers.CharField(max_length=256), max_length=10_000, required=False, allow_empty=False
    )


class ReconciledKeyOut(serializers.Serializer[Any]):
    key = serializers.CharField()
    outcome = serializers.ChoiceField(source="get_kind_display", choices=ReconciledKey.Kind.labels)
    times_on_list = serializers.IntegerField(source="listed")
    line = serializers.IntegerField(allow_null=True)
    messages = serializers.IntegerField(
        help_text="How many carry it; of several, how many one system took or sent under ids of their own. With a named system how many that took."
    )
    message = serializers.UUIDField(
        source="message_uid",
        allow_null=True,
        help_text="The message that decided; null where a dead letter of no message did.",
    )
    dead_letter = serializers.SerializerMethodField(help_text="Its newest dead letter that the key may see.")

    def get_dead_letter(self, row: ReconciledKey) -> str | None:
        letter = self.context["letters"].get(row.decided_by)
        return str(letter.pk) if letter else None


class ListParser(BaseParser):
    """Leaves a list on the wire: it is read in parts, whatever its media type says."""

    media_type = "*/*"

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> Any:
        if (media_type or "").startswith("multipart/"):
            raise UnsupportedMediaType("multipart", "send the list itself as the body, as text/csv or text/plain")
        return stream


def parts_of(request: Request) -> Iterator[bytes]:
    """Yield the body in parts of 64 KiB; raises BodyCut, BodyTooSlow."""
    stream: Any = request.data
    try:
        while part := stream.read(PART) if hasattr(stream, "read") else b"":  # no body at all is no stream
            yield part
    except OSError as error:
        raise (refusal_of(request) or error) from error


LIST = {"text/csv": OpenApiTypes.BINARY, "text/plain": OpenApiTypes.BINARY}
RECEIVED = CONFLICTS | problems(413, 503)
FOUND = inline_serializer(
    "ReconciliationList", {"results": ReconciliationOut(many=True), "next": serializers.URLField(allow_null=True)}
)
KEYS = inline_serializer(
    "ReconciledKeyList", {"results": ReconciledKeyOut(many=True), "next": serializers.URLField(allow_null=True)}
)


class Reconciliations(View):
    @extend_schema(operation_id="list_reconciliation", parameters=PAGED, responses={200: FOUND, **PROBLEMS})
    def get(self, request: Request) -> Response:
        """Reconciliations, the newest first."""
        found = find_reconciliations(
            self.actor,
            environments=self.environments(),
            limit=parse_limit(request.query_params.get("limit")),
            cursor=request.query_params.get("cursor") or None,
        )
        return self.page(found, ReconciliationOut)

    @extend_schema(
        operation_id="begin_reconciliation", request=ReconciliationIn, responses={201: ReconciliationOut, **RECEIVED}
    )
    def post(self, request: Request) -> Response:
        """Begin a reconciliation; without `keys` it waits for its list. For operators of the flow."""
        asked = validated(ReconciliationIn, request.data)
        environment = get_visible_environment(self.actor, asked["environment"])
        flow = get_visible_flow_named(self.actor, environment, asked["flow"])
        said = NewReconciliation(
            name=asked["name"],
            key_name=asked["key"],
            since=asked["since"],
            until=asked["until"],
            system=asked["system"],
        )
        made = begin_reconciliation(flow, said, by=self.actor)
        if "keys" in asked:
            try:
                receive_keys(made, asked["keys"], by=self.actor)
            except ConsoleError:
                remove_reconciliation(made, by=self.actor, reason="its list was refused")
                raise
        return Response(ReconciliationOut(get_visible_reconciliation(self.actor, made.pk)).data, status=201)


class OneReconciliation(View):
    @extend_schema(operation_id="read_reconciliation", responses={200: ReconciliationOut, **PROBLEMS})
    def get(self, request: Request, pk: str) -> Response:
        """One reconciliation with its counts and how far it is."""
        return Response(ReconciliationOut(get_visible_reconciliation(self.actor, uuid_or_404(pk))).data)

    @extend_schema(operation_id="remove_reconciliation", request=PerhapsReason, responses={204: None, **PROBLEMS})
    def delete(self, request: Request, pk: str) -> Response:
        """Remove a reconciliation and its list, perhaps with a `reason`."""
        one = get_visible_reconciliation(self.actor, uuid_or_404(pk))
        remove_reconciliation(one, by=self.actor, reason=validated(PerhapsReason, request.data or {})["reason"])
        return Response(status=204)


class ReconciliationKeysList(View):
    parser_classes = (ListParser,)

    @extend_schema(
        operation_id="receive_reconciliation_list",
        parameters=[COLUMN],
        request=LIST,
        responses={202: ReconciliationOut, **RECEIVED},
    )
    def put(self, request: Request, pk: str) -> Response:
        """Send the list as the body: one key a line, or a CSV whose header names the column. Up to 1,000,000 keys, whole or not at all."""
        one = get_visible_reconciliation(self.actor, uuid_or_404(pk))
        column = request.query_params.get("column", "").replace("\x00", "")
        received = receive_list(one, parts_of(request), column=column, by=self.actor)
        return Response(ReconciliationOut(received).data, status=202)


class _Action(View):
    def told(self, pk: str, do: Any) -> Response:
        one = do(get_visible_reconciliation(self.actor, uuid_or_404(pk)), by=self.actor)
        return Response(ReconciliationOut(one).data)


class CompareAgain(_Action):
    @extend_schema(operation_id="compare_again", request=None, responses={200: ReconciliationOut, **CONFLICTS})
    def post(self, request: Request, pk: str) -> Response:
        """Compare the list that there is with what has come meanwhile."""
        return self.told(pk, compare_again)


class CancelReconciliation(_Action):
    @extend_schema(operation_id="cancel_reconciliation", request=None, responses={200: ReconciliationOut, **CONFLICTS})
    def post(self, request: Request, pk: str) -> Response:
        """Stop an upload or a comparison."""
        return self.told(pk, cancel_reconciliation)


class ReconciledKeys(View):
    @extend_schema(
        operation_id="list_reconciled_key",
        parameters=[SET, *(one for one in PAGED if one.name != "environment")],
        responses={200: KEYS, **CONFLICTS},
    )
    def get(self, request: Request, pk: str) -> Response:
        """The keys of one set, by outcome and key. A cursor is of one comparison: when the list was compared again, begin without one."""
        one = get_visible_reconciliation(self.actor, uuid_or_404(pk))
        found = find_keys(
            one,
            set_named(request.query_params.get("set", "")),
            limit=parse_limit(request.query_params.get("limit")),
            cursor=request.query_params.get("cursor") or None,
        )
        letters = letters_of_keys(self.actor, one, found.rows)
        rows = ReconciledKeyOut(as_shown(self.actor, one, found.rows), many=True, context={"letters": letters}).data
        return Response({"results": rows, "next": self._next(found.next)})


class ReconciliationCsv(View):
    @extend_schema(
        operation_id="read_reconciliation_csv",
        parameters=[SET],
        responses={(200, "text/csv"): OpenApiTypes.BINARY, **PROBLEMS},
    )
    def get(self, request: Request, pk: str) -> StreamingHttpResponse:
        """Every key with its outcome, or one set, as a CSV. A cell that a spreadsheet would take for a formula begins with an apostrophe.

        An answer that is not whole, because the list was compared again meanwhile, says so in its last line and breaks off.
        """
        one = get_visible_reconciliation(self.actor, uuid_or_404(pk))
        slug = request.query_params.get("set", "")
        return csv_of(self.actor, one, set_named(slug) if slug else None)
