"""Two who edit, and one who starts, at the same moment: what is sent is what its checksum says, and the starter is told."""

from __future__ import annotations

import pytest
from django.db import transaction

from messages.models import Plan
from messages.plans.checksum import check_checksum
from messages.plans.editing import set_edits
from messages.plans.sealed import opened_edits
from messages.plans.services import PlanState, start_plan
from tests.factories import ROOT, memory_connection
from tests.plans.test_editing import edits
from tests.plans.test_plans import letters, plan_of
from tests.services.test_groups_at_once import at_once, until, waits_for_a_lock

pytestmark = pytest.mark.usefixtures("committed")


def header(value: str):
    return edits({"kind": "set_header", "name": "x-by", "value": value})


def test_two_who_edit_leave_one_of_the_two():
    memory_connection()
    plan = plan_of(letters(3))
    wanted = [header("one"), header("two")]

    done = at_once(*[lambda one=one: set_edits(Plan.objects.get(pk=plan.pk), one, by=ROOT) for one in wanted])

    assert all(isinstance(one, Plan) for one in done)
    now = Plan.objects.get()
    assert opened_edits(now) in wanted
    check_checksum(now)


def test_a_start_that_waits_for_an_edit_does_not_send_what_nobody_looked_at():
    memory_connection()
    plan = plan_of(letters(3))
    seen = Plan.objects.get(pk=plan.pk)

    def edit() -> None:
        with transaction.atomic():
            set_edits(Plan.objects.get(pk=plan.pk), header("one"), by=ROOT)
            until(waits_for_a_lock)

    def start() -> object:
        return start_plan(seen, by=ROOT, undo_s=60)

    _, started = at_once(edit, start)

    now = Plan.objects.get()
    assert isinstance(started, PlanState) or (now.state, now.edits_sha256) == ("scheduled", "")
    check_checksum(now)
