"""Sessions of people: how they are stored (this module is the SESSION_ENGINE), when
they end, and ending them. Receivers write to the ledger who signed in, failed to sign
in, reauthenticated and signed out.

A session ends IDLE after the last request that a person made, and LONGEST after signing
in. Both are checked when a session is loaded, so that no code that reads sessions can
skip them; the age of the cookie does not matter. Whatever stays open for a session,
such as a live stream, listens to `access_changed` and then checks its session again.
"""

import ipaddress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from allauth.account.signals import authentication_step_completed
from allauth.core import context
from allauth.usersessions.models import UserSession
from django.contrib.auth import SESSION_KEY, update_session_auth_hash
from django.contrib.auth.signals import (
    user_logged_in,
    user_logged_out,
    user_login_failed,
)
from django.contrib.sessions.backends.base import UpdateError
from django.contrib.sessions.backends.db import SessionStore as DatabaseSessions
from django.contrib.sessions.models import Session
from django.db import transaction
from django.db.models import Q
from django.dispatch import Signal, receiver
from django.http import HttpRequest
from django.utils import timezone
from django.utils.crypto import constant_time_compare, salted_hmac

from audit.recording import record
from common.actors import Actor
from common.addresses import client_address
from common.postgres import atomic_with_retry, is_away, is_read_only_error
from common.tables import table_pairs
from people.models import Person

IDLE = timedelta(hours=2)
LONGEST = timedelta(hours=12)
# A session's last use is stored at most this often.
NOTED_EVERY = timedelta(minutes=5)
# In the session: when the person signed in, in seconds since 1970.
BEGAN = "began_at"
# Sent with `person`, the key of a person who lost a role or a session.
access_changed = Signal()

_NO_ADDRESS = "0.0.0.0"  # noqa: S104 - nothing listens on it
# How many characters of the key of a signed-in session are a signature of the others.
_SIGNATURE = 12
# How many characters of a User-Agent are stored.
_MAX_AGENT = 200
# A sign-in deletes at most this many expired rows, so that a large backlog does not
# delay it.
_CLEANUP_BATCH = 500
# The first of these texts that a User-Agent contains names the browser or the system.
_BROWSERS = table_pairs(
    """
Edg | Edge
OPR/ | Opera
OPT/ | Opera
SamsungBrowser/ | Samsung Internet
Firefox/ | Firefox
FxiOS/ | Firefox
CriOS/ | Chrome
HeadlessChrome/ | Chrome
Chrome/ | Chrome
Safari/ | Safari
curl/ | curl
python-requests/ | a Python script
"""
)
_SYSTEMS = table_pairs(
    """
iPhone | iPhone
iPad | iPad
Android | Android
CrOS | ChromeOS
Windows | Windows
Macintosh | Mac
Mac OS X | Mac
Linux | Linux
"""
)
UNKNOWN_DEVICE = "An unknown program"


def is_signed(key: str) -> bool:
    """Whether the desk made this key for somebody who signed in. That is known without
    the database; the session may have ended since.
    """
    return constant_time_compare(key[-_SIGNATURE:], _signature_of(key[:-_SIGNATURE]))


def _signature_of(part: str) -> str:
    return salted_hmac("people.sign_in.sessions", part).hexdigest()[:_SIGNATURE]


class SessionStore(DatabaseSessions):
    """A session. Its row expires IDLE after its last stored use; what is in it is
    ignored LONGEST after signing in.
    """

    # The last use that is stored; None if there is no valid session.
    seen_at: datetime | None = None
    _is_signing_in = False

    def cycle_key(self) -> None:
        """Give the session another key, because somebody signs in."""
        self._is_signing_in = True
        super().cycle_key()

    def _get_new_session_key(self) -> str:
        key: str = super()._get_new_session_key()  # type: ignore[misc]
        part = key[:-_SIGNATURE]
        return part + _signature_of(part) if self._is_signing_in else key

    def load(self) -> dict[str, Any]:
        row: Session | None = self._get_session_from_db()  # type: ignore[attr-defined]
        if row is None:
            return {}
        data = self.decode(row.session_data)
        age = timezone.now().timestamp() - float(data.get(BEGAN, 0))
        if SESSION_KEY in data and age >= LONGEST.total_seconds():
            self._session_key = None
            return {}
        self.seen_at = row.expire_date - IDLE
        return data

    def save(self, must_create: bool = False) -> None:
        try:
            super().save(must_create)
        except UpdateError as error:
            # Django raises it whatever kept the row from being written.
            reason = error.__context__
            if is_read_only_error(reason):
                # Pages are shown all the same. Whatever has to be kept is refused.
                return
            if reason is not None and is_away(reason):
                raise reason from reason.__cause__
            raise

    def get_expiry_date(self, **_: Any) -> datetime:
        """Return when the row expires; the cookie's age is SESSION_COOKIE_AGE."""
        return timezone.now() + IDLE


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
    """Return the person's sessions: the one with the session key `this_key` first, then
    those used last.
    """
    began = UserSession.objects.filter(
        user=person, created_at__gt=timezone.now() - LONGEST
    )
    by_key = {one.session_key: one for one in began}
    live = Session.objects.filter(
        session_key__in=by_key, expire_date__gt=timezone.now()
    )
    own_sessions = []
    for key, expires in live.values_list("session_key", "expire_date"):
        one = by_key[key]
        own_sessions.append(
            OwnSession(
                id=one.pk,
                device=device_name(one.user_agent),
                address="" if one.ip == _NO_ADDRESS else str(one.ip),
                began_at=one.created_at,
                # Whenever the session is saved, it expires later, but UserSession is
                # not always saved with it.
                seen_at=max(one.last_seen_at, expires - IDLE),
                is_this=key == this_key,
            )
        )
    return sorted(
        own_sessions, key=lambda one: (one.is_this, one.seen_at), reverse=True
    )


def is_signed_in(key: str) -> bool:
    """Whether somebody is still signed in with the session of this key."""
    return SESSION_KEY in SessionStore(session_key=key).load()


def end_sessions(person: Person, *, except_key: str = "") -> int:
    """End all sessions of a person except the one with the session key `except_key`, in
    the caller's transaction; return how many.

    It writes nothing to the ledger: the caller's own entry says why they ended.
    """
    return _end(person.pk, ~Q(session_key=except_key))


@atomic_with_retry
def end_session(*, actor: Actor, session: int) -> bool:
    """End one of the actor's own sessions; return False if it has ended already, or is
    somebody else's.
    """
    if not _end(actor.person_id, Q(pk=session)):
        return False
    record("person.session_ended", actor, details={"sessions": "1"})
    return True


@atomic_with_retry
def end_other_sessions(*, actor: Actor, this_key: str) -> int:
    """End all of the actor's own sessions except this one; return how many there
    were.
    """
    count = _end(actor.person_id, ~Q(session_key=this_key))
    if count:
        record("person.session_ended", actor, details={"sessions": str(count)})
    return count


def _end(person: int, which: Q) -> int:
    sessions = UserSession.objects.filter(which, user_id=person)
    ended = dict(sessions.values_list("pk", "session_key"))
    Session.objects.filter(session_key__in=ended.values()).delete()
    UserSession.objects.filter(pk__in=ended).delete()
    access_changed.send(sender=Person, person=person)
    return len(ended)


def begin_session(request: HttpRequest, person: Person) -> None:
    """Store that a person signed in with this request's session, and delete some
    expired sessions.
    """
    now = timezone.now()
    if BEGAN in request.session:
        # The person signs in again within a session: give it another id.
        request.session.cycle_key()
    request.session[BEGAN] = now.timestamp()
    if not request.session.session_key:
        request.session.save()
    UserSession.objects.update_or_create(
        session_key=request.session.session_key,
        defaults={
            "user": person,
            "last_seen_at": now,
            "ip": client_ip(request),
            "user_agent": request.META.get("HTTP_USER_AGENT", "")[:_MAX_AGENT],
        },
    )
    old = Session.objects.filter(expire_date__lt=now)
    expired = list(old.values_list("session_key", flat=True)[:_CLEANUP_BATCH])
    Session.objects.filter(session_key__in=expired).delete()
    UserSession.objects.filter(session_key__in=expired).delete()


def renew_session(
    request: HttpRequest, *, with_password_of: Person | None = None
) -> None:
    """Give the session another id, so that the old one is void. `with_password_of` is a
    person whose new password's hash the session has to hold.
    """
    old_key = request.session.session_key
    if with_password_of:
        update_session_auth_hash(request, with_password_of)
    else:
        request.session.cycle_key()
    UserSession.objects.filter(session_key=old_key).update(
        session_key=request.session.session_key
    )


def note_seen(request: HttpRequest, *, now: datetime) -> None:
    """Store that the session is in use, and from which address."""
    key = request.session.session_key
    # Saving the whole session could overwrite what another request is changing in it.
    Session.objects.filter(session_key=key).update(expire_date=now + IDLE)
    UserSession.objects.filter(session_key=key).update(
        last_seen_at=now, ip=client_ip(request)
    )


def client_ip(request: HttpRequest) -> str:
    """Return the client's IP address, or 0.0.0.0 if it is unknown."""
    try:
        return str(ipaddress.ip_address(client_address(request)))
    except ValueError:
        return _NO_ADDRESS


def device_name(user_agent: str) -> str:
    """Return browser and system by the User-Agent, such as `Firefox on Windows`.
    Programs can send any User-Agent, so this is only a hint.
    """
    browser = next((name for mark, name in _BROWSERS.items() if mark in user_agent), "")
    system = next((name for mark, name in _SYSTEMS.items() if mark in user_agent), "")
    if system:
        return f"{browser or 'A browser'} on {system}"
    return f"{browser[0].upper()}{browser[1:]}" if browser else UNKNOWN_DEVICE


def actor_of(request: HttpRequest | None, person: Any) -> Actor:
    """Return the person, or an unknown visitor, as an actor with the address of the
    request.
    """
    # ActorMiddleware has found out the client's address behind trusted proxies.
    request_actor: Actor | None = getattr(request, "actor", None)
    address = request_actor.address if request_actor else ""
    if isinstance(person, Person):
        return person.actor(surface="web", address=address)
    return Actor(
        kind="anonymous", id="", label="somebody", surface="web", address=address
    )


@transaction.atomic
def record_failure(person: Person | None, *, reason: str, email: str = "") -> None:
    """Write to the ledger that signing in failed, and at which step. `email` is what a
    visitor typed.
    """
    details = {"email": (person.email if person else email)[:200], "reason": reason}
    actor = actor_of(context.request, person) if person else context.request.actor
    record("person.sign_in_failed", actor, details=details)


@receiver(user_logged_in)
@transaction.atomic
def _on_signed_in(request: HttpRequest, user: Any, **_: Any) -> None:
    if isinstance(user, Person):
        begin_session(request, user)
    device = device_name(request.META.get("HTTP_USER_AGENT", ""))
    record("person.signed_in", actor_of(request, user), details={"device": device})


@receiver(user_login_failed)
@transaction.atomic
def _on_failed(
    credentials: dict[str, Any], request: HttpRequest | None = None, **_: Any
) -> None:
    tried = str(credentials.get("email") or credentials.get("username") or "")[:200]
    record("person.sign_in_failed", actor_of(request, None), details={"email": tried})


@receiver(user_logged_out)
@transaction.atomic
def _on_signed_out(request: HttpRequest, user: Any, **_: Any) -> None:
    if user is not None:
        UserSession.objects.filter(session_key=request.session.session_key).delete()
        record("person.signed_out", actor_of(request, user))


@receiver(authentication_step_completed)
@transaction.atomic
def _on_proved(request: HttpRequest, user: Any, method: str, **more: Any) -> None:
    if more.get("reauthenticated"):
        renew_session(request)
        record(
            "person.reauthenticated", actor_of(request, user), details={"by": method}
        )
