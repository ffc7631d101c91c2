"""Records in the ledger who signed in, failed to sign in, reauthenticated and signed
out.
"""

from typing import Any

from allauth.account.signals import authentication_step_completed
from allauth.core import context
from django.contrib.auth.signals import (
    user_logged_in,
    user_logged_out,
    user_login_failed,
)
from django.db import transaction
from django.dispatch import receiver
from django.http import HttpRequest

from audit.recording import record
from common.actors import Actor
from people.models import Person
from people.sign_in.sessions import begin_session, forget_session, renew_session


def actor_of(request: HttpRequest | None, person: Any) -> Actor:
    """Return the person, or an unknown visitor, as an actor with the address of the
    request.
    """
    # ActorMiddleware has determined the client address behind trusted proxies.
    known: Actor | None = getattr(request, "actor", None)
    address = known.address if known else ""
    if isinstance(person, Person):
        return person.actor(surface="web", address=address)
    return Actor(
        kind="anonymous", id="", label="somebody", surface="web", address=address
    )


@transaction.atomic
def record_failure(person: Person | None, *, reason: str, email: str = "") -> None:
    """Record a failed sign-in, and at which step it failed."""
    details = {"email": (person.email if person else email)[:200], "reason": reason}
    actor = actor_of(context.request, person) if person else context.request.actor
    record("person.sign_in_failed", actor=actor, details=details)


@receiver(user_logged_in)
@transaction.atomic
def _on_signed_in(request: HttpRequest, user: Any, **_: Any) -> None:
    if isinstance(user, Person):
        begin_session(request, user)
    record("person.signed_in", actor=actor_of(request, user))


@receiver(user_login_failed)
@transaction.atomic
def _on_failed(
    credentials: dict[str, Any], request: HttpRequest | None = None, **_: Any
) -> None:
    tried = str(credentials.get("email") or credentials.get("username") or "")[:200]
    actor = actor_of(request, None)
    record("person.sign_in_failed", actor=actor, details={"email": tried})


@receiver(user_logged_out)
@transaction.atomic
def _on_signed_out(request: HttpRequest, user: Any, **_: Any) -> None:
    if user is not None:
        forget_session(request)
        record("person.signed_out", actor=actor_of(request, user))


@receiver(authentication_step_completed)
@transaction.atomic
def _on_proved(request: HttpRequest, user: Any, method: str, **more: Any) -> None:
    if more.get("reauthenticated"):
        renew_session(request)
        actor = actor_of(request, user)
        record("person.reauthenticated", actor=actor, details={"by": method})
