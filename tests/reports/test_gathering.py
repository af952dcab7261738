"""What a report is gathered from: figures, days, causes, exclusions, quality, rights, and how many queries it takes."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.db import connection
from django.test.utils import CaptureQueriesContext
from hypothesis import given
from hypothesis import strategies as st

from alerts.models import Breach, BreachEntry, FlowAgent, Objective, Standing
from alerts.objectives.excluding import NewExclusion, add_exclusion
from alerts.objectives.services import add_objective, change_objective
from alerts.objectives.wishes import NewObjective
from alerts.reports.causes import causes_of, largest, letters_of
from alerts.reports.content import Cadence, Stands, as_json, from_json
from alerts.reports.gathering import gather
from alerts.reports.periods import last_period
from console.core.errors import NotFound
from console.identity.models import Role, Team
from messages.models import SavedSearch
from messages.queries import Became, Failed
from tests.factories import ROOT, actor, agent, environment, person
from tests.objectives.stored import HOUR, MINUTE, NOW, looked, message, promised, rolled
from tests.pages.test_indexes import NEVER_ANALYSED, scanned
from tests.reports.samples import HOSTILE
from tests.reports.stored import DAY, NOON, audience, cause, failed, gathered, letters
from tests.services.reconciling import flow

pytestmark = pytest.mark.django_db
MONTH = last_period(Cadence.MONTHLY, "Europe/Berlin", datetime(2026, 11, 1, 5, tzinfo=UTC))


def test_a_promise_has_its_figures_of_the_period_and_of_the_one_before():
    promised("Orders arrive", target="0.99", days=7)
    rolled(NOON, 9, 1, minutes=10)
    rolled(NOON + HOUR, 100, minutes=20)
    rolled(NOON - 24 * HOUR, 99, 1, minutes=10)
    rolled(NOON + 12 * HOUR, 0, 5)  # 00:00 UTC on the 26th: after the period
    rolled(DAY.since - MINUTE, 0, 7)  # the last minute before it
    looked()

    content = gathered()

    (one,) = content.promises
    assert (one.good, one.late, one.lost) == (2_090, 0, 10)
    assert (one.stands, one.unit, one.over, one.kind, one.counted) == (Stands.KEPT, "events", "", "success", True)
    assert one.attained == one.adjusted == pytest.approx(2_090 / 2_100)
    assert one.previous == pytest.approx(990 / 1_007)
    assert (one.budget, one.left, one.left_ratio) == pytest.approx((21, 11, 11 / 21))
    assert (content.attained, content.previous) == pytest.approx((2_090 / 2_100, 990 / 1_007))
    assert [(day.day, day.good, day.lost) for day in content.days] == [(date(2026, 11, 25), 2_090, 10)]
    assert [(day.day.day, day.lost) for day in content.trend if day.lost] == [(24, 17)]
    assert len(content.trend) == 13


@pytest.mark.parametrize(
    ("good", "bad", "stands"),
    [(2_000, 0, Stands.KEPT), (1_980, 20, Stands.AT_RISK), (1_979, 21, Stands.MISSED), (1_984, 16, Stands.AT_RISK)],
)
def test_how_it_stands_is_what_is_left_of_the_budget(good, bad, stands):
    promised(target="0.99")
    rolled(NOON, good, bad)
    looked()

    assert gathered().promises[0].stands is stands


def test_a_day_too_small_to_judge_by_is_judged_over_the_promised_window():
    promised("Orders arrive", target="0.999", days=30)
    rolled(NOON - 10 * 24 * HOUR, 2_000)
    rolled(NOON, 99, 1)
    looked()

    content = gathered()

    (one,) = content.promises
    assert (one.over, one.stands) == ("30 days", Stands.KEPT)
    assert one.adjusted == pytest.approx(2_099 / 2_100)
    assert (one.good, one.lost) == (99, 1)  # of the day all the same
    assert content.quality == ("Low traffic: “Orders arrive” is judged over a longer time than this period.",)
    assert gathered(MONTH, now=NOW).promises[0].over == ""  # a month is as long as the window


def test_one_failure_that_decides_alone_is_told():
    promised("Orders arrive", target="0.999")
    rolled(NOON, 99, 1)
    looked()

    content = gathered()

    assert content.promises[0].stands is Stands.MISSED
    assert "Low traffic: one failure alone is more than “Orders arrive” allows." in content.quality


def test_time_slices_and_minutes_are_minutes_of_the_budget():
    promised("Slices", target="0.9", method="timeslices", slice_minutes=5, slice_target=0.99)
    rolled(NOON, 10, minutes=50)
    rolled(NOON, 0, 10, minutes=1)
    looked()

    one = gathered().promises[0]

    assert (one.unit, one.budget, one.left) == ("minutes", pytest.approx(5.0), pytest.approx(0.0))
    assert one.stands is Stands.AT_RISK


def test_each_flow_is_counted_once_in_the_days():
    promised("Attempts", target="0.9")
    promised("In time", kind="latency", target="0.9", limit_ms=64)
    promised("Invoices", of=flow("invoices"), target="0.9")
    rolled(NOON, 90, 10, bucket=2)
    rolled(NOON, 90, 10, of=flow("invoices"))
    looked()

    content = gathered()

    counted = {one.name for one in content.promises if one.counted}
    assert counted == {"In time", "Invoices"}
    assert sum(day.good + day.late + day.lost for day in content.days) == 90 + 100
    for part in ("good", "late", "lost"):
        assert sum(getattr(day, part) for day in content.days) == sum(
            getattr(one, part) for one in content.promises if one.counted
        )


def test_a_saved_search_is_its_makers_and_is_counted_where_there_is_nothing_else():
    ada = person("ada", Role.OPERATOR)
    search = SavedSearch.objects.create(
        environment=flow().environment, owner=ada, of="messages", name="Big ones", q="size:big"
    )
    for took in (MINUTE, 2 * HOUR, None):
        message(NOON, took=took, keys={"size": "big"})
    add_objective(
        NewObjective(name="Big ones", kind="freshness", target="0.9", limit_minutes=15),
        search=search,
        by=actor(ada),
        now=NOW,
    )
    looked()

    content = gathered(by=actor(ada))

    (one,) = content.promises
    assert (one.flow, one.counted, one.good, one.late, one.lost) == ("", True, 1, 1, 1)
    assert [(day.good, day.late, day.lost) for day in content.days] == [(1, 1, 1)]
    promised("Orders arrive", target="0.9")
    rolled(NOON, 100)
    looked()
    assert [one.counted for one in gathered(by=actor(ada)).promises] == [False, True]
    assert [one.name for one in gathered(by=actor(person("max", Role.VIEWER))).promises] == ["Orders arrive"]


def test_the_days_of_a_month_have_23_to_25_hours_and_their_exclusions():
    one = promised("Orders arrive", target="0.9", days=60, time_zone="Europe/Berlin")
    rolled(datetime(2026, 10, 24, 22, tzinfo=UTC), 1, minutes=25 * 60)  # the night in which the clocks go back
    looked()
    add_exclusion(
        NewExclusion(starts_at=datetime(2026, 10, 12, tzinfo=UTC), minutes=120, reason=HOSTILE, category="partner"),
        objective=one,
        by=ROOT,
    )

    content = gathered(MONTH)

    assert [day.day.day for day in content.days] == list(range(1, 32))
    assert {day.day.day: day.good for day in content.days if day.good} == {25: 1_500}
    assert [day.day.day for day in content.days if day.excluded] == [12]
    assert content.trend == ()


def test_what_is_excluded_is_told_with_reason_by_whom_and_how_many_events():
    orders = promised("Orders arrive", target="0.99")
    promised("In time", kind="latency", target="0.9", limit_ms=64)
    rolled(NOON, 0, 2, minutes=30)
    rolled(NOON + HOUR, 100, minutes=10)
    looked()
    add_exclusion(
        NewExclusion(starts_at=NOON + 5 * MINUTE, minutes=15, reason="  the partner\nwas down ", category="partner"),
        objective=orders,
        by=ROOT,
    )
    add_exclusion(
        NewExclusion(
            starts_at=NOON - 48 * HOUR, minutes=10, reason="nightly", category="maintenance", rule="FREQ=DAILY"
        ),
        flow=flow(),
        by=ROOT,
    )
    add_exclusion(
        NewExclusion(starts_at=NOON - 48 * HOUR, minutes=10, reason="before", category="other"),
        objective=orders,
        by=ROOT,
    )
    looked()

    content = gathered()

    told = [(one.since, one.until, one.reason, one.by, one.events, one.about) for one in content.exclusions]
    assert told == [
        (NOON, NOON + 10 * MINUTE, "nightly", "root", 20, "orders"),
        (NOON + 5 * MINUTE, NOON + 20 * MINUTE, "the partner was down", "root", 30, "Orders arrive"),
    ]
    one = next(one for one in content.promises if one.name == "Orders arrive")
    assert (one.lost, one.attained) == (60, pytest.approx(1_000 / 1_060))
    assert one.adjusted == pytest.approx(1_000 / 1_020)


def test_causes_say_what_became_of_their_letters_and_add_up():
    promised()
    timeout, vat, odd = (
        cause("ERP did not answer"),
        cause("VAT missing"),
        cause("", message="", failure_class="contract"),
    )
    merged = cause("ERP timed out", merged_into=timeout)
    letters(timeout, 3, "processed")
    letters(merged, 1, "processed", after=timedelta(minutes=78))
    letters(timeout, 1, "failed_again")
    letters(vat, 2, "discarded")
    letters(vat, 1, "compensated")
    letters(vat, 2)
    letters(odd, 1, "gone")
    letters(None, 1)
    letters(vat, 9, at=DAY.since - MINUTE)  # before the period, and waits
    letters(vat, 4, at=DAY.until)  # after it
    failed(cause("Retried in vain"), 3)
    failed(timeout, 7, letters=4)
    looked()

    content = gathered()

    names = (
        "title",
        "count",
        "replayed",
        "compensated",
        "discarded",
        "failed_again",
        "gone",
        "waiting",
        "without_letter",
    )
    told = [tuple(getattr(one, name) for name in names) for one in content.causes]
    assert told == [
        ("ERP did not answer", 5, 4, 0, 0, 1, 0, 0, 0),
        ("VAT missing", 5, 0, 1, 2, 0, 0, 2, 0),
        ("Retried in vain", 3, 0, 0, 0, 0, 0, 0, 3),
        ("No cause is known", 1, 0, 0, 0, 0, 0, 1, 0),
        ("the message could not be read: its form is not the one that was agreed", 1, 0, 0, 0, 0, 1, 0, 0),
    ]
    assert content.causes[0].late_by_s == pytest.approx((3 * 38 + 78) / 4 * 60)
    assert content.causes[1].late_by_s is None
    assert content.causes[0].path == f"/groups/{timeout.reference}/"
    found = content.letters
    assert (
        found.came,
        found.replayed,
        found.failed_again,
        found.compensated,
        found.discarded,
        found.gone,
        found.waiting,
    ) == (12, 4, 1, 1, 2, 1, 3)
    assert (found.older, found.oldest) == (9, DAY.since - MINUTE)
    assert (content.promises[0].waiting, content.promises[0].replayed) == (16, 4)


def test_more_causes_than_are_shown_are_one_row():
    promised()
    for number in range(7):
        letters(cause(f"cause {number}"), 10 - number)
    looked()

    content = gathered()

    assert [one.count for one in content.causes] == [10, 9, 8, 7, 6, 9]
    assert (content.causes[-1].title, content.causes[-1].groups) == ("2 other causes", 2)
    assert sum(one.count for one in content.causes) == content.letters.came == 49


BECAME = st.builds(
    Became,
    st.integers(1, 3),
    st.one_of(st.none(), st.integers(1, 9)),
    *[st.integers(0, 20)] * 6,
    st.one_of(st.none(), st.just(60.0)),
)
FAILED = st.builds(Failed, st.integers(1, 3), st.integers(10, 19), st.integers(1, 9))


@given(st.lists(BECAME, max_size=12), st.lists(FAILED, max_size=6))
def test_every_row_and_the_whole_add_up(became, without):
    causes, found = causes_of(became, without, {}, {1: "orders"}), letters_of(became, [])

    for one in causes:
        assert (
            one.count
            == one.replayed
            + one.compensated
            + one.discarded
            + one.failed_again
            + one.gone
            + one.waiting
            + one.without_letter
        )
    assert (
        found.came
        == found.replayed + found.failed_again + found.compensated + found.discarded + found.gone + found.waiting
    )
    assert sum(one.count for one in causes) == found.came + sum(one.count for one in without)
    assert sum(one.waiting for one in causes) == found.waiting
    assert sum(one.groups for one in causes) == len(became) + len(without)
    assert len(causes) <= 6
    assert len(largest(became, without)) <= 5


def test_texts_that_programs_wrote_are_one_line_without_control_characters():
    promised(HOSTILE.replace("\x00", "")[:110])
    letters(cause(HOSTILE.replace("\x00", "")), 1)
    looked()

    content = gathered()

    for text in (content.promises[0].name, content.causes[0].title):
        assert text.isprintable()
        assert "\u202e" not in text


def test_only_promises_that_the_actor_may_see_and_the_audience_names_are_in_it():
    teams = {name: Team.objects.create(name=name) for name in ("Order team", "Invoice team")}
    orders, invoices = flow("orders", team=teams["Order team"]), flow("invoices", team=teams["Invoice team"])
    stock = flow("stock")
    for of in (orders, invoices, stock):
        promised(of.name, of=of)
        letters(cause(f"cause of {of.name}", of), 1)
    looked()
    eva = actor(person("eva", Role.VIEWER, team="Order team"))

    def named(**changes):
        content = gathered(by=changes.pop("by", eva), **changes)
        return {one.name for one in content.promises}, {one.title for one in content.causes}

    assert named() == ({"orders", "stock"}, {"cause of orders", "cause of stock"})
    assert named(by=ROOT)[0] == {"orders", "stock", "invoices"}
    assert named(flow_ids=(invoices.pk, orders.pk)) == ({"orders"}, {"cause of orders"})
    assert named(flow_ids=(invoices.pk,)) == (set(), set())
    invoice = Objective.objects.get(name="invoices").pk
    assert named(objective_ids=(invoice,)) == (set(), set())
    assert named(objective_ids=(invoice,), by=ROOT) == ({"invoices"}, {"cause of invoices"})
    with pytest.raises(NotFound):
        gathered(by=actor(person("max", Role.VIEWER, slug="staging")))
    other = environment("staging")
    with pytest.raises(NotFound):
        gather(audience(environment=other.pk), DAY, actor=eva, now=NOW)
    assert gather(audience(environment=other.pk, flow_ids=(orders.pk,)), DAY, actor=ROOT, now=NOW).causes == ()


def test_alerts_that_fired_in_the_period_are_counted():
    one = promised()
    for at, kind, key in (
        (NOON, "fired", one.pk),
        (NOON, "note", one.pk),
        (DAY.until, "fired", one.pk),
        (NOON, "fired", 9_999),
    ):
        breach = Breach.objects.create(
            environment=environment(), source="objective", key=str(key), severity="page", title="x", summary="", url="/", state="resolved",
            opened_at=at, fires_at=at, fired_at=at, resolved_at=at + HOUR, last_seen_at=at,
        )  # fmt: skip
        BreachEntry.objects.create(breach=breach, at=at, kind=kind)

    assert gathered().breaches == 1


def test_a_target_that_was_changed_in_the_period_is_told():
    with time_machine.travel(NOW - timedelta(days=20), tick=False):
        one = promised(target="0.99", now=NOW - timedelta(days=20))
    for target, at in (("0.995", NOON), ("0.999", NOON + HOUR)):
        with time_machine.travel(at, tick=False):
            change_objective(one, NewObjective(name=one.name, kind="success", target=target), by=ROOT, now=at)
    looked()

    assert (gathered().promises[0].target, gathered().promises[0].target_before) == (0.999, 0.99)
    assert gathered(MONTH).promises[0].target_before is None


def test_silence_in_the_period_and_a_short_history_are_told():
    promised("Orders arrive", now=NOW, days=7)
    rolled(NOON, 1_000, 1)
    looked()
    harvester = agent("erp agent")
    FlowAgent.objects.create(flow=flow(), agent=harvester, seen_at=NOW)
    Objective.objects.update(filled_since=NOON - HOUR)
    for began, ended in ((NOON, NOON + HOUR), (NOON + 3 * HOUR, None), (NOON - 48 * HOUR, NOON - 40 * HOUR)):
        Breach.objects.create(
            environment=environment(), source="agent", key=str(harvester.pk), severity="page", title="", summary="", url="/", labels={"agent": "erp\nagent"},
            state="resolved" if ended else "firing", opened_at=began, fires_at=began, fired_at=began, resolved_at=ended, last_seen_at=began,
        )  # fmt: skip

    content = gathered()

    assert content.quality == (
        "Nothing came from the agent erp agent from 25 November 13:00 to 14:00.",
        "Nothing came from the agent erp agent since 25 November 16:00.",
        "“Orders arrive” is counted from 25 November 12:00 on.",
    )


def test_a_promise_whose_data_ended_is_not_called_kept():
    promised("Orders arrive", target="0.9", days=7)
    promised("Strictly", target="0.9999", days=1)
    rolled(NOON, 1_000, 1)
    looked()
    told = {"state": "no_data", "problem": "the agent erp has been silent since 2026-11-25 14:00 UTC"}
    Standing.objects.update(**told, state_since=NOON + 2 * HOUR)

    content = gathered()

    stands = {one.name: one.stands for one in content.promises}
    assert stands == {
        "Orders arrive": Stands.NO_DATA,
        "Strictly": Stands.MISSED,
    }  # silence does not mend what is missed
    why = "“Orders arrive” and “Strictly”: no data, the agent erp has been silent since 2026-11-25 14:00 UTC."
    assert why in content.quality
    Standing.objects.update(state_since=DAY.until - 10 * MINUTE)  # silence at the very end hides nothing
    assert {one.stands for one in gathered().promises} == {Stands.KEPT, Stands.MISSED}


def test_a_promise_without_traffic_has_no_data_and_stands_before_those_that_are_kept():
    promised("Orders arrive", target="0.9")
    promised("Stock", of=flow("stock"), target="0.9")
    promised("Invoices", of=flow("invoices"), target="0.9")
    rolled(NOON, 100)
    rolled(NOON, 100, 100, of=flow("invoices"))
    looked()

    content = gathered()

    assert [(one.name, one.stands) for one in content.promises] == [
        ("Invoices", Stands.MISSED),
        ("Stock", Stands.NO_DATA),
        ("Orders arrive", Stands.KEPT),
    ]
    assert content.quality == ("Nothing was measured of “Stock”.",)


def test_a_report_is_frozen_as_json_and_comes_back_the_same():
    promised()
    letters(cause("ERP did not answer"), 2, "processed")
    rolled(NOON, 100, 1)
    looked()
    content = gathered()

    assert from_json(as_json(content)) == content
    assert (content.frozen_at, content.revision, content.environment, content.colour) == (NOW, 1, "production", "red")
    assert gathered() == content


def test_an_environment_without_promises_gives_an_empty_report():
    content = gathered()

    assert (content.promises, content.causes, content.days, content.letters.came) == ((), (), (), 0)


def test_what_grows_with_traffic_is_read_through_an_index():
    one = promised(target="0.9999")
    rolled(NOON, 100, 1)
    add_exclusion(NewExclusion(starts_at=NOON, minutes=10, reason="x", category="other"), objective=one, by=ROOT)
    letters(cause("ERP did not answer"), 3, "processed")
    letters(cause("VAT missing"), 3)
    failed(cause("Retried"), 1)
    looked()
    FlowAgent.objects.create(flow=flow(), agent=agent(), seen_at=NOW)
    by = actor(person("ada", Role.VIEWER))
    asked: dict[str, Any] = {}

    def note(execute: Any, sql: str, values: Any, many: bool, context: Any) -> Any:
        if sql.lstrip().startswith(("SELECT", "WITH")):
            asked[sql] = values
        return execute(sql, values, many, context)

    with connection.execute_wrapper(note):
        gathered(by=by)
    with connection.cursor() as cursor:
        cursor.execute(NEVER_ANALYSED)

    found = {sql: wrong for sql, values in asked.items() if (wrong := scanned(sql, values))}
    assert found == {}
    assert not [sql for sql in asked if re.search(r"FROM \"?messaging_(event|message|rollup_minute)\b", sql)]


def test_the_number_of_queries_does_not_grow_with_what_is_reported():
    def fill(names):
        for name in names:
            of = flow(name)
            one = promised(name, of=of, target="0.9999")
            rolled(NOON, 100, 1, of=of)
            add_exclusion(
                NewExclusion(starts_at=NOON, minutes=10, reason="x", category="other"), objective=one, by=ROOT
            )
            letters(cause("ERP did not answer", of), 3, "processed")
            failed(cause("Retried", of), 1)
        looked()
        with CaptureQueriesContext(
            connection,
        ) as queries:
            gathered(by=ada)
        return len(queries)

    ada = actor(person("ada", Role.VIEWER))
    few, many = fill(["a", "b"]), fill([f"flow {number}" for number in range(12)])

    assert few == many <= 40
