"""Second factors: adding and removing them, which roles need one, and checking the
codes of authenticator apps (TOTP, RFC 6238) and recovery codes. Each code is accepted
once, also if several processes get it at the same moment.

A passkey counts as two factors: it is on a device, and is unlocked with a fingerprint,
a face or a PIN. Recovery codes replace a lost factor. Only their hashes are stored.
allauth's own recovery codes are not used: they are derived from a stored seed, so that
anybody who reads the database could use them.
"""

import hashlib
import hmac
import logging
import secrets
import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from unicodedata import normalize

from allauth.account.internal.flows.login import get_authentication_records
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value
from django.core.exceptions import ImproperlyConfigured
from django.db import transaction
from django.db.models import Count, Exists, Max, OuterRef, Q
from django.db.models.functions import Now
from django.http import HttpRequest
from django.urls import reverse

from audit.recording import record
from common.actors import Actor, Role
from common.encryption import decrypt, encrypt
from common.postgres import atomic_with_retry, clock
from people.errors import FactorNotAllowed, NotYours
from people.models import Person, RecoveryCode, RoleRule
from people.second_admin.registry import CanWait, ChangeInWords, second_admin
from people.sign_in.backend import needs_second_factor, roles_that_need_it
from people.sign_in.sessions import access_changed, end_sessions

log = logging.getLogger(__name__)

# An app shows a new code every 30 seconds; each code is for one such time step.
PERIOD = 30
DIGITS = 6
# How many time steps the app's clock may be ahead or behind.
DRIFT = 1


def is_code(code: str) -> bool:
    """Whether this looks like an app's code: six digits."""
    return _digits(code) != ""


def counter_of(secret: str, code: str, *, after: int) -> int | None:
    """Return the number of the time step that `code` is for, if it is valid now and
    later than step `after`; otherwise None.
    """
    digits = _digits(code)
    current = int(time.time()) // PERIOD
    for counter in range(max(current - DRIFT, after + 1), current + DRIFT + 1):
        if hmac.compare_digest(format_hotp_value(hotp_value(secret, counter)), digits):
            return counter
    return None


@transaction.atomic
def use_code(*, person_id: int, code: str) -> Authenticator | None:
    """Use an app's code up and return the app; None if the code is wrong, too old, or
    was used.

    The row is locked and stores the last time step that was used. So if two processes
    get the same code, only one accepts it, and a code that somebody else has seen is
    useless afterwards.
    """
    app = (
        Authenticator.objects.select_for_update()
        .filter(user=person_id, type=APP)
        .first()
    )
    if app is None:
        return None
    try:
        secret = decrypt(app.data["secret"])
    except ImproperlyConfigured:
        # If the secret cannot be decrypted, no code is valid; recovery codes still
        # work.
        log.error(
            "no key reads the secret of an authenticator app",
            extra={"person": person_id},
        )
        return None
    counter = counter_of(secret, code, after=app.data.get("used", 0))
    if counter is None:
        return None
    app.data["used"] = counter
    app.save(update_fields=["data"])
    return app


def _digits(code: str) -> str:
    digits = _letters(code)
    is_code = len(digits) == DIGITS and digits.isdecimal()
    return f"{int(digits):0{DIGITS}}" if is_code else ""


def _letters(code: str) -> str:
    # What people paste and keyboards write may have blanks, dashes, invisible and wide
    # characters.
    return "".join(filter(str.isalnum, normalize("NFKC", code)))


APP = Authenticator.Type.TOTP
PASSKEY = Authenticator.Type.WEBAUTHN
KINDS = {APP: "authenticator app", PASSKEY: "passkey"}
# A condition on people: whether they have one.
HAS_FACTOR = Exists(Authenticator.objects.filter(user=OuterRef("pk"), type__in=KINDS))
MAX_PASSKEYS = 20


@dataclass(frozen=True)
class Factor:
    """One second factor of a person."""

    id: int
    is_passkey: bool
    name: str
    added_at: datetime
    used_at: datetime | None


def factors_of(person_id: int) -> list[Factor]:
    """Return a person's second factors, oldest first."""
    rows = Authenticator.objects.filter(user=person_id, type__in=KINDS).order_by("pk")
    return [
        Factor(
            one.pk,
            one.type == PASSKEY,
            one.data.get("name") or KINDS[one.type],
            one.created_at,
            one.last_used_at,
        )
        for one in rows
    ]


def has_second_factor(person_id: int) -> bool:
    """Whether the person has an authenticator app or a passkey."""
    return bool(Authenticator.objects.filter(user=person_id, type__in=KINDS).exists())


def lacks_second_factor(request: HttpRequest) -> bool:
    """Whether the person needs a second factor and proved none in this session: no
    code, recovery code or passkey.
    """
    person = request.user
    return (
        isinstance(person, Person)
        and all(
            proof.get("method") != "mfa"
            for proof in get_authentication_records(request, person)
        )
        and needs_second_factor(person)
    )


@atomic_with_retry
def add_app(*, actor: Actor, secret: str, code: str) -> None:
    """Add an authenticator app to the actor's factors; `code` proves that it has the
    secret.

    Raises FactorNotAllowed for a wrong code, or if there is an app already.
    """
    person = Person.objects.locked(actor)
    if Authenticator.objects.filter(user=person, type=APP).exists():
        raise FactorNotAllowed(
            "You already have an authenticator app. Remove it first."
        )
    counter = counter_of(secret, code, after=0)
    if counter is None:
        raise FactorNotAllowed(
            "This is not the app's current code. Wait for the next one and enter that."
        )
    # Mark the code as used, so that it cannot also sign in.
    data = {"secret": encrypt(secret), "used": counter}
    _add(actor, person, APP, KINDS[APP], data)


@atomic_with_retry
def add_passkey(*, actor: Actor, name: str, credential: dict[str, Any]) -> None:
    """Store a verified passkey of the actor's. Raises FactorNotAllowed if there are too
    many.
    """
    person = Person.objects.locked(actor)
    if Authenticator.objects.filter(user=person, type=PASSKEY).count() >= MAX_PASSKEYS:
        raise FactorNotAllowed(
            f"You have {MAX_PASSKEYS} passkeys. Remove one that you do not use."
        )
    data = {"name": name, "credential": credential}
    _add(actor, person, PASSKEY, f"{KINDS[PASSKEY]} {name}", data)


@atomic_with_retry
def remove_factor(*, actor: Actor, factor_id: int) -> Factor:
    """Remove one of the actor's own factors. Raises FactorNotAllowed if it is the last
    one and a role needs one, and StopIteration if it is not theirs.
    """
    person = Person.objects.locked(actor)
    own_factors = factors_of(person.pk)
    removed = next(one for one in own_factors if one.id == factor_id)
    if len(own_factors) == 1 and needs_second_factor(person):
        raise FactorNotAllowed(
            "Your role needs a second factor, and this is your only one. Add another first, then remove this one."
        )
    _remove(person, [removed], actor=actor)
    return removed


@atomic_with_retry
@second_admin("Second factor")
def remove_factors_of(*, actor: Actor, person: Person) -> CanWait[int]:
    """Remove all factors of a person who lost them, end their sessions, and return how
    many factors they had. If a role needs a factor, they set up a new one when they
    next sign in.

    Raises NotYours.
    """
    _check_may_set(actor)
    if str(person.pk) == actor.id:
        raise NotYours("Remove your own factors under Your account, Second factor.")
    Person.objects.select_for_update().get(pk=person.pk)
    removed = factors_of(person.pk)
    yield lambda: ChangeInWords(
        title=f"Second factor: remove those of {person} ({person.email})",
        before=", ".join(one.name for one in removed),
        after="none; signs in by password alone until a new one is set up",
        page=reverse("person", args=[person.pk]),
        subjects=[person.pk],
        based_on=[one.id for one in removed],
        # Whoever has no role now may get one again, and would sign in without a factor.
        tightens=not removed,
    )
    _remove(person, removed, actor=actor)
    # Whoever found the lost device may be signed in on it.
    end_sessions(person)
    return len(removed)


# The rule of a role, in words, if it needs no second factor and if it needs one.
_RULES = ("no second factor is needed", "a second factor is needed")


@atomic_with_retry
@second_admin("Second factor")
def set_role_rule(*, actor: Actor, role: Role, needed: bool) -> CanWait[None]:
    """Set whether everybody with `role` needs a second factor.

    Only an admin of everything may do this. They cannot require it of a role that they
    have while they have no second factor: that would lock them out. Raises
    NotYours and FactorNotAllowed.
    """
    _check_may_set(actor)
    yield lambda: ChangeInWords(
        title=f"Second factor: no longer required of every {role.value}",
        before=_RULES[role in roles_that_need_it()],
        after=_RULES[False],
        page=reverse("second-factor"),
        tightens=needed or role not in roles_that_need_it(),
    )
    if needed and actor.has(role) and not has_second_factor(actor.person_id):
        article = "an" if role[0] == "a" else "a"
        raise FactorNotAllowed(
            f"You are {article} {role} yourself and have no second factor. Set one up first; otherwise you lock "
            "yourself out."
        )
    rule, _ = RoleRule.objects.select_for_update().get_or_create(role=role)
    if rule.needs_second_factor == needed:
        return
    RoleRule.objects.filter(pk=rule.pk).update(
        needs_second_factor=needed, changed_by=actor.person_id, changed_at=Now()
    )
    if needed:
        # Live streams check their session again, and close if a factor is missing.
        for person in Person.objects.filter(grants__role=role).distinct():
            access_changed.send(sender=Person, person=person.pk)
    details = {
        "role": role.value,
        "needed": "yes" if needed else "no",
        "before": _RULES[not needed],
        "after": _RULES[needed],
    }
    record("role.second_factor_set", actor, details=details)


def lacking_factor(role: Role) -> int:
    """Return how many active people with a role have no second factor."""
    people = Person.objects.filter(~HAS_FACTOR, is_active=True, grants__role=role)
    return people.distinct().count()


def _check_may_set(actor: Actor) -> None:
    if not actor.is_admin_of_all:
        raise NotYours("Only an admin of everything can set who needs a second factor.")


def _add(
    actor: Actor, person: Person, kind: str, words: str, data: dict[str, Any]
) -> None:
    # By the clock of approvals, with which it is compared.
    Authenticator.objects.create(user=person, type=kind, data=data, created_at=clock())
    record(
        "person.factor_added",
        actor,
        details={"factor": words, "before": "", "after": words},
    )


def _remove(person: Person, factors: list[Factor], *, actor: Actor) -> None:
    """Delete these factors of a locked person. With the last factor, the recovery codes
    are deleted too: they only replace a factor.
    """
    Authenticator.objects.filter(
        user=person.pk, pk__in=[one.id for one in factors]
    ).delete()
    if not has_second_factor(person.pk):
        RecoveryCode.objects.filter(person=person).delete()
    for one in factors:
        details = {
            "factor": one.name,
            "of": person.email,
            "before": one.name,
            "after": "",
        }
        record("person.factor_removed", actor, details=details, about=person)


# How many codes a person gets at a time.
RECOVERY_CODES = 10
_CODE_LENGTH = 10
# Crockford's base 32 has no characters that look alike. Ten of them have 50 bits.
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
# Letters that are not in the alphabet, and the digits that people mean by them.
_READ_AS = str.maketrans("OIL", "011")


@dataclass(frozen=True)
class Codes:
    """How many recovery codes a person has left, and when these were made."""

    left: int
    made_at: datetime | None


def codes_of(person_id: int) -> Codes:
    """Return how many recovery codes a person has left, and when they were made."""
    totals = RecoveryCode.objects.filter(person=person_id).aggregate(
        left=Count("pk", filter=Q(used_at=None)), made_at=Max("created_at")
    )
    return Codes(**totals)


@atomic_with_retry
def make_recovery_codes(*, actor: Actor) -> list[str]:
    """Make new codes for the actor and return them, for the only time; earlier codes
    become void.

    Raises FactorNotAllowed if the actor has no second factor that the codes could
    replace.
    """
    person = Person.objects.locked(actor)
    if not has_second_factor(person.pk):
        raise FactorNotAllowed(
            "Recovery codes replace a second factor. Add a passkey or an app first."
        )
    codes = [
        "".join(secrets.choice(_ALPHABET) for _ in range(_CODE_LENGTH))
        for _ in range(RECOVERY_CODES)
    ]
    # One salt for all ten, so that checking a code takes one slow hash instead of ten.
    salt = secrets.token_hex(16)
    RecoveryCode.objects.filter(person=person).delete()
    RecoveryCode.objects.bulk_create(
        RecoveryCode(person=person, digest=_digest(code, salt)) for code in codes
    )
    record("person.recovery_codes_made", actor, details={"number": str(RECOVERY_CODES)})
    return [f"{code[:5]}-{code[5:]}" for code in codes]


@atomic_with_retry
def use_recovery_code(*, person: Person, actor: Actor, code: str) -> bool:
    """Use up one of the person's codes; return whether it was valid. If it is used
    twice at the same moment, only one use succeeds.
    """
    plain = _letters(code).upper().translate(_READ_AS)
    if len(plain) != _CODE_LENGTH:
        return False
    unused = RecoveryCode.objects.filter(person=person, used_at=None)
    stored = unused.values_list("digest", flat=True).first()
    if stored is None:
        return False
    digest = _digest(plain, stored.split("$")[1])
    # This single statement decides: only the first request changes a row.
    if not unused.filter(digest=digest).update(used_at=Now()):
        return False
    left = str(codes_of(person.pk).left)
    record("person.recovery_code_used", actor, details={"left": left})
    return True


def _digest(code: str, salt: str) -> str:
    """Return a slow hash of a code, as for passwords, so that somebody who reads the
    table cannot try all 50 bits.
    """
    hashed = hashlib.scrypt(
        code.encode(), salt=bytes.fromhex(salt), n=2**14, r=8, p=1, dklen=32
    )
    return f"scrypt${salt}${hashed.hex()}"
