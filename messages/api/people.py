"""REST of teams and people, for administrators of the whole console."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema, inline_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from console.identity.access import check_superuser, get_visible_environment
from console.identity.addresses import MOST, set_address
from console.identity.administration import add_member, create_team, create_user, remove_member
from console.identity.models import Membership, Role, Team, User
from console.identity.queries import find_teams, find_users, get_team, get_user
from messages.api.base import CONFLICTS, PROBLEMS, View, number_or_404, validated

ADDRESS = "Where this person's mails go: of subscriptions, checks and plans. Empty for none."
ROLES = {role.label.lower(): role for role in Role}


class MemberOut(serializers.ModelSerializer[Membership]):
    user = serializers.CharField(source="user.username")
    environment = serializers.SlugField(source="environment.slug")
    role = serializers.SerializerMethodField()

    class Meta:
        model = Membership
        fields = ("id", "user", "environment", "role")

    def get_role(self, membership: Membership) -> str:
        return Role(membership.role).label.lower()


class TeamOut(serializers.ModelSerializer[Team]):
    members = MemberOut(source="memberships", many=True)

    class Meta:
        model = Team
        fields = ("id", "name", "members")


class UserOut(serializers.ModelSerializer[User]):
    class Meta:
        model = User
        fields = ("id", "username", "email", "is_superuser", "last_login")


class TeamIn(serializers.Serializer[Any]):
    """A team's name."""

    name = serializers.CharField(max_length=80)


class UserIn(serializers.Serializer[Any]):
    """A person's first password has 12 characters or more."""

    username = serializers.CharField(max_length=150)
    password = serializers.CharField(max_length=500, trim_whitespace=False, write_only=True)
    email = serializers.CharField(max_length=MOST, allow_blank=True, default="", help_text=ADDRESS)


class UserChangeIn(serializers.Serializer[Any]):
    """What of a person changes."""

    email = serializers.CharField(max_length=MOST, allow_blank=True, help_text=ADDRESS)


class MemberIn(serializers.Serializer[Any]):
    """A role that replaces the one the person has in this team and environment."""

    user = serializers.CharField(max_length=150)
    environment = serializers.SlugField()
    role = serializers.ChoiceField(choices=sorted(ROLES))


def _list(name: str, shape: type[serializers.BaseSerializer[Any]]) -> Any:
    return extend_schema(
        operation_id=f"list_{name}",
        responses={200: inline_serializer(f"{shape.__name__}List", {"results": shape(many=True)}), **PROBLEMS},
    )


class Teams(View):
    @_list("teams", TeamOut)
    def get(self, request: Request) -> Response:
        """Every team with its members."""
        check_superuser(self.actor)
        return Response({"results": TeamOut(find_teams(), many=True).data})

    @extend_schema(operation_id="create_team", request=TeamIn, responses={201: TeamOut, **CONFLICTS})
    def post(self, request: Request) -> Response:
        """Make a team."""
        return Response(TeamOut(create_team(validated(TeamIn, request.data)["name"], by=self.actor)).data, status=201)


class Members(View):
    @extend_schema(operation_id="add_member", request=MemberIn, responses={201: MemberOut, **PROBLEMS})
    def post(self, request: Request, pk: str) -> Response:
        """Give a person a role in this team and environment."""
        check_superuser(self.actor)
        asked = validated(MemberIn, request.data)
        environment = get_visible_environment(self.actor, asked["environment"])
        made = add_member(get_team(pk), asked["user"], environment, ROLES[asked["role"]], by=self.actor)
        return Response(MemberOut(made).data, status=201)


class OneMember(View):
    @extend_schema(operation_id="remove_member", responses={204: None, **PROBLEMS})
    def delete(self, request: Request, pk: str) -> Response:
        """Take a role away."""
        remove_member(number_or_404(pk), by=self.actor)
        return Response(status=204)


class Users(View):
    @_list("users", UserOut)
    def get(self, request: Request) -> Response:
        """Everybody who can sign in."""
        check_superuser(self.actor)
        return Response({"results": UserOut(find_users(), many=True).data})

    @extend_schema(operation_id="create_user", request=UserIn, responses={201: UserOut, **CONFLICTS})
    def post(self, request: Request) -> Response:
        """Make a person who belongs to no team yet; their name reads as nobody else's, and not as the console's own."""
        asked = validated(UserIn, request.data)
        made = create_user(asked["username"], asked["password"], address=asked["email"], by=self.actor)
        return Response(UserOut(made).data, status=201)


class OneUser(View):
    @extend_schema(operation_id="read_user", responses={200: UserOut, **PROBLEMS})
    def get(self, request: Request, pk: str) -> Response:
        """One person."""
        check_superuser(self.actor)
        return Response(UserOut(get_user(number_or_404(pk))).data)

    @extend_schema(operation_id="change_user", request=UserChangeIn, responses={200: UserOut, **PROBLEMS})
    def patch(self, request: Request, pk: str) -> Response:
        """Set, change or clear a person's mail address. Audited without the address."""
        check_superuser(self.actor)
        asked = validated(UserChangeIn, request.data)
        return Response(UserOut(set_address(number_or_404(pk), asked["email"], by=self.actor)).data)
