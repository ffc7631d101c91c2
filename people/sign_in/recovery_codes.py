"""Recovery codes: each replaces a lost second factor, once. Only hashes are stored.

allauth's own recovery codes are derived from a stored seed, which anybody who reads the
database could use.
"""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count, Max, Q
from django.db.models.functions import Now

from audit.recording import record
from common.actors import Actor
from common.postgres.retry import atomic_with_retry
from people.errors import FactorNotAllowed
from people.models import Person, RecoveryCode
from people.sign_in.factors import has_second_factor

NUMBER = 10
LENGTH = 10
# Crockford's base 32 has no characters that look alike. Ten of them are 50 bits.
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_READ_AS = str.maketrans("OIL", "011")


@dataclass(frozen=True)
class Codes:
    """How many recovery codes somebody has left, and since when."""

    left: int
    made_at: datetime | None


def codes_of(person_id: int) -> Codes:
    """Return what is left of a person's recovery codes."""
    found = RecoveryCode.objects.filter(person=person_id).aggregate(
        left=Count("pk", filter=Q(used_at=None)), made_at=Max("created_at")
    )
    return Codes(left=found["left"], made_at=found["made_at"])


@atomic_with_retry
def make_recovery_codes(*, actor: Actor) -> list[str]:
    """Make new codes for the actor and return them once; earlier codes become void.

    Raises FactorNotAllowed without a second factor: there is nothing to replace.
    """
    person = Person.objects.select_for_update().get(pk=int(actor.id))
    if not has_second_factor(person.pk):
        raise FactorNotAllowed(
            "Recovery codes replace a second factor. Add a passkey or an app first."
        )
    codes = [
        "".join(secrets.choice(_ALPHABET) for _ in range(LENGTH)) for _ in range(NUMBER)
    ]
    # One salt for all ten, so that checking a code takes one slow hash instead of ten.
    salt = secrets.token_hex(16)
    RecoveryCode.objects.filter(person=person).delete()
    RecoveryCode.objects.bulk_create(
        RecoveryCode(person=person, digest=_digest(code, salt)) for code in codes
    )
    record("person.recovery_codes_made", actor=actor, details={"number": str(NUMBER)})
    return [f"{code[:5]}-{code[5:]}" for code in codes]


@atomic_with_retry
def use_recovery_code(*, person: Person, actor: Actor, code: str) -> bool:
    """Use up one of the person's codes; return whether it was valid. Of concurrent uses
    only one succeeds.
    """
    plain = "".join(sign for sign in code.upper() if sign.isalnum()).translate(_READ_AS)
    if len(plain) != LENGTH:
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
    record("person.recovery_code_used", actor=actor, details={"left": left})
    return True


def _digest(code: str, salt: str) -> str:
    """Hash slowly, as for passwords, so that trying all 50 bits is infeasible for a
    reader of the table.
    """
    made = hashlib.scrypt(
        code.encode(), salt=bytes.fromhex(salt), n=2**14, r=8, p=1, dklen=32
    )
    return f"scrypt${salt}${made.hex()}"
