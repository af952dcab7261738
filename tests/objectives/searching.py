"""Objectives on saved searches, and what their counters must say: everything counted again from the messages."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db import connection

from alerts.models import Objective, ObjectiveMinutes
from alerts.objectives.asking import asked_of, found_in
from alerts.objectives.searches import end_of
from alerts.objectives.services import add_objective
from alerts.objectives.windows import MINUTE, Span, portions
from alerts.objectives.wishes import NewObjective
from console.identity.models import Role, Team, User
from messages.models import Flow, SavedSearch
from tests.factories import actor, environment, person
from tests.objectives.stored import DAY, NOW, long_known
from tests.services.reconciling import flow

Counts = dict[datetime, tuple[int, int, int]]


def operator(name: str = "ada") -> User:
    return User.objects.filter(username=name).first() or person(name, Role.OPERATOR)


def on_search(q: str = "size:big", *, by: User | None = None, now: datetime = NOW, **said: Any) -> Objective:
    """Promise something of what a search of an operator finds."""
    owner = by or operator()
    long_known()
    search, _ = SavedSearch.objects.get_or_create(environment=environment(), owner=owner, of="messages", name=q, q=q)
    wish = {"name": f"{q} {said.get('kind', '')}", "kind": "success", "target": "0.99", "days": 10} | said
    return add_objective(NewObjective(**wish), search=search, by=actor(owner), now=now)


def counters(one: Objective) -> Counts:
    """Return what the counters say, minute by minute, empty ones left out."""
    found = {}
    for row in ObjectiveMinutes.objects.filter(objective=one):
        for number, counts in enumerate(zip(row.good, row.late, row.lost, strict=True)):
            if any(counts):
                found[row.hour + number * MINUTE] = counts
    return found


def total(one: Objective) -> tuple[int, int, int]:
    columns = list(zip(*counters(one).values(), strict=True)) or [(), (), ()]
    return sum(columns[0]), sum(columns[1]), sum(columns[2])


def counted_anew(one: Objective, now: datetime) -> Counts:
    """Return what all of its messages say now."""
    one.refresh_from_db()
    whole = Span(since=one.fill_from, until=end_of(one, now))
    rows = [row for part in portions([whole], most=1440) for row in found_in(asked_of(one), part)]
    return {row.minute: (row.good, row.late, row.lost) for row in rows}


def triggers() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'touched_message_%%' AND tgparentid = 0")
        return int(cursor.fetchone()[0])


def old_flow(name: str) -> Flow:
    found = flow(name)
    Flow.objects.filter(pk=found.pk).update(created_at=found.created_at - 20 * DAY)
    return found


def hide(one: Flow) -> None:
    one.team = Team.objects.create(name="Others")
    one.save(update_fields=["team"])
