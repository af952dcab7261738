"""The rail of every page, with its counts."""

from __future__ import annotations

from dataclasses import dataclass

from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse

from console.dashboard.overview import count_waiting
from messages.search.counts import Count


@dataclass(frozen=True, slots=True, kw_only=True)
class NavItem:
    """One line of the rail; `name` is its URL name, `rule` puts a hairline before it."""

    name: str
    label: str
    icon: str
    url: str
    current: bool
    rule: bool = False
    count: str = ""
    hot: bool = False
