"""For how much of a period there are data: agents that reported, and counting that is not done yet."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest
from django.db import connection

from alerts.breaches import watching
from alerts.breaches.rules import HOLD_DOWN
from alerts.models import Breach, FlowAgent, Objective, ObjectiveSum
from alerts.reports.content import Content, Coverage, Stands
from alerts.reports.face import coverage_words, face_of
from alerts.reports.saying import Says
from alerts.reports.tables import csv_of
from console.identity.models import Agent, Key
from messages.models import DeadLetter
from tests.factories import agent, environment, stored_letter
from tests.objectives.stored import DAY as DAY_LONG
from tests.objectives.stored import HOUR, MINUTE, NOW, looked, promised, rolled
from tests.reports.samples import example
from tests.reports.stored import DAY, NOON, gathered
from tests.services.reconciling import flow

pytestmark = pytest.mark.django_db
ENDED = timedelta(minutes=10)  # a breach of silence opens so long after the agent was heard


@pytest.fixture(autouse=True)
def kept() -> Objective:
    one = promised("Orders arrive", target="0.9", days=7)
    rolled(NOON, 1_000)
    looked()
    return one


def brings(name: str = "erp", *, seen_at: datetime = NOW, beats: bool = True, of: Any = None, **heard: Any) -> Agent:
    found = agent(name)
    told = {"last_seen_at": NOW, "heartbeat_at": NOW if beats else None, "created_at": DAY.since - 99 * HOUR} | heard
    Agent.objects.filter(pk=found.pk).update(**told)
    FlowAgent.objects.create(flow=of or flow(), agent=found, seen_at=seen_at)
    return found


def silent(of: Agent, since: datetime, until: datetime | None) -> None:
    opened = since + ENDED
    over = until + HOLD_DOWN if until else None
    Breach.objects.create(
        environment=environment(), source="agent", key=str(of.pk), severity="page", title="", summary="", url="/", labels={"agent": of.name},
        state="resolved" if until else "firing", opened_at=opened, fires_at=opened, fired_at=opened, resolved_at=over, last_seen_at=opened,
    )  # fmt: skip


def covered() -> int:
    found = gathered().coverage
    assert found is not None
    assert found.minutes == 1440
    return found.covered


def words(content: Content) -> str:
    return coverage_words(content, Says("en-GB", "Europe/Berlin"))


def test_a_day_in_which_every_agent_reported_is_covered_wholly():
    brings()

    content = gathered()

    assert content.coverage == Coverage(minutes=1440, covered=1440)
    assert words(content) == "Data are complete: every agent reported in 100\u00a0% of the period."


def test_a_silence_counts_from_when_the_agent_was_heard_last():
    silent(brings(), NOON, NOON + 20 * MINUTE)

    content = gathered()

    assert covered() == 1420
    assert words(content) == (
        "Data cover 98.61\u00a0% of the period: in 20 of 1,440 minutes an agent was silent or something is not counted yet."
    )


def test_a_silence_ends_when_the_agent_was_heard_again_and_not_when_its_breach_is_over():
    one = brings(last_seen_at=NOON, heartbeat_at=NOON)
    for seconds in (15, 15 + 120):
        watching.look(now=NOON + ENDED + timedelta(seconds=seconds))
    Agent.objects.filter(pk=one.pk).update(last_seen_at=NOON + 20 * MINUTE, heartbeat_at=NOON + 20 * MINUTE)
    for seconds in (15, 15 + 120):
        watching.look(now=NOON + 20 * MINUTE + timedelta(seconds=seconds))
    Agent.objects.update(last_seen_at=NOW, heartbeat_at=NOW)

    assert Breach.objects.get().state == "resolved"
    assert covered() == 1420
    assert gathered().quality == ("Nothing came from the agent erp from 25 November 13:00 to 13:20.",)


def test_the_time_between_two_silences_of_one_breach_is_covered():
    one = brings(last_seen_at=NOON, heartbeat_at=NOON)
    for heard, looks in ((0, [615, 735]), (1200, [1215, 1335]), (1380, [1995, 2115]), (2580, [2595, 2715])):
        at = NOON + timedelta(seconds=heard)
        Agent.objects.filter(pk=one.pk).update(last_seen_at=at, heartbeat_at=at)
        for seconds in looks:
            watching.look(now=NOON + timedelta(seconds=seconds))
    Agent.objects.update(last_seen_at=NOW, heartbeat_at=NOW)

    assert Breach.objects.get().flaps == 1
    assert covered() == 1440 - 2 * 20
    assert len(gathered().quality) == 2


def test_a_silence_that_goes_on_counts_from_the_last_sign_of_life_though_the_console_was_away_meanwhile():
    silent(brings(last_seen_at=NOON, heartbeat_at=NOON), NOON + 4 * HOUR, None)  # its breach opened when it was back

    assert covered() == 13 * 60
    assert gathered().quality == ("Nothing came from the agent erp since 25 November 13:00.",)


def test_a_harvester_is_missed_where_an_age_of_dead_letters_is_promised():
    """Its objective has no data: its report does not say that all of them are there."""
    brings()
    letter = stored_letter(origin="orders")
    DeadLetter.objects.filter(pk=letter.pk).update(flow=flow(), received_at=NOON - DAY_LONG)
    there = {"created_at": DAY.since - HOUR, "last_seen_at": NOON, "heartbeat_at": NOON}
    Agent.objects.filter(name="harvester").update(**there)
    events_alone = covered()

    promised("Letters", kind="dead_letter_age", limit_minutes=60)
    looked()

    assert (events_alone, covered()) == (1440, 13 * 60)
    assert "Nothing came from the agent harvester since 25 November 13:00." in gathered().quality


def test_silences_of_two_agents_that_overlap_count_once():
    silent(brings("one"), NOON, NOON + 30 * MINUTE)
    silent(brings("two"), NOON + 20 * MINUTE, NOON + 50 * MINUTE)

    assert covered() == 1390


def test_a_silence_across_the_ends_of_the_period_counts_inside_of_it():
    one = brings()
    silent(one, DAY.since - HOUR, DAY.since + 30 * MINUTE)
    silent(one, DAY.until - 5 * MINUTE, DAY.until + HOUR)  # its breach opened after the period
    silent(one, DAY.until, DAY.until + HOUR)

    assert covered() == 1405


@pytest.mark.parametrize(("minutes", "missing"), [(59, 0), (60, 60)])
def test_an_agent_without_heartbeats_may_have_nothing_to_say_for_an_hour(minutes: int, missing: int):
    silent(brings(beats=False), NOON, NOON + minutes * MINUTE)

    assert covered() == 1440 - missing
    assert len(gathered().quality) == (1 if missing else 0)


def test_a_script_that_was_heard_once_leaves_the_day_covered_by_those_that_bring_its_flow():
    script = brings("script", beats=False, last_seen_at=NOON)
    brings("shop", beats=False, last_seen_at=NOW)
    FlowAgent.objects.filter(agent=script).update(seen_at=NOON)

    assert covered() == 1440

    FlowAgent.objects.exclude(agent=script).delete()
    assert covered() == 780, "it alone brought the flow"


def test_one_that_was_not_heard_since_is_silent_though_no_breach_says_so():
    brings(last_seen_at=NOON, heartbeat_at=NOON)  # its key was revoked: nobody is called for it

    content = gathered()

    assert covered() == 13 * 60  # from midnight in Berlin to noon UTC
    assert "Nothing came from the agent erp since 25 November 13:00." in content.quality


def test_one_from_which_another_had_taken_over_before_is_not_missed():
    old = brings("old", seen_at=DAY.since - 48 * HOUR, last_seen_at=DAY.since - 48 * HOUR, heartbeat_at=None)
    silent(old, DAY.since - 48 * HOUR, None)
    brings("new")

    assert (covered(), gathered().quality) == (1440, ())


def test_the_only_agent_of_a_flow_is_never_forgotten():
    old = brings("old", seen_at=DAY.since - 48 * HOUR, last_seen_at=DAY.since - 48 * HOUR, heartbeat_at=None)
    silent(old, DAY.since - 48 * HOUR, None)

    assert covered() == 0


def test_agents_of_other_flows_are_not_asked():
    silent(brings("other", of=flow("invoices")), NOON, NOON + HOUR)

    content = gathered()

    assert content.coverage is None
    assert words(content) == "How complete the data are is not known: no agent is known that brings them."


def test_what_is_still_being_counted_is_said_and_judged_by_nobody(kept: Objective):
    """As in the first minutes of a console: its history is counted from now backwards."""
    brings()
    Objective.objects.update(filled_since=NOON - HOUR, fill_from=NOON - 7 * 24 * HOUR)

    content = gathered()
    face = face_of(content)

    assert content.promises[0].stands is Stands.NO_DATA
    assert covered() == 1440 - 12 * 60
    assert content.quality == (
        "“Orders arrive” is still being counted, back to 25 November 12:00 by now; a revision will have it all.",
    )
    assert face.verdict == "What there is to judge by is still being counted."
    assert b"still being counted; 90 % of the attempts" in csv_of(content)
    assert face.lead == "What came is still being counted, so nothing is added up yet."
    assert (face.promises[0].attained, face.promises[0].detail) == ("no data", "It is still being counted.")
    assert "50" in words(content)


def test_what_nothing_is_counted_of_yet_is_not_said_to_be_without_traffic():
    Objective.objects.update(filled_since=NOW, fill_from=NOON - 7 * 24 * HOUR)

    quality = gathered().quality

    assert "still being counted" in quality[0]
    assert not any("Nothing was measured" in one for one in quality)


def test_a_period_whose_history_is_counted_stands_though_older_history_is_not():
    brings()
    Objective.objects.update(filled_since=DAY.since - 24 * HOUR, fill_from=NOON - 7 * 24 * HOUR)

    content = gathered()

    assert (content.promises[0].stands, content.quality, covered()) == (Stands.KEPT, (), 1440)


def test_counting_that_is_behind_is_said():
    brings()
    Objective.objects.update(counted_to=DAY.until - 30 * MINUTE)

    content = gathered()

    assert content.quality == ("“Orders arrive” is counted up to 25 November 23:30 only.",)
    assert covered() == 1410


def test_what_is_counted_up_to_long_before_the_end_is_not_called_kept():
    brings()
    Objective.objects.update(counted_to=DAY.until - 2 * HOUR)

    content = gathered()

    assert content.promises[0].stands is Stands.NO_DATA
    assert face_of(content).promises[0].detail == "Its data ended before the period did."
    assert content.quality == ("“Orders arrive” is counted up to 25 November 22:00 only.",)


def test_one_of_two_that_is_counted_still_is_named_in_the_verdict():
    one, two, _ = example().promises
    still = {"stands": Stands.NO_DATA, "counting": True}
    verdict = face_of(example(promises=(one, msgspec.structs.replace(two, **still)))).verdict

    assert "“Orders delivered in 5 min” is still being counted." in verdict


def came(processed: int, failed: int = 0, *, at: datetime = NOON) -> None:
    """Leave what the hours' rollups hold when ingest took it, counted or not."""
    with connection.cursor() as cursor:
        for outcome, count in [(outcome, count) for outcome, count in ((1, processed), (2, failed)) if count]:
            cursor.execute(
                "INSERT INTO messaging_rollup_hour (hour, flow_id, system_id, destination, operation, outcome, environment_id, shard, count) "
                "VALUES (%s, %s, 1, '', 4, %s, %s, 0, %s)",
                [at, flow().pk, outcome, environment().pk, count],
            )


@pytest.mark.parametrize(("processed", "counted"), [(1_000, True), (1_010, True), (1_020, False), (50_000, False)])
def test_a_history_that_came_late_is_being_counted_and_nothing_is_judged_by_a_part_of_it(processed: int, counted: bool):
    """As in the first hours of a demo: its history is sent after its promises are made, and older hours are counted in turn."""
    brings()
    came(processed)

    content = gathered()

    assert content.promises[0].stands is (Stands.KEPT if counted else Stands.NO_DATA)
    assert covered() == (1440 if counted else 0)
    assert (
        any("still being counted: much of the period came after its time" in one for one in content.quality)
        is not counted
    )


def test_of_freshness_nothing_counted_while_something_came_is_being_counted():
    Objective.objects.update(kind="freshness", limit_minutes=15, recover_minutes=1440)
    ObjectiveSum.objects.all().delete()
    came(3)

    content = gathered()

    assert content.promises[0].counting
    assert face_of(content).promises[0].detail == "It is still being counted."
    assert not any("Nothing was measured" in one for one in content.quality)


def test_a_promise_that_began_within_the_period_is_judged_by_what_it_has():
    brings()
    Objective.objects.update(fill_from=DAY.since + HOUR, filled_since=DAY.since + HOUR)
    came(50_000)

    assert gathered().promises[0].stands is Stands.KEPT


def test_of_an_old_promise_of_freshness_nothing_counted_is_nothing_measured():
    Objective.objects.update(kind="freshness", limit_minutes=15, recover_minutes=1440, created_at=NOW - 192 * HOUR)
    ObjectiveSum.objects.all().delete()
    came(3)

    content = gathered()

    assert not content.promises[0].counting
    assert any("Nothing was measured" in one for one in content.quality)


def test_an_agent_that_was_made_after_the_period_says_nothing_of_it():
    made = brings()
    Agent.objects.filter(pk=made.pk).update(created_at=DAY.until + HOUR)

    assert gathered().coverage is None


def test_where_no_agent_was_there_the_hours_with_events_say_how_much_there_is():
    """As of the demo's history, which an agent of today brought."""
    made = brings()
    Agent.objects.filter(pk=made.pk).update(created_at=DAY.until + HOUR)
    for hour in range(6):
        came(100, at=NOON + hour * HOUR)
        came(0, 1, at=NOON + hour * HOUR)
    came(100, at=DAY.until)  # of another day

    content = gathered()

    assert content.coverage == Coverage(minutes=1440, covered=360, by_events=True)
    assert (
        words(content)
        == "Data cover 25.00\u00a0% of the period: something happened in 6 of 24 hours; no agent is known that was there then."
    )


def test_a_harvester_that_was_made_after_the_period_says_nothing_of_it():
    letter = stored_letter(origin="orders")
    DeadLetter.objects.filter(pk=letter.pk).update(flow=flow())
    made = {"created_at": DAY.until + HOUR, "last_seen_at": NOW, "heartbeat_at": NOW}
    Agent.objects.filter(name="harvester").update(**made)
    promised("Letters", kind="dead_letter_age", limit_minutes=60)
    looked()
    came(100)

    assert gathered().coverage == Coverage(minutes=1440, covered=60, by_events=True)


def retired(of: Agent, at: datetime, *, how: str = "revoked_at") -> None:
    """Let the agent's only key end then."""
    Key.objects.create(kind="agent", name=of.name, digest=of.name.encode(), agent=of, created_by="tests", **{how: at})


@pytest.mark.parametrize("how", ["revoked_at", "expires_at"])
def test_one_whose_key_ended_when_another_had_taken_over_is_missed_until_then(how: str):
    old = brings("old", seen_at=NOON, last_seen_at=NOON, heartbeat_at=NOON)
    brings("new")
    silent(old, NOON, NOON + 58 * MINUTE)  # its breach is over two minutes after its key ended
    retired(old, NOON + HOUR, how=how)

    content = gathered()

    assert covered() == 1380
    assert content.quality == ("Nothing came from the agent old from 25 November 13:00 to 14:00.",)


def test_one_whose_key_ended_before_anybody_missed_it_is_not_missed():
    old = brings("old", seen_at=NOON, last_seen_at=NOON, heartbeat_at=NOON)
    brings("new")
    retired(old, NOON + 5 * MINUTE)

    assert (covered(), gathered().quality) == (1440, ())


def test_one_whose_key_ended_and_from_whom_nobody_took_over_is_missed():
    old = brings("old", seen_at=NOON, last_seen_at=NOON, heartbeat_at=NOON)
    retired(old, NOON + HOUR)

    assert covered() == 13 * 60
