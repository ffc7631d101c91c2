"""Signs seals and checks their signatures, checks the newest seal before the next one
is made, and records in the ledger why the sealer refuses to go on.

The keys are the Ed25519 keys of the setting SEAL_KEY, the newest first. They are never
in the database. Public keys are texts here, as in seals: 32 bytes in hex.
"""

import base64
import hashlib
from functools import cache

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import transaction
from django.db.models import Max

from audit.models import Anchor, Entry, Seal, SealedEntry
from audit.recording import record
from audit.verifier import countersign_verify as verifier
from audit.verifier.countersign_verify import fingerprint_of
from common.actors import Actor

NO_KEY = "SEAL_KEY is not set, so the ledger is not sealed."


class NoKey(Exception):
    """SEAL_KEY is not set."""


def public_keys() -> list[str]:
    """Return the public keys, the newest first; none if SEAL_KEY is not set.

    Raises ImproperlyConfigured if a key is malformed; the message does not contain it.
    """
    return list(_keys(tuple(settings.SEAL_KEYS)))


def public_key() -> str:
    """Return the newest public key. Raises NoKey if there is none."""
    if keys := public_keys():
        return keys[0]
    raise NoKey(NO_KEY)


def sign(row: Seal | Anchor) -> str:
    """Return the signature of a row, made with the key that the row names."""
    return _keys(tuple(settings.SEAL_KEYS))[row.key].sign(row.signed_bytes).hex()


def is_signed(row: Seal | Anchor) -> bool:
    """Whether the signature of a row is valid for its key and content."""
    try:
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(row.key))
        key.verify(bytes.fromhex(row.signature), row.signed_bytes)
    except (InvalidSignature, ValueError):
        return False
    return True


def missing_key(key: str) -> str:
    """Return the sentence that SEAL_KEY lacks the key for the next seal."""
    return (
        f"The next seal is signed with the key {fingerprint_of(key)}, and SEAL_KEY does not contain it. "
        "Put it back into SEAL_KEY, after the newest one. If it is lost: ./run manage audit_restored "
        '--because "..." --new-key.'
    )


@cache
def _keys(texts: tuple[str, ...]) -> dict[str, Ed25519PrivateKey]:
    """Return private keys by their public keys, in the order of the setting."""
    keys = {}
    for text in texts:
        padded = text + "=" * (-len(text) % 4)
        try:
            seed = base64.b64decode(padded, altchars=b"-_", validate=True)
            key = Ed25519PrivateKey.from_private_bytes(seed)
        except ValueError:
            # Without the key itself, because this message may be logged.
            raise ImproperlyConfigured(
                "SEAL_KEY must hold keys of 32 random bytes in URL-safe base64, separated by commas, the newest first."
            ) from None
        keys[key.public_key().public_bytes_raw().hex()] = key
    return keys


# --- What must hold -------------------------------------------------------------------


BROKEN = "ledger.broken"
SEALER = Actor("worker", "sealer", "the sealer", "worker")


class SealingRefused(Exception):
    """The sealer must not go on until a person has looked into it. `is_breach`: entries
    or seals seem to have been altered; this is recorded in the ledger.
    """

    def __init__(self, sentence: str, *, is_breach: bool = True) -> None:
        super().__init__(sentence)
        self.is_breach = is_breach


def refusal_since(last: Seal | None) -> Entry | None:
    """Return the entry about the sealer's refusal to go on after this seal; or None."""
    refusals = Entry.objects.of_action(BROKEN).filter(
        actor_kind=SEALER.kind, actor_id=SEALER.id
    )
    if last:
        refusals = refusals.filter(at__gt=last.at)
    return refusals.with_details().newest_first().first()


@transaction.atomic
def record_refusal(sentence: str, last: Seal | None) -> None:
    """Record a refusal of the sealer, unless one was recorded since the last seal."""
    if not refusal_since(last):
        record(BROKEN, SEALER, details={"reason": sentence})


def latest_seal() -> Seal | None:
    """Return the newest seal; None if there is none."""
    return Seal.objects.order_by("-number").first()


def checkpoint() -> str:
    """Return the newest seal as the line that the verifier takes; empty if there is
    none.
    """
    seal = latest_seal()
    return seal.as_line().decode().strip() if seal else ""


def known_keys() -> set[str]:
    """Return all public keys that signed a seal of this ledger, and those of SEAL_KEY."""
    first = Seal.objects.filter(number=1).values_list("key", flat=True)
    special = Seal.objects.exclude(kind=Seal.Kind.SEAL).values_list("key", "next_key")
    return set(public_keys()).union(first, *special) - {""}


def break_since(first: int) -> str:
    """Return a sentence about the first seal, from this number on, that is missing or
    does not follow the one before it; empty if there is none.
    """
    report = verifier.Report()
    chain = verifier.Chain(report, verifier.Trust(known_keys()), first)
    for seal in Seal.objects.filter(number__gte=first).order_by("number").iterator():
        chain.read(seal.as_line().strip())
    chain.end()
    return (report.findings or [""])[0]


def check_end(last: Seal | None) -> None:
    """Raise SealingRefused if the last seal does not fit its signature, the hashes of its
    entries or the seal before it, or if other entries are listed as sealed.
    """
    number = size = 0
    if last:
        number = last.number
        size = last.size
        if why := break_since(max(number - 1, 1)):
            raise SealingRefused(why)
    newest = SealedEntry.objects.aggregate(position=Max("position"))["position"]
    sealed = 0 if newest is None else newest + 1
    if sealed != size:
        found = "more" if sealed > size else "fewer"
        raise SealingRefused(
            f"Seal {number} covers {size} entries, but {found} are listed as sealed."
        )
    if not last:
        return
    # Over the hashes of its entries when they were sealed; entries are not read here.
    digest = hashlib.sha256()
    for sealed_hash in SealedEntry.objects.under(last).iterator():
        digest.update(sealed_hash)
    if last.entries != digest.hexdigest():
        raise SealingRefused(
            f"The sealed hashes of the entries are not the ones that seal {number} was made over."
        )
