"""What is different about letters like this one: on request, for it reads hundreds of bodies and says so in the audit list."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

from django.http import HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_safe

from console.core.render import render_page
from console.identity.pages import PageRequest, page
from messages.access import get_visible_dead_letter
from messages.different.queries import letters_like, window_of
from messages.different.services import find_differences


@require_safe
@page
def different(request: PageRequest, pk: UUID) -> HttpResponse:
    """/dead-letters/<id>/different/: letters of the same flow and error beside what was delivered meanwhile."""
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
    response = render_page(request, "messaging/different.html", "messaging/_different.html", context)
    response["Cache-Control"] = "no-store"
    return response
