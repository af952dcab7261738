"""Where a message goes below the approved address, and by which method. Pure."""

from __future__ import annotations

import re
from urllib.parse import quote, unquote

from messages.connectors.base import Outgoing

METHODS = ("POST", "PUT", "PATCH", "DELETE")
WITH_METHOD = re.compile(rf"({'|'.join(METHODS)})\s+(/\S*)")
IN_PATH, IN_QUERY = "/%:@!$&'()*+,;=~-._", "/%:@!$&'()*+,;=~-._?"


class NotBelow(ValueError):
    """The letter's own path or method is one that nothing is sent to; in words."""


def request_line(base: str, item: Outgoing) -> tuple[str, str]:
    """Return (method, path with query); base is the approved path. Raises NotBelow.

    A letter's route says both: it goes back where it came from, or nowhere. Without one the destination does: a path below the base, or
    on the host when it begins with the base, with the method before it when it is not POST: "PUT /orders/4711".
    """
    told = item.route.get("path")
    if told is None:
        named = WITH_METHOD.fullmatch(item.destination.strip())
        return (named[1], path_below(base, named[2])) if named else ("POST", path_below(base, item.destination))
    method = item.route.get("method", "POST").upper()
    if method not in METHODS:
        raise NotBelow(f"{method[:20]} is not sent again: only {', '.join(METHODS)} are")
    return method, _same_path(base, told)


def _same_path(base: str, told: str) -> str:
    path, mark, query = told.partition("#")[0].partition("?")
    wanted, base = quote(path, safe=IN_PATH), quote(base.rstrip("/"), safe=IN_PATH)
    steps = path.removeprefix("/").removesuffix("/").split("/") if path.strip("/") else []
    if not path.startswith("/") or any(leads_elsewhere(step) for step in steps):
        raise NotBelow("its path leads elsewhere than it says")
    if wanted != base and not wanted.startswith(f"{base}/"):
        raise NotBelow(f"it came to {wanted[:200]}, which is not below the approved address ({base}/)")
    return wanted + mark + quote(query, safe=IN_QUERY)


def path_below(base: str, destination: str) -> str:
    """Return the request path: the approved one, and below it the destination; never above or elsewhere."""
    base = base.rstrip("/")
    path, mark, query = destination.partition("#")[0].partition("?")
    if "://" in path:
        path, mark, query = "", "", ""
    if base and (path == base or path.startswith(f"{base}/")):
        path = path.removeprefix(base)
    below = [step for step in path.split("/") if not leads_elsewhere(step)]
    whole = quote(base + "".join(f"/{step}" for step in below), safe=IN_PATH) or "/"
    return whole + mark + quote(query, safe=IN_QUERY)


def leads_elsewhere(step: str) -> bool:
    """Whether a step of a path is empty or goes up, also when it is written so that only the server sees it.

    %2e%2e, %252e%252e for who decodes twice, a%2f..%2f.., a backslash, and `..;x`, which servlet containers read as `..`.
    """
    for _ in range(3):
        step = unquote(step)
    return any(part.partition(";")[0] in ("", ".", "..") for part in step.replace("\\", "/").split("/"))
