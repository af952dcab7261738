"""Passwords of people: what one must be like, and how somebody changes their own."""

from __future__ import annotations

from django.contrib.auth import authenticate, update_session_auth_hash
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import HttpRequest

from console.audit.services import record_audit
from console.core.errors import ConsoleError, Invalid
from console.identity.actor import Actor
from console.identity.models import User


class WrongPassword(Invalid):
    """The present password was not given right; after 10 wrong tries the name rests for 15 minutes."""

    code = "wrong_password"


class TooManyTries(ConsoleError):
    """The present password was given wrong 10 times; the name rests for 15 minutes from that address."""

    status = 429
    code = "too_many_tries"
    again = "After 15 minutes."
    retry_after_s = 900


def check_password(password: str, user: User | None = None) -> None:
    """Refuse a password that nobody should have: short, common, or like the user's name. Raises Invalid."""
    try:
        validate_password(password, user)
    except ValidationError as error:
        raise Invalid(" ".join(error.messages)) from error


def change_own_password(request: HttpRequest, *, current: str, new: str, by: Actor) -> None:
    """Give the person of this request another password; their other sessions end, because a session is signed with it.

    Raises WrongPassword, TooManyTries, Invalid. The present password is asked through the sign-in's own guard, so that a session somebody
    left open is no place to guess it.
    """
    user = authenticate(request, username=by.name, password=current)
    if getattr(request, "axes_locked_out", False):
        request.axes_locked_out = False  # type: ignore[attr-defined]  # or axes puts its sign-in page in place of our answer
        raise TooManyTries("too many wrong passwords: the name rests for 15 minutes")
    if not isinstance(user, User) or user.pk != by.user_id:
        raise WrongPassword("this is not your present password")
    if new == current:
        raise Invalid("the new password is the present one")
    check_password(new, user)
    with transaction.atomic():
        user.set_password(new)
        user.save(update_fields=["password"])
        record_audit(by, "user.password_changed", user)
    if by.via == "web":  # this session goes on; an API key has none
        update_session_auth_hash(request, user)
