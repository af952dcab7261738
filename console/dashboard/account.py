"""What a person changes of their own: the password."""

from __future__ import annotations

from django.contrib import messages as flash
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from console.core.errors import ConsoleError
from console.identity.passwords import change_own_password


@require_http_methods(["GET", "HEAD", "POST"])
@sensitive_post_parameters()
@login_required  # not `page`: somebody who belongs to no environment yet has a password too
def password(request: HttpRequest) -> HttpResponse:
    """Change one's own password: the present one, the new one, and the new one once more."""
    if request.method != "POST":
        return render(request, "console/password.html")
    asked = request.POST
    try:
        if asked.get("new", "") != asked.get("again", ""):
            return _refused(request, "the new password was not written the same twice", 422)
        actor = request.actor  # type: ignore[attr-defined]
        change_own_password(request, current=asked.get("current", ""), new=asked.get("new", ""), by=actor)
    except ConsoleError as refusal:
        return _refused(request, str(refusal), refusal.status if refusal.status == 429 else 422)
    flash.success(request, "Your password is changed. Your other sessions have ended.")
    response = HttpResponseRedirect(reverse("password"))
    response.status_code = 303
    return response


def _refused(request: HttpRequest, words: str, status: int) -> HttpResponse:
    return render(request, "console/password.html", {"refusal": words}, status=status)
