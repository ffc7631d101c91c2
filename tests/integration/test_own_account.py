"""A person's own account: the time zone that the desk's times follow."""

import re
from datetime import UTC, datetime

from common import time_zones as zones
from dashboard.templatetags.desk import clock, instant

WINTER = datetime(2026, 11, 20, 10, 42, 7, tzinfo=UTC)
SUMMER = WINTER.replace(month=7)


def plain(html):
    return re.sub(r"<[^>]+>", "", str(html))


def test_times_are_those_of_the_persons_zone_with_its_name():
    for zone, at, expected in (
        ("UTC", WINTER, "10:42:07 UTC"),
        ("Europe/Berlin", SUMMER, "12:42:07 CEST"),
        ("America/Sao_Paulo", WINTER, "07:42:07 UTC-03"),
        ("Nowhere/Any_More", WINTER, "10:42:07 UTC"),
    ):
        with zones.somebodys_time(lambda: zone):  # noqa: B023
            shown = clock(at)
            assert plain(shown) == expected
            assert plain(instant(at)).endswith(expected)
        # Machine-readable times stay in UTC.
        assert f'datetime="{at.isoformat(timespec="seconds")}"' in shown
        assert plain(clock(at)) == "10:42:07 UTC"
