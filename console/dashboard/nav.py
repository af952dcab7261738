"""The rail of every page, with its counts."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest


def rail(request: HttpRequest) -> list[dict[str, Any]]:
    return []
