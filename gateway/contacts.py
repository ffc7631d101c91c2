"""Commands that add and remove contacts, the people whom an account knows. A contact is
not on an allowlist by that: only a restriction in the mode `contacts` lets contacts
through, and only those that a key without the scope `send` added. Otherwise whoever is
restricted could add anybody.
"""

from django.db import IntegrityError, transaction

from common.mail_addresses import comparable
from gateway import auditing
from gateway.errors import Conflict
from gateway.models import ApiKey, Contact


def add_contact(key: ApiKey, contact: Contact) -> Contact:
    """Store a new contact of the key's account. Raises Conflict, with the id of the
    existing contact, if the account has one with this address already.
    """
    contact.by_sender = key.has_conflict_of_interest()
    contact.account_id = key.account_id
    contact.email = comparable(contact.email)
    contact.name = contact.name or contact.email
    try:
        with transaction.atomic():
            contact.save(force_insert=True)
            auditing.record("contact.created", contact, key)
    except IntegrityError:
        existing_id = (
            Contact.objects.filter(account_id=key.account_id, email=contact.email)
            .values_list("pk", flat=True)
            .first()
        )
        raise Conflict(
            f"{contact.email} is already a contact.",
            code="contact_exists",
            contact_id=existing_id,
        ) from None
    contact.refresh_from_db(fields=["created_at"])
    return contact


@transaction.atomic
def remove_contact(key: ApiKey, contact: Contact) -> None:
    if Contact.objects.filter(pk=contact.pk).delete()[0]:
        auditing.record("contact.deleted", contact, key)
