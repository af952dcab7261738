"""REST of the person behind a key or session: who they are, what they may do where, their password."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from console.identity.models import Role
from console.identity.passwords import change_own_password
from console.identity.queries import roles_of
from messages.api.base import PROBLEMS, View, problems, validated


class RoleOut(serializers.Serializer[Any]):
    environment = serializers.SlugField(source="environment.slug")
    team = serializers.CharField(source="team.name")
    role = serializers.SerializerMethodField()

    def get_role(self, membership: Any) -> str:
        return Role(membership.role).label.lower()


class AccountOut(serializers.Serializer[Any]):
    """Whoever asks; an administrator of everything needs no roles."""

    username = serializers.CharField()
    email = serializers.CharField(
        help_text="Where their mails go; empty: nowhere. An administrator of the console sets it."
    )
    is_superuser = serializers.BooleanField()
    roles = RoleOut(many=True)


class PasswordIn(serializers.Serializer[Any]):
    """The present password is asked, whatever the request is signed with."""

    current = serializers.CharField(max_length=500, trim_whitespace=False, write_only=True)
    new = serializers.CharField(max_length=500, trim_whitespace=False, write_only=True)


class Account(View):
    @extend_schema(operation_id="read_account", responses={200: AccountOut, **PROBLEMS})
    def get(self, request: Request) -> Response:
        """Who the key or session belongs to, and the roles they hold."""
        actor = self.actor
        answer = {
            "username": actor.name,
            "email": request.user.email,  # type: ignore[union-attr]  # IsAuthenticated let nobody else in
            "is_superuser": actor.is_superuser,
            "roles": roles_of(actor),
        }
        return Response(AccountOut(answer).data)


class Password(View):
    @extend_schema(
        operation_id="change_password", request=PasswordIn, responses={204: None, **PROBLEMS, **problems(429)}
    )
    def put(self, request: Request) -> Response:
        """Change the password; every other session of this person ends, keys go on."""
        asked = validated(PasswordIn, request.data)
        change_own_password(request._request, current=asked["current"], new=asked["new"], by=self.actor)
        return Response(status=204)
