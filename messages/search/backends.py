"""Search back ends beside PostgreSQL: one dict of dotted paths, merged with the operator's own, and one getter."""

from __future__ import annotations

from functools import cache
from typing import cast

from django.conf import settings
from django.utils.module_loading import import_string

from messages.search.base import SearchBackend

BACKENDS = {"elasticsearch": "messages.search.elastic.backend.Elastic"}


class UnknownBackend(LookupError):
    """Nobody declared a search back end of this kind."""


@cache
def _made(path: str) -> SearchBackend:
    return cast(SearchBackend, import_string(path)())


def get_backend(kind: str) -> SearchBackend | None:
    """Return the back end that lists ask before PostgreSQL; None for `postgresql`, the default. Raises UnknownBackend."""
    if kind == "postgresql":
        return None
    path = (BACKENDS | settings.CONSOLE_SEARCH_BACKENDS).get(kind)
    if path is None:
        raise UnknownBackend(f"there is no search back end “{kind[:40]}”")
    return _made(path)
