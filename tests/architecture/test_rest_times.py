"""A time that REST is sent carries its zone, wherever it is taken: 08:30 guessed to be UTC is an hour or two beside what was meant."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.urls import get_resolver
from rest_framework import serializers

from messages.api.base import Moment

get_resolver().url_patterns  # noqa: B018  every module of REST is loaded


def taken(of: type = serializers.Serializer) -> Iterator[type[serializers.Serializer[Any]]]:
    """Every shape of a request that has a time in it."""
    for one in of.__subclasses__():
        if one.__name__.endswith("In") and one.__module__.startswith(("messages.", "alerts.", "console.")):
            yield one
        yield from taken(one)


TIMES = [
    (form, name)
    for form in taken()
    for name, field in form().fields.items()
    if isinstance(field, serializers.DateTimeField)
]


@pytest.mark.parametrize(("form", "name"), TIMES, ids=lambda one: getattr(one, "__name__", one))
def test_a_time_without_its_zone_is_refused_and_one_with_it_is_taken(
    form: type[serializers.Serializer[Any]], name: str
):
    naive, zoned = form(data={name: "2026-11-27T08:30"}), form(data={name: "2026-11-27T08:30:00+01:00"})
    naive.is_valid()
    zoned.is_valid()

    assert "A time needs its zone, such as 2026-11-27T08:30:00Z." in naive.errors[name]
    assert name not in zoned.errors


def test_these_are_all_there():
    assert {form.__name__ for form, _ in TIMES} >= {
        "ChangeIn",
        "StartIn",
        "ReconciliationIn",
        "StepAssignIn",
        "SilenceIn",
    }
    assert all(isinstance(form().fields[name], Moment) for form, name in TIMES)
