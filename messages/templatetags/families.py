"""Filters that know the families of brokers: `{% load families %}`."""

from __future__ import annotations

from django import template
from django.conf import settings

from messages.connectors import UnknownFamily, get_family

register = template.Library()


@register.filter
def kind(value: str) -> str:
    """{{ connection.kind|kind }} → "Redis Streams"; a kind that nobody declared as it came."""
    try:
        return get_family(value, settings.CONSOLE_FAMILIES).label
    except UnknownFamily:
        return value
