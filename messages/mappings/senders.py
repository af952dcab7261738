"""What senders of webhooks can do to say who they are: HTTP Basic in place of a bearer key, and a signature of the body."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping as Headers

from console.core.errors import Unauthenticated
from messages.models import Mapping
from messages.payloads.master import open_text


class WrongSignature(Unauthenticated):
    """The mapping asks for a signature of the body, and there is none or another one; nothing was read."""

    code = "wrong_signature"
    again = "Signed with the mapping's secret."


def as_bearer(authorization: str) -> str:
    """Return an Authorization header whose key is the password of HTTP Basic as a bearer's; any other as it is."""
    scheme, _, text = authorization.partition(" ")
    if scheme.lower() != "basic":
        return authorization
    try:
        password = base64.b64decode(text.strip(), validate=True).decode().partition(":")[2]
    except (binascii.Error, ValueError):
        return authorization
    return f"Bearer {password}"


def check_signature(mapping: Mapping, headers: Headers[str, str], body: bytes) -> None:
    """Raise WrongSignature unless the body is signed as the mapping asks: HMAC-SHA-256 in hex, with or without `sha256=` before it.

    headers  names in lower case.   Source: docs.github.com, "Validating webhook deliveries".
    """
    name = mapping.signature_header
    if not name:
        return
    said = headers.get(name.lower(), "").strip().lower().removeprefix("sha256=")
    secret = open_text(bytes(mapping.secret))
    if secret is None:
        raise WrongSignature("the mapping's secret cannot be opened with this master key: set it again")
    wanted = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(said.encode(), wanted.encode()):
        raise WrongSignature(f"the header {name} does not sign this body with the mapping's secret")
