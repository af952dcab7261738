"""Counts of every page: as the querysets count them, whoever asks, also when their statement was made for somebody before."""

from __future__ import annotations

from dataclasses import replace

import pytest

from console.dashboard.overview import count_waiting, waiting_letters
from console.identity import counted
from console.identity.actor import Actor
from console.identity.counted import count_up_to
from console.identity.models import Role, Team
from messages.models import DeadLetter, Flow
from tests.factories import ROOT, actor, environment, person, stored_letter

pytestmark = pytest.mark.django_db


def test_who_sees_less_counts_less_and_rights_that_change_count_at_once():
    theirs = stored_letter()
    Flow.objects.filter(pk=theirs.flow_id).update(team=Team.objects.create(name="others"))
    member = actor(person("lee", Role.OPERATOR))

    assert (count_waiting(ROOT, environment()), count_waiting(member, environment())) == (1, 0)
    grants = {
        environment().pk: {**member.grants[environment().pk], Flow.objects.get(pk=theirs.flow_id).team_id: Role.VIEWER}
    }
    assert count_waiting(replace(member, grants=grants), environment()) == 1
    assert count_waiting(member, environment()) == 0
    assert count_waiting(Actor(name="nobody", via="web"), environment()) == 0


def test_what_is_counted_is_counted_now_and_no_further_than_asked():
    for _ in range(3):
        stored_letter()

    assert count_up_to(2, waiting_letters, ROOT, environment()) == 2
    assert count_up_to(9, waiting_letters, ROOT, environment()) == 3
    DeadLetter.objects.all().delete()
    assert count_up_to(9, waiting_letters, ROOT, environment()) == 0


def test_no_more_statements_are_kept_than_a_console_has_readers(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(counted, "MOST_KEPT", 3)
    monkeypatch.setattr(counted, "_kept", {})

    for number in range(10):
        count_waiting(Actor(name=f"reader {number}", via="web"), environment())
        assert len(counted._kept) <= 3
