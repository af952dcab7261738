"""How far the figures of a report can be trusted: silence, short history, low traffic."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from alerts.models import Breach, FlowAgent, Objective, Standing
from alerts.reports.content import Cadence, Coverage, Stands
from alerts.reports.periods import last_period
from console.identity.models import Agent
from tests.factories import agent, environment
from tests.objectives.stored import HOUR, MINUTE, NOW, looked, promised, rolled
from tests.reports.stored import DAY, NOON, gathered
from tests.services.reconciling import flow

pytestmark = pytest.mark.django_db
MONTH = last_period(Cadence.MONTHLY, "Europe/Berlin", datetime(2026, 11, 1, 5, tzinfo=UTC))


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


def test_silence_in_the_period_and_a_short_history_are_told():
    promised("Orders arrive", now=NOW, days=7)
    rolled(NOON, 1_000, 1)
    looked()
    harvester = agent("erp agent")
    Agent.objects.update(created_at=NOON - 99 * HOUR)
    FlowAgent.objects.create(flow=flow(), agent=harvester, seen_at=NOW)
    Objective.objects.update(filled_since=NOON - HOUR, fill_from=NOON - HOUR)
    for began, ended in ((NOON, NOON + HOUR), (NOON + 3 * HOUR, None), (NOON - 48 * HOUR, NOON - 40 * HOUR)):
        Breach.objects.create(
            environment=environment(), source="agent", key=str(harvester.pk), severity="page", title="", summary="", url="/", labels={"agent": "erp\nagent"},
            state="resolved" if ended else "firing", opened_at=began, fires_at=began, fired_at=began, resolved_at=ended, last_seen_at=began,
        )  # fmt: skip

    content = gathered()

    assert content.quality == (
        "Nothing came from the agent erp agent from 25 November 12:50 to 13:58.",
        "Nothing came from the agent erp agent since 25 November 15:50.",
        "“Orders arrive” is counted from 25 November 12:00 on.",
    )
    assert content.coverage == Coverage(minutes=1440, covered=1440 - 68 - (8 * 60 + 10))  # from 15:50 to midnight


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
