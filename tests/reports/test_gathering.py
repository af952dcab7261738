"""What a report is gathered from: figures, days, exclusions, rights, and how many queries it takes, through which indexes."""

from __future__ import annotations

import re
from contextlib import nullcontext
from datetime import UTC, date, datetime, timedelta
from threading import Thread
from typing import Any

import pytest
import time_machine
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from alerts.models import Breach, BreachEntry, FlowAgent, Objective
from alerts.objectives.excluding import NewExclusion, add_exclusion
from alerts.objectives.services import add_objective, change_objective
from alerts.objectives.wishes import NewObjective
from alerts.reports.content import Cadence, Stands, as_json, from_json
from alerts.reports.gathering import gather
from alerts.reports.periods import last_period
from alerts.reports.rendering import render
from console.core.errors import NotFound
from console.identity.models import Role, Team
from messages.models import DeadLetter, FailureGroup, SavedSearch
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


def test_better_or_worse_is_said_of_what_counts_in_both_periods():
    one = promised()
    before = NOON - timedelta(days=1)
    rolled(NOON, 99, 1)
    rolled(before, 98, 2)
    rolled(before + 2 * HOUR, 0, 100)
    add_exclusion(
        NewExclusion(starts_at=before + HOUR, minutes=120, reason="move", category="maintenance"),
        objective=one,
        by=ROOT,
    )
    looked()

    content = gathered()

    assert (content.attained, content.previous) == pytest.approx((0.99, 0.98))


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
        (NOON, "flapped", one.pk),  # over, and again: the same breach, and another call
        (NOON, "note", one.pk),
        (DAY.until, "fired", one.pk),
        (NOON, "fired", 9_999),
    ):
        breach = Breach.objects.create(
            environment=environment(), source="objective", key=str(key), severity="page", title="x", summary="", url="/", state="resolved",
            opened_at=at, fires_at=at, fired_at=at, resolved_at=at + HOUR, last_seen_at=at,
        )  # fmt: skip
        BreachEntry.objects.create(breach=breach, at=at, kind=kind)

    assert gathered().breaches == 2


def test_a_target_that_was_changed_in_the_period_is_told():
    with time_machine.travel(NOW - timedelta(days=20), tick=False):
        one = promised(target="0.99", now=NOW - timedelta(days=20))
    for target, at in (("0.995", NOON), ("0.999", NOON + HOUR)):
        with time_machine.travel(at, tick=False):
            change_objective(one, NewObjective(name=one.name, kind="success", target=target), by=ROOT, now=at)
    looked()

    assert (gathered().promises[0].target, gathered().promises[0].target_before) == (0.999, 0.99)
    assert gathered(MONTH).promises[0].target_before == 0.99  # it is judged by another one than when its month ended


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


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("in_a_transaction", [False, True])
def test_all_of_a_report_is_of_one_moment(committed, in_a_transaction):
    """A letter of before comes in while a report is gathered. The control: in a transaction of the caller each query has its own moment."""
    promised()
    group = cause("ERP did not answer")
    letters(group, 1)
    asked = audience()

    def note(execute: Any, sql: str, values: Any, many: bool, context: Any) -> Any:
        if (
            "closed_at IS NULL AND flow_id" in sql
        ):  # before it: the letters of the period are read, those that wait are not
            other = Thread(target=_one_more, args=(group,))
            other.start()
            other.join()
        return execute(sql, values, many, context)

    with connection.execute_wrapper(note), transaction.atomic() if in_a_transaction else nullcontext():
        content = gather(asked, DAY, actor=ROOT, now=NOW)

    more = 1 if in_a_transaction else 0
    assert (content.letters.waiting, content.letters.older) == (1, more)
    assert content.promises[0].waiting == 1 + more


def test_what_came_after_the_period_waits_in_no_line_of_it():
    """A report that is made at noon tells of yesterday: each line says of the same letters that they wait."""
    promised()
    group = cause("ERP did not answer")
    letters(group, 2)
    letters(group, 3, at=DAY.since - timedelta(hours=2))
    letters(group, 31, at=DAY.until + timedelta(hours=1))
    DeadLetter.objects.filter(received_at__gte=DAY.until).update(failed_at=DAY.since - timedelta(days=9))

    content = gathered()

    assert (content.letters.waiting, content.letters.older) == (2, 3)
    assert content.letters.oldest == DAY.since - timedelta(hours=2)
    assert content.promises[0].waiting == 5


def _one_more(group: FailureGroup) -> None:
    letters(group, 1, at=DAY.since - timedelta(hours=2))
    connection.close()


def test_a_gathered_report_is_rendered():
    promised(HOSTILE.replace("\x00", "")[:110], target="0.99")
    rolled(NOON, 100, 10)
    letters(cause("ERP did not answer"), 2, "processed")
    looked()

    mail = render(gathered(), open_url="https://waybill.example/r", stop_url="https://waybill.example/s")

    assert mail.subject == "Order team: promise missed on 25 November 2026"
    assert "2 dead letters came in: all delivered by replay" in " ".join(mail.text.split())
    assert [name for name, _, _ in mail.attachments] == ["order-team-2026-11-25.pdf", "order-team-2026-11-25.csv"]


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
