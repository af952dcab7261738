"""A body as the fields of a native dead letter. Pure."""

from __future__ import annotations

import base64


def body_fields(body: bytes) -> dict[str, object]:
    """Return the body as text when it is UTF-8 without NUL, else as base64."""
    try:
        text = body.decode()
    except UnicodeDecodeError:
        text = "\x00"
    return {"body_base64": base64.b64encode(body).decode()} if "\x00" in text else {"body": text}
