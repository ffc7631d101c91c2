"""Charts are worked out from numbers alone, and times are said in words."""

from common.charts import bars, spoken


def test_longest_bar_is_as_wide_as_the_chart_and_others_in_proportion():
    numbers = [(8, "calm")], [(3, "rose"), (1, "amber")], [(0, "calm")]
    chart = bars([("a", "b", pieces) for pieces in numbers])
    assert [(part.x, part.width) for bar in chart.bars for part in bar.parts] == [
        ("0%", "100%"),
        ("0%", "37.5%"),
        ("37.5%", "12.5%"),
    ]
    assert bars([("a", "0", [(0, "calm")])]).bars[0].parts == ()


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
