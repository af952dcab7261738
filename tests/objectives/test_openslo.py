"""OpenSLO: cautions in words, what others write, what comes back of what we wrote, and texts that are none."""

from __future__ import annotations

import contextlib
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.objectives import openslo
from alerts.objectives.openslo import BadOpenSlo, dns_name, read

SLO = """
apiVersion: {version}
kind: SLO
metadata: {{name: orders, displayName: Orders}}
spec:
  service: orders
  budgetingMethod: {method}
  timeWindow: [{window}]
  objectives:
    - {objective}
"""


def slo(**changes: str) -> str:
    said = {
        "version": "openslo/v1",
        "method": "Occurrences",
        "window": "{duration: 4w, isRolling: true}",
        "objective": "{target: 0.995}",
    }
    return SLO.format(**(said | changes))


def test_a_plain_slo_becomes_success_of_the_flow_that_its_service_names():
    [one] = read(slo())

    assert (one.name, one.flow, one.refusal) == ("Orders", "orders", "")
    assert one.wish == {"name": "Orders", "target": "0.99500000", "description": "", "days": 28, "kind": "success"}
    assert one.warnings == ["its service “orders” is taken for the name of a flow"]


@pytest.mark.parametrize(
    ("changes", "wish", "words"),
    [
        ({"version": "openslo.com/v1"}, {}, ""),
        ({"objective": "{targetPercent: 99.9}"}, {"target": "0.99900000"}, ""),
        ({"window": "{duration: 1M, isRolling: false, calendar: {startTime: 2026-01-01 00:00:00, timeZone: Europe/Berlin}}"},
         {"unit": "month", "time_zone": "Europe/Berlin"}, "removed in OpenSLO v2alpha"),
        ({"window": "{duration: 1M, isRolling: true}"}, {"days": 30}, "removed in OpenSLO v2alpha"),
        ({"window": "{duration: 2w, isRolling: false}"}, {"days": 14}, "a rolling one is taken"),
        ({"window": "{}"}, {}, "30 rolling days are taken"),
        ({"method": "Timeslices", "objective": "{target: 0.99, timeSliceTarget: 0.95, timeSliceWindow: 5m}"},
         {"method": "timeslices", "slice_minutes": 5, "slice_target": 0.95}, "does not say what a slice without events is"),
        ({"method": "RatioTimeslices", "objective": "{target: 0.99, timeSliceTarget: 95, timeSliceWindow: 1h}"},
         {"method": "ratio_timeslices", "slice_minutes": 60, "slice_target": 0.95}, "read as per cent"),
        ({"method": "Sometimes"}, {}, "none of OpenSLO's"),
        ({"objective": "{target: 0.99, op: lte, value: 2, indicator: {spec: {thresholdMetric: {}}}}"},
         {"kind": "latency", "limit_ms": 2048}, "check the direction"),
        ({"objective": "{target: 0.99, op: gt, value: 512, indicator: {spec: {thresholdMetric: {}}}}"},
         {"kind": "latency", "limit_ms": 512}, "cannot be a time"),
        ({"objective": "{target: 0.99, indicatorRef: elsewhere}"}, {"kind": "success"}, "is not in this file"),
        ({"objective": "{target: 0.99, compositeWeight: 2}"}, {}, "not weighed"),
    ],
)  # fmt: skip
def test_what_others_write_is_taken_with_its_cautions(changes: dict[str, str], wish: dict[str, Any], words: str):
    [one] = read(slo(**changes))

    assert one.refusal == ""
    assert one.wish | wish == one.wish
    assert words in " ".join(one.warnings)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"version": "openslo/v2alpha"}, "openslo/v1 is read here"),
        ({"objective": "{target: 1}"}, "neither target nor targetPercent"),
        ({"objective": "{target: much}"}, "neither target nor targetPercent"),
    ],
)
def test_one_that_cannot_be_is_refused_and_the_others_are_taken(changes: dict[str, str], words: str):
    first, second = read(f"{slo(**changes)}\n---\n{slo()}")

    assert words in first.refusal
    assert second.refusal == ""


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a: [",
        "[" * 5_000,
        "kind: Service",
        "- 1\n- 2",
        "\x00",
        "kind: SLO\nkind: [",
        "!!python/object:os.system x",
        "x" * 1_100_000,
        "2026-99-99: 1",
    ],
)
def test_a_text_that_is_none_is_refused_in_words(text: str):
    with pytest.raises(BadOpenSlo, match=r"\w"):
        read(text)


def test_aliases_that_unfold_to_much_cost_nothing():
    bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{chr(98 + n)}: &{chr(98 + n)} [*{chr(97 + n)},*{chr(97 + n)},*{chr(97 + n)},*{chr(97 + n)},*{chr(97 + n)}]\n"
        for n in range(20)
    )

    with pytest.raises(BadOpenSlo, match="aliases are not taken"):
        read(bomb + slo().strip().replace("spec:", "spec:\n  description: [*u]", 1))


ROW = {
    "id": 7, "name": "Orders delivered in 5 min", "description": "", "flow": "orders: shop → erp", "team": "Order team", "environment": "production",
    "kind": "freshness", "target": Decimal("0.995"), "limit_ms": None, "limit_minutes": 5, "recover_minutes": 1440, "at_least": None,
    "method": "timeslices", "slice_minutes": 5, "slice_target": 0.95, "empty_is_good": True, "unit": "month", "days": 30,
    "time_zone": "Europe/Berlin", "work_days": [1, 2], "from_minute": 480, "until_minute": 1080, "holidays": [date(2026, 12, 25)],
    "pairs": ["6h-30m"], "guarded": True, "sustained": False, "exhausted": True,
}  # fmt: skip


def test_what_is_written_comes_back():
    [one] = read(openslo.write([ROW]))

    assert (one.flow, one.refusal) == ("orders: shop → erp", "")
    same = (set(ROW) & set(one.wish)) - {"target", "description", "days"}
    assert len(same) == 18
    assert {name: one.wish[name] for name in same} == {name: ROW[name] for name in same}
    assert Decimal(one.wish["target"]) == ROW["target"]


def test_a_name_of_ours_is_one_of_rfc_1123():
    assert dns_name("Orders: über 5 min!", 7) == "orders-ber-5-min-7"
    assert dns_name("→", 7) == "objective-7"
    assert len(dns_name("x" * 200, 10**9)) <= 63


KEYS = st.sampled_from(["target", "op", "value", "spec", "duration", "calendar", "name", "annotations"])
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(spec=JUNK, metadata=JUNK, objective=JUNK, window=JUNK)
def test_no_slo_raises(spec: Any, metadata: Any, objective: Any, window: Any):
    import yaml

    whole = {"apiVersion": "openslo/v1", "kind": "SLO", "metadata": metadata, "spec": spec}
    inner = {
        "apiVersion": "openslo/v1",
        "kind": "SLO",
        "metadata": metadata,
        "spec": {"objectives": [objective], "timeWindow": [window]},
    }

    text = yaml.safe_dump_all([whole, inner])

    with contextlib.suppress(BadOpenSlo):
        assert read(text)
