"""Approval for later: the form fields for the time that a reviewer chooses, the time at
which the decision is carried out, and that time in words.

The reviewer also chooses the time zone, because the desk does not know where a
recipient is. Working hours are 09:00 to 17:00, Monday to Friday, in that zone. An
approval of a message that its sender has scheduled is for that time, unless the
reviewer chooses a later one. Until then the message stays held at MultiMail, whose own
scheduling is not used: so nobody can move its time, and all is asked when it leaves.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django import forms

from approvals.errors import VerdictNotAllowed
from approvals.models import Decision
from audit.trail.sentences import duration
from common.ascii import lowered
from common.pages import SentenceForm
from common.time_zones import clock_error, day_and_time, zone_name, zone_named
from mirror.models import Message
from risk.addresses import bare_address
from upstream.events import read_time

BEGINS = time(9)
ENDS = time(17)
_WEEKEND = (5, 6)
MOST = timedelta(days=30)
# A decision that is carried out later than this after the chosen time is called late.
LATE = timedelta(hours=1)
WHENS = {
    "tomorrow": "Tomorrow, 09:00",
    "hours": "Next working hours",
    "time": "Another time",
}
# Offered while a zone is typed. Every other zone can be typed too.
ZONES = """
    UTC Europe/London Europe/Lisbon Europe/Paris Europe/Berlin Europe/Athens
    Europe/Istanbul Africa/Lagos Africa/Johannesburg Africa/Nairobi Asia/Dubai
    Asia/Kolkata Asia/Singapore Asia/Shanghai Asia/Tokyo Australia/Sydney
    Pacific/Auckland America/Sao_Paulo America/New_York America/Chicago
    America/Denver America/Los_Angeles America/Mexico_City
""".split()


@dataclass(frozen=True)
class LaterChoice:
    """What a reviewer chose: one of WHENS, a time zone and, for another time, the day
    and time on a clock there.
    """

    when: str
    zone: ZoneInfo
    at: datetime | None


class LaterForm(SentenceForm):
    """The fields with which a form approves for later. If `later` is not ticked, the
    others are ignored; but if a time was entered all the same, that is an error.
    """

    later = forms.BooleanField(required=False)
    when = forms.ChoiceField(
        required=False,
        choices=list(WHENS.items()),
        error_messages={"invalid_choice": "Choose when to send it."},
    )
    at = forms.DateTimeField(
        required=False,
        input_formats=["%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M"],
        error_messages={"invalid": "Enter day and time as 2026-11-20 14:30."},
    )
    zone = forms.CharField(required=False, max_length=64)

    def choice_of(self, cleaned: dict[str, Any]) -> LaterChoice | None:
        """Remove these fields from `cleaned`, and return what was chosen; None for an
        approval now or if a field is wrong. Errors are added to the form.
        """
        is_later, when, typed, at = (
            cleaned.pop(name, None) for name in ("later", "when", "zone", "at")
        )
        if not is_later:
            for name in ("when", "at", "zone"):
                self.errors.pop(name, None)
            if at is not None:
                # Without scripts, Enter in that field presses the first button of the
                # page, which approves at once.
                self.add_error(
                    "at", "You entered a time: press “Approve for later”, or clear it."
                )
            return None
        zone = zone_named(str(typed or ""))
        if zone is None:
            self.add_error(
                "zone", "There is no such time zone. Enter one such as Europe/Lisbon."
            )
        elif not when:
            self.add_error("when", "Choose when to send it.")
        elif (at is not None) != (when == "time"):
            both = f"You chose “{WHENS[when]}” and entered a time: choose one of them."
            self.add_error("at", both if at else "Enter the day and time to send it.")
        elif at is not None and not 1 < at.year < 9999:
            self.add_error("at", "Choose a time within the next 30 days.")
        elif at is not None and (error := clock_error(at.replace(tzinfo=zone))):
            self.add_error("at", error)
        else:
            return LaterChoice(when, zone, at)
        return None


def timing_of(
    choice: LaterChoice | None,
    message: Message,
    now: datetime,
    window: timedelta,
    thread_read: int,
) -> dict[str, Any]:
    """Return the columns of an approval that say when it is carried out: at the chosen
    time, or without a choice after the undo window; never before the sender's time.

    `now` is the database's time, `window` the undo window, `thread_read` the newest
    message of the thread that the reviewer has read. If that time is within the undo
    window, `later_at` is None. Raises VerdictNotAllowed for received mail, and for
    a time that is in the past, more than 30 days ahead, or after the message expires.
    """
    # Never before the undo window is over.
    earliest = now + window
    content = message.revision.content if message.revision else {}
    scheduled = read_time(content.get("send_at")) or now
    if choice is None:
        if scheduled <= earliest:
            return {"due_at": earliest, "thread_read": thread_read}
        choice = LaterChoice("time", ZoneInfo("UTC"), scheduled.replace(tzinfo=None))
    if message.is_inbound:
        raise VerdictNotAllowed("Received messages can only be released at once.")
    here = earliest.astimezone(choice.zone)
    day = here.date()
    if choice.at is not None:
        chosen = choice.at.replace(tzinfo=choice.zone)
    elif choice.when == "hours" and _in_working_hours(here):
        chosen = here
    else:
        if choice.when == "tomorrow" or here.time() >= BEGINS:
            day += timedelta(days=1)
        while choice.when == "hours" and day.weekday() in _WEEKEND:
            day += timedelta(days=1)
        chosen = datetime.combine(day, BEGINS, choice.zone)
    at = chosen.astimezone(UTC)
    if at < now:
        raise VerdictNotAllowed("That time is in the past. Choose a later one.")
    if at > now + MOST and at != scheduled:
        raise VerdictNotAllowed("Choose a time within the next 30 days.")
    at = max(at, scheduled)
    if message.expires_at and message.expires_at <= at:
        raise VerdictNotAllowed(
            f"The message expires before that time, on {day_and_time(message.expires_at)}."
        )
    return {
        "due_at": max(at, earliest),
        "later_at": at if at > earliest else None,
        "later_zone": str(choice.zone),
        # The zone of a sender's time is nobody's choice.
        "later_domain": "" if at == scheduled else domain_of(message),
        "in_working_hours": choice.when == "hours",
        "thread_read": thread_read,
    }


def _in_working_hours(here: datetime) -> bool:
    return here.weekday() not in _WEEKEND and BEGINS <= here.time() < ENDS


def time_in_words(at: datetime | None, zone: str) -> str:
    """Return a chosen time in the time zone that was chosen with it, as `Wed 25 Nov,
    09:00 (Europe/Berlin)`; empty without a time.
    """
    # If this machine no longer knows the zone, the time is shown in UTC.
    known_zone = zone_named(zone) or UTC
    return f"{at.astimezone(known_zone):%a %-d %b, %H:%M} ({zone})" if at else ""


def delay_in_words(decision: Decision, at: datetime) -> str:
    """Return in words how much later than chosen a decision is carried out at this
    time; empty if it is not late.
    """
    if decision.later_at is None or at - decision.later_at <= LATE:
        return ""
    is_outside = decision.in_working_hours and not _in_working_hours(
        at.astimezone(zone_named(decision.later_zone) or UTC)
    )
    where = ", outside working hours" if is_outside else ""
    late = duration((at - decision.later_at).total_seconds())
    return f"{late} later than chosen{where}"


def later_context(message: Message) -> dict[str, Any]:
    """Return what the form offers: the zone last chosen for the recipient's domain,
    otherwise that of the person who asks.
    """
    domain = domain_of(message)
    last_zone = ""
    if message.is_held and domain and message.mailbox_id:
        # Relies on decision_later.
        chosen = Decision.objects.filter(
            later_domain=domain, message__mailbox=message.mailbox_id
        )
        last_zone = chosen.values_list("later_zone", flat=True).last() or ""
    return {
        "zone": last_zone or zone_name(),
        "domain": domain if last_zone else "",
        "zones": ZONES,
    }


def domain_of(message: Message) -> str:
    """Return the domain of the first recipient; empty where it is not known."""
    if not message.recipients:
        return ""
    first = lowered(bare_address(str(message.recipients[0])))
    return first.rpartition("@")[2][:255]
