"""What is different about letters like this one, or about a group: on request, for it reads hundreds of bodies and says so in the audit list."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.http import HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_safe

from console.core.render import render_page
from console.identity.pages import PageRequest, page
from messages.access import get_visible_dead_letter
from messages.different.queries import letters_like, letters_of_group, messages_of_group, window_of, window_of_group
from messages.different.services import find_differences
from messages.groups.access import get_visible_group


@require_safe
@page
def different(request: PageRequest, pk: UUID) -> HttpResponse:
    """/dead-letters/<id>/different/: letters of the same flow, system and error beside what was delivered meanwhile."""
    letter = get_visible_dead_letter(request.actor, pk)
    window = window_of(letter, now=datetime.now(UTC))
    found = find_differences(request.actor, letter.flow, letters_like(request.actor, letter, window), window)
    context = {
        "letter": letter,
        "flow": letter.flow,
        "found": found,
        "different_url": reverse("dead-letter-different", args=[letter.pk]),
        "back_url": reverse("dead-letter", args=[letter.pk]),
    }
    return _answer(request, context)


@require_safe
@page
def different_in_group(request: PageRequest, reference: str) -> HttpResponse:
    """/groups/<reference>/different/: what of a group failed beside what was delivered meanwhile."""
    group = get_visible_group(request.actor, reference)
    window = window_of_group(group, now=datetime.now(UTC))
    letters = letters_of_group(request.actor, group, window)
    found = find_differences(
        request.actor, group.flow, letters, window, messages_of_group(request.actor, group, window)
    )
    context = {
        "flow": group.flow,
        "found": found,
        "different_url": reverse("group-different", args=[group.reference]),
        "back_url": reverse("group", args=[group.reference]),
    }
    return _answer(request, context)


def _answer(request: PageRequest, context: dict[str, Any]) -> HttpResponse:
    response = render_page(request, "messaging/different.html", "messaging/_different.html", context)
    response["Cache-Control"] = "no-store"
    return response
