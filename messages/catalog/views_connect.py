"""The page "Connect a broker": what to paste where, and the first dead letter as it lands. Its address holds everything but the key."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from django.http import HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_safe

from console.core.errors import ConsoleError, NotFound
from console.core.render import render_page, render_part
from console.identity.access import can_administer
from console.identity.administration import issue_agent_key
from console.identity.pages import PageRequest, asked_text, page
from messages.access import get_visible_connection
from messages.catalog.connecting import Wanted, files_of
from messages.catalog.forms import ConnectForm
from messages.catalog.queries import find_agent, find_connections, find_sourced_connections, has_connection
from messages.dead_letters.queries import first_letter_since
from messages.models import Connection


@require_http_methods(["GET", "HEAD", "POST"])
@page
def connect(request: PageRequest) -> HttpResponse:
    """Write the files of a harvester for one broker; POST makes its key, which is in that answer and nowhere else."""
    context = _context(request)
    if request.method == "POST" and context["wanted"] is not None:
        wanted: Wanted = context["wanted"]
        try:
            _, key = issue_agent_key(request.environment, wanted.agent, by=request.actor)
        except ConsoleError as refusal:
            context["refusal"] = str(refusal)
            return render_page(
                request, "messaging/connect.html", "messaging/_connect.html", context, status=refusal.status
            )
        context |= {"key": key, "files": files_of(wanted, key=key)}
        response = render_page(request, "messaging/connect.html", "messaging/_connect.html", context)
        response["Cache-Control"] = "no-store"
        return response
    status = 200 if not context["form"].is_bound or context["wanted"] is not None else 422
    return render_page(request, "messaging/connect.html", "messaging/_connect.html", context, status=status)


def _context(request: PageRequest) -> dict[str, Any]:
    known = _known(request)
    asked = _asked(request, known)
    complete = bool(asked["name"] and asked["queues"]) and "draft" not in request.GET
    form = ConnectForm(asked if complete else None, kind=asked["kind"], initial=asked)
    wanted = form.wanted(_base(request)) if complete and form.is_valid() else None
    if wanted and known and wanted.address == known.address:
        wanted = replace(wanted, management=str(known.options.get("management") or ""))
    now = timezone.now()
    context: dict[str, Any] = {
        "form": form,
        "known": known,
        "connections": find_sourced_connections(find_connections(request.actor, request.environment)),
        "wanted": wanted,
        "files": files_of(wanted) if wanted else None,
        "may_create": can_administer(request.actor, request.environment),
        "action": request.get_full_path(),
    }
    if wanted is None:
        return context
    since = _since(request, now)
    return (
        context
        | _landed(request, wanted.broker, wanted.agent, since)
        | {"unconnected": not has_connection(request.actor, request.environment, wanted.broker)}
    )


def _known(request: PageRequest) -> Connection | None:
    number = request.GET.get("connection", "")
    if not number:
        return None
    if not number.isascii() or not number.isdigit() or len(number) > 18:
        raise NotFound("there is no such connection that you may see")
    return get_visible_connection(request.actor, int(number))


def _asked(request: PageRequest, known: Connection | None) -> dict[str, str]:
    """Return what the address says; what it leaves out is the connection's."""
    queues = [*request.GET.getlist("queue"), *request.GET.get("queues", "").split("\n")]
    names = dict.fromkeys(one.replace("\x00", "").strip() for one in queues)
    asked = {
        name: asked_text(request, name) for name in ("name", "kind", "address", "username", "system", "mode", "agent")
    }
    if known is not None:
        for name in ("name", "kind", "address", "username"):
            asked[name] = asked[name] or str(getattr(known, name))
    has_secret = bool(known and known.secret) or request.GET.get("password") == "on"
    agent = asked["agent"] or (f"harvest-{asked['name']}"[:120] if asked["name"] else "")
    return asked | {
        "mode": asked["mode"] or "move",
        "agent": agent,
        "queues": "\n".join(name for name in names if name),
        "password": "on" if has_secret else "",
    }


def _base(request: PageRequest) -> str:
    return request.build_absolute_uri("/").rstrip("/")


def _since(request: PageRequest, now: datetime) -> datetime:
    try:
        return min(now, datetime.fromtimestamp(int(request.GET.get("since", "")), UTC))
    except (ValueError, OverflowError, OSError):
        return now


def _landed(request: PageRequest, broker: str, agent: str, since: datetime) -> dict[str, Any]:
    """Return what has come since the page was opened. The address of the part, and of the page for those without scripts, keep that moment."""
    moment = int(since.timestamp())
    again = request.GET.copy()
    again["since"] = str(moment)
    asked = {"broker": broker, "agent": agent, "since": moment}
    return {
        "letter": first_letter_since(request.actor, request.environment, broker, since),
        "agent": find_agent(request.actor, request.environment, agent),
        "broker": broker,
        "part_url": f"{reverse('connect-landed')}?{urlencode(asked)}",
        "again_url": f"{reverse('connect-broker')}?{again.urlencode()}",
    }


@require_safe
@page
def landed(request: PageRequest) -> HttpResponse:
    """Whether the harvester was heard and the first letter is here: polled until it is."""
    broker, agent = asked_text(request, "broker", most=120), asked_text(request, "agent", most=120)
    return render_part(
        request, "messaging/_landed.html", _landed(request, broker, agent, _since(request, timezone.now()))
    )
