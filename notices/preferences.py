"""What a person wants to be told outside the desk, and when: the times of their mails,
and the links by which they end one kind of them.
"""

from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django.core import signing
from django.db.models import Q
from django.urls import reverse

from approvals.escalation.handling import is_last_step_done
from audit.recording import record
from common.actors import Actor
from common.postgres import atomic_with_retry
from notices.models import Cause, Notice, Preferences
from people.models import Person

_SALT = "notices.stop"


def preferences_of(person: Person) -> Preferences:
    """Return what a person set; what applies to everybody if they set nothing."""
    return getattr(person, "preferences", None) or Preferences(person=person)


def is_on_desk(person: Person, cause: str) -> bool:
    """Whether the list and the bell of a person show notices of this cause."""
    return cause in [*preferences_of(person).desk, Cause.ACCOUNT]


def ways_of(person: Person, cause: str, at: datetime) -> dict[str, datetime]:
    """Return when a person is told by which way outside the desk, "push" or "mail", what
    happens at a time, if their quiet hours do not put it off.
    """
    wanted = preferences_of(person)
    times = {}
    if cause in [*wanted.push, Cause.ACCOUNT]:
        times["push"] = at
    if cause in wanted.mail:
        pause = 0 if cause == Cause.SUMMARY else wanted.mail_after
        times["mail"] = at + timedelta(minutes=pause)
    if cause == Cause.ACCOUNT:
        times["mail"] = at
    return times


def comes_in_quiet_time(cause: str, way: str, *, is_last: bool) -> bool:
    """Whether a person is told this by this way whatever the hour: by mail what happened
    to their account; and the last step of a review plan, after which nobody else is
    told.
    """
    return is_last or (cause == Cause.ACCOUNT and way == "mail")


def is_of_last_step(notice: Notice) -> bool:
    """Whether the last step of a review plan made this new notice."""
    return (
        notice.message is not None
        and notice.by_id is None
        and notice.cause in (Cause.ASSIGNED, Cause.REMINDED)
        and is_last_step_done(notice.message)
    )


def wants_chat(person: Person, cause: str) -> bool:
    """Whether a message's card in a chat mentions the person because of this cause."""
    return cause in preferences_of(person).chat


def after_quiet_time(at: datetime, wanted: Preferences) -> datetime:
    """Return the first time from `at` on at which the person is not away, and their
    quiet hours are over.
    """
    person = wanted.person
    if person.away_from and person.away_until:
        at = person.away_until if person.away_from <= at < person.away_until else at
    begin, end = wanted.quiet_from, wanted.quiet_until
    if begin is None or end is None:
        return at
    local = at.astimezone(ZoneInfo(person.time_zone))
    hour = local.time()
    is_quiet = begin <= hour < end if begin < end else not end <= hour < begin
    if begin == end or not is_quiet:
        return at
    day = local.date() + timedelta(days=hour >= end)
    return datetime.combine(day, end, local.tzinfo)


def stop_path(person: int, cause: str) -> str:
    """Return the path of the link that ends the mails of one cause for a person."""
    return reverse("stop-mail", args=[signing.dumps([person, cause], salt=_SALT)])


def cause_to_stop(signed: str) -> tuple[int, Cause]:
    """Return the person and the cause of such a link. Raises signing.BadSignature."""
    person, cause = signing.loads(signed, salt=_SALT)
    return person, Cause(cause)


@atomic_with_retry
def stop_mail(person: int, cause: Cause) -> None:
    """End the mails of one cause for a person."""
    owner = Person.objects.select_for_update().get(pk=person)
    mail = [one for one in preferences_of(owner).mail if one != cause]
    change_preferences(owner.actor(surface="mail"), mail=mail)


@atomic_with_retry
def change_preferences(actor: Actor, **wanted: Any) -> None:
    """Store what the actor wants to be told; recorded if it changed."""
    preferences = preferences_of(Person.objects.locked(actor))
    before = in_words(preferences)
    for name, value in wanted.items():
        setattr(preferences, name, value)
    after = in_words(preferences)
    if after != before:
        preferences.save()
        shown = [*preferences.desk, Cause.ACCOUNT]
        notices = Notice.objects.open().filter(person=preferences.person)
        notices.update(on_desk=Q(cause__in=shown))
        details = {"before": before, "after": after}
        record("person.notices_set", actor, details=details)


def in_words(wanted: Preferences) -> str:
    """Return what a person wants, in the words of the ledger."""
    ways = (wanted.desk, wanted.push, wanted.mail, wanted.chat)
    desk, push, mail, chat = (", ".join(one) or "nothing" for one in ways)
    return (
        f"desk: {desk}; mail: {mail}, after {wanted.mail_after} min; push: {push}; chat: {chat}; "
        f"quiet: {wanted.quiet_from} to "
        f"{wanted.quiet_until}; stand-in: {wanted.stand_in or 'nobody'}"
    )
