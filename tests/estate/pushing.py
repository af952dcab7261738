"""The estate, pushed through the real ingest, with its teams, flows and readers."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django.test import Client

from console.identity.models import Role, Team
from messages.dead_letters.services import discard_dead_letter
from messages.figures.services import fold_latency
from messages.groups.refresh import refresh_groups
from messages.groups.sweep import sweep_groups
from messages.models import DeadLetter, FailureGroup, Flow
from tests.estate.happenings import HAPPENED, ORDERS, STOCK, TEAM_OF, Batch, Event, Letter
from tests.factories import ROOT, agent_key, api_key, environment, person, push

PATHS = {Event: "/ingest/v1/events", Letter: "/ingest/v1/dead-letters"}


class Reader:
    """Somebody with a browser and an API key."""

    def __init__(self, name: str, role: Role | None, team: str = "") -> None:
        self.name = name
        user = person(name, role, team=team)
        if role is None:
            user.is_superuser = True
            user.save(update_fields=["is_superuser"])
        self.browser = Client()
        self.browser.force_login(user)
        self.headers = {"HTTP_AUTHORIZATION": f"Bearer {api_key(user)}"}

    def page(self, path: str, **asked: Any) -> Any:
        return self.browser.get(path, asked)

    def rest(self, path: str, **asked: Any) -> Any:
        return Client().get(f"/api/v1/{path}", asked, **self.headers)

    def post(self, path: str, body: Any) -> Any:
        return Client().post(f"/api/v1/{path}", body, content_type="application/json", **self.headers)

    def results(self, path: str, **asked: Any) -> list[dict[str, Any]]:
        answer = self.rest(path, limit=500, **asked)
        assert answer.status_code == 200, (self.name, path, asked, answer.content)
        assert answer.json().get("next") is None
        return list(answer.json()["results"])

    def results_of(self, path: str, **asked: Any) -> list[dict[str, Any]]:
        """The same of what is no list of pages."""
        answer = self.rest(path, **asked)
        assert answer.status_code == 200, (self.name, path, asked, answer.content)
        return list(answer.json()["results"])


def make_readers() -> dict[str, Reader]:
    return {
        "administrator": Reader("administrator", None),
        "olga": Reader("olga", Role.OPERATOR, ORDERS),
        "vera": Reader("vera", Role.VIEWER, STOCK),
    }


def push_estate(batches: list[Batch], *, looking: bool = False) -> datetime:
    """Push these batches; return the time from which minutes are counted back. looking: the workers look after each batch."""
    for name, team in TEAM_OF.items():
        owner = Team.objects.get_or_create(name=team)[0] if team else None
        Flow.objects.create(environment=environment(), name=name, team=owner)
    key, now = agent_key(), datetime.now(UTC)
    for batch in batches:
        if batch:
            answer = push(PATHS[type(batch[0])], [one.wire(now) for one in batch], key=key)
            said = answer.json()
            assert (answer.status_code, said["accepted"] + said["duplicates"], said["rejected"]) == (
                200,
                len(batch),
                [],
            )
        if looking:
            look()
    look()
    for one in HAPPENED:
        if isinstance(one, Letter) and one.closed:
            letter = DeadLetter.objects.get(keys__contains={"order_no": one.about})
            discard_dead_letter(letter, by=ROOT, reason="sent by hand")
    look()
    fold_latency()
    return now


def look() -> None:
    """What the workers do every few seconds."""
    sweep_groups()
    FailureGroup.objects.update(figures_at=None)
    refresh_groups()
