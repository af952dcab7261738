"""Mail addresses of people: what one is like, and who sets it. A person's mails go nowhere but where an administrator of the console said."""

from __future__ import annotations

from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import transaction

from console.audit.services import record_audit
from console.core.errors import Invalid
from console.identity.access import check_superuser
from console.identity.actor import Actor
from console.identity.models import User
from console.identity.queries import get_user

MOST = 254  # RFC 5321, 4.5.3.1.3


def check_address(said: str) -> str:
    """Return a mail address without spaces around it and with its domain in small letters, "" for none; raises Invalid."""
    address = User.objects.normalize_email(said.strip())
    if not address:
        return ""
    if len(address) > MOST:
        raise Invalid(f"a mail address has {MOST} characters at most")
    if not address.isascii() or not address.isprintable():
        raise Invalid("this mail address has letters that mail servers do not take: write its domain as xn--…")
    try:
        validate_email(address)
    except ValidationError as error:
        raise Invalid(f"“{address[:80]}” is no mail address") from error
    return address


@transaction.atomic
def set_address(user_id: int, said: str, *, by: Actor) -> User:
    """Give a person another mail address, "" for none; raises Forbidden, NotFound, Invalid.

    The audit list keeps whose it was and whether it was set, changed or cleared, and no address: its entries outlive the account.
    """
    check_superuser(by)
    address = check_address(said)
    user = get_user(user_id, of=User.objects.select_for_update())
    if address != user.email:
        done = "cleared" if not address else "changed" if user.email else "set"
        user.email = address
        user.save(update_fields=["email"])
        record_audit(by, f"user.address_{done}", user)
    return user
