"""Identifiers that we make."""

import time
from datetime import UTC, datetime, timedelta

from console.core.ids import derived_id, uuid7, uuid7_floor


def test_ids_made_within_one_millisecond_keep_their_order():
    made = []
    for _ in range(300):
        made.append(uuid7())
        time.sleep(0.000_001)  # longer than a step of 244 ns, far shorter than a millisecond

    assert made == sorted(made)
    assert {(one.version, one.variant) for one in made} == {(7, "specified in RFC 4122")}


def test_the_floor_of_a_time_is_below_what_is_made_then_and_above_what_was_made_before():
    before = datetime.now(UTC) - timedelta(milliseconds=2)

    made = uuid7()

    assert uuid7_floor(before) < made < uuid7_floor(datetime.now(UTC) + timedelta(milliseconds=2))


def test_a_derived_id_tells_words_of_another_type_apart_whatever_was_asked_before():
    assert derived_id("kind", 1, "a") == derived_id("kind", "1", "a")  # both are written as 1
    assert derived_id("kind", True, "a") == derived_id("kind", "True", "a")
