"""Settings → Channels: the list, one with its deliveries, what was given up, and the hosts where channels may send to."""

from __future__ import annotations

import secrets
from typing import Any

from django.contrib import messages as flash
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from alerts.access import (
    approved_hosts,
    can_approve_hosts,
    get_approved_host,
    get_visible_channel,
    get_visible_delivery,
)
from alerts.breaches.queries import policies_of_channel
from alerts.delivery import services
from alerts.delivery.forms import ChannelForm
from alerts.delivery.frozen import thaw
from alerts.delivery.present import channel_chip, chip_of, line_of
from alerts.delivery.queries import channel_lines, count_dead, deliveries_page, find_dead, find_deliveries, secrets_set
from alerts.delivery.services import SAMPLE
from alerts.delivery.states import WORDS
from alerts.models import Channel, NoticeDelivery
from console.audit.queries import object_history
from console.core.errors import ConsoleError, Forbidden, NotFound
from console.core.render import render_page
from console.identity.access import can_administer, check_can_administer
from console.identity.pages import PageRequest, asked_text, page
from messages.catalog.views import seen

LIST, ONE, PREVIEW = "alerts/channels.html", "alerts/channel.html", "alerts/_channel_preview.html"


@require_safe
@page
def channels(request: PageRequest) -> HttpResponse:
    """The channels of this environment, each with what came of its last delivery, and the approved hosts."""
    return render(request, LIST, _list(request))


def _list(request: PageRequest, refusal: str = "", host: str = "") -> dict[str, Any]:
    labels = {one.kind: one.label for one in services.channel_kinds()}
    lines = [
        (line, labels.get(line.channel.kind, line.channel.kind), *channel_chip(line.channel, line.last))
        for line in channel_lines(request.actor, request.environment)
    ]
    may_change = can_administer(request.actor, request.environment)
    return {
        "lines": lines,
        "kinds": services.channel_kinds(),
        "may_change": may_change,
        "dead": count_dead(request.actor, request.environment) if may_change else 0,
        "hosts": list(approved_hosts(request.actor)),
        "may_approve": can_approve_hosts(request.actor),
        "refusal": refusal,
        "host": host,
    }


@require_http_methods(["GET", "HEAD", "POST"])
@page
def new(request: PageRequest) -> HttpResponse:
    """A channel of the kind in `?kind=`; without one, the kinds."""
    check_can_administer(request.actor, request.environment)
    kind = asked_text(request, "kind", most=40)
    if not kind:
        return render(request, ONE, {"kinds": services.channel_kinds(), "may_change": True})
    form = ChannelForm(request.POST if request.method == "POST" else None, notifier=services.known_notifier(kind))
    return _edit(request, form, None)


@require_http_methods(["GET", "HEAD", "POST"])
@page
def one(request: PageRequest, pk: int) -> HttpResponse:
    """One channel: what it is told, what was told over it; POST changes it."""
    channel = get_visible_channel(request.actor, pk)
    try:
        notifier = services.known_notifier(channel.kind)
    except ConsoleError as error:  # its kind was declared when it was made, and is no more
        return render(request, ONE, _context(request, None, channel, str(error)))
    data = request.POST if request.method == "POST" else None
    return _edit(request, ChannelForm(data, notifier=notifier, channel=channel, secrets=secrets_set(channel)), channel)


def _edit(request: PageRequest, form: ChannelForm, channel: Channel | None) -> HttpResponse:
    if request.method != "POST":
        return render_page(request, ONE, "alerts/_deliveries.html", _context(request, form, channel))
    environment = channel.environment if channel else request.environment
    check_can_administer(request.actor, environment)
    if request.GET.get("do") == "preview":
        return _preview(request, form, channel)
    if not form.is_valid():
        return render(request, ONE, _context(request, form, channel), status=422)
    try:
        if channel is None:
            made = services.create_channel(environment, form.said(), by=request.actor)
            flash.success(request, f"{made.name} is there. Send a test, and see what comes back.")
        else:
            made = services.change_channel(channel, form.said(), by=request.actor)
            flash.success(request, "It is saved.")
    except ConsoleError as refusal:
        if isinstance(refusal, Forbidden | NotFound):
            raise
        form.add_error(None, str(refusal))
        return render(request, ONE, _context(request, form, channel), status=422)
    return seen(reverse("channel", args=[made.pk]))


def _preview(request: PageRequest, form: ChannelForm, channel: Channel | None) -> HttpResponse:
    """The sample notice in these words; nothing is kept, and the rest of the form need not be right."""
    form.errors.clear()
    context = _context(request, form, channel)
    try:
        title, text = services.preview_words(
            request.POST.get("title_template", ""), request.POST.get("text_template", "")
        )
    except ConsoleError as refusal:
        return render_page(request, ONE, PREVIEW, context | {"wrong": str(refusal)}, status=422)
    return render_page(request, ONE, PREVIEW, context | {"preview": {"title": title, "text": text}})


def _context(
    request: PageRequest, form: ChannelForm | None, channel: Channel | None, refusal: str = ""
) -> dict[str, Any]:
    environment = channel.environment if channel else request.environment
    may_change = can_administer(request.actor, environment)
    context: dict[str, Any] = {
        "form": form,
        "channel": channel,
        "may_change": may_change,
        "refusal": refusal,
        "sample": SAMPLE,
    }
    if form is not None:
        context |= {"label": form.notifier.label, "kind": form.notifier.kind}
        new_url = f"{reverse('channel-new')}?kind={form.notifier.kind}"
        context["action"] = reverse("channel", args=[channel.pk]) if channel else new_url
        context["preview_action"] = f"{context['action']}{'?' if channel else '&'}do=preview"
    if channel is None:
        return context
    rows = deliveries_page(
        find_deliveries(request.actor, channel=channel), asked_text(request, "cursor", most=200) or None
    )
    look, words = channel_chip(channel, rows.rows[0] if rows.rows else None)
    return context | {
        "look": look,
        "words": words,
        "policies": policies_of_channel(request.actor, environment, channel.pk),
        "page": rows,
        "deliveries": [line_of(row) for row in rows.rows],
        "token": secrets.token_urlsafe(12),
        "history": object_history("channel", str(channel.pk))[:20] if may_change else [],
    }


@require_POST
@page
def test(request: PageRequest, pk: int) -> HttpResponse:
    """Send a test, and show what came back."""
    channel = get_visible_channel(request.actor, pk)
    told = services.send_test(channel, by=request.actor, token=request.POST.get("token", ""))
    return seen(reverse("delivery", args=[told.pk]))


@require_POST
@page
def remove(request: PageRequest, pk: int) -> HttpResponse:
    """Remove a channel, with a reason."""
    channel = get_visible_channel(request.actor, pk)
    name = channel.name
    try:
        services.remove_channel(channel, by=request.actor, reason=request.POST.get("reason", ""))
    except ConsoleError as refusal:
        if isinstance(refusal, Forbidden | NotFound):
            raise
        form = ChannelForm(
            None, notifier=services.known_notifier(channel.kind), channel=channel, secrets=secrets_set(channel)
        )
        return render(request, ONE, _context(request, form, channel, str(refusal)), status=422)
    flash.success(request, f"{name} is removed: nothing is told over it any more.")
    return seen(reverse("channels"))


@require_safe
@page
def dead(request: PageRequest) -> HttpResponse:
    """What was given up in this environment, newest first: the dead letters of the notices."""
    check_can_administer(request.actor, request.environment)
    found = deliveries_page(
        find_dead(request.actor, request.environment), asked_text(request, "cursor", most=200) or None
    )
    context = {"page": found, "deliveries": [line_of(row) for row in found.rows], "all": True}
    return render_page(request, "alerts/channels_dead.html", "alerts/_deliveries.html", context)


@require_safe
@page
def delivery(request: PageRequest, pk: int) -> HttpResponse:
    """One notice for one channel: what was to be told, and every try with what came back."""
    return render(request, "alerts/delivery.html", _delivery(request, get_visible_delivery(request.actor, pk)))


def _delivery(request: PageRequest, found: NoticeDelivery, refusal: str = "") -> dict[str, Any]:
    look, words = chip_of(found)
    return {
        "delivery": found,
        "channel": found.channel,
        "look": look,
        "words": words,
        "meaning": WORDS[found.state],
        "attempts": list(found.attempts.all()[:200]),
        "notice": thaw(found.notice),
        "may_send_again": found.state == "dead" and found.happening != "test",
        "is_test": found.happening == "test",
        "token": secrets.token_urlsafe(12),
        "refusal": refusal,
    }


@require_POST
@page
def again(request: PageRequest, pk: int) -> HttpResponse:
    """Send again what was given up. Its state is the token: a second press finds it queued."""
    found = get_visible_delivery(request.actor, pk)
    try:
        services.send_again(found, by=request.actor)
    except ConsoleError as refusal:
        if isinstance(refusal, Forbidden | NotFound):
            raise
        return render(request, "alerts/delivery.html", _delivery(request, found, str(refusal)), status=422)
    flash.success(request, "It is queued again, and sent within seconds.")
    return seen(reverse("delivery", args=[pk]))


@require_POST
@page
def approve(request: PageRequest) -> HttpResponse:
    """Approve a host where channels may send to."""
    host = request.POST.get("host", "").replace("\x00", "")[:260]
    try:
        made = services.approve_host(host, by=request.actor)
    except ConsoleError as refusal:
        if isinstance(refusal, Forbidden | NotFound):
            raise
        return render(request, LIST, _list(request, str(refusal), host), status=422)
    flash.success(request, f"Channels may send to {made.host} now.")
    return seen(reverse("channels"))


@require_POST
@page
def withdraw(request: PageRequest, pk: int) -> HttpResponse:
    """Approve a host no longer."""
    host = get_approved_host(request.actor, pk)
    services.withdraw_host(host, by=request.actor)
    flash.success(request, f"Nothing is sent to {host.host} any more.")
    return seen(reverse("channels"))
