"""What is different about failed messages, in REST: letters like one, and those of a failure group."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from messages.access import get_visible_dead_letter
from messages.api.base import PROBLEMS, View, uuid_or_404
from messages.different.found import Differences
from messages.different.queries import letters_like, letters_of_group, messages_of_group, window_of, window_of_group
from messages.different.services import find_differences
from messages.different.traits import in_words
from messages.groups.access import get_visible_group


class DifferenceOut(serializers.Serializer[Any]):
    """What is more frequent among failed messages than among those that were delivered where they failed. It says nothing of causes."""

    words = serializers.SerializerMethodField(
        help_text="`customer.vat is missing in 98 % of failed, 0.3 % of delivered`."
    )
    place = serializers.CharField()
    what = serializers.CharField(source="words")
    failed = serializers.IntegerField()
    of_failed = serializers.IntegerField()
    delivered = serializers.IntegerField()
    of_delivered = serializers.IntegerField()
    least = serializers.FloatField(
        help_text="How much larger the share is at least: the lower end of a 99 % interval, 0 to 1."
    )
    also = serializers.ListField(
        child=serializers.CharField(), help_text="What is the same of exactly the same messages."
    )

    def get_words(self, difference: Any) -> str:
        return in_words(difference)


class DifferencesOut(serializers.Serializer[Any]):
    """A sample of failed messages beside a sample of delivered ones."""

    at = serializers.DateTimeField(help_text="When they were compared; an answer is kept for five minutes.")
    since = serializers.DateTimeField()
    until = serializers.DateTimeField()
    failed = serializers.IntegerField(
        help_text="Failures that were looked at: a message and its dead letter are one, also where the letter names none but its document."
    )
    delivered = serializers.IntegerField(help_text="Messages that were looked at.")
    nameless = serializers.IntegerField(
        help_text="Of the failed, dead letters that name no message and are of none that is known: it may be one that counts beside them."
    )
    events_failed = serializers.IntegerField(
        help_text="Of the failed, how many some event told of; all but bodies and headers is compared of these alone."
    )
    events_delivered = serializers.IntegerField(help_text="Of the delivered, how many some event told of.")
    small_sample = serializers.BooleanField(source="is_small")
    with_bodies = serializers.BooleanField(help_text="Whether the caller may have bodies and headers read.")
    bodies_failed = serializers.IntegerField()
    bodies_delivered = serializers.IntegerField()
    left_out = serializers.IntegerField(
        help_text="Bodies that were too large, unreadable, withheld, or not read in time."
    )
    cut = serializers.BooleanField(help_text="Not every place was looked at.")
    differences = DifferenceOut(source="all", many=True)


def different_response(found: Differences) -> Response:
    response = Response(DifferencesOut(found).data)
    response["Cache-Control"] = "no-store"
    return response


class LettersLikeThis(View):
    @extend_schema(operation_id="read_what_is_different", responses={200: DifferencesOut, **PROBLEMS})
    def get(self, request: Request, pk: str) -> Response:
        """What letters of the same flow, system and error have and delivered messages do not; audited when bodies were read."""
        letter = get_visible_dead_letter(self.actor, uuid_or_404(pk))
        window = window_of(letter, now=datetime.now(UTC))
        return different_response(
            find_differences(self.actor, letter.flow, letters_like(self.actor, letter, window), window)
        )


class DifferentInGroup(View):
    @extend_schema(operation_id="read_what_is_different_in_group", responses={200: DifferencesOut, **PROBLEMS})
    def get(self, request: Request, reference: str) -> Response:
        """What failed messages of a group have and those that were delivered where they failed do not; audited when bodies were read."""
        group = get_visible_group(self.actor, reference)
        window = window_of_group(group, now=datetime.now(UTC))
        letters = letters_of_group(self.actor, group, window)
        failed = messages_of_group(self.actor, group, window)
        return different_response(find_differences(self.actor, group.flow, letters, window, failed))
