"""Numbers become positions."""

from datetime import UTC, datetime, timedelta

import pytest

from console.core.charts import Bar, Mark, Series, Share, line_chart, meter, spark, stacked, waterfall

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

    assert chart.lines[0].points == "0.00,100.00 25.00,75.00 50.00,50.00 75.00,0.00 100.00,25.00"
    assert (chart.top, chart.middle, chart.empty) == ("4", "2", False)
    assert chart.ticks == (INSTANTS[0], INSTANTS[2], INSTANTS[4])
    assert chart.columns[3].words == "4 failed"


def test_a_mark_outside_the_chart_is_left_out():
    inside, outside = Mark(at=INSTANTS[3], label="erp 4.2.1"), Mark(at=START - timedelta(minutes=1), label="before")

    chart = line_chart(INSTANTS, [Series(name="n", look="move", values=[1] * 5)], label="x", marks=[inside, outside])

    assert chart.marks == (("75.00%", "end", "erp 4.2.1"),)


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

    assert [(bar.x, bar.y, bar.height, bar.bad) for bar in drawn.bars] == [
        (0, 21, 1, False),
        (5, 11, 11, False),
        (10, 0, 22, True),
    ]


def test_shares_fill_the_whole_bar():
    pieces = stacked([Share(name="a", look="good", count=3), Share(name="b", look="bad", count=1)])

    assert [(piece.x, piece.width) for piece in pieces] == [("0.00%", "75.00%"), ("75.00%", "25.00%")]


@pytest.mark.parametrize(
    ("value", "of", "width"), [(12, 100, "12%"), (150, 100, "100%"), (-1, 100, "0%"), (1, 0, "0%")]
)
def test_a_meter_stays_between_nothing_and_full(value, of, width):
    assert meter(value, of) == width
