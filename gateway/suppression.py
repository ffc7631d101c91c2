"""Suppressed addresses, to which an account sends nothing: adding them after a bounce,
a complaint or an unsubscription, looking them up, and lifting a suppression. Also the
links to unsubscribe from commercial mail (RFC 8058).

The link is signed for its message, which has one recipient, and never expires. It is
part of the fingerprint, so it never changes.

A bounce suppresses an address only if it does not exist or is disabled for good. A
server that will not relay, rejects the sender or has a policy says nothing about the
address; otherwise one wrong setting would suppress everybody whom an account writes to.
Sandbox mail neither suppresses addresses nor obeys suppressions, because it reaches no
server.
"""

from datetime import datetime

from django.conf import settings
from django.core.signing import BadSignature, Signer
from django.db import transaction

from common.mail_addresses import comparable
from gateway import auditing, smtp
from gateway.errors import Forbidden, NotFound
from gateway.models import ApiKey, Email, Suppression
from gateway.webhooks import events

# In place of a reply code, for a recipient that the server was not asked about.
NOT_ASKED = 0
_KEPT_BACK = (
    "suppressed: mail to this address bounced or was marked as spam, so it was not sent"
)
_UNSUBSCRIBED = "unsubscribed: the recipient wants no more mail, so it was not sent"
# Enhanced codes (RFC 3463) of an address that is gone: no such mailbox, no such domain,
# bad syntax, moved away, no mail taken; mailbox disabled. Not 5.1.7 and 5.1.8, which
# are about the sender, nor 5.1.0, which may be about anything.
_GONE = frozenset("5.1.1 5.1.2 5.1.3 5.1.6 5.1.10 5.2.1".split())

_SALT = "gateway.unsubscribe"


def says_gone(code: int, text: str) -> bool:
    """Whether a server's refusal of a recipient means that the address does not exist
    or is disabled for good.
    """
    if not smtp.is_about_recipient(code, text):
        return False
    enhanced = smtp.ENHANCED.search(text)
    return enhanced[0] in _GONE if enhanced else code != 552


def suppress_gone(email: Email, refused: smtp.Replies) -> None:
    """Suppress the refused addresses that are gone, in the transaction that records the
    bounce.
    """
    gone = {
        comparable(address)
        for address, (code, text) in refused.items()
        if says_gone(code, text)
    }
    for address in sorted(gone):
        suppress(email, address, Suppression.Reason.BOUNCE)


def announce_bounce(email: Email, refused: smtp.Replies, at: datetime) -> None:
    """Announce that mail servers refused an email: for the recipients in `refused`, or
    for all recipients if there are none.
    """
    code, text = next(iter(refused.values()), (None, email.last_error))
    events.announce(
        email,
        events.BOUNCED,
        at=at,
        bounce_type=email.bounce_type,
        bounce_code=code or None,
        diagnostic=text,
        bounced_recipients=list(refused) or email.to,
    )


def suppress(email: Email, address: str, reason: Suppression.Reason) -> None:
    """Suppress an address for the account of an email, because of what became of the
    email.
    """
    if Suppression.objects.among([address], email.account_id):
        return
    row = Suppression(
        account_id=email.account_id,
        mailbox_id=email.mailbox_id,
        email_address=comparable(address),
        reason=reason,
    )
    # Another message to the same address may bounce at this moment; who unsubscribes at
    # this moment stays so.
    Suppression.objects.bulk_create(
        [row],
        ignore_conflicts=reason != Suppression.Reason.UNSUBSCRIBED,
        update_conflicts=reason == Suppression.Reason.UNSUBSCRIBED,
        unique_fields=["account", "email_address"],
        update_fields=["reason", "mailbox"],
    )
    stored = Suppression.objects.get(
        account_id=row.account_id, email_address=row.email_address
    )
    auditing.record(
        "suppression.added",
        stored,
        email_address=stored.email_address,
        reason=stored.reason,
        email_id=email.pk,
    )


def suppressed_recipients(email: Email, recipients: list[str]) -> smtp.Replies:
    """Return those of `recipients` that are suppressed, to whom a live message is not
    offered; for each, what is recorded in place of a server's reply.
    """
    suppressed = Suppression.objects.among(recipients, email.account_id)
    return {
        recipient: (
            NOT_ASKED,
            _UNSUBSCRIBED if reason == Suppression.Reason.UNSUBSCRIBED else _KEPT_BACK,
        )
        for recipient, reason in suppressed.items()
    }


@transaction.atomic
def lift(key: ApiKey, suppression: Suppression) -> None:
    """Remove a suppression, so that the address is written to again."""
    if Suppression.objects.filter(pk=suppression.pk).delete()[0]:
        auditing.record(
            "suppression.removed",
            suppression,
            key,
            email_address=suppression.email_address,
        )


def unsubscribe_link(email: Email) -> str:
    """Return the link by which the recipient of an email unsubscribes."""
    return f"{settings.GATEWAY_PUBLIC_URL}/v1/unsubscribe/{Signer(salt=_SALT).sign(email.pk)}"


def email_of_token(token: str) -> Email:
    """Return the sent email whose link ends with this token. Raises Forbidden for a
    forged token (without a query), or NotFound.
    """
    try:
        email_id = Signer(salt=_SALT).unsign(token)
    except BadSignature:
        raise Forbidden(
            "This link was not issued by this gateway.", code="invalid_link"
        ) from None
    # The link of an email that was not sent is not accepted: only agents and reviewers
    # know it. An email with fate_unknown may have been sent, after a restore even if
    # this database has no attempt.
    not_sent = {"data_attempted_at": None, "fate_unknown": False}
    email = Email.objects.with_mailbox().filter(pk=email_id).exclude(**not_sent).first()
    if not email:
        raise NotFound("No message with this link was sent.")
    return email


def unsubscribe(email: Email) -> None:
    """Suppress the recipient of an email, because they unsubscribed; twice is no error.

    An earlier suppression of the address is replaced, because lifting that one must not
    subscribe the recipient again.
    """
    address = email.to[0]
    with transaction.atomic():
        suppressions = Suppression.objects.filter(
            account_id=email.account_id, email_address=comparable(address)
        )
        if suppressions.filter(reason=Suppression.Reason.UNSUBSCRIBED).exists():
            return
        suppressions.delete()
        suppress(email, address, Suppression.Reason.UNSUBSCRIBED)
