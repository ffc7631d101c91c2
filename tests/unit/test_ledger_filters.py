"""The ledger's address, read and written back: tokens, dates, fingerprints, remarks."""

from datetime import UTC, datetime, timedelta
from itertools import product
from zoneinfo import ZoneInfo

from audit.actions import ACTIONS
from audit.search.filters import (
    AREAS,
    GROUPS,
    Filters,
    actions_of,
    read_span,
)
from simple_form.data import rows

NOW = datetime(2026, 11, 21, 10, 42, tzinfo=UTC)
ZONES = "Europe/Lisbon Pacific/Auckland America/New_York UTC".split()


def read(query, zone=UTC):
    return Filters.from_query(query, zone, now=NOW)


# As they are typed and linked, right and wrong.
ADDRESSES = (
    'q=by:"ana b" refund on:today nothing:1&action=decisions&before=40',
    "q=!&actor=WORKER/seal&since=30d&until=Yesterday&after=7",
    "connection=4&message=01A1FA07-d9b0-7713-aca7-000000000001&fingerprint=7f3a-19c2",
    "action=verdict given&actor=a/b/c&connection=-1&fingerprint=IL&since=2026-11",
    "since=2026-11-21T10:42&until=last 7 days&before=99999999999999999999",
    "until=2026-02-30&surface=web&trace=abcdef&to=dana",
)


def test_address_is_written_in_one_spelling_and_means_the_same_in_any_zone_once_pinned():
    for address, zone, other in product(
        ADDRESSES, map(ZoneInfo, ZONES), map(ZoneInfo, ZONES)
    ):
        filters = read(address, zone)
        again = read(filters.query(), zone)
        assert again == filters, address
        assert again.query() == filters.query(), address
        pinned = filters.pinned()
        later = Filters.from_query(pinned.query(), other, now=NOW + timedelta(days=400))
        assert (later.begins, later.ends) == (pinned.begins, pinned.ends), address
        assert later == pinned, address


def test_every_token_is_read_as_the_field_of_its_name():
    typed = (
        "q=by:ana to:northwind action:decisions on:2026-11 surface:discord fingerprint:7F3A-19C2-K0QD connection:4"
        " message:01a1fa07-d9b0-7713-aca7-000000000001 actor:person/5 trace:abcdef refund"
    )
    fields = (
        "by=ana&to=northwind&action=decisions&since=2026-11&until=2026-11&surface=discord&fingerprint=7F3A-19C2-K0QD"
        "&connection=4&message=01a1fa07-d9b0-7713-aca7-000000000001&actor=person/5&trace=abcdef&q=refund"
    )
    assert read(typed) == read(fields)
    assert read(typed).remarks == ()
    # A fingerprint in its short form is searched as a word.
    assert read(typed).text == "refund 7F3A-19C2-K0QD"


# What is asked for, the zone, and what is meant. In Auckland it is tomorrow already for
# the other half of the day; October has summer and winter time, a day of March 23 hours
# and one of October 25.
SPANS = list(
    rows("""
today                 Europe/Lisbon     2026-11-21T00:00Z  2026-11-22T00:00Z
today                 Pacific/Auckland  2026-11-20T11:00Z  2026-11-21T11:00Z
last 7 days           Europe/Lisbon     2026-11-15T00:00Z  2026-11-22T00:00Z
this month            Europe/Lisbon     2026-11-01T00:00Z  2026-11-22T00:00Z
2026-10               Europe/Lisbon     2026-09-30T23:00Z  2026-11-01T00:00Z
2026-03-29            Europe/Lisbon     2026-03-29T00:00Z  2026-03-29T23:00Z
2026-10-25            Europe/Lisbon     2026-10-24T23:00Z  2026-10-26T00:00Z
2026                  UTC               2026-01-01T00:00Z  2027-01-01T00:00Z
2026-07-01T10:42      Europe/Lisbon     2026-07-01T09:42Z  2026-07-01T09:42Z
2026-07-01T10:42:00Z  Pacific/Auckland  2026-07-01T10:42Z  2026-07-01T10:42Z
""")
)


def test_dates_are_those_of_the_persons_clock():
    for asked, zone, begins, ends in SPANS:
        span = read_span(asked, zone=ZoneInfo(zone), now=NOW)
        meant = [datetime.fromisoformat(one) for one in (begins, ends)]
        assert [span.begins, span.ends] == meant, (asked, zone)


def test_time_that_clocks_skip_or_show_twice_is_explained():
    berlin = ZoneInfo("Europe/Berlin")
    for typed, why in (("2026-03-29T02:30", "skip"), ("2026-10-25T02:30", "twice")):
        unclear = read(f"q=since:{typed}", berlin)
        assert unclear.begins is None
        assert why in unclear.remarks[0]
        for clear in (read(f"q=since:{typed}"), read(f"q=since:{typed}Z", berlin)):
            assert clear.begins
            assert not clear.remarks


def test_every_act_belongs_to_what_it_is_narrowed_by():
    assert {action for area in AREAS for action in actions_of(area)} == set(ACTIONS)
    assert all(actions_of(group) for group in GROUPS)
    assert "decision.recorded" in actions_of("decisions")
