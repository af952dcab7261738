"""`/ingest/v1/orders` and `/ingest/v1/orders/results`: an agent fetches what it is to send, and reports of each item."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

import msgspec
from django.http import HttpRequest, HttpResponse, JsonResponse
from msgspec import Meta

from console.identity.models import Agent
from messages.connectors.base import Published
from messages.ingest import native
from messages.ingest.api import ingest_endpoint, refuse_with_problem
from messages.ingest.http import Body, Malformed, finish, receive
from messages.orders.rights import check_signed
from messages.orders.services import Reported, hand_over, settle_report
from messages.orders.wire import FORMAT, MOST_ITEMS, SIGNATURE, Ask, Label, Order, order_answer

JSON = frozenset({"application/json"})
AGAIN_S = 1  # when nothing is due
AGAIN_LATER_S = 10  # when a person has to do something first
LONGEST_WISH_S = 86_400


class AskIn(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an agent asks with; see messages.orders.wire.Ask."""

    format: Literal[1]
    connection: Annotated[str, Meta(min_length=1, max_length=120)]
    kind: Annotated[str, Meta(max_length=40)]
    most: Annotated[int, Meta(ge=1, le=1_000_000)]
    nonce: Annotated[str, Meta(pattern="^[0-9a-f]{32}$")]


class ResultIn(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one item; a result as a connector gives it."""

    id: UUID
    attempt: Annotated[int, Meta(ge=1, le=2**31 - 1)]
    result: Literal["confirmed", "refused", "unavailable", "unknown"]
    detail: Annotated[str, Meta(max_length=4000)] = ""
    retry_after_s: Annotated[int, Meta(ge=0, le=2**31 - 1)] | None = None


class ReportIn(msgspec.Struct, frozen=True, kw_only=True):
    """The results of one order."""

    results: Annotated[list[ResultIn], Meta(min_length=1, max_length=MOST_ITEMS)]


@ingest_endpoint("orders", refuse_with_problem)
def orders(request: HttpRequest) -> HttpResponse:
    """Hand this agent what is due of one connection of its, signed for it alone."""
    agent, body, secret = _signed(request, "ask")
    asked = native.decode_item(body.data, AskIn)
    ask = Ask(connection=asked.connection.replace("\x00", ""), kind=asked.kind, most=asked.most, nonce=asked.nonce)
    order = hand_over(agent, ask)
    finish(agent, body, 0)
    answer = _answer(order, secret)
    answer["Cache-Control"] = "no-store"
    return answer


def _answer(order: Order | str, secret: str) -> JsonResponse:
    """Return the order, or when to ask again: said in the body too, for whoever does not read headers."""
    if isinstance(order, Order) and order.items:
        return JsonResponse(order_answer(order, secret=secret))
    again_s = AGAIN_S if isinstance(order, Order) else AGAIN_LATER_S
    words = order if isinstance(order, str) else ""
    return JsonResponse(
        {"order": None, "words": words, "again_s": again_s, "format": FORMAT}, headers={"Retry-After": str(again_s)}
    )


@ingest_endpoint("orders", refuse_with_problem)
def results(request: HttpRequest) -> HttpResponse:
    """Take what an agent says of its items; the same report twice changes nothing."""
    agent, body, _ = _signed(request, "results")
    report = native.decode_item(body.data, ReportIn)
    if len({one.id for one in report.results}) < len(report.results):
        raise Malformed("a report names an item once")
    settled = settle_report(agent, [_reported(one) for one in report.results])
    finish(agent, body, len(report.results))
    return JsonResponse({"marked": settled.marked, "again": settled.again, "not_yours": settled.not_yours})


def _reported(one: ResultIn) -> Reported:
    wish = None if one.retry_after_s is None else min(one.retry_after_s, LONGEST_WISH_S)
    result = Published(id=str(one.id), result=one.result, detail=one.detail, retry_after_s=wish)
    return Reported(pk=one.id, attempt=one.attempt, result=result)


def _signed(request: HttpRequest, label: Label) -> tuple[Agent, Body, str]:
    """Return who asks, with what, and the order secret that it is signed with."""
    agent, body = receive(request, media_types=JSON)
    header = f"HTTP_{SIGNATURE.upper().replace('-', '_')}"
    return agent, body, check_signed(agent, label, body.data, request.META.get(header, ""))
