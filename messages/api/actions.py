"""The REST views that act: replay, discard, restore, and what a person decides of an unproved replay."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema, inline_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from console.core.errors import NotFound
from messages.access import get_visible_dead_letter, visible_replays
from messages.api import serializers as out
from messages.api.base import CONFLICTS, Reason, View, uuid_or_404, validated
from messages.dead_letters.services import discard_dead_letter, restore_dead_letter
from messages.models import Replay
from messages.replay.hints import hints_of
from messages.replay.services import mark_processed, request_replay, send_again


class ReplayIn(Reason):
    """Why, and where to when it is not where the letter came from (on the same connection)."""

    destination = serializers.CharField(max_length=300, required=False)
    expiry = serializers.ChoiceField(
        choices=Replay.Expiry.choices, required=False,
        help_text="drop: it goes out without an expiry. keep: with the time to live it had, counted anew. Without: as the letter says.",
    )  # fmt: skip


class ReplayDeadLetter(View):
    @extend_schema(operation_id="replay_dead_letter", request=ReplayIn, responses={202: out.ReplayOut, **CONFLICTS})
    def post(self, request: Request, pk: str) -> Response:
        """Queue a replay; follow it at /api/v1/replays/<id> until it is processed, failed_again, refused or unknown."""
        letter = get_visible_dead_letter(self.actor, uuid_or_404(pk))
        asked = validated(ReplayIn, request.data)
        replay = request_replay(
            letter,
            by=self.actor,
            reason=asked["reason"],
            destination=asked.get("destination"),
            expiry=asked.get("expiry", ""),
        )
        return Response(out.ReplayOut(replay).data, status=202)


class DiscardDeadLetter(View):
    @extend_schema(operation_id="discard_dead_letter", request=Reason, responses={200: out.DeadLetterOut, **CONFLICTS})
    def post(self, request: Request, pk: str) -> Response:
        """Close a dead letter without sending it; it can be restored."""
        letter = get_visible_dead_letter(self.actor, uuid_or_404(pk))
        discard_dead_letter(letter, by=self.actor, reason=validated(Reason, request.data)["reason"])
        return Response(out.DeadLetterOut(letter, context=self.context).data)


class RestoreDeadLetter(View):
    @extend_schema(operation_id="restore_dead_letter", request=Reason, responses={200: out.DeadLetterOut, **CONFLICTS})
    def post(self, request: Request, pk: str) -> Response:
        """Open a dead letter again that was discarded, or that left its queue."""
        letter = get_visible_dead_letter(self.actor, uuid_or_404(pk))
        restore_dead_letter(letter, by=self.actor, reason=validated(Reason, request.data)["reason"])
        return Response(out.DeadLetterOut(letter, context=self.context).data)


class ReplayHints(View):
    @extend_schema(
        operation_id="list_replay_hints",
        responses={
            200: inline_serializer("HintList", {"results": serializers.ListField(child=serializers.CharField())}),
            **CONFLICTS,
        },
    )
    def get(self, request: Request, pk: str) -> Response:
        """What to mind before it is replayed, as its broker knows it: sentences, within two seconds."""
        letter = get_visible_dead_letter(self.actor, uuid_or_404(pk))
        return Response({"results": hints_of(letter, by=self.actor)})


class _OnReplay(View):
    def replay(self, pk: str) -> Replay:
        found = (
            visible_replays(self.actor)
            .select_related("dead_letter__flow__team", "dead_letter__environment")
            .filter(pk=uuid_or_404(pk))
            .first()
        )
        if found is None:
            raise NotFound("there is no such replay that you may see")
        return found

    def act(self, pk: str, action: Any) -> Response:
        replay = self.replay(pk)
        action(replay, by=self.actor, reason=validated(Reason, self.request.data)["reason"])
        replay.refresh_from_db()
        return Response(out.ReplayOut(replay).data)


class SendAgain(_OnReplay):
    @extend_schema(operation_id="send_replay_again", request=Reason, responses={200: out.ReplayOut, **CONFLICTS})
    def post(self, request: Request, pk: str) -> Response:
        """Send a replay of unknown outcome once more, with the same replay id."""
        return self.act(pk, send_again)


class MarkProcessed(_OnReplay):
    @extend_schema(operation_id="mark_replay_processed", request=Reason, responses={200: out.ReplayOut, **CONFLICTS})
    def post(self, request: Request, pk: str) -> Response:
        """Close the dead letter of a replay that nothing proves, on your word."""
        return self.act(pk, mark_processed)
