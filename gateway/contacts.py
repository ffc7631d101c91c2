"""Adds and removes contacts. A list of contacts is no allowlist; see
Allowlist.Mode.CONTACTS.
"""

from django.db import IntegrityError, transaction

from common.mail_addresses import comparable
from gateway import auditing
from gateway.errors import Conflict
from gateway.models import ApiKey, Contact


def add_contact(key: ApiKey, contact: Contact) -> Contact:
    """Add somebody. Raises Conflict with the contact's id when the account has one of
    this address.
    """
    contact.account_id = key.account_id
    contact.email = comparable(contact.email)
    contact.name = contact.name or contact.email
    try:
        with transaction.atomic():
            contact.save(force_insert=True)
            auditing.record("contact.created", contact, key)
    except IntegrityError:
        known = (
            Contact.objects.filter(account_id=key.account_id, email=contact.email)
            .values_list("pk", flat=True)
            .first()
        )
        raise Conflict(
            f"{contact.email} is already a contact.",
            code="contact_exists",
            contact_id=known,
        ) from None
    contact.refresh_from_db(fields=["created_at"])
    return contact


@transaction.atomic
def remove_contact(key: ApiKey, contact: Contact) -> None:
    """Remove a contact."""
    if Contact.objects.filter(pk=contact.pk).delete()[0]:
        auditing.record("contact.deleted", contact, key)
