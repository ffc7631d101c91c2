"""Suppressed addresses: which bounces suppress one, what is not offered to it, and
lifting a suppression; and unsubscribing from commercial mail (RFC 8058), which
suppresses too.

The link that a message carries is signed for this message, which has one recipient, and
works for ever. It is part of the fingerprint, so it never changes.

Only an address that does not exist or is disabled for good is suppressed. A server that
will not relay, rejects the sender or has a policy says nothing about the address, or
one wrong setting would silence a whole account. Sandbox mail neither makes entries nor
obeys them: it reaches no server.
"""

import re
from datetime import datetime

from django.conf import settings
from django.core.signing import BadSignature, Signer
from django.db import transaction

from common.mail_addresses import comparable
from gateway import auditing, smtp
from gateway.errors import Forbidden, NotFound
from gateway.models import ApiKey, Email, Suppression
from gateway.webhooks import events

# Used in place of the server's reply code where the server was not asked.
NOT_ASKED = 0
_KEPT_BACK = (
    "suppressed: mail to this address bounced or was marked as spam, so it was not sent"
)
_UNSUBSCRIBED = "unsubscribed: the recipient wants no more mail, so it was not sent"
# RFC 3463: no such mailbox, no such domain, bad syntax, moved away, no mail taken;
# mailbox disabled. Not 5.1.7 and 5.1.8, which are about the sender, nor 5.1.0, which
# may be about anything.
_GONE = frozenset({"5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10", "5.2.1"})
_ENHANCED = re.compile(r"(?<![\d.])[245]\.\d{1,3}\.\d{1,3}(?!\.?\d)")
# Where there is no enhanced code: the plain ones that speak of the mailbox, unless the
# words speak of something else.
_PLAIN = frozenset({550, 551, 553})
_OTHER_MATTERS = re.compile(
    r"relay|rcpthosts|polic|permi|prohibit|denied|deny|allow|spam|block|black|listed|reputation|auth|sender|\bfrom\b"
    r"|spf|dkim|dmarc|limit|quota|full|rate|try again|tempor",
    re.IGNORECASE,
)

_SALT = "gateway.unsubscribe"


def says_gone(code: int, text: str) -> bool:
    """Whether a server's refusal of a recipient says that the address does not exist or
    is switched off for good.
    """
    if not 500 <= code <= 599:
        return False
    if enhanced := _ENHANCED.search(text):
        return enhanced[0] in _GONE
    return code in _PLAIN and not _OTHER_MATTERS.search(text)


def suppress_gone(email: Email, refused: smtp.Replies) -> None:
    """Put the addresses that are gone on the account's list, in the transaction that
    records the bounce.
    """
    gone = {
        comparable(address)
        for address, (code, text) in refused.items()
        if says_gone(code, text)
    }
    known = Suppression.objects.among(gone, email.account_id)
    for address in sorted(gone - known.keys()):
        suppress(email, address, Suppression.Reason.BOUNCE)


def announce_bounce(email: Email, refused: smtp.Replies, at: datetime) -> None:
    """Announce that mail servers refused an email for these recipients; without any, for
    all of them.
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
    """Put an address on the account's list, because of what became of an email."""
    row = Suppression(
        account_id=email.account_id,
        mailbox_id=email.mailbox_id,
        email_address=comparable(address),
        reason=reason,
    )
    # Another message to the same address may bounce at this moment.
    Suppression.objects.bulk_create([row], ignore_conflicts=True)
    auditing.record(
        "suppression.added",
        row,
        email_address=row.email_address,
        reason=row.reason,
        email_id=email.pk,
    )


def suppressed_recipients(email: Email, recipients: list[str]) -> smtp.Replies:
    """Return those recipients of a live message that it is not offered to, with what
    its record says of them.
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
    """Take an address off the list, so that it is written to again."""
    if Suppression.objects.filter(pk=suppression.pk).delete()[0]:
        auditing.record(
            "suppression.removed",
            suppression,
            key,
            email_address=suppression.email_address,
        )


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


def unsubscribe(email: Email) -> None:
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
        suppress(email, address, Suppression.Reason.UNSUBSCRIBED)
