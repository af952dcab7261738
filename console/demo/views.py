"""The page "Demo estate": what runs, what goes wrong on purpose, and what to do about it."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from console.core.render import render_done, render_page
from console.demo.access import can_switch, get_demo_environment
from console.demo.services import estate_state, switch_fault
from console.identity.pages import PageRequest, page


def _context(request: PageRequest) -> dict[str, Any]:
    environment = get_demo_environment(request.actor)
    return {
        "estate": estate_state(),
        "demo": environment,
        "may_switch": can_switch(request.actor, environment),
    }


@require_safe
@page
def demo(request: PageRequest) -> HttpResponse:
    return render_page(request, "console/demo.html", "console/_demo.html", _context(request))


@require_POST
@page
def switch(request: PageRequest, key: str) -> HttpResponse:
    """Switch one fault; `on` is 1 or 0, so that a form sent twice does the same twice."""
    environment = get_demo_environment(request.actor)
    switch_fault(key, on=request.POST.get("on") == "1", by=request.actor, environment=environment)
    return render_done(request, "console/_demo.html", lambda: _context(request), to=reverse("demo"))
