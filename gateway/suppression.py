"""Suppressed addresses: which bounces suppress one, what is not offered to it, and
lifting a suppression.

Only an address that does not exist or is disabled for good is suppressed. A server that
will not relay, rejects the sender or has a policy says nothing about the address, or
one wrong setting would silence a whole account. Sandbox mail neither makes entries nor
obeys them: it reaches no server.
"""

import re
from datetime import datetime

from django.db import transaction

from common.mail_addresses import comparable
from gateway import auditing, smtp
from gateway.models import ApiKey, Email, Suppression
from gateway.webhooks import events

# Used in place of the server's reply code where the server was not asked.
NOT_ASKED = 0
KEPT_BACK = (
    "suppressed: mail to this address bounced or was marked as spam, so it was not sent"
)
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
    for address in sorted(
        gone.difference(Suppression.objects.among(gone, email.account_id))
    ):
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
