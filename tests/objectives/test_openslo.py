"""OpenSLO: cautions in words, what others write, what comes back of what we wrote, and texts that are none."""

from __future__ import annotations

import contextlib
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from alerts.objectives import openslo
from alerts.objectives.openslo import MOST_DOCUMENTS, BadOpenSlo, dns_name, read
from alerts.objectives.wishes import NewObjective, checked
from console.core.errors import Invalid

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
        ({"version": "openslo.com/v1"}, {}, "read as openslo/v1"),
        ({"method": "Timeslices", "objective": "{target: 0.99, timeSliceTarget: 0.9}"},
         {"slice_minutes": 1}, "timeSliceWindow is missing or cannot be read: slices of 1 min are taken"),
        ({"method": "Timeslices", "objective": "{target: 0.99, timeSliceWindow: 5m}"},
         {"slice_minutes": 5}, "timeSliceTarget is missing or cannot be read: a slice is good from 95 %"),
        ({"objective": "{targetPercent: 99.9}"}, {"target": "0.99900000"}, ""),
        ({"window": "{duration: 1M, isRolling: false, calendar: {startTime: 2026-01-01 00:00:00, timeZone: Europe/Berlin}}"},
         {"unit": "month", "time_zone": "Europe/Berlin"}, "removed in OpenSLO v2alpha"),
        ({"window": "{duration: 1M, isRolling: true}"}, {"days": 30}, "removed in OpenSLO v2alpha"),
        ({"method": "Timeslices", "objective": "{target: 0.99, timeSliceTarget: 0.9, timeSliceWindow: 5M}"},
         {"slice_minutes": 1}, "timeSliceWindow is missing or cannot be read: slices of 1 min are taken"),
        ({"objective": "{target: 0.99, targetPercent: 99.9}"}, {"target": "0.99000000"}, "its target is taken"),
        ({"window": "{duration: 7d}, {duration: 30d}"}, {"days": 7}, "several time windows: the first one is taken"),
        ({"window": "{duration: 2w, isRolling: false}"}, {"days": 14}, "a rolling one is taken"),
        ({"window": "{}"}, {}, "30 rolling days are taken"),
        ({"method": "Timeslices", "objective": "{target: 0.99, timeSliceTarget: 0.95, timeSliceWindow: 5m}"},
         {"method": "timeslices", "slice_minutes": 5, "slice_target": 0.95}, "does not say what a slice without events is"),
        ({"method": "RatioTimeslices", "objective": "{target: 0.99, timeSliceTarget: 95, timeSliceWindow: 1h}"},
         {"method": "ratio_timeslices", "slice_minutes": 60, "slice_target": 0.95}, "read as per cent"),
        ({"method": "Timeslices", "objective": "{target: 0.99, timeSliceTarget: 99.9, timeSliceWindow: 1m}"},
         {"slice_target": 0.999}, "read as per cent"),
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
        ({"objective": "\n    - ".join(["{target: 0.9}"] * 51)}, "more than 50 objectives"),
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
        "x" * 2_200_000,
        "2026-99-99: 1",
        "kind: SLO\na: !!bool maybe",
        "kind: SLO\na: !!int ''",
        "kind: SLO\na: !!float ''",
        "kind: SLO\na: !!timestamp x",
        'kind: SLO\na: "\\ud800"',
        'kind: SLO\n"\\ud800": 1\n"\\ud800": 2',
        "kind: 0x" + "f" * 5_000,
        "kind: SLO\na: 1" + ":1" * 200,
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


def test_a_thousand_come_back_in_one_text():
    text = openslo.write([ROW | {"id": number, "name": f"Promise {number}"} for number in range(MOST_DOCUMENTS)])

    assert [one.name for one in read(text) if not one.refusal] == [f"Promise {number}" for number in range(1_000)]
    with pytest.raises(BadOpenSlo, match=r"at most 1,000 documents: import it in parts"):
        read(f"{text}\n---\nkind: SLO\n")


def test_what_is_written_comes_back():
    [one] = read(openslo.write([ROW]))

    assert (one.flow, one.refusal) == ("orders: shop → erp", "")
    same = (set(ROW) & set(one.wish)) - {"target", "days"}
    told_apart = {"id", "flow", "team", "environment", "target", "days"}
    assert same == {name for name, value in ROW.items() if value is not None} - told_apart
    assert {name: one.wish[name] for name in same} == {name: ROW[name] for name in same}
    assert Decimal(one.wish["target"]) == ROW["target"]
    assert "slice without events" not in " ".join(one.warnings)  # our own annotation says it


def test_what_somebody_changed_in_what_was_written_is_taken():
    text = openslo.write([ROW])
    for old, new in (
        ("timeSliceTarget: 0.95", "timeSliceTarget: 0.8"),
        ("timeSliceWindow: 5m", "timeSliceWindow: 1h"),
        ("timeZone: Europe/Berlin", "timeZone: UTC"),
        ("  description: Orders delivered in 5 min", "  description: All of them"),
        ("waybill/sustained: 'false'", "waybill/sustained: true"),
        ("waybill/guarded: 'true'", "waybill/guarded: False"),
    ):
        assert text.count(old) == 1, old
        text = text.replace(old, new)

    [one] = read(text)

    assert one.wish | {
        "slice_target": 0.8, "slice_minutes": 60, "time_zone": "UTC", "description": "All of them", "sustained": True, "guarded": False,
    } == one.wish  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new", "name"),
    [
        ("waybill/guarded: 'true'", "waybill/guarded: maybe", "guarded"),
        ("waybill/limit_minutes: '5'", "waybill/limit_minutes: 5 min", "limit_minutes"),
        ("waybill/work_days: 1,2", "waybill/work_days: 1,Tue", "work_days"),
        ("waybill/holidays: '2026-12-25'", "waybill/holidays: 25.12.2026", "holidays"),
        ("waybill/holidays:", "waybill/holiday:", "holiday"),
    ],
)
def test_an_annotation_that_cannot_be_read_is_not_left_out_without_a_word(old: str, new: str, name: str):
    text = openslo.write([ROW])
    assert text.count(old) == 1, text

    [one] = read(text.replace(old, new))

    assert [said for said in one.warnings if f"waybill/{name} " in said and "not taken" in said]
    assert name not in one.wish


NAMES = st.text(min_size=1, max_size=60) | st.sampled_from(
    ["yes", "null", "~", "2026-01-01", "0x10", "1_000", "1:30", "- a", "# x", "*a", "&a", "a: b", "{", "%", "@", "1e5", ".nan", "<<", "=", "\x85"]
)  # fmt: skip
MINUTES = st.integers(1, 129_600)


@st.composite
def promises(draw: Any) -> dict[str, Any]:
    """Return any promise that the product can make about a flow, as its columns."""
    kind = draw(st.sampled_from(["success", "latency", "freshness", "volume", "dead_letter_age"]))
    begins = draw(st.integers(0, 1438))
    of_kind: dict[str, dict[str, Any]] = {
        "success": {},
        "latency": {"limit_ms": 1 << draw(st.integers(0, 24))},
        "freshness": {"limit_minutes": (limit := draw(MINUTES)), "recover_minutes": draw(st.integers(limit, 129_600))},
        "dead_letter_age": {"limit_minutes": limit},
        "volume": {
            "at_least": draw(st.integers(1, 2_000_000_000)), "limit_minutes": draw(st.integers(0, 1440)), "from_minute": begins,
            "work_days": draw(st.lists(st.integers(1, 7))), "until_minute": draw(st.integers(begins + 1, 1440)),
            "holidays": draw(st.lists(st.dates(date(2020, 1, 1), date(2040, 1, 1)), max_size=20)),
        },
    }  # fmt: skip
    said = {
        "name": draw(NAMES), "kind": kind, "target": Decimal(draw(st.integers(1, 99_999_999))).scaleb(-8), "description": draw(st.text(max_size=99)),
        "method": "occurrences" if kind == "volume" else draw(st.sampled_from(["occurrences", "timeslices", "ratio_timeslices"])),
        "slice_minutes": draw(st.sampled_from([1, 5, 60])), "slice_target": draw(st.sampled_from([0.95, 1.0, 1 / 3, 0.001])),
        "unit": draw(st.sampled_from(["rolling", "week", "month", "quarter", "year"])), "days": draw(st.integers(1, 366)),
        "time_zone": draw(st.sampled_from(["UTC", "Australia/Lord_Howe", "Asia/Kathmandu"])),
        **{name: draw(st.booleans()) for name in ("empty_is_good", "guarded", "sustained", "exhausted")},
    }  # fmt: skip
    try:
        return checked(NewObjective(**said | of_kind[kind]), searched=False)
    except Invalid:
        reject()


@given(
    promises(),
    st.text(min_size=1, max_size=40).map(lambda text: " ".join(text.replace("\x00", "").split())).filter(bool),
)
@settings(deadline=None)
def test_every_promise_that_can_be_made_comes_back_as_it_was(promise: dict[str, Any], flow: str):
    [one] = read(openslo.write([promise | {"id": 7, "flow": flow, "team": "", "environment": "production"}]))

    assert (one.flow, one.refusal) == (flow, "")
    assert checked(NewObjective(**one.wish), searched=False) == promise


@pytest.mark.parametrize("text", ["0\x850", "one\u2028two", "one\n\u2029two\n"])
def test_a_break_of_lines_of_any_kind_comes_back(text: str):
    [one] = read(openslo.write([ROW | {"description": text}]))

    assert one.wish["description"] == text.strip()


@pytest.mark.parametrize(
    "name", ["limit_minutes", "work_days", "at_least", "slice_minutes", "slice_target", "holidays", "pairs"]
)
@pytest.mark.parametrize("value", ["²", "٣", "-1", "1e3", "", "NaN", "9" * 400, "1,²"])
def test_an_annotation_of_ours_that_somebody_wrote_is_refused_or_left_out(name: str, value: str):
    said = {"kind": "volume", "at_least": "5"} | {name: value}
    annotations = ", ".join(f'waybill/{key}: "{text}"' for key, text in said.items())
    text = slo().replace("displayName: Orders", f"annotations: {{{annotations}}}")

    [one] = read(text)

    with contextlib.suppress(Invalid):
        checked(NewObjective(**one.wish), searched=False)


@pytest.mark.parametrize(
    ("window", "wish", "words"),
    [
        ("{duration: 1h}", {"days": 1}, "a window of 1h is none here: 1 whole day is taken"),
        ("{duration: 0d}", {"days": 1}, "a window of 0d is none here"),
        ("{duration: 36h}", {"days": 2}, "a window of 36h is none here: 2 whole days are taken"),
        ("{duration: 48h}", {"days": 2}, ""),
        ('{duration: 1w, isRolling: "false", calendar: {timeZone: UTC}}', {"unit": "week"}, ""),
        ("{duration: ٣d}", {}, "cannot be read: 30 rolling days are taken"),
    ],
)
def test_an_odd_window_is_never_another_one_without_a_word(window: str, wish: dict[str, Any], words: str):
    [one] = read(slo(window=window))

    assert wish.items() <= one.wish.items()
    assert words in " ".join(one.warnings)
    assert bool(words) == any("window" in said.lower() for said in one.warnings)


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
