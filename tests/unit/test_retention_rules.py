"""What goes when, judged without a database."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from messages.retention.projection import project, project_rows
from messages.retention.rules import (
    METADATA,
    PAYLOADS,
    ROLLUPS,
    Going,
    Policy,
    PolicyInvalid,
    Terms,
    check_policy,
    goings_of,
    last_due,
)

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
TODAY = NOW.date()


def terms(pk: int = 1, **changes: object) -> Terms:
    return Terms(environment_id=pk, slug=f"e{pk}", **({"policy": Policy()} | changes))  # type: ignore[arg-type]


def ago(days: int) -> date:
    return TODAY - timedelta(days=days)


def test_a_day_goes_when_it_ended_more_than_its_days_ago_and_not_in_the_first_hour_of_that():
    assert last_due(NOW, 14) == ago(15)
    assert last_due(datetime(2026, 11, 25, 0, 59, tzinfo=UTC), 14) == ago(16)
    assert last_due(datetime(2026, 11, 25, 1, 0, tzinfo=UTC), 14) == ago(15)


def test_the_oldest_time_that_ingest_accepts_never_lies_in_a_day_that_goes():
    for days in (2, 30, 400):
        for minute in range(0, 24 * 60, 7):
            now = datetime(2026, 11, 25, tzinfo=UTC) + timedelta(minutes=minute)
            earlier = now - timedelta(minutes=55)  # when a request that is still being written was decoded

            assert (earlier - timedelta(days=days)).date() > last_due(now, days)


def test_a_day_goes_whole_only_when_every_environment_lets_all_of_it_go():
    short, long = terms(1), terms(2, policy=Policy(payload_days=20))

    assert goings_of(PAYLOADS, ago(15), [short, long], now=NOW) == ([Going(environment_id=1)], False)
    assert goings_of(PAYLOADS, ago(21), [short, long], now=NOW) == (
        [Going(environment_id=1), Going(environment_id=2)],
        True,
    )
    assert goings_of(PAYLOADS, ago(14), [short, long], now=NOW) == ([], False)
    assert goings_of(PAYLOADS, ago(14), [], now=NOW) == ([], False)


def test_nothing_of_an_environment_goes_while_it_is_held_or_its_policy_is_new():
    for state in ({"held": True}, {"settled": False}):
        assert goings_of(METADATA, ago(900), [terms(1, **state)], now=NOW) == ([], False)


def test_a_held_flow_stays_in_every_kind():
    for kind in (PAYLOADS, METADATA, ROLLUPS):
        assert goings_of(kind, ago(900), [terms(1, held_flows=frozenset({7}))], now=NOW) == (
            [Going(environment_id=1, but=frozenset({7}))],
            False,
        )


def test_a_flow_with_days_of_its_own_goes_earlier_or_later_and_a_hold_is_stronger():
    own = terms(1, flow_days={7: 3, 8: 25})

    assert goings_of(PAYLOADS, ago(4), [own], now=NOW)[0] == [Going(environment_id=1, only=frozenset({7}))]
    assert goings_of(PAYLOADS, ago(15), [own], now=NOW)[0] == [Going(environment_id=1, but=frozenset({8}))]
    assert goings_of(PAYLOADS, ago(26), [own], now=NOW) == ([Going(environment_id=1)], True)
    assert goings_of(METADATA, ago(26), [own], now=NOW) == ([], False)
    held = terms(1, flow_days={7: 3}, held_flows=frozenset({7}))
    assert goings_of(PAYLOADS, ago(4), [held], now=NOW)[0] == []


def test_no_flow_keeps_payloads_longer_than_their_metadata():
    own = terms(1, flow_days={8: 300})

    assert goings_of(PAYLOADS, ago(31), [own], now=NOW) == ([Going(environment_id=1)], True)


@pytest.mark.parametrize(
    ("days", "words"),
    [
        ({"payload_days": 0}, "payloads: 1 to 400 days, not 0"),
        ({"rollup_days": 1101}, "rollups: 7 to 1100 days"),
        ({"payload_days": 31}, "payloads cannot be kept longer"),
        ({"rollup_days": 29}, "rollups are kept at least as long"),
    ],
)
def test_a_policy_out_of_bounds_is_refused_in_words(days: dict[str, int], words: str):
    with pytest.raises(PolicyInvalid, match=words):
        check_policy(Policy(**days))


def test_disk_use_is_projected_from_the_last_full_days():
    by_day = {ago(back): 100 for back in range(20)}

    longer, shorter = project(by_day, days=60, today=TODAY), project(by_day, days=5, today=TODAY)

    assert (longer.now_bytes, longer.per_day_bytes, longer.in_30_days_bytes, longer.steady_bytes) == (
        2000,
        100,
        5000,
        6100,
    )
    assert (shorter.in_30_days_bytes, shorter.steady_bytes) == (600, 600)
    assert project({TODAY: 70}, days=5, today=TODAY).per_day_bytes == 70  # the first day is all that is known
    assert project({}, days=5, today=TODAY).steady_bytes == 0


def test_rows_that_wait_are_projected_to_stay_and_the_others_to_go_after_their_days():
    found = project_rows(now_bytes=1000, waiting_bytes=400, per_day_bytes=10, days=30)

    assert (found.in_30_days_bytes, found.steady_bytes) == (710, 710)
