"""REST of a flow's compensation book: read, write, try on a message, end."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema, inline_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from console.core.errors import Invalid
from messages.access import get_visible_flow
from messages.api.base import Problem, Reason, View, number_or_404, validated
from messages.api.compensation_serializers import WouldUndoOut
from messages.api.views import PROBLEMS
from messages.compensation.access import get_visible_book
from messages.compensation.book import Book, book_of, export_book, parse_book
from messages.compensation.books import end_book, read_book, save_book
from messages.compensation.trying import Trial, try_book, versions_of
from messages.models import CompensationBook

CONTENT_HELP = "The book as an object; docs/compensation.md says what it takes."


class BookVersion(serializers.Serializer[Any]):
    """One version of a flow's book; the highest counts."""

    flow = serializers.CharField(source="flow.name")
    version = serializers.IntegerField()
    created_by = serializers.CharField()
    created_at = serializers.DateTimeField()
    reason = serializers.CharField()
    ended = serializers.SerializerMethodField(help_text="This version ended the book: nothing new is proposed.")

    def get_ended(self, version: CompensationBook) -> bool:
        return not version.content["steps"]


class BookOut(BookVersion):
    content = serializers.DictField(help_text=CONTENT_HELP)
    yaml = serializers.SerializerMethodField(help_text="The same as YAML, to keep beside the code.")

    def get_yaml(self, version: CompensationBook) -> str:
        return export_book(read_book(version)) if version.content["steps"] else ""


class BookContentIn(serializers.Serializer[Any]):
    """The book, as an object or as YAML: one of the two."""

    content = serializers.DictField(required=False, help_text=CONTENT_HELP)
    yaml = serializers.CharField(required=False, max_length=262_144, trim_whitespace=False)


class BookIn(BookContentIn):
    reason = serializers.CharField(max_length=1000)
    base = serializers.IntegerField(
        min_value=0, help_text="The version that the change began from; 0 when there was none."
    )


class BookEndIn(Reason):
    base = serializers.IntegerField(min_value=1)


class BookTrialIn(BookContentIn):
    on = serializers.CharField(
        required=False, default="", allow_blank=True, max_length=512,
        help_text="A dead letter, a message, or a message id; empty: the flow's latest dead letter.",
    )  # fmt: skip


class TrialOut(serializers.Serializer[Any]):
    dead_letter = serializers.SerializerMethodField()
    message = serializers.SerializerMethodField()
    steps = WouldUndoOut(many=True, source="rows", help_text="In the order of undoing.")
    not_completed = serializers.ListField(child=serializers.CharField(), help_text="Titles of the other steps.")

    def get_dead_letter(self, trial: Trial) -> str | None:
        return str(trial.target.letter.pk) if trial.target.letter else None

    def get_message(self, trial: Trial) -> str | None:
        return str(trial.target.message.id) if trial.target.message else None


def _said(asked: dict[str, Any]) -> Book:
    if ("content" in asked) == ("yaml" in asked):
        raise Invalid("say the book once: as content, or as yaml")
    return book_of(asked["content"]) if "content" in asked else parse_book(asked["yaml"])


class CompensationBookOfFlow(View):
    @extend_schema(
        operation_id="get_compensation_book",
        parameters=[OpenApiParameter("version", int, description="An older one.")],
        responses={200: BookOut, **PROBLEMS},
    )
    def get(self, request: Request, pk: str) -> Response:
        """The flow's compensation book, its newest version without `version`."""
        flow = get_visible_flow(self.actor, number_or_404(pk))
        asked = request.query_params.get("version")
        return Response(BookOut(get_visible_book(self.actor, flow, number_or_404(asked) if asked else None)).data)

    @extend_schema(
        operation_id="save_compensation_book", request=BookIn, responses={200: BookOut, 409: Problem, **PROBLEMS}
    )
    def put(self, request: Request, pk: str) -> Response:
        """Save a new version; 409 `book_changed` when another was saved since `base`. What runs keeps its own version."""
        flow = get_visible_flow(self.actor, number_or_404(pk))
        asked = validated(BookIn, request.data)
        saved = save_book(flow, _said(asked), by=self.actor, reason=asked["reason"], base=asked["base"])
        return Response(BookOut(saved).data)

    @extend_schema(
        operation_id="end_compensation_book", request=BookEndIn, responses={200: BookOut, 409: Problem, **PROBLEMS}
    )
    def delete(self, request: Request, pk: str) -> Response:
        """Have no book any more; its versions stay, and what runs goes on."""
        flow = get_visible_flow(self.actor, number_or_404(pk))
        asked = validated(BookEndIn, request.data)
        return Response(BookOut(end_book(flow, by=self.actor, reason=asked["reason"], base=asked["base"])).data)


class CompensationBookVersions(View):
    @extend_schema(
        operation_id="list_compensation_book_versions",
        responses={200: inline_serializer("BookVersionList", {"results": BookVersion(many=True)}), **PROBLEMS},
    )
    def get(self, request: Request, pk: str) -> Response:
        """The newest 50 versions of the flow's book."""
        flow = get_visible_flow(self.actor, number_or_404(pk))
        return Response({"results": BookVersion(versions_of(flow), many=True).data})


class TryCompensationBook(View):
    @extend_schema(operation_id="try_compensation_book", request=BookTrialIn, responses={200: TrialOut, **PROBLEMS})
    def post(self, request: Request, pk: str) -> Response:
        """What a book would undo for one message of this flow. Nothing is sent, nothing is kept."""
        flow = get_visible_flow(self.actor, number_or_404(pk))
        asked = validated(BookTrialIn, request.data)
        return Response(TrialOut(try_book(flow, _said(asked), asked["on"], by=self.actor)).data)
