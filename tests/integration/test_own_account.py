"""A person's own account: the time zone that the desk's times follow."""

import re
from datetime import UTC, datetime

import pytest

from common import time_zones as zones
from dashboard.templatetags.desk import clock, instant
from people.models import Person
from tests.ledger import latest_details
from tests.markup import says

WINTER = datetime(2026, 11, 20, 10, 42, 7, tzinfo=UTC)
SUMMER = WINTER.replace(month=7)


def plain(html):
    return re.sub(r"<[^>]+>", "", str(html))


@pytest.mark.slow
def test_time_zone_is_set_and_recorded_and_an_invalid_one_stays_in_the_field(
    signed_in, reviewer
):
    client = signed_in(reviewer)
    path = "/people/me/"
    for typed in ("../../etc/passwd", "Etc/GMT+3", "x" * 65):
        says(client.post(path, {"name": "Ana", "zone": typed}), 422, f'value="{typed}"')
    assert Person.objects.get(pk=reviewer.pk).time_zone == "UTC"
    for typed in ("Europe/Lisbon", "europe/berlin "):
        client.post(path, {"name": "Ana", "zone": typed})
    assert Person.objects.get(pk=reviewer.pk).time_zone == "Europe/Berlin"
    assert latest_details("person.time_zone_set")["before"] == "Europe/Lisbon"


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
