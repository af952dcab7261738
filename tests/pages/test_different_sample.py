"""What is different about failed letters: which messages are looked at, of how many, and within what time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from console.identity.models import Role
from messages.different import sample, services
from messages.different.services import find_differences
from messages.different.station import station_of
from messages.models import DeadLetter, Flow, Message
from messages.search.window import Window
from tests.factories import ROOT, actor, agent_key, event, letter, person, push
from tests.pages.differing import FLOW, fill, found_by, nothing_is_kept, order, said, window  # noqa: F401  the fixture

pytestmark = pytest.mark.django_db


def test_messages_with_many_events_are_known_as_well_as_those_with_few(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sample, "MOST_OF_A_MESSAGE", 3)
    at = (datetime.now(UTC) - timedelta(hours=2)).replace(minute=5)
    events, letters = [], []
    for number in range(90):
        ok, uid = number < 60, f"order {number} of many events"
        common = {"message_id": uid, "destination": FLOW}
        sent = {"occurred_at": (at + timedelta(seconds=10 * number)).isoformat(), "keys": {"order_no": str(number)}}
        done = {"system": "erp", "operation": "process", "outcome": "ok" if ok else "error"}
        tries = [(at + timedelta(seconds=10 * number + one)).isoformat() for one in range(1, 2 if ok else 7)]
        events += [event(**common, **sent), *(event(**common, **done, occurred_at=one) for one in tries)]
        if not ok:
            letters.append(letter(message_id=uid, origin=FLOW, failed_at=tries[-1]))
    assert push("/ingest/v1/events", events, key=agent_key()).json()["accepted"] == len(events)
    assert push("/ingest/v1/dead-letters", letters, key=agent_key("harvester")).json()["accepted"] == 30

    assert said(found_by()) == {}
    window_of_all = Window(since=at - timedelta(days=1), until=at + timedelta(days=1))
    read = sample.events_of(ROOT, list(Message.objects.values_list("id", flat=True)), window_of_all)
    assert {len(several) for several in read.values()} == {2, 3}


def test_of_more_failures_than_are_looked_at_the_first_and_the_last_are(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sample, "MOST_LOOKED", 20)
    fill()
    ids = list(DeadLetter.objects.order_by("id").values_list("id", flat=True))

    chosen = sample.failed_sample(DeadLetter.objects.all(), Flow.objects.get(), DeadLetter.objects.all())

    assert [one.id for one in chosen] == ids[:10] + ids[-10:]


def test_the_sample_is_bounded_and_from_all_over_the_window(monkeypatch: pytest.MonkeyPatch):
    fill(40, 80)
    monkeypatch.setattr(sample, "MOST_FAILED", 10)
    monkeypatch.setattr(sample, "MOST_DELIVERED", 20)

    found = found_by()

    assert (found.failed, found.delivered) == (10, 20 if found.delivered == 20 else found.delivered)
    assert found.delivered <= 20
    assert [one // 20 for one in sample.spread(list(range(100)), 5)] == [0, 1, 2, 3, 4]
    assert sample.spread([1, 2], 5) == [1, 2]


@pytest.mark.parametrize("several", [2, 3, 5])
@pytest.mark.parametrize("failed", [400, 1_000, 10_000])
def test_of_consumers_in_turn_none_is_told_to_have_more_failures_than_it_has(several: int, failed: int):
    chosen = sample.spread(list(range(failed)), sample.MOST_FAILED)

    shares = [sum(one % several == at for one in chosen) / len(chosen) for at in range(several)]

    assert shares == pytest.approx([1 / several] * several, abs=0.12)
    assert chosen == sample.spread(list(range(failed)), sample.MOST_FAILED)


def passed(destination: str, at: datetime, count: int, *, first: int = 0) -> list[dict[str, Any]]:
    """Return the events of so many delivered messages that began at one time."""
    events = []
    for number in range(first, first + count):
        common = {"message_id": f"{destination} {at:%d%H%M%S} {number} long enough", "destination": destination}
        done = {"system": "erp", "operation": "process", "occurred_at": (at + timedelta(seconds=90)).isoformat()}
        events += [event(**common, occurred_at=at.isoformat()), event(**common, **done)]
    return events


def delivered(flow: str) -> list[sample.OneMessage]:
    """Return the sample of what this flow delivered, when nothing says where in it messages fail."""
    one = Flow.objects.get(name=flow)
    return sample.delivered_sample(one.environment_id, station_of(one, [], {}, {}, window()), window())


def test_delivered_ones_come_from_every_part_of_the_window():
    early, late = datetime.now(UTC) - timedelta(hours=20), datetime.now(UTC) - timedelta(hours=2)
    push("/ingest/v1/events", passed(FLOW, early, 10) + passed(FLOW, late, 10), key=agent_key())

    found = delivered(FLOW)

    took = timedelta(seconds=90)
    assert sorted(one.at - took for one in found) == [early] * 10 + [late] * 10


def test_a_flow_that_is_rare_among_thousands_finds_its_delivered_messages(monkeypatch: pytest.MonkeyPatch):
    """One message an hour among many: the counts say in which minutes to look."""
    monkeypatch.setattr(sample, "WALKED", 100)
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    for hours in range(2, 12):
        at = now - timedelta(hours=hours)
        busy = [one for minutes in range(-8, 9, 4) for one in passed("busy", at + timedelta(minutes=minutes), 50)]
        push("/ingest/v1/events", [*busy, *passed("rare", at, 1)], key=agent_key())

    found = delivered("rare")

    assert [one.at - timedelta(seconds=90) for one in found] == [
        now - timedelta(hours=hours) for hours in range(11, 1, -1)
    ]
    assert len(delivered("busy")) == sample.MOST_DELIVERED


def test_every_query_of_the_sample_is_served_by_an_index():
    fill()
    with CaptureQueriesContext(connection) as captured:
        found_by()

    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        asked = [one["sql"] for one in captured if "messaging_" in one["sql"] and "SELECT" in one["sql"][:10].upper()]
        assert sum("LATERAL" in sql for sql in asked) == 4
        for sql in asked:
            cursor.execute("EXPLAIN " + sql)
            plan = "\n".join(row[0] for row in cursor.fetchall())
            assert "Seq Scan" not in plan, sql[-400:]


def test_time_that_runs_out_leaves_bodies_out_and_says_so(monkeypatch: pytest.MonkeyPatch):
    fill()
    monkeypatch.setattr(services, "READ_S", -1.0)

    found = found_by()

    assert (found.bodies_failed, found.bodies_delivered, found.left_out) == (0, 0, 90)
    assert "sender's service.version is 2.4" in said(found)


def test_large_bodies_are_left_out(monkeypatch: pytest.MonkeyPatch):
    fill()
    monkeypatch.setattr(services, "LARGEST_BYTES", 10)

    assert found_by().left_out == 90


def test_few_messages_are_said_to_be_a_small_sample():
    fill(5, 10)

    assert found_by().is_small


def test_many_letters_hide_not_that_few_failed_messages_told_of_themselves():
    fill(5, 60)
    letters = [letter(message_id=f"told by nobody {number}", origin=FLOW) for number in range(30)]
    push("/ingest/v1/dead-letters", letters, key=agent_key("another harvester"))

    found = found_by()

    assert (found.failed, found.events_failed, found.is_small) == (35, 5, True)


def test_the_number_of_queries_does_not_grow_with_the_sample():
    fill(10, 20)
    by, flow = actor(person("olga", Role.OPERATOR)), Flow.objects.get()

    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            find_differences(by, flow, DeadLetter.objects.all(), window())
        return len(captured)

    few = queries()
    fill(20, 30, flow="erp.orders.more")
    DeadLetter.objects.update(flow=flow)

    assert queries() <= few + 2  # one more batch of bodies for each side, no entry in the audit list
