"""What a channel was told, with its secrets opened; and texts from which those secrets are taken out."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from urllib.parse import quote, unquote, urlsplit

from alerts.delivery.notifiers.base import BadChannel
from alerts.models import Channel
from messages.payloads.master import open_text, seal_text

HIDDEN = "•••"
LEAST = 6  # shorter pieces would hide words of the answer


def seal(secrets: Mapping[str, str]) -> bytes:
    """Return the token under which a channel's secrets are stored; none are empty."""
    kept = {name: value for name, value in secrets.items() if value}
    return seal_text(json.dumps(kept)) if kept else b""


def opened(channel: Channel) -> dict[str, str]:
    """Return the secret fields; raises BadChannel when no master key opens them."""
    if not channel.secret:
        return {}
    text = open_text(bytes(channel.secret))
    if text is None:
        raise BadChannel("its secrets cannot be opened with this master key: give them again")
    return dict(json.loads(text))


def said_of(channel: Channel) -> dict[str, str]:
    """Return everything that a channel was told, secrets among it."""
    return {**{name: str(value) for name, value in channel.settings.items()}, **opened(channel)}


def scrubbed(text: str, secrets: Iterable[str]) -> str:
    """Return text without these secrets, nor what of a secret URL identifies: its path, its query, their pieces."""
    pieces = {piece for secret in secrets for piece in _pieces(secret)}
    for piece in sorted(pieces, key=len, reverse=True):
        text = text.replace(piece, HIDDEN)
    return text


def _pieces(secret: str) -> set[str]:
    found = {secret}
    if "://" in secret:
        try:
            parts = urlsplit(secret)
        except ValueError:
            return found
        found |= {parts.path, parts.query, parts.username or "", parts.password or ""}
        found |= {piece for piece in parts.path.split("/") if len(piece) >= 8}
        found |= {value for pair in parts.query.split("&") if len(value := pair.partition("=")[2]) >= 8}
    found |= {unquote(one) for one in found} | {quote(one, safe="") for one in found}
    return {one for one in found if len(one.strip("/")) >= LEAST}
