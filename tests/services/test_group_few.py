"""One message or few that fail again and again while others pass: when a group says so, and when it does not. On the real PostgreSQL."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from console.identity.models import Team
from messages.groups import few, refresh
from messages.groups.refresh import refresh_groups
from messages.groups.sweep import sweep_groups
from messages.models import FailureGroup, Flow, Message
from tests.factories import agent_key, environment, push
from tests.services.grouping import failed_event, push_letters, timeout
from tests.services.test_group_spread import read_anew, through

pytestmark = pytest.mark.django_db


def test_no_document_is_to_be_looked_at_alone_while_letters_wait_that_name_none():
    push_letters(*(timeout(1, id=f"died {times}") for times in range(3)))
    refresh_groups()
    group = FailureGroup.objects.get()
    assert (group.spread, group.spread_words) == ("poison", "One order, 47-1, failed 3 times: look at it alone.")

    push_letters(*(timeout(1, id=f"of nobody {number}", keys={}, body="{}") for number in range(5)))
    refresh_groups()

    group = FailureGroup.objects.get()
    assert (group.letters, group.spread, group.spread_words) == (8, "", "")


def test_no_document_is_to_be_looked_at_alone_while_letters_wait_that_were_not_looked_at(
    monkeypatch: pytest.MonkeyPatch,
):
    push_letters(*(timeout(1, id=f"died {times}") for times in range(4)))
    monkeypatch.setattr(refresh, "MOST_READ", 3)

    refresh_groups()

    group = FailureGroup.objects.get()
    assert (group.capped, group.spread) == (True, "")


def tries(number: int, times: int, **changes: Any) -> list[dict[str, Any]]:
    return [failed_event(number, id=f"try {number} {one} {changes}") | changes for one in range(times)]


def spread_after(*events: dict[str, Any]) -> tuple[str, str]:
    push("/ingest/v1/events", list(events), key=agent_key())
    sweep_groups()
    FailureGroup.objects.update(figures_at=None)
    refresh_groups()
    group = FailureGroup.objects.get()
    return group.spread, group.spread_words


def test_one_message_that_fails_again_and_again_while_others_pass_is_to_be_looked_at_alone():
    """Attempts count as far as they failed at the group's step in the last hours, in whichever flow that readers of the group see."""
    through(40, fails=False)
    told = (
        tries(1, 20)
        + tries(1, 4, system="bridge")
        + tries(1, 2, destination="crm")
        + tries(1, 2, occurred_at=(datetime.now(UTC) - timedelta(hours=9)).isoformat())
    )

    spread = spread_after(*told)

    assert spread == ("poison", "One order, 47-1, failed 22 times, while 40 others passed: look at it alone.")


def test_few_messages_that_fail_again_and_again_are_poison_also_when_they_name_no_document():
    through(40, fails=False)

    one = spread_after(*(event | {"keys": {}} for event in tries(1, 5)))
    three = spread_after(*(event | {"keys": {}} for number in (2, 3) for event in tries(number, 3)))

    assert one == ("poison", "One message failed 5 times, while 40 others passed: look at it alone.")
    assert three == ("poison", "3 messages failed 11 times, while 40 others passed: look at them alone.")


def test_attempts_that_are_too_many_to_count_are_at_least(monkeypatch: pytest.MonkeyPatch):
    through(10, fails=False)
    monkeypatch.setattr(few, "MOST_TIMES", 4)

    assert spread_after(*tries(1, 5))[1].startswith("One order, 47-1, failed at least 4 times, while 10 others")


@pytest.mark.parametrize(
    ("messages", "passes", "kind"),
    [(1, 0, ""), (1, 9, ""), (2, 19, ""), (3, 30, "poison"), (4, 40, "some"), (30, 2, "outage"), (30, 0, "outage")],
)
def test_many_keys_that_fail_or_others_that_do_not_pass_are_no_poison_however_often_they_are_tried(
    messages: int, passes: int, kind: str
):
    through(passes, fails=False) if passes else None

    spread, words = spread_after(*(event for number in range(messages) for event in tries(number, 5)))

    assert spread == kind, words


def test_few_that_still_wait_after_an_outage_are_no_poison():
    through(60, fails=False)
    spread_after(*(event for number in range(20) for event in tries(number, 4)))
    passed = [
        failed_event(number) | {"outcome": "ok", "occurred_at": datetime.now(UTC).isoformat()}
        for number in range(1, 20)
    ]
    for one in passed:
        one.pop("error")

    spread, words = spread_after(*passed)

    assert FailureGroup.objects.get().failed == 1
    assert (spread, words.partition(" at once")[0]) == (
        "some", "25% of what came to erp in the last hours failed this way: 20 of 80, 19 of them passed since, 60 passed",
    )  # fmt: skip


def test_few_that_fail_after_the_others_passed_are_the_beginning_of_an_outage_and_no_poison():
    events = [failed_event(number) | {"outcome": "ok"} for number in range(10, 70)]
    for one in events:
        one.pop("error")
    earlier = (datetime.now(UTC) - timedelta(minutes=9)).isoformat()
    push("/ingest/v1/events", [one | {"occurred_at": earlier} for one in events], key=agent_key())

    spread, words = spread_after(*(event for number in range(2) for event in tries(number, 5)))

    assert (spread, words) == ("", "")


def test_an_order_that_passed_since_as_another_message_is_not_one_to_be_looked_at_alone():
    through(21, fails=False)
    tries_of_one = [failed_event(1) | {"message_id": f"the order, try {number}"} for number in range(5)]
    at = (datetime.now(UTC) + timedelta(seconds=1)).isoformat()
    passed = failed_event(1, occurred_at=at) | {"message_id": "the order at last", "outcome": "ok"}
    passed.pop("error")

    push("/ingest/v1/events", tries_of_one, key=agent_key())
    before = read_anew()
    push("/ingest/v1/events", [passed], key=agent_key())
    after = read_anew()

    assert (before.spread, before.spread_words) == (
        "poison", "One order, 47-1, failed 5 times, while 21 others passed: look at it alone.",
    )  # fmt: skip
    assert (after.spread, after.spread_words) == (
        "", "One order, 47-1, failed 5 times and has passed since, as another message: what waits may be superseded.",
    )  # fmt: skip


def as_other(message_id: str, **ago: float) -> dict[str, Any]:
    """An event that the order of failed_event(1) passed as another message."""
    at = (datetime.now(UTC) - timedelta(**ago)).isoformat()
    passed = failed_event(1, occurred_at=at) | {"message_id": message_id, "outcome": "ok"}
    return {name: value for name, value in passed.items() if name != "error"}


def test_an_order_that_had_passed_before_it_failed_is_still_one_to_be_looked_at_alone():
    through(21, fails=False)
    tries_of_one = [failed_event(1) | {"message_id": f"the order, try {number}"} for number in range(5)]

    push("/ingest/v1/events", [as_other("the order of before", minutes=20), *tries_of_one], key=agent_key())

    assert read_anew().spread == "poison"


def test_an_order_of_which_another_team_said_that_it_passed_is_not_told_to_have():
    through(21, fails=False)
    tries_of_one = [failed_event(1) | {"message_id": f"the order, try {number}"} for number in range(5)]
    push("/ingest/v1/events", [*tries_of_one, as_other("the order at last", seconds=-1)], key=agent_key())
    others = Flow.objects.create(environment=environment(), name="of others", team=Team.objects.create(name="Others"))
    Message.objects.filter(message_id="the order at last").update(told_by=[others.pk])

    assert read_anew().spread == "poison"


def test_one_document_whose_failures_came_after_all_that_passed_is_not_told_to_be_alone():
    events = [failed_event(number) | {"outcome": "ok"} for number in range(10, 70)]
    for one in events:
        one.pop("error")
    earlier = (datetime.now(UTC) - timedelta(minutes=9)).isoformat()
    push("/ingest/v1/events", [one | {"occurred_at": earlier} for one in events], key=agent_key())
    push_letters(*(timeout(1, id=f"died {times}", system="erp") for times in range(3)))

    group = read_anew()

    assert (group.spread, group.spread_words.partition(" of")[0]) == ("some", "5%")
