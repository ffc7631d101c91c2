"""Charts are worked out from numbers alone: where bars and marks stand, and how times
are said.
"""

from datetime import date

from hypothesis import given
from hypothesis import strategies as st

from common.charts import BOTTOM, LEFT, TOP, bars, days, spoken
from dashboard.home.overview import cause_of

FRIDAY = date(2026, 11, 20)
TIMES = st.none() | st.floats(min_value=-10, max_value=10_000_000)


def test_longest_bar_is_as_wide_as_the_chart_and_others_in_proportion():
    chart = bars(
        [
            ("a", "8", [(8, "calm")]),
            ("b", "3, 1", [(3, "rose"), (1, "amber")]),
            ("c", "0", [(0, "calm")]),
        ]
    )
    assert [
        [(part.x, part.width, part.tone) for part in bar.parts] for bar in chart.bars
    ] == [
        [("0%", "100%", "calm")],
        [("0%", "37.5%", "rose"), ("37.5%", "12.5%", "amber")],
        [],
    ]
    assert chart.height == 3 * (chart.bars[1].y - chart.bars[0].y)


def test_chart_of_nothing_is_drawn_without_a_division_by_zero():
    assert bars([]).height == 0
    assert bars([("a", "0", [(0, "calm")])]).bars[0].parts == ()
    assert [mark.middle for mark in days([(FRIDAY, None, None)]).marks] == [None]


def test_days_stand_in_order_and_a_longer_time_stands_higher():
    chart = days([(date(2026, 11, 19), 20.0, 300.0), (FRIDAY, 200.0, 4000.0)])
    first, second = chart.marks
    assert first.day == "Thu"
    assert second.day == "Fri"
    assert float(first.x.rstrip("%")) < float(second.x.rstrip("%"))
    assert TOP <= second.most < second.middle < first.middle <= BOTTOM
    assert [line.words for line in chart.lines] == [
        "10 s",
        "1 min",
        "10 min",
        "1 h",
        "6 h",
    ]


@given(st.lists(st.tuples(st.just(FRIDAY), TIMES, TIMES), max_size=9))
def test_nothing_is_drawn_outside_the_chart(times):
    for mark in days(times).marks:
        assert LEFT <= float(mark.x.rstrip("%")) <= 100
        assert all(
            TOP <= height <= BOTTOM
            for height in (mark.middle, mark.most)
            if height is not None
        )


@given(
    st.lists(
        st.lists(st.tuples(st.integers(0, 10**9), st.just("calm")), max_size=3),
        max_size=6,
    )
)
def test_no_bar_is_wider_than_the_chart(rows):
    for bar in bars([("a", "b", pieces) for pieces in rows]).bars:
        assert sum(float(part.width.rstrip("%")) for part in bar.parts) <= 100.1


def test_time_is_written_in_its_largest_unit():
    expected = {
        -3: "0 s",
        0.4: "0 s",
        24: "24 s",
        59.6: "1 min",
        90: "1.5 min",
        3599.9: "1 h",
        40_000: "11 h",
    }
    expected |= {86_400: "1 d", 1_000_000: "12 d"}
    assert {seconds: spoken(seconds) for seconds in expected} == expected


def test_refusal_is_classified_by_the_start_of_its_sentence():
    assert (
        cause_of("Ben Okafor approved this message first, at 10:42:07 UTC.") == "first"
    )
    assert (
        cause_of(
            "The content changed after the decision. An earlier call may still arrive."
        )
        == "changed"
    )
    assert [cause_of(sentence) for sentence in ("Whatever else", "")] == [
        "other",
        "other",
    ]
