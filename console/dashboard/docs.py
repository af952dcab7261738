"""What the console says of itself to everybody: the errors, where `type` of a problem document points."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from console.core.errors import kinds_of_error


@require_safe
def errors(request: HttpRequest) -> HttpResponse:
    """Every code with its status, meaning, and whether to send again; open to everybody, as the OpenAPI document is."""
    return render(request, "console/errors.html", {"kinds": kinds_of_error()})
