"""`Idempotency-Key` on REST: a view hands over what it would do, and it is done once. See messages/answers/services.py."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import msgspec
from drf_spectacular.utils import OpenApiParameter
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from console.core.ids import framed
from console.identity.actor import Actor
from console.identity.models import Environment
from messages.answers.services import Answer, once, parse_key

IDEMPOTENCY_KEY = OpenApiParameter(
    "Idempotency-Key",
    str,
    OpenApiParameter.HEADER,
    description="Up to 180 printable characters. For 24 hours the same request with the same key gets the same answer and does "
    "nothing more, and another request with it is 409; per user and environment. Refusals are not kept.",
)


def answer_once(
    request: Request, act: Callable[[], Response], *, by: Actor, environment: Environment, said: str | None = None
) -> Response:
    """Return the view's response, carried out at most once where the caller sent a key.

    said  what came as the body, where it is not JSON: of `request.data` nothing can be read twice.
    """
    header = request.headers.get("Idempotency-Key", "")
    if not header:
        return act()
    body = said.encode() if said is not None else msgspec.json.encode(request.data, order="deterministic")
    parts = (request.method, request.get_full_path(), body)
    answer = once(
        parse_key(header),
        by=by,
        environment=environment,
        request_sha256=hashlib.sha256(framed(*parts)).digest(),
        act=lambda: _answer(act()),
    )
    headers = {"Location": answer.location} if answer.location else {}
    headers |= {"Waybill-Repeated": "1"} if answer.repeated else {}
    return Response(answer.data, status=answer.status, headers=headers)


def _answer(response: Response) -> Answer:
    data: Any = msgspec.json.decode(JSONRenderer().render(response.data)) if response.data is not None else None
    return Answer(status=response.status_code, data=data, location=response.headers.get("Location", ""))
