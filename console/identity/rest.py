"""How REST callers prove who they are: an API key, or the browser's own session."""

from __future__ import annotations

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework import authentication
from rest_framework.request import Request

from console.identity.actor import Actor, actor_of
from console.identity.keys import find_key
from console.identity.models import Key, User


class ApiKeyAuthentication(authentication.BaseAuthentication):
    """`Authorization: Bearer wb_api_…` acts as the key's user."""

    def authenticate(self, request: Request) -> tuple[User, Any] | None:
        header = request.headers.get("Authorization", "")
        if not header:
            return None
        key = find_key(header, "api")
        assert key.user is not None
        request._request.api_key_name = key.name  # type: ignore[attr-defined]
        return key.user, key

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="waybill"'


def actor_for(request: Request) -> Actor:
    """Return the actor of an authenticated REST request."""
    if isinstance(request.auth, Key):
        return actor_of(request.user, via="api", key_id=request.auth.pk)  # type: ignore[arg-type]
    return actor_of(request.user, via="web")  # type: ignore[arg-type]


class ApiKeyScheme(OpenApiAuthenticationExtension):
    """Describes the key in the OpenAPI document."""

    target_class = "console.identity.rest.ApiKeyAuthentication"
    name = "apiKey"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer", "description": "`python manage.py create_key api NAME --user USER`"}
