"""The sessions of people: which there are, and ending them, which holds from the next request on.

Whatever is held open for a session, as a live stream, hears of `reach_changed` and asks anew who is there.
"""

import ipaddress
from dataclasses import dataclass
from datetime import datetime

from allauth.usersessions.models import UserSession
from django.contrib.auth import SESSION_KEY, update_session_auth_hash
from django.contrib.sessions.models import Session
from django.db.models import Q
from django.dispatch import Signal
from django.http import HttpRequest
from django.utils import timezone

from audit.recording import record
from common.addresses import client_address
from common.postgres.anew import atomic_anew
from people.actors import Actor
from people.devices import device_in_words
from people.models import Person
from people.session_store import BEGAN, IDLE, SessionStore

# Sent with `person`, the key of somebody who may see less than before, or from fewer browsers.
reach_changed = Signal()

_NO_ADDRESS = "0.0.0.0"  # noqa: S104 - nothing listens on it
_LONG_AGENT = 200
# So many dead rows a sign-in takes away: it shall not wait for those of a year.
_SWEPT = 500


class NoSuchSession(Exception):
    """It has ended already, or is somebody else's."""


@dataclass(frozen=True)
class OwnSession:
    """One browser in which a person is signed in."""

    id: int
    device: str
    address: str
    began_at: datetime
    seen_at: datetime
    is_this: bool


def sessions_of(person: Person, *, this_key: str | None) -> list[OwnSession]:
    """Return where the person is signed in: this one first, then the last used."""
    noted = {one.session_key: one for one in UserSession.objects.filter(user=person)}
    living = Session.objects.filter(session_key__in=noted, expire_date__gt=timezone.now())
    found = [_told(noted[row.session_key], row, is_this=row.session_key == this_key) for row in living]
    return sorted(found, key=lambda one: (one.is_this, one.seen_at), reverse=True)


def _told(noted: UserSession, row: Session, *, is_this: bool) -> OwnSession:
    # Each save of a session puts its end off; what is noted beside it is not always written then.
    seen_at = max(noted.last_seen_at, row.expire_date - IDLE)
    address = "" if noted.ip == _NO_ADDRESS else str(noted.ip)
    return OwnSession(noted.pk, device_in_words(noted.user_agent), address, noted.created_at, seen_at, is_this)


def end_sessions(person: Person, *, except_key: str | None = None) -> int:
    """End all sessions of somebody, but the one of `except_key`; return how many. Part of the caller's transaction.

    For whoever takes away what a person may do: the caller's own entry in the ledger tells why.
    """
    ended = UserSession.objects.filter(user=person).exclude(session_key=except_key or "")
    return _end(person.pk, Q(pk__in=list(ended.values_list("pk", flat=True))))


@atomic_anew
def end_session(*, actor: Actor, session: int) -> None:
    """End one of the actor's own sessions. Raises NoSuchSession."""
    if not _end(int(actor.id), Q(pk=session)):
        raise NoSuchSession
    record("person.session_ended", actor=actor, details={"sessions": "1"})


@atomic_anew
def end_other_sessions(*, actor: Actor, this_key: str) -> int:
    """End all of the actor's own sessions but this one; return how many there were."""
    count = _end(int(actor.id), ~Q(session_key=this_key))
    if count:
        record("person.session_ended", actor=actor, details={"sessions": str(count)})
    return count


def _end(person: int, which: Q) -> int:
    noted = UserSession.objects.filter(which, user_id=person)
    keys = list(noted.values_list("session_key", flat=True))
    Session.objects.filter(session_key__in=keys).delete()
    noted.delete()
    reach_changed.send(sender=Person, person=person)
    return len(keys)


def begin_session(request: HttpRequest, person: Person) -> None:
    """Note that somebody signed in with this request's session, and put away sessions that are over."""
    now = timezone.now()
    if BEGAN in request.session:
        # Who signs in once more within a session gets another id for it too.
        request.session.cycle_key()
    request.session[BEGAN] = now.timestamp()
    if not request.session.session_key:
        request.session.save()
    said = {"ip": _address(request), "user_agent": request.META.get("HTTP_USER_AGENT", "")[:_LONG_AGENT]}
    UserSession.objects.update_or_create(
        session_key=request.session.session_key, defaults={"user": person, "last_seen_at": now, **said}
    )
    over = list(Session.objects.filter(expire_date__lt=now).values_list("session_key", flat=True)[:_SWEPT])
    Session.objects.filter(session_key__in=over).delete()
    UserSession.objects.filter(session_key__in=over).delete()


def forget_session(request: HttpRequest) -> None:
    """Note that the session of this request ends with it."""
    UserSession.objects.filter(session_key=request.session.session_key).delete()


def renew_session(request: HttpRequest, *, with_password_of: Person | None = None) -> None:
    """Give the session another id, whose old one opens nothing any more; and the mark of a password that is new."""
    before = request.session.session_key
    if with_password_of:
        update_session_auth_hash(request, with_password_of)
    else:
        request.session.cycle_key()
    UserSession.objects.filter(session_key=before).update(session_key=request.session.session_key)


def note_seen(request: HttpRequest, *, now: datetime) -> None:
    """Write down that the session is in use, and from where."""
    key = request.session.session_key
    # Not by saving the session: another request may just be changing its content.
    Session.objects.filter(session_key=key).update(expire_date=now + IDLE)
    UserSession.objects.filter(session_key=key).update(last_seen_at=now, ip=_address(request))


def _address(request: HttpRequest) -> str:
    try:
        return str(ipaddress.ip_address(client_address(request)))
    except ValueError:
        return _NO_ADDRESS


def is_living(key: str) -> bool:
    """Whether the session of this key is one in which somebody is still signed in."""
    return SESSION_KEY in SessionStore(session_key=key).load()
