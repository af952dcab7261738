"""Failures of a resolved group: which of them regress it, and which are no news."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from console.audit.models import AuditEntry
from console.identity.models import Team
from messages.groups import again
from messages.groups.services import change_state, merge_groups, take_apart
from messages.groups.sweep import sweep_groups
from messages.models import DeadLetter, FailureGroup, Flow, GroupHour
from tests.factories import ROOT, agent_key, event, push
from tests.services.grouping import failed_event, push_letters, timeout
from tests.services.test_group_spread import estate

pytestmark = pytest.mark.django_db


def test_what_fails_again_comes_back_to_its_resolved_group_as_regressed():
    (first,) = push_letters(timeout(1))
    FailureGroup.objects.update(state="resolved", state_at=datetime.now(UTC))

    (later,) = push_letters(timeout(2))

    assert later.group_id == first.group_id
    assert FailureGroup.objects.get().state == "regressed"
    assert AuditEntry.objects.get(action="group.regressed").object_id == str(first.group_id)


def test_what_died_before_its_group_was_resolved_and_was_harvested_after_is_no_news():
    push_letters(timeout(1))
    now = datetime.now(UTC)
    FailureGroup.objects.update(state="resolved", state_at=now - timedelta(minutes=5))

    push_letters(timeout(2) | {"failed_at": (now - timedelta(minutes=6)).isoformat()})
    assert FailureGroup.objects.get().state == "resolved"

    push_letters(timeout(3) | {"failed_at": (now - timedelta(minutes=4)).isoformat()})
    assert FailureGroup.objects.get().state == "regressed"


def test_letters_from_before_there_were_groups_are_given_one_and_regress_nothing():
    push_letters(*(timeout(number) for number in range(7)))
    DeadLetter.objects.update(group=None)
    GroupHour.objects.all().delete()
    FailureGroup.objects.update(state="resolved")

    assert sweep_groups() == 7

    assert DeadLetter.objects.filter(group=None).count() == 0
    assert sum(GroupHour.objects.values_list("letters", flat=True)) == 7
    assert FailureGroup.objects.get().state == "resolved"


def test_a_message_that_failed_after_its_group_was_resolved_regresses_it_and_an_older_one_does_not():
    push("/ingest/v1/events", [failed_event(1)], key=agent_key())
    sweep_groups()
    now = datetime.now(UTC)
    FailureGroup.objects.update(state="resolved", state_at=now - timedelta(seconds=30))
    push("/ingest/v1/events", [failed_event(2)], key=agent_key())  # failed a minute ago
    sweep_groups()
    assert FailureGroup.objects.get().state == "resolved"

    push("/ingest/v1/events", [failed_event(3, occurred_at=now.isoformat())], key=agent_key())
    sweep_groups()

    assert FailureGroup.objects.get().state == "regressed"


def test_a_message_of_a_resolved_group_that_fails_once_more_regresses_it():
    push("/ingest/v1/events", [failed_event(1)], key=agent_key())
    sweep_groups()
    FailureGroup.objects.update(state="resolved", state_at=datetime.now(UTC))
    push("/ingest/v1/events", [failed_event(1)], key=agent_key())  # told late: of a minute ago
    sweep_groups()
    assert FailureGroup.objects.get().state == "resolved"

    push("/ingest/v1/events", [failed_event(1, occurred_at=datetime.now(UTC).isoformat())], key=agent_key())
    sweep_groups()

    assert FailureGroup.objects.get().state == "regressed"


@pytest.mark.parametrize(
    ("minutes_ago", "state"), [(50, "resolved"), (30, "regressed"), (0, "regressed"), (60 * 24 * 9, "resolved")]
)
def test_a_message_of_a_resolved_group_that_fails_once_more_regresses_it_however_late_or_far_behind_others_it_comes(
    minutes_ago: int, state: str, monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: Any
):
    now = datetime.now(UTC)
    push("/ingest/v1/events", [failed_event(1), failed_event(2)], key=agent_key())
    sweep_groups()
    FailureGroup.objects.update(state="resolved", state_at=now - timedelta(minutes=40))
    monkeypatch.setattr(again, "MOST_AGAIN", 0)
    at = (now - timedelta(minutes=minutes_ago)).isoformat()

    with django_capture_on_commit_callbacks(execute=True):
        push("/ingest/v1/events", [event(), failed_event(1, occurred_at=at)], key=agent_key())
    sweep_groups()

    assert FailureGroup.objects.get().state == state


@pytest.mark.parametrize("owned", [False, True])
@pytest.mark.parametrize("by", ["hook", "sweep"])
def test_a_message_that_fails_once_more_in_the_queue_behind_its_exchange_regresses_its_group(
    owned: bool, by: str, django_capture_on_commit_callbacks: Any
):
    estate(3, 1)
    Flow.objects.update(team=Team.objects.create(name="Orders") if owned else None)
    sweep_groups()
    FailureGroup.objects.update(state="resolved", state_at=datetime.now(UTC))
    once_more = failed_event(1, occurred_at=datetime.now(UTC).isoformat())
    once_more |= {"message_id": "estate 0 of long enough", "destination": "q.orders"}

    with django_capture_on_commit_callbacks(execute=by == "hook"):
        push("/ingest/v1/events", [once_more], key=agent_key())
    if by == "sweep":
        sweep_groups()

    assert FailureGroup.objects.get().state == "regressed"


def test_what_was_here_when_its_group_was_resolved_regresses_nothing_though_its_sender_s_clock_is_ahead():
    push("/ingest/v1/events", [failed_event(1)], key=agent_key())
    sweep_groups()
    ahead = (datetime.now(UTC) + timedelta(seconds=40)).isoformat()
    push("/ingest/v1/events", [failed_event(1, occurred_at=ahead)], key=agent_key())
    FailureGroup.objects.update(state="resolved", state_at=datetime.now(UTC))

    sweep_groups()

    assert FailureGroup.objects.get().state == "resolved"


@pytest.mark.parametrize("elsewhere", [{"system": "crm"}, {"destination": "crm.contacts"}])
def test_a_message_of_a_resolved_group_that_fails_at_another_step_or_in_another_teams_flow_later_regresses_nothing(
    elsewhere: dict[str, str], django_capture_on_commit_callbacks: Any
):
    push("/ingest/v1/events", [failed_event(1), event(destination="crm.contacts")], key=agent_key())
    Flow.objects.filter(name="crm.contacts").update(team=Team.objects.create(name="Others"))
    sweep_groups()
    FailureGroup.objects.update(state="resolved", state_at=datetime.now(UTC))
    later = failed_event(1, occurred_at=datetime.now(UTC).isoformat()) | elsewhere

    with django_capture_on_commit_callbacks(execute=True):
        push("/ingest/v1/events", [later], key=agent_key())
    sweep_groups()

    assert FailureGroup.objects.get().state == "resolved"


@pytest.mark.parametrize(("minutes", "state"), [(-60, "resolved"), (1, "regressed")])
def test_what_died_before_a_group_was_resolved_does_not_make_it_regressed_when_it_is_taken_apart(
    minutes: int, state: str
):
    error = {"error": {"type": "ValueError", "message": "vat"}}
    [first], [other] = push_letters(timeout(1, **error)), push_letters(timeout(2))
    group, whole = FailureGroup.objects.get(pk=first.group_id), FailureGroup.objects.get(pk=other.group_id)
    group = change_state(group, "resolve", by=ROOT, reason="repaired")
    merge_groups(whole, [group], by=ROOT, reason="one cause")
    push_letters(timeout(3, **error, failed_at=(group.state_at + timedelta(minutes=minutes)).isoformat()))

    group.refresh_from_db()
    assert take_apart(group, by=ROOT, reason="two causes").state == state
