"""Proof that mail reaches a person at the address of their account: they used a link
that only a mail to that address had.
"""

from datetime import timedelta

from django.core import signing
from django.db.models.functions import Now
from django.urls import reverse

from audit.recording import record
from common.actors import Actor
from common.mail_addresses import folded
from common.postgres import atomic_with_retry
from mirror.models import Mailbox
from people.errors import LinkNotGood, WrongPerson
from people.models import Person

_LASTS = timedelta(days=7)
_SALT = "people.address"


def proof_path(person: Person) -> str:
    """Return the path of the link that a test mail to a person has."""
    proof = signing.dumps([person.pk, person.email], salt=_SALT)
    return reverse("prove-address", args=[proof])


def check_proof(proof: str, actor: Actor) -> None:
    """Raise LinkNotGood or WrongPerson unless such a link is for the actor."""
    try:
        pk, email = signing.loads(proof, salt=_SALT, max_age=_LASTS)
    except signing.BadSignature:
        raise LinkNotGood("This link no longer works. Send another test.") from None
    if not Person.objects.filter(pk=pk, email=email).exists() or actor.id != str(pk):
        raise WrongPerson("This link is for another account. Sign in with that one.")


@atomic_with_retry
def prove_address(*, proof: str, actor: Actor) -> None:
    """Note that mail reaches the actor, who used the link of a test mail."""
    check_proof(proof, actor)
    note_proof(Person.objects.locked(actor), actor)


def note_proof(person: Person, actor: Actor) -> None:
    """Note that a person used a link that was mailed to them and shown to nobody."""
    Person.objects.filter(pk=person.pk).update(email_proved_at=Now())
    if person.email_proved_at is None:
        details = {"email": person.email}
        record("person.email_proved", actor, details=details, about=person)


def is_read_at_desk(address: str) -> bool:
    """Whether mail to an address reaches a mailbox of this desk, so that other people
    read it here.
    """
    ours = Mailbox.objects.values_list("address", flat=True)
    return folded(address) in map(folded, ours)
