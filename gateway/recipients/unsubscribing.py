"""Unsubscribing from commercial mail (RFC 8058): the link that a message carries, and
what it does.

The link is signed for one message, which has one recipient, and works for ever. It is
part of the fingerprint, so it never changes.
"""

from django.conf import settings
from django.core.signing import BadSignature, Signer
from django.db import transaction

from common.patterns import comparable
from gateway.errors import Forbidden, NotFound
from gateway.models import Email, Suppression
from gateway.recipients.suppression import suppress

_SALT = "gateway.unsubscribe"


def unsubscribe_link(email: Email) -> str:
    """Return the address at which the recipient of an email unsubscribes."""
    return f"{settings.GATEWAY_PUBLIC_URL}/v1/unsubscribe/{Signer(salt=_SALT).sign(email.pk)}"


def email_of_token(token: str) -> Email:
    """Return the sent email whose link ends with this token. Raises Forbidden, which
    asks no database, or NotFound.
    """
    try:
        email_id = Signer(salt=_SALT).unsign(token)
    except BadSignature:
        raise Forbidden(
            "This link was not issued by this gateway.", code="invalid_link"
        ) from None
    # Before it leaves, only agents and reviewers know the link, and of sandbox mail
    # nobody else ever does. After a restore it may have left although this database
    # knows of no attempt.
    not_sent = {"data_attempted_at": None, "fate_unknown": False}
    email = Email.objects.with_mailbox().filter(pk=email_id).exclude(**not_sent).first()
    if email is None:
        raise NotFound("No message with this link was sent.")
    return email


def unsubscribe(*, email: Email) -> None:
    """Put the recipient of an email on the account's list of suppressed addresses;
    twice is no error.

    Whatever suppressed the address before is replaced: lifting that must not subscribe
    it again.
    """
    address = email.to[0]
    with transaction.atomic():
        known = Suppression.objects.filter(
            account_id=email.account_id, email_address=comparable(address)
        )
        if known.filter(reason=Suppression.Reason.UNSUBSCRIBED).exists():
            return
        known.delete()
        suppress(email=email, address=address, reason=Suppression.Reason.UNSUBSCRIBED)
