"""Identifiers that we make."""

import time

from console.core.ids import uuid7


def test_ids_made_within_one_millisecond_keep_their_order():
    made = []
    for _ in range(300):
        made.append(uuid7())
        time.sleep(0.000_001)  # longer than a step of 244 ns, far shorter than a millisecond

    assert made == sorted(made)
    assert {(one.version, one.variant) for one in made} == {(7, "specified in RFC 4122")}
