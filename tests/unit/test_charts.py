"""Times are said in words."""

from common.charts import spoken


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
