"""Items are found by what became of them and by why they are left out: exactly those, page by page."""

from __future__ import annotations

import pytest

from console.core.errors import Invalid
from messages.models import DeadLetter, PlanItem, Replay
from messages.plans.advance import advance_plan
from messages.plans.items import Item, Only, every_item, find_items
from messages.plans.services import Options
from messages.replay.sending import send_due
from tests.factories import ROOT
from tests.plans.test_plans import begin, letters, plan_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def mixed(line):
    """A plan of ordinals 1 confirmed, 2 failed again, 3 unknown, 4 queued, 5 and 6 waiting, 7 closed before the freezing, 8 masked."""
    chosen = letters(8)
    DeadLetter.objects.filter(pk=chosen[6].pk).update(state="replaying")
    DeadLetter.objects.filter(pk=chosen[7].pk).update(content_masked=True, masked={"1": 1})
    plan = plan_of(chosen, Options(rate_per_s=None, steps=("4", "100%"), waits_for="processed"))
    begin(plan)
    send_due(line.pk)
    advance_plan(plan.pk)
    replays = dict(PlanItem.objects.filter(plan=plan).values_list("ordinal", "replay_id"))
    for ordinal, state in ((2, "failed_again"), (3, "unknown"), (4, "queued")):
        Replay.objects.filter(pk=replays[ordinal]).update(state=state)
    return plan


def ordinals(items: list[Item]) -> list[int]:
    return [one.ordinal for one in items]


@pytest.mark.parametrize(
    ("only", "found"),
    [
        (Only(), [1, 2, 3, 4, 5, 6, 7, 8]),
        (Only(outcomes=["confirmed"]), [1]),
        (Only(outcomes=["failed_again", "refused"]), [2]),
        (Only(outcomes=["waiting"]), [5, 6]),
        (Only(outcomes=["waiting", "queued"]), [4, 5, 6]),
        (Only(outcomes=["left_out"]), [7, 8]),
        (Only(outcomes=["unknown", "left_out"]), [3, 7, 8]),
        (Only(outcomes=["processed"]), []),
        (Only(left_out="masked"), [8]),
        (Only(left_out="under_way"), [7]),
        (Only(left_out="closed"), []),
    ],
)
def test_exactly_those_are_found(mixed, only, found):
    assert ordinals(find_items(ROOT, mixed, only=only).rows) == found
    assert ordinals(list(every_item(ROOT, mixed, only=only))) == found


def test_pages_follow_each_other_and_nothing_is_twice_or_missing(mixed):
    seen, cursor = [], None
    for _ in range(9):
        page = find_items(ROOT, mixed, limit=3, cursor=cursor)
        seen += ordinals(page.rows)
        if (cursor := page.next) is None:
            break

    assert seen == [1, 2, 3, 4, 5, 6, 7, 8]


@pytest.mark.parametrize("wrong", [{"outcomes": ["done"]}, {"outcomes": [""]}, {"left_out": "' OR true --"}])
def test_what_no_item_ever_is_is_refused(wrong):
    with pytest.raises(Invalid):
        Only(**wrong)
