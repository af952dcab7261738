"""A native reason becomes one of the small set, by the words it has and not by letters inside them."""

from __future__ import annotations

import pytest

from messages.connectors.reasons import reason_code


@pytest.mark.parametrize(
    ("native", "code"),
    [
        ("max-delivery-attempts", "delivery_limit"), ("expired", "expired"), ("message TTL", "expired"), ("throttled", "throttled"),
        ("Too Many Requests", "throttled"), ("too many hops", "hop_limit"), ("shop closed", "unknown"), ("target timeout", "target_error"),
        ("unauthorized", "auth"), ("validation", "rejected"), ("", "unknown"),
    ],
)  # fmt: skip
def test_the_words_decide(native: str, code: str):
    assert reason_code(native) == code
