"""The compensation books that a plan compensates by."""

from __future__ import annotations

from collections.abc import Iterable

from messages.models import CompensationBook


def books_of(flow_ids: Iterable[int]) -> dict[int, CompensationBook]:
    """Return {flow: the version of its compensation book that counts}, without those that have none."""
    newest = CompensationBook.objects.filter(flow_id__in=flow_ids).order_by("flow_id", "-version").distinct("flow_id")
    return {one.flow_id: one for one in newest if one.content["steps"]}


def why_second(flow_ids: Iterable[int]) -> str:
    """Return which flow's book asks for a second person, in words; "" when none does."""
    asks = sorted(one.flow.name for one in books_of(flow_ids).values() if one.content.get("needs_approval"))
    return f"the compensation book of {asks[0]} asks for a second person" if asks else ""
