"""What people do to groups changes the numbers that it should, everywhere, and no others."""

from __future__ import annotations

import re

import pytest

from messages.groups.services import change_state, merge_groups, take_apart
from messages.models import FailureGroup
from tests.estate.asking import Asking, Page
from tests.estate.happenings import ORDERS_OF_PUSHING
from tests.estate.model import ELSEWHERE, Estate
from tests.estate.places import tell_letters, tell_messages
from tests.estate.places_of_counts import tell_flows, tell_groups
from tests.estate.pushing import look, make_readers, push_estate
from tests.estate.test_one_estate import assert_true
from tests.factories import ROOT

pytestmark = pytest.mark.django_db


@pytest.fixture
def ask() -> Asking:
    batches = ORDERS_OF_PUSHING["as it happened"]
    now = push_estate(batches)
    return Asking(make_readers(), Estate(batches, now), pages=False)


def test_of_a_resolved_cause_the_letters_wait_and_the_failed_messages_do_not(ask: Asking):
    before = {who: sum(one.waiting for one in ask.estate.groups(who).values()) for who in ask.readers}
    failing = {
        who: len({cause[0] for cause, one in ask.estate.groups(who).items() if one.waiting}) for who in ask.readers
    }

    change_state(FailureGroup.objects.get(flow__name="prices"), "resolve", by=ROOT, reason="the prices were put right")
    look()

    for who, reader in ask.everybody():
        sees = ask.estate.sees(who, "prices")
        (overview,) = reader.rest("overview").json()
        ask.same(who, "what waits", "overview", overview["waiting"], before[who] - sees)
        ask.same(who, "flows that fail", "overview", overview["flows_failing"], failing[who] - sees)
        said = re.search(r"(\d+) flows? (?:is|are) failing\. (\d+) message", Page(reader.page("/")).verdict())
        ask.same(
            who, "what waits", "/", said and (int(said[1]), int(said[2])), (failing[who] - sees, before[who] - sees)
        )
        verdict = Page(reader.page("/groups/")).verdict()
        ask.same(
            who, "letters that still wait", "/groups/", "2 dead letters of resolved causes still wait" in verdict, sees
        )
        resolved = [(one["letters"], one["failed_messages"]) for one in reader.results("groups", show="resolved")]
        ask.same(who, "resolved", "groups?show=resolved", resolved, [(2, 1)] * sees)
        for flow in reader.results("flows", q="prices"):
            told = reader.rest(f"flows/{flow['id']}/figures").json()
            ask.same(
                who, "what waits of prices", "flows/<id>/figures", (told["waiting"], told["failed_messages"]), (2, 0)
            )
            line = next(one for one in Page(reader.page("/flows/")).rows("flows") if one.first == "prices")
            ask.same(who, "what waits of prices", "/flows/", line.cells["waiting"], "2")
    tell_letters(ask)
    tell_messages(ask)
    assert_true(ask)


def test_a_whole_counts_what_its_parts_counted_and_taken_apart_each_has_its_own_again(ask: Asking):
    of_erp = FailureGroup.objects.get(flow__name="ex.orders", error_type="ErpTimeout")
    elsewhere = FailureGroup.objects.get(flow__name="ex.orders", title=ELSEWHERE)
    parts = [
        one
        for cause, one in ask.estate.groups("olga").items()
        if cause[0] == "ex.orders" and cause[3] != "the broker is gone"
    ]

    merge_groups(of_erp, [elsewhere], by=ROOT, reason="one trouble")
    look()

    for who in ("administrator", "olga"):
        told = ask.readers[who].rest(f"groups/{of_erp.reference}").json()
        counted = (told["letters"], told["failed_messages"], told["documents"], sum(told["hours"]))
        true = tuple(
            sum(one)
            for one in zip(*((one.letters, one.failed, one.documents, len(one.failures)) for one in parts), strict=True)
        )
        ask.same(who, "all of the whole", "groups/<reference>", counted, true)
        ask.same(
            who,
            "groups that fail",
            "groups",
            len(ask.readers[who].results("groups")),
            len([one for one in ask.estate.groups(who).values() if one.waiting]) - 1,
        )
    tell_flows(ask)
    take_apart(FailureGroup.objects.get(pk=elsewhere.pk), by=ROOT, reason="they are two")
    look()
    ask.looked = True  # their times are those of before to the hour
    tell_groups(ask)
    assert_true(ask)
