"""The commands by which a person changes their own settings: name, time zone, days out
of office, password and keyboard shortcuts.
"""

from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from audit.recording import record
from common.actors import Actor
from common.postgres import atomic_with_retry
from people.errors import NameTaken
from people.models import Invitation, Person
from people.sign_in.sessions import end_sessions
from risk.lookalikes import looks_like


@atomic_with_retry
def change_profile(
    *,
    actor: Actor,
    name: str,
    zone: str,
    away_first: date | None,
    away_last: date | None,
) -> None:
    """Set the actor's name, time zone, and from which day to which they are out of
    office, in that zone; what changed is recorded. Without both days they are not away.
    Earlier ledger entries keep the earlier name. Raises NameTaken: whoever reads who
    approved must not take one for another.
    """
    others = Person.objects.filter(is_active=True).exclude(pk=actor.person_id)
    if looks_like(name, others.values_list("name", flat=True)):
        raise NameTaken(
            "Somebody else here has this name: add what tells you two apart."
        )
    person = Person.objects.locked(actor)
    away = away_in_words(person)
    _set(actor, person, "name", name, "person.renamed")
    _set(actor, person, "time_zone", zone, "person.time_zone_set")
    # The same days are other moments in another zone.
    person.away_from = None
    person.away_until = None
    if away_first and away_last:
        here = ZoneInfo(zone)
        person.away_from = datetime.combine(away_first, time(), here)
        person.away_until = datetime.combine(
            away_last + timedelta(days=1), time(), here
        )
    person.save(update_fields=["away_from", "away_until"])
    details = {"before": away, "after": away_in_words(person)}
    if details["after"] != away:
        record("person.away_set", actor, details=details, about=person)


def away_days(person: Person) -> tuple[date | None, date | None]:
    """Return the first and the last day on which a person is out of office, in
    their own time zone.
    """
    if person.away_from is None or person.away_until is None:
        return None, None
    zone = ZoneInfo(person.time_zone)
    # The end is midnight, when the day after begins.
    last = person.away_until.astimezone(zone) - timedelta(seconds=1)
    return person.away_from.astimezone(zone).date(), last.date()


def away_in_words(person: Person) -> str:
    """Return when a person is out of office, in the words of the ledger."""
    first, last = away_days(person)
    return f"{first} to {last}" if first else "not away"


@atomic_with_retry
def switch_shortcuts(*, actor: Actor, off: bool) -> None:
    """Switch the actor's keyboard shortcuts off or on; recorded if that changed."""
    person = Person.objects.locked(actor)
    if person.keys_off != off:
        person.keys_off = off
        person.save(update_fields=["keys_off"])
        before, after = ("on", "off") if off else ("off", "on")
        details = {"before": before, "after": after}
        record(f"person.keys_{after}", actor, details=details)


@atomic_with_retry
def change_password(*, actor: Actor, password: str, this_key: str) -> Person:
    """Change the actor's password, and end all their sessions except the one with
    the session key `this_key`.

    That session still holds the old password's hash: the caller must renew it.
    """
    person = Person.objects.locked(actor)
    person.set_password(password)
    person.save(update_fields=["password"])
    # An open link for a new password could undo this change.
    Invitation.objects.passwords_of(person).withdraw()
    details = {"sessions ended": str(end_sessions(person, except_key=this_key))}
    record("person.password_changed", actor, details=details, about=person)
    return person


def _set(actor: Actor, person: Person, field: str, value: str, action: str) -> None:
    """Set a field of the locked actor if it differs, and record its values before and
    after.
    """
    before = getattr(person, field)
    if before != value:
        setattr(person, field, value)
        person.save(update_fields=[field])
        details = {"before": before, "after": value}
        record(action, actor, details=details, about=person)
