"""`/ingest/v1/dead-letters/gone`: letters that a mirroring harvester does not see in their queue any more."""

from __future__ import annotations

from typing import Annotated

import msgspec
from django.http import HttpRequest, HttpResponse, JsonResponse
from msgspec import Meta

from messages.dead_letters.gone import close_gone
from messages.ingest import native
from messages.ingest.api import ingest_endpoint, refuse_with_problem
from messages.ingest.http import finish, receive


class Gone(msgspec.Struct, frozen=True, kw_only=True):
    """The ids under which the letters were reported; unknown ones, and those of other agents, are passed over."""

    ids: Annotated[list[Annotated[str, Meta(max_length=2000)]], Meta(max_length=1000)]


@ingest_endpoint("dead-letters", refuse_with_problem)
def gone(request: HttpRequest) -> HttpResponse:
    """Close those that are open as "gone from the broker"; one that is reported again later opens again."""
    agent, body = receive(request, media_types=frozenset({"application/json"}))
    asked = native.decode_item(body.data, Gone)
    closed = close_gone(agent, asked.ids)
    finish(agent, body, len(asked.ids))
    return JsonResponse({"closed": closed})
