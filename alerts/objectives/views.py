"""Pages of objectives."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse


def objectives(request: Any) -> HttpResponse:
    return HttpResponse()


new = take_openslo = give_openslo = objective = what_if = edit = remove = exclude = withdraw = objectives
