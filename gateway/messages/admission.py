"""Decides whether an email is accepted, before anything of it is stored, and whether it
waits for a person.

Everything that can refuse an email because of its sender or recipients is checked here,
in a fixed order: the mailbox's restriction, its oversight mode, suppressed addresses,
the time, and last the bypass. The lists are checked again when a message is approved
and when it is sent, because they and the mailbox may have changed.
"""

from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import chain

from django.utils import timezone

from common.mail_addresses import clean_addresses
from gateway import auditing
from gateway.allowlists import Ruling, judge, record_refusal
from gateway.errors import Forbidden, Invalid
from gateway.messages.content import additions_of
from gateway.models import ApiKey, Email, Mailbox, Suppression
from gateway.states import Mode, is_gated

# How many addresses a sentence names, and how many an audit entry names.
_NAMED = 3
_RECORDED = 50
# In these modes a bypass has no effect.
_NEVER_SKIPPED = (Mode.READ_ONLY, Mode.GATED_ALL)
_ONE_RECIPIENT = (
    "A message of a commercial mailbox has exactly one recipient, because its link unsubscribes one. Send each "
    "recipient a message."
)
# The recipients by field: to, cc, bcc, and the mailbox's auto_cc and auto_bcc.
Recipients = dict[str, list[str]]


@dataclass(frozen=True)
class Admission:
    """How an email is accepted: its oversight mode, whether it waits for a person
    (`gated`), whether a bypass may let it skip that, and what the lists say.
    """

    mode: Mode
    gated: bool
    may_skip: bool
    ruling: Ruling

    @property
    def unlisted(self) -> tuple[str, ...]:
        """The recipients because of whom the email waits: a bypass in force does not
        name them.
        """
        return self.ruling.unlisted if self.may_skip else ()


def admit(key: ApiKey, email: Email, *, asked: Mode | None) -> Admission:
    """Check an outgoing email, and return how it is accepted. `asked` is the oversight
    mode that the call asks for. Raises Forbidden or Invalid.

    Must not be called inside a transaction: a refusal is stored in a transaction of its
    own.
    """
    mailbox = email.mailbox
    recipients = email.addressees()
    everyone = _with_copies(email, mailbox.auto_cc, mailbox.auto_bcc)
    ruling = judge(mailbox, _addresses(everyone))
    refuse = partial(record_refusal, key=key, mailbox=mailbox, metadata=email.metadata)
    if outsiders := ruling.outsiders:
        refusal = refuse(
            recipients=_addresses(everyone), refused=outsiders, rule=ruling.rule
        )
        raise Forbidden(
            f"{_sentence(everyone, outsiders)} Nothing was queued.",
            code="recipient_not_allowed",
            field=_field_of(everyone, outsiders[0]),
            hint="Remove the recipient, or ask an operator to allow it.",
            recipients=list(outsiders),
            refusal_id=refusal.pk,
        )
    mode = mailbox.mode_for(asked)
    if mode is Mode.READ_ONLY:
        sentence = "This call asks for oversight_mode read_only, in which nothing can be sent. Leave the field out."
        if mailbox.oversight_mode == Mode.READ_ONLY:
            sentence = (
                "This mailbox is read_only: nothing can be sent from it. "
                f"POST /v1/mailboxes/{mailbox.address}/request-upgrade asks its operator for another mode."
            )
        raise Forbidden(sentence, code="read_only")
    if mailbox.commercial and len(recipients) != 1:
        raise Invalid(_ONE_RECIPIENT, field="to", code="one_recipient_only")
    suppressed: dict[str, str] = {}
    if not key.sandbox:
        suppressed = Suppression.objects.among(recipients, mailbox.account_id)
    unsubscribed = tuple(
        address
        for address, reason in suppressed.items()
        if reason == Suppression.Reason.UNSUBSCRIBED
    )
    if unsubscribed:
        refusal = refuse(
            recipients=recipients, refused=unsubscribed, rule="unsubscribed"
        )
        raise Forbidden(
            f"{_named(unsubscribed)} unsubscribed from this account's mail. Nothing was queued.",
            code="recipient_unsubscribed",
            field=_field_of(everyone, unsubscribed[0]),
            hint="Remove the recipient. Only an admin key can take it off the suppression list.",
            recipients=list(unsubscribed),
            refusal_id=refusal.pk,
        )
    if suppressed:
        first = next(address for address in recipients if address in suppressed)
        field = _field_of(everyone, first)
        raise Invalid(
            f"{field}: {first} is suppressed, because mail to it bounced or was marked as spam.",
            code="recipient_suppressed",
            hint="Remove the recipient, or remove it from the suppression list with an admin key.",
            recipients=sorted(suppressed),
        )
    check_time(mailbox, email.send_at)
    holds_all = mailbox.account.hold_all_at is not None
    gated = is_gated(mode) or holds_all
    # A call that asks for gated_send is always gated, and nothing skips the gate under
    # hold_all.
    may_skip = mode is Mode.GATED_SEND and asked is None and not holds_all
    if may_skip and ruling.skips:
        gated = False
    return Admission(mode, gated, may_skip, ruling)


def recheck(email: Email) -> tuple[str, bool]:
    """Check an accepted email again, by the lists and the mailbox as they are now.
    Returns why it may not go to all its recipients any more (empty if it may), and
    whether a person has to approve it after all.

    The copy of monitored mail is not checked: it goes to the account's own overseer.
    """
    additions = additions_of(email)
    everyone = _with_copies(
        email, additions.get("auto_cc", ""), additions.get("auto_bcc", "")
    )
    mailbox = email.mailbox
    ruling = judge(mailbox, _addresses(everyone))
    if ruling.outsiders:
        return _sentence(everyone, ruling.outsiders), False
    if "unsubscribe" in additions and len(_addresses(everyone)) != 1:
        return _ONE_RECIPIENT, False
    if email.gated or (ruling.skips and mailbox.oversight_mode not in _NEVER_SKIPPED):
        return "", False
    # The mailbox may have become stricter, calls may not loosen it any more, or its
    # bypass has ended.
    mode = mailbox.mode_for(Mode(email.oversight_mode))
    return "", is_gated(mode) or mode is Mode.READ_ONLY


def _with_copies(email: Email, auto_cc: str, auto_bcc: str) -> Recipients:
    # Returns the email's recipients together with the mailbox's automatic copies.
    return {
        "to": email.to,
        "cc": email.cc,
        "bcc": email.bcc,
        "auto_cc": clean_addresses(auto_cc),
        "auto_bcc": clean_addresses(auto_bcc),
    }


def _addresses(recipients: Recipients) -> list[str]:
    return list(dict.fromkeys(chain(*recipients.values())))


def note_admission(admission: Admission, email: Email, key: ApiKey) -> None:
    """Record what the lists did, or would have done in the mode enforce; in the
    transaction that stores the email.
    """
    ruling = admission.ruling
    if strangers := ruling.strangers:
        auditing.record(
            "email.would_be_refused",
            email,
            key,
            rule=ruling.rule,
            recipients=list(strangers[:_RECORDED]),
            count=len(strangers),
        )
    if admission.may_skip and ruling.skips:
        auditing.record("email.bypassed", email, key, rule=ruling.bypass_rule)
    elif admission.may_skip and ruling.would_skip:
        auditing.record("email.would_bypass", email, key, rule=ruling.bypass_rule)


def check_time(mailbox: Mailbox, send_at: datetime | None) -> None:
    """Check that mail of `mailbox` may be scheduled for `send_at`. Raises Forbidden or
    Invalid.
    """
    if send_at is None:
        return
    if not mailbox.scheduling_enabled:
        raise Forbidden(
            "Scheduling is switched off for this mailbox.", code="scheduling_disabled"
        )
    if send_at <= timezone.now():
        raise Invalid("send_at: is in the past.")


def _sentence(everyone: Recipients, outsiders: tuple[str, ...]) -> str:
    # Returns why the message is refused because of `outsiders`.
    sentence = f"This mailbox may not write to {_named(outsiders)}: not on its list of allowed recipients."
    if _field_of(everyone, outsiders[0]).startswith("auto_"):
        sentence += " The mailbox adds it automatically."
    return sentence


def _named(addresses: tuple[str, ...]) -> str:
    # Returns the first addresses, and how many more there are.
    named = ", ".join(addresses[:_NAMED])
    more = len(addresses) - _NAMED
    return f"{named} and {more} more" if more > 0 else named


def _field_of(recipients: Recipients, address: str) -> str:
    return next(
        field for field, addresses in recipients.items() if address in addresses
    )
