"""REST of saved searches and of one's own subscription to each."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_field, inline_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from console.core.calendars import clock_text, parse_clock
from console.core.errors import Invalid, NotFound
from console.core.paging import parse_limit
from console.core.words import COUNT_CAP
from console.identity.access import get_visible_environment
from console.identity.models import Team
from messages.api.base import CONFLICTS, LIST_PARAMETERS, PROBLEMS, View, number_or_404, validated
from messages.models import OutboxMail, SavedSearch, Subscription
from messages.saved.access import get_visible_saved_search, teams_to_share_with
from messages.saved.outbox import cannot_tell
from messages.saved.queries import count_of, find_saved_searches, mails_of, subscription_of
from messages.saved.services import NewSearch, Wish, change_search, remove_search, save_search, subscribe, unsubscribe
from messages.saved.words import list_path

PAGED = [one for one in LIST_PARAMETERS if one.name in ("limit", "cursor", "environment")]
OF = OpenApiParameter("of", str, description="`messages` or `dead-letters`; without it, both.")


COUNTED = f"Up to {COUNT_CAP:,}: no more are counted."
MORE = "More match than were counted."


def _counted(count: int | None) -> dict[str, Any]:
    """Return a count that goes to one above its cap as REST tells it."""
    at_least = count is not None and count > COUNT_CAP
    return {"count": COUNT_CAP if at_least else count, "at_least": at_least}


class SavedSearchOut(serializers.Serializer[Any]):
    """A saved search. `q` is read anew whenever it is used."""

    id = serializers.IntegerField(source="pk")
    environment = serializers.SlugField(source="environment.slug")
    of = serializers.ChoiceField(choices=SavedSearch.Of.choices)
    name = serializers.CharField()
    q = serializers.CharField()
    window = serializers.CharField(help_text="A span such as 7d; empty: that of the list.")
    team = serializers.IntegerField(source="team_id", allow_null=True)
    team_name = serializers.CharField(source="team.name", allow_null=True, default=None)
    owner = serializers.CharField(source="owner.username")
    page = serializers.SerializerMethodField(help_text="Address of the list that it opens.")
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()

    def get_page(self, search: SavedSearch) -> str:
        return list_path(search)


class SavedSearchWithCount(SavedSearchOut):
    """A saved search and what it finds now: null with a `problem` when its query cannot be read any more, or takes too long."""

    count = serializers.IntegerField(allow_null=True, help_text=COUNTED)
    at_least = serializers.BooleanField(help_text=MORE)
    problem = serializers.CharField()


@extend_schema_field({"oneOf": [{"type": "string"}, {"type": "integer"}], "nullable": True})
class TeamField(serializers.Field[int | str, Any, Any, Any]):
    """A team by its name, or by the id that a saved search has for it."""

    default_error_messages = {"invalid": "the name of a team, or its id"}

    def to_internal_value(self, data: Any) -> int | str:
        if isinstance(data, bool) or not isinstance(data, int | str):
            self.fail("invalid")
        return data


class SavedSearchChangeIn(serializers.Serializer[Any]):
    """What a saved search says. `team`: one of one's teams, by name or id; null for oneself alone."""

    name = serializers.CharField(max_length=80)
    q = serializers.CharField(max_length=4_000, allow_blank=True)
    window = serializers.CharField(max_length=12, allow_blank=True, default="")
    team = TeamField(allow_null=True, default=None)


class SavedSearchIn(SavedSearchChangeIn):
    environment = serializers.SlugField()
    of = serializers.ChoiceField(choices=SavedSearch.Of.choices)


class OutboxMailOut(serializers.Serializer[Any]):
    """A mail of the outbox. `given_up` says why in `answer`."""

    id = serializers.UUIDField()
    created_at = serializers.DateTimeField()
    subject = serializers.CharField()
    state = serializers.ChoiceField(choices=OutboxMail.State.choices)
    attempts = serializers.IntegerField(source="attempt")
    answer = serializers.CharField(help_text="What the mail server said last.")
    next_try_at = serializers.DateTimeField(allow_null=True)
    finished_at = serializers.DateTimeField(allow_null=True)


class SubscriptionOut(serializers.Serializer[Any]):
    """One's own subscription, what the last look found, and its latest mails."""

    when = serializers.ChoiceField(choices=Subscription.When.choices)
    minutes = serializers.IntegerField(allow_null=True)
    digest_minutes = serializers.IntegerField(allow_null=True)
    days = serializers.ListField(child=serializers.IntegerField())
    begins = serializers.SerializerMethodField()
    ends = serializers.SerializerMethodField()
    time_zone = serializers.CharField()
    state = serializers.ChoiceField(choices=Subscription.State.choices)
    state_since = serializers.DateTimeField()
    problem = serializers.CharField(help_text="Why it is broken or stopped, or why the last look said nothing.")
    cannot_tell = serializers.SerializerMethodField(
        help_text="Why no mail of it can go now, such as a missing mail address (`PATCH users/<id>`), and what to do; empty when mails go."
    )
    count = serializers.SerializerMethodField(help_text=COUNTED)
    at_least = serializers.SerializerMethodField(help_text=MORE)
    last_looked_at = serializers.DateTimeField(allow_null=True)
    last_matched_at = serializers.DateTimeField(allow_null=True)
    told_at = serializers.DateTimeField(allow_null=True)
    next_look_at = serializers.DateTimeField(allow_null=True)
    mails = serializers.SerializerMethodField()

    def get_begins(self, subscription: Subscription) -> str:
        return clock_text(subscription.from_minute)

    def get_ends(self, subscription: Subscription) -> str:
        return clock_text(subscription.until_minute)

    def get_count(self, subscription: Subscription) -> int | None:
        found: int | None = _counted(subscription.count)["count"]
        return found

    def get_at_least(self, subscription: Subscription) -> bool:
        return bool(_counted(subscription.count)["at_least"])

    def get_cannot_tell(self, subscription: Subscription) -> str:
        return cannot_tell(subscription.owner, reader=True)

    def get_mails(self, subscription: Subscription) -> list[dict[str, Any]]:
        return list(OutboxMailOut(mails_of(subscription), many=True).data)


class SubscriptionIn(serializers.Serializer[Any]):
    """When to be told: `matches`, with news at most every `digest_minutes`; or `silent` for `minutes` of working time."""

    when = serializers.ChoiceField(choices=Subscription.When.choices)
    minutes = serializers.IntegerField(allow_null=True, default=None)
    digest_minutes = serializers.IntegerField(allow_null=True, default=None)
    days = serializers.ListField(child=serializers.IntegerField(), max_length=7, default=[1, 2, 3, 4, 5])
    begins = serializers.CharField(max_length=5, default="00:00")
    ends = serializers.CharField(max_length=5, default="24:00")
    time_zone = serializers.CharField(max_length=60, default="UTC")


SEARCHES = inline_serializer(
    "SavedSearchList", {"results": SavedSearchOut(many=True), "next": serializers.URLField(allow_null=True)}
)


def _said(asked: dict[str, Any], teams: Iterable[Team]) -> NewSearch:
    """Return what is asked for; a team that is none of these is left to be refused."""
    team = asked["team"]
    team_id = next(
        (one.pk for one in teams if team in {one.name, one.pk, str(one.pk)}), team if isinstance(team, int) else 0
    )
    return NewSearch(
        name=asked["name"], q=asked["q"], window=asked["window"], team_id=None if team in {None, ""} else team_id
    )


class _Told(View):
    def told(self, pk: int) -> dict[str, Any]:
        """Return a saved search with what it finds now."""
        search = get_visible_saved_search(self.actor, pk)
        counted = count_of(self.actor, search)
        return {**SavedSearchOut(search).data, **_counted(counted.count), "problem": counted.problem}


class SavedSearches(_Told):
    @extend_schema(operation_id="list_saved_search", parameters=[*PAGED, OF], responses={200: SEARCHES, **PROBLEMS})
    def get(self, request: Request) -> Response:
        """One's own saved searches and those shared with one's teams, the newest first."""
        of = request.query_params.get("of", "")
        if of not in {"", *SavedSearch.Of.values}:
            raise Invalid("of is messages or dead-letters")
        found = find_saved_searches(
            self.actor,
            environments=self.environments(),
            of=of,
            limit=parse_limit(request.query_params.get("limit")),
            cursor=request.query_params.get("cursor") or None,
        )
        return self.page(found, SavedSearchOut)

    @extend_schema(
        operation_id="save_search", request=SavedSearchIn, responses={201: SavedSearchWithCount, **CONFLICTS}
    )
    def post(self, request: Request) -> Response:
        """Keep a query under a name."""
        asked = validated(SavedSearchIn, request.data)
        environment = get_visible_environment(self.actor, asked["environment"])
        made = save_search(
            environment, asked["of"], _said(asked, teams_to_share_with(self.actor, environment)), by=self.actor
        )
        return Response(self.told(made.pk), status=201)


class OneSavedSearch(_Told):
    @extend_schema(operation_id="read_saved_search", responses={200: SavedSearchWithCount, **PROBLEMS})
    def get(self, request: Request, pk: str) -> Response:
        """One saved search and what it finds now."""
        return Response(self.told(number_or_404(pk)))

    @extend_schema(
        operation_id="change_saved_search",
        request=SavedSearchChangeIn,
        responses={200: SavedSearchWithCount, **CONFLICTS},
    )
    def put(self, request: Request, pk: str) -> Response:
        """Edit, rename, share; for its owner and administrators of its team."""
        search = get_visible_saved_search(self.actor, number_or_404(pk))
        asked = validated(SavedSearchChangeIn, request.data, answers=SavedSearchWithCount)
        teams = [*teams_to_share_with(self.actor, search.environment), *([search.team] if search.team else [])]
        change_search(search, _said(asked, teams), by=self.actor)
        return Response(self.told(search.pk))

    @extend_schema(operation_id="remove_saved_search", responses={204: None, **PROBLEMS})
    def delete(self, request: Request, pk: str) -> Response:
        """Remove a saved search and every subscription to it."""
        remove_search(get_visible_saved_search(self.actor, number_or_404(pk)), by=self.actor)
        return Response(status=204)


class OneSubscription(View):
    @extend_schema(operation_id="read_subscription", responses={200: SubscriptionOut, **PROBLEMS})
    def get(self, request: Request, pk: str) -> Response:
        """One's own subscription to a saved search."""
        search = get_visible_saved_search(self.actor, number_or_404(pk))
        found = subscription_of(self.actor, search)
        if found is None:
            raise NotFound("you are not subscribed to this saved search")
        return Response(SubscriptionOut(found).data)

    @extend_schema(operation_id="subscribe", request=SubscriptionIn, responses={200: SubscriptionOut, **PROBLEMS})
    def put(self, request: Request, pk: str) -> Response:
        """Be told of a saved search, or of something else than before; looked at within a minute."""
        search = get_visible_saved_search(self.actor, number_or_404(pk))
        asked = validated(SubscriptionIn, request.data, answers=SubscriptionOut)
        begins, ends = parse_clock(asked.pop("begins")), parse_clock(asked.pop("ends"))
        made = subscribe(search, Wish(from_minute=begins, until_minute=ends, **asked), by=self.actor)
        return Response(SubscriptionOut(made).data)

    @extend_schema(operation_id="unsubscribe", responses={204: None, **PROBLEMS})
    def delete(self, request: Request, pk: str) -> Response:
        """Be told no more."""
        unsubscribe(get_visible_saved_search(self.actor, number_or_404(pk)), by=self.actor)
        return Response(status=204)
