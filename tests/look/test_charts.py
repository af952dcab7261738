"""Numbers become positions."""

from datetime import UTC, datetime, timedelta

import pytest

from console.core.charts import Bar, Mark, Series, Share, line_chart, meter, spark, stacked, waterfall
from console.core.words import duration_words

START = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)
INSTANTS = [START + timedelta(minutes=i) for i in range(5)]


def test_a_waterfall_ends_where_its_latest_step_ends():
    fall = waterfall(
        [Bar(label="shop", offset_us=0, duration_us=25_000), Bar(label="erp", offset_us=50_000, duration_us=50_000)]
    )

    assert [(row.x, row.width, row.took) for row in fall.rows] == [
        ("0.00%", "25.00%", "25 ms"),
        ("50.00%", "50.00%", "50 ms"),
    ]
    assert fall.ticks == ("0", "25 ms", "50 ms", "75 ms")


def test_an_instant_at_the_very_end_stays_visible():
    fall = waterfall(
        [Bar(label="erp", offset_us=0, duration_us=1_000_000), Bar(label="dead", offset_us=1_000_000, duration_us=0)]
    )

    assert (fall.rows[1].x, fall.rows[1].width, fall.rows[1].took) == ("99.40%", "3", "")


@pytest.mark.parametrize("bars", [[], [Bar(label="alone", offset_us=0, duration_us=0)]])
def test_a_waterfall_without_any_length_is_still_drawn(bars):
    assert len(waterfall(bars).rows) == len(bars)


def test_a_chart_reaches_from_the_first_bucket_to_the_last():
    chart = line_chart(INSTANTS, [Series(name="failed", look="bad", values=[0, 1, 2, 4, 3])], label="x", ticks=3)

    assert chart.lines[0].path == "M0.00,100.00 25.00,75.00 50.00,50.00 75.00,0.00 100.00,25.00"
    assert (chart.top, chart.middle, chart.empty) == ("4", "2", False)
    assert chart.ticks == (INSTANTS[0], INSTANTS[2], INSTANTS[4])
    assert chart.columns[3].words == "4 failed"


def test_where_a_series_has_no_value_its_line_has_a_gap():
    series = [Series(name="ms", look="good", values=[4, None, 2, 1, None])]

    chart = line_chart(INSTANTS, series, label="x")

    assert chart.lines[0].path == "M0.00,0.00m-0.25,0h0.5M50.00,50.00 75.00,75.00"
    assert [column.words for column in chart.columns] == ["4 ms", "nothing", "2 ms", "1 ms", "nothing"]
    assert (chart.top, chart.empty, chart.lines[0].total) == ("4", False, 7)


@pytest.mark.parametrize(("value", "axis"), [(0.1, ("0.1", "0.05")), (0.3, ("0.4", "0.2")), (4.5, ("5", "2.5"))])
def test_an_axis_below_one_never_reads_the_same_twice(value, axis):
    chart = line_chart(INSTANTS, [Series(name="n", look="move", values=[value] * 5)], label="x")

    assert (chart.top, chart.middle) == axis


def test_the_values_of_a_chart_are_told_with_their_unit():
    chart = line_chart(
        INSTANTS, [Series(name="p50", look="good", values=[450_000] * 5)], label="x", words=duration_words
    )

    assert (chart.top, chart.middle, chart.columns[0].words) == ("8 min 20 s", "4 min 10 s", "7 min 30 s p50")


def test_a_mark_outside_the_chart_is_left_out():
    inside, outside = Mark(at=INSTANTS[3], label="erp 4.2.1"), Mark(at=START - timedelta(minutes=1), label="before")

    chart = line_chart(INSTANTS, [Series(name="n", look="move", values=[1] * 5)], label="x", marks=[inside, outside])

    assert [(mark.x, mark.anchor, mark.label) for mark in chart.marks] == [("75.00%", "end", "erp 4.2.1")]
    assert chart.marks[0].words == "erp 4.2.1, 24 Nov 2026, 10:03:00.000 UTC"


def marked(*marks: Mark):
    hundred = [START + timedelta(minutes=i) for i in range(101)]
    return line_chart(hundred, [Series(name="n", look="move", values=[1] * 101)], label="x", marks=marks)


def at(minute: float, label: str, **more) -> Mark:
    return Mark(at=START + timedelta(minutes=minute), label=label, **more)


def test_marks_that_fall_together_are_one_and_its_words_say_each():
    chart = marked(*[at(50 + n / 2, f"erp {n}", kind="deployment") for n in range(3)])
    mixed = marked(at(50, "erp", kind="deployment"), at(51, "patch", kind="maintenance"))

    assert [(mark.x, mark.label) for mark in chart.marks] == [("50.00%", "3 deployments")]
    assert chart.marks[0].words.splitlines() == [
        "erp 0, 24 Nov 2026, 10:50:00.000 UTC",
        "erp 1, 24 Nov 2026, 10:50:30.000 UTC",
        "erp 2, 24 Nov 2026, 10:51:00.000 UTC",
    ]
    replayed = marked(at(50, "erp", kind="deployment"), at(51, "4 replays", kind="replay run"))
    assert [mark.label for mark in mixed.marks] == ["2 changes"]
    assert [mark.label for mark in replayed.marks] == ["2 marks"]


def test_labels_that_would_run_into_each_other_are_left_to_the_pointer():
    chart = marked(
        at(2, "below the axis"), at(5, "crm"), at(18, "order-service 3.9.4"), at(30, "shop 8.3"), at(60, "erp 2.4.1"), at(92, "billing 1"), at(99, "billing 2")
    )  # fmt: skip

    assert [(mark.label, mark.anchor) for mark in chart.marks] == [
        ("", "start"),
        ("crm", "start"),
        ("", "start"),  # no room to either side
        ("shop 8.3", "start"),
        ("erp 2.4.1", "start"),
        ("billing 1", "end"),
        ("", "start"),
    ]
    assert "order-service 3.9.4" in chart.marks[2].words


def test_what_lasted_is_a_band_as_far_as_the_chart_reaches():
    before, ahead = START - timedelta(hours=1), START + timedelta(hours=9)
    chart = marked(
        at(40, "patch", until=START + timedelta(minutes=55)),
        Mark(at=before, until=START + timedelta(minutes=10), label="night"),
        Mark(at=before, until=ahead, label="all along"),
        Mark(at=ahead, until=ahead + timedelta(hours=1), label="ahead"),
    )

    assert [(band.x, band.width) for band in chart.bands] == [
        ("40.00%", "15.00%"),
        ("0.00%", "10.00%"),
        ("0.00%", "100.00%"),
    ]
    assert chart.bands[0].words == "patch, 24 Nov 2026, 10:40:00.000 UTC to 24 Nov 2026, 10:55:00.000 UTC"


def test_a_mark_newer_than_the_last_bucket_stands_at_the_end():
    chart = marked(at(101.5, "just now"), at(103, "tomorrow"))

    assert [(mark.x, mark.label) for mark in chart.marks] == [("100.00%", "just now")]


def test_a_spark_has_one_line_for_all_that_changed_in_an_hour():
    drawn = spark([1, 2, 3], marks=[(1, "erp"), (1, "crm"), (-1, "before"), (3, "after")])

    assert drawn.marks == ((5, "erp\ncrm"),)


def test_a_change_in_a_waterfall_is_a_line_through_all_rows_and_an_earlier_one_says_when():
    fall = waterfall(
        [
            Bar(label="deployed: erp", offset_us=0, duration_us=0, look="earlier", took="12 min before"),
            Bar(label="shop", offset_us=0, duration_us=100),
            Bar(label="deployed: crm", offset_us=50, duration_us=0, look="change"),
        ]
    )

    assert (fall.marks, fall.rows[0].took) == (("50.00%",), "12 min before")


def test_series_of_another_length_are_refused():
    with pytest.raises(ValueError, match="one value"):
        line_chart(INSTANTS, [Series(name="n", look="bad", values=[1])], label="x")


@pytest.mark.parametrize("count", [0, 1])
def test_a_chart_of_nothing_is_empty_and_whole(count):
    chart = line_chart(INSTANTS[:count], [Series(name="n", look="bad", values=[0] * count)], label="x")

    assert chart.empty
    assert len(chart.columns) == count


def test_a_spark_scales_to_its_largest_count_and_keeps_empty_buckets_visible():
    drawn = spark([0, 11, 22], bad=[False, False, True])

    assert drawn.path == "M0 22v-1h4v1zM5 22v-11h4v11z"
    assert drawn.bad == "M10 22v-22h4v22z"
    assert (drawn.width, drawn.height) == (14, 22)


def test_shares_fill_the_whole_bar():
    pieces = stacked([Share(name="a", look="good", count=3), Share(name="b", look="bad", count=1)])

    assert [(piece.x, piece.width) for piece in pieces] == [("0.00%", "75.00%"), ("75.00%", "25.00%")]


@pytest.mark.parametrize(
    ("value", "of", "width"), [(12, 100, "12%"), (150, 100, "100%"), (-1, 100, "0%"), (1, 0, "0%")]
)
def test_a_meter_stays_between_nothing_and_full(value, of, width):
    assert meter(value, of) == width
