"""Reads the events of a calendar file (RFC 5545): invitations, their answers and
cancellations.
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

from icalendar import Calendar
from icalendar.timezone import tzp

from mirror.attachments.file_types import Event

# More events and people are only counted.
MAX_EVENTS = 10
MAX_PEOPLE = 50
# Characters of one value.
MAX_TEXT = 1_000
# Confined processes cannot open the files of zones, so all are loaded before, and what
# the library imports when it first reads a zone.
_ZONES = [ZoneInfo(name) for name in available_timezones()]
Calendar.from_ical(
    """BEGIN:VCALENDAR
BEGIN:VTIMEZONE
TZID:Own
BEGIN:STANDARD
DTSTART:20000101T000000
RRULE:FREQ=YEARLY;UNTIL=20100101T000000Z
TZOFFSETFROM:+0100
TZOFFSETTO:+0100
END:STANDARD
END:VTIMEZONE
BEGIN:VEVENT
DTSTART:20260101T000000Z
END:VEVENT
END:VCALENDAR"""
)


def read_events(content: str) -> tuple[list[Event], int]:
    """Return the first events, and how many more there are. Raises an exception of any
    kind if the file cannot be read.
    """
    # Forget the zones that another file defined.
    tzp.use_default()
    events = [
        (str(calendar.get("METHOD", "")).upper(), event)
        for calendar in Calendar.from_ical(content, multiple=True)
        for event in calendar.walk("VEVENT")
    ]
    read = [_event(method, event) for method, event in events[:MAX_EVENTS]]
    return read, len(events) - len(read)


def _event(method: str, event: Any) -> Event:
    # Some programs write both.
    if "DTEND" in event:
        event.pop("DURATION", None)
    starts = event.DTSTART
    ends = event.end
    if not isinstance(ends, datetime):
        # The day after the last one.
        ends = max(starts, ends - timedelta(days=1))
    rules = [
        f"{name}={one.to_ical().decode()}".removeprefix("RRULE=")
        for name in ("RRULE", "EXDATE", "RDATE")
        for one in _all(event, name)
    ]
    people = list(_people(event))
    return Event(
        method="CANCEL" if event.get("STATUS") == "CANCELLED" else method,
        summary="; ".join(map(_text, _all(event, "SUMMARY"))),
        starts=_moment(starts),
        ends=_moment(ends),
        zone=_text(event["DTSTART"].params.get("TZID")),
        repeats=_text("; ".join(rules)),
        location="; ".join(map(_text, _all(event, "LOCATION"))),
        organizer="; ".join(map(_person, _all(event, "ORGANIZER"))),
        attendees=tuple(people[:MAX_PEOPLE]),
        more=max(0, len(people) - MAX_PEOPLE),
    )


def _moment(at: date | datetime) -> str:
    # Without its zone, if it is a date or the zone is not known.
    is_known = isinstance(at, datetime) and at.tzinfo
    return (at.astimezone(UTC) if is_known else at).isoformat()  # type: ignore[union-attr]


def _all(event: Any, name: str) -> list[Any]:
    # A property may be there more than once, also where it must not.
    values = event.get(name, [])
    return values if isinstance(values, list) else [values]


def _people(event: Any) -> Iterator[str]:
    for one in _all(event, "ATTENDEE"):
        answer = str(one.params.get("PARTSTAT", "NEEDS-ACTION"))
        has_answered = answer != "NEEDS-ACTION"
        yield _person(one) + (f" ({answer.lower()})" if has_answered else "")


def _person(one: Any) -> str:
    address = _text(one)
    if address[:7].lower() == "mailto:":
        address = address[7:]
    name = _text(one.params.get("CN"))
    return f"{name} <{address}>" if name else address


def _text(value: object) -> str:
    return str(value or "").replace("\0", "\ufffd")[:MAX_TEXT]
