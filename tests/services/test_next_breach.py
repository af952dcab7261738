"""The next breach of a group's flow: asked of whoever knows promises, said in words, by REST and on the overview; the last thing groups are sorted by."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client

from alerts.models import Standing
from alerts.objectives.queries import next_breach, next_breaches
from console.identity.models import Role
from messages.dead_letters.services import discard_dead_letter
from messages.groups.breaching import next_breach_of
from messages.groups.present import breach_words
from messages.groups.queries import find_groups
from messages.groups.refresh import refresh_groups
from messages.models import DeadLetter, FailureGroup, Flow
from messages.models.groups import NO_BREACH
from tests.factories import ROOT, actor, agent_key, api_key, environment, letter, person, push
from tests.objectives.stored import promised
from tests.pages.people import signed_in, text_of

pytestmark = pytest.mark.django_db
HOURS_5 = 330  # minutes


def fails(origin: str) -> FailureGroup:
    """Push one letter of a cause of its own, and return its group."""
    answer = push("/ingest/v1/dead-letters", [letter(origin=origin, error={"type": "Cut", "message": "no"})], key=agent_key(f"of {origin}"))  # fmt: skip
    assert answer.status_code == 200
    return FailureGroup.objects.latest("pk")


def gone_in(flow: Flow, minutes: float, **changes: Any) -> Standing:
    one = promised(name=f"{flow} {minutes}", of=flow)
    Standing.objects.filter(objective=one).update(
        gone_at=datetime.now(UTC) + timedelta(minutes=minutes), **{"state": "burning", **changes}
    )
    return Standing.objects.get(objective=one)


def test_the_first_promise_that_is_broken_counts_and_what_is_not_known_or_far_away_does_not():
    first, second, third, fourth = (fails(name).flow for name in ("a", "b", "c", "d"))
    gone_in(first, 90), gone_in(second, -5), gone_in(third, 30, state="no_data"), gone_in(fourth, 8 * 1440)
    gone_in(second, 20, state="filling")
    soonest = gone_in(first, 42)
    now = datetime.now(UTC)

    found = next_breaches([first.pk, second.pk, third.pk, fourth.pk], now=now)

    assert found == {first.pk: soonest.gone_at}
    assert next_breaches([], now=now) == {}


def test_groups_say_it_and_of_those_that_reach_as_far_the_next_to_be_broken_is_first():
    groups = [fails(name) for name in ("a", "b", "c")]
    assert len({one.blast for one in groups}) == 1
    gone_in(groups[0].flow, 8000)
    first = gone_in(groups[1].flow, HOURS_5)
    refresh_groups()
    key = api_key(person("ada", Role.VIEWER))

    told = Client().get("/api/v1/groups?environment=production", HTTP_AUTHORIZATION=f"Bearer {key}").json()["results"]
    text = text_of(signed_in().get("/groups/"))

    assert [one["reference"] for one in told] == [groups[at].reference for at in (1, 0, 2)]
    assert told[0]["next_breach_at"].startswith(f"{first.gone_at:%Y-%m-%dT%H:%M}")
    assert told[2]["next_breach_at"] is None
    assert "next breach in 5 h" in text
    one = Client().get(f"/api/v1/groups/{groups[1].reference}", HTTP_AUTHORIZATION=f"Bearer {key}").json()
    assert one["next_breach_at"] == told[0]["next_breach_at"]
    assert "next breach in 5 h" in text_of(signed_in("bob").get(f"/groups/{groups[1].reference}/"))


def test_pages_of_groups_are_complete_and_in_one_order_whatever_is_next():
    groups = [fails(f"f{number}") for number in range(7)]
    minutes = [300, 200, 500, 400, 100, None, None]
    for group, minute in zip(groups, minutes, strict=True):
        if minute:
            gone_in(group.flow, minute)
    refresh_groups()
    seen, cursor = [], None

    while True:
        found = find_groups(ROOT, environments=[environment()], limit=2, cursor=cursor)
        seen += [one.pk for one in found.rows]
        if (cursor := found.next) is None:
            break

    assert seen == [groups[at].pk for at in (4, 1, 0, 3, 2, 6, 5)]
    assert [one.pk for one in find_groups(ROOT, environments=[environment()]).rows] == seen


def test_the_order_follows_what_is_next_and_forgets_it_when_nothing_waits():
    group = fails("a")
    gone_in(group.flow, 300)
    refresh_groups()
    before = FailureGroup.objects.get().next_breach_s
    gone_in(group.flow, 120)
    refresh_groups()
    sooner = FailureGroup.objects.get().next_breach_s
    discard_dead_letter(DeadLetter.objects.get(), by=ROOT, reason="tests")
    refresh_groups()

    assert before - sooner == 180 * 60
    assert FailureGroup.objects.get().next_breach_s == NO_BREACH


def test_the_overview_says_what_is_broken_next_to_whoever_sees_it():
    group = fails("a")
    Flow.objects.filter(pk=group.flow_id).update(team=None)
    gone_in(group.flow, HOURS_5)

    text = text_of(signed_in().get("/"))

    assert "Next breach in 5 h" in text
    assert f"{group.flow} {HOURS_5}" in text
    assert next_breach(actor(person("guest", None)), environment(), now=datetime.now(UTC)) is None


def none_known(flow_ids: Collection[int]) -> dict[int, datetime]:
    return {}


@pytest.mark.parametrize("path", ["", "tests.services.test_next_breach.none_known"])
def test_an_operator_can_have_another_source_or_none(settings: Any, path: str):
    group = fails("a")
    gone_in(group.flow, 42)
    settings.CONSOLE_NEXT_BREACHES = path

    assert next_breach_of(group) is None


@pytest.mark.parametrize(("minutes", "words"), [(42.5, "next breach in 42 min"), (-1, "next breach in 0 s")])
def test_it_is_said_in_words(minutes: float, words: str):
    now = datetime.now(UTC)
    assert breach_words(now + timedelta(minutes=minutes), now=now) == words
    assert breach_words(None, now=now) == ""
