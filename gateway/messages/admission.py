"""Decides whether a draft is accepted, before anything of it is stored, and whether it waits for a person.

Everything that can refuse a draft for its sender or recipients is asked here, in a fixed order: the mailbox's
restriction, its oversight mode, suppressed addresses, the time, and last the bypass. The lists are asked again when a
message is approved and when it leaves, because they and the mailbox may have changed.
"""

import logging
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NoReturn

from common.mail_addresses import clean_addresses
from gateway import auditing
from gateway.errors import Forbidden, Invalid
from gateway.messages.content import additions_of
from gateway.messages.drafts import Draft
from gateway.models import ApiKey, Email, Mailbox, Suppression
from gateway.recipients.allowlists import Ruling, judge, record_refusal
from gateway.states import Mode, effective_mode, is_gated

log = logging.getLogger(__name__)

# How many addresses a sentence names, and how many an audit entry.
_NAMED = 3
_RECORDED = 50
# In these modes bypass lists do not count.
_NEVER_SKIPPED = (Mode.READ_ONLY, Mode.GATED_ALL)
_ONE_RECIPIENT = (
    "A message of a commercial mailbox has exactly one recipient, because its link unsubscribes one. Send each "
    "recipient a message."
)
# Recipients by field: to, cc, bcc, and the mailbox's auto_cc and auto_bcc.
Recipients = dict[str, list[str]]


@dataclass(frozen=True)
class Admission:
    """How a draft is accepted: its mode, whether it is gated, and the audit entries of the lists.

    `unlisted` are the recipients because of whom it is gated, where a bypass in force lets others through.
    """

    mode: Mode
    gated: bool
    records: tuple[tuple[str, dict[str, Any]], ...] = ()
    unlisted: tuple[str, ...] = ()


@dataclass(frozen=True)
class Recheck:
    """Whether an accepted message may still leave: a refusal, or that a person has to approve it after all."""

    refusal: str = ""
    needs_approval: bool = False


def admit(*, key: ApiKey, mailbox: Mailbox, draft: Draft, now: datetime) -> Admission:
    """Return how `draft` is accepted. Raises Forbidden or Invalid.

    Must not be called inside a transaction: a refusal is stored in one of its own.
    """
    recipients = {"to": draft.to, "cc": draft.cc, "bcc": draft.bcc}
    everyone = recipients | _added(mailbox.auto_cc, mailbox.auto_bcc)
    ruling = judge(mailbox=mailbox, recipients=_flat(everyone), now=now)
    if ruling.outsiders:
        _refuse(key, mailbox, everyone, ruling, draft.metadata, now)
    mode = _mode_for(mailbox, draft)
    if mailbox.commercial and len(_flat(recipients)) != 1:
        raise Invalid(_ONE_RECIPIENT, field="to", code="one_recipient_only")
    if not key.sandbox:
        _check_suppressed(key, mailbox, recipients, draft.metadata, now)
    check_time(mailbox=mailbox, send_at=draft.send_at, now=now)
    return _admission(mailbox, mode, draft.mode, ruling)


def recheck(*, email: Email, now: datetime) -> Recheck:
    """Return whether an accepted email may still go to all its recipients, by the lists as they are now.

    The copy of monitored mail is not checked: it goes to the account's own overseer.
    """
    additions = additions_of(email)
    everyone = {"to": email.to, "cc": email.cc, "bcc": email.bcc}
    everyone |= _added(additions.get("auto_cc", ""), additions.get("auto_bcc", ""))
    ruling = judge(mailbox=email.mailbox, recipients=_flat(everyone), now=now)
    if ruling.outsiders:
        return Recheck(refusal=_sentence(everyone, ruling.outsiders))
    if "unsubscribe" in additions and len(_flat(everyone)) != 1:
        return Recheck(refusal=_ONE_RECIPIENT)
    return Recheck(needs_approval=not email.gated and _would_wait(email, ruling))


def _would_wait(email: Email, ruling: Ruling) -> bool:
    """Whether ungated mail would be gated if it were submitted now.

    Its mailbox may have become stricter, calls may not loosen it any more, or its bypass has ended.
    """
    mailbox = email.mailbox
    if ruling.skips and mailbox.oversight_mode not in _NEVER_SKIPPED:
        return False
    mode = effective_mode(
        mailbox=Mode(mailbox.oversight_mode),
        asked=Mode(email.oversight_mode),
        allow_looser=mailbox.allow_looser_per_call,
    )
    return is_gated(mode) or mode is Mode.READ_ONLY


def note_admission(admission: Admission, *, email: Email, key: ApiKey) -> None:
    """Record what the lists did or would have done, in the transaction that stores the email."""
    for action, facts in admission.records:
        auditing.record(action, email, key=key, **facts)
        log.info(action, extra={"email": email.pk, "mailbox": email.mailbox_id, "rule": facts["rule"]})


def check_time(*, mailbox: Mailbox, send_at: datetime | None, now: datetime) -> None:
    """Check that mail of `mailbox` may wait until `send_at`. Raises Forbidden or Invalid."""
    if send_at is None:
        return
    if not mailbox.scheduling_enabled:
        raise Forbidden("Scheduling is switched off for this mailbox.", code="scheduling_disabled")
    if send_at <= now:
        raise Invalid("send_at: is in the past.", field="send_at")


def _mode_for(mailbox: Mailbox, draft: Draft) -> Mode:
    mode = effective_mode(
        mailbox=Mode(mailbox.oversight_mode), asked=draft.mode, allow_looser=mailbox.allow_looser_per_call
    )
    if mode is Mode.READ_ONLY:
        by_call = mailbox.oversight_mode != Mode.READ_ONLY
        raise Forbidden(
            "This call asks for oversight_mode read_only, in which nothing can be sent. Leave the field out."
            if by_call
            else "This mailbox is read_only: nothing can be sent from it. "
            f"POST /v1/mailboxes/{mailbox.address}/request-upgrade asks its operator for another mode.",
            code="read_only",
        )
    return mode


def _admission(mailbox: Mailbox, mode: Mode, asked: Mode | None, ruling: Ruling) -> Admission:
    gated = is_gated(mode) or mailbox.account.hold_all_at is not None
    # A call that asks for gated_send is always gated, and nothing skips the gate under hold_all.
    may_skip = mode is Mode.GATED_SEND and asked is None and mailbox.account.hold_all_at is None
    records: list[tuple[str, dict[str, Any]]] = []
    if ruling.strangers:
        facts = {"rule": ruling.rule, "recipients": list(ruling.strangers[:_RECORDED]), "count": len(ruling.strangers)}
        records.append(("email.would_be_refused", facts))
    if may_skip and ruling.skips:
        gated = False
        records.append(("email.bypassed", {"rule": ruling.bypass_rule}))
    elif may_skip and ruling.would_skip:
        records.append(("email.would_bypass", {"rule": ruling.bypass_rule}))
    return Admission(mode, gated, tuple(records), unlisted=ruling.unlisted if may_skip else ())


def _refuse(
    key: ApiKey, mailbox: Mailbox, everyone: Recipients, ruling: Ruling, metadata: dict[str, Any], now: datetime
) -> NoReturn:
    refusal = record_refusal(
        key=key,
        mailbox=mailbox,
        recipients=_flat(everyone),
        refused=ruling.outsiders,
        rule=ruling.rule,
        metadata=metadata,
        now=now,
    )
    raise Forbidden(
        f"{_sentence(everyone, ruling.outsiders)} Nothing was queued.",
        code="recipient_not_allowed",
        field=_field_of(everyone, ruling.outsiders[0]),
        hint="Remove the recipient, or ask an operator to allow it.",
        recipients=list(ruling.outsiders),
        refusal_id=refusal.pk,
    )


def _sentence(everyone: Recipients, outsiders: tuple[str, ...]) -> str:
    by_itself = " The mailbox adds it automatically." if _field_of(everyone, outsiders[0]).startswith("auto_") else ""
    return f"This mailbox may not write to {_named(outsiders)}: not on its list of allowed recipients.{by_itself}"


def _named(addresses: tuple[str, ...]) -> str:
    more = len(addresses) - _NAMED
    return ", ".join(addresses[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def _check_suppressed(
    key: ApiKey, mailbox: Mailbox, recipients: Recipients, metadata: dict[str, Any], now: datetime
) -> None:
    suppressed = Suppression.objects.among(_flat(recipients), account_id=mailbox.account_id)
    unsubscribed = tuple(one for one, reason in suppressed.items() if reason == Suppression.Reason.UNSUBSCRIBED)
    if unsubscribed:
        refusal = record_refusal(
            key=key,
            mailbox=mailbox,
            recipients=_flat(recipients),
            refused=unsubscribed,
            rule="unsubscribed",
            metadata=metadata,
            now=now,
        )
        raise Forbidden(
            f"{_named(unsubscribed)} unsubscribed from this account's mail. Nothing was queued.",
            code="recipient_unsubscribed",
            field=_field_of(recipients, unsubscribed[0]),
            hint="Remove the recipient. Only an admin key can take it off the suppression list.",
            recipients=list(unsubscribed),
            refusal_id=refusal.pk,
        )
    for field, addresses in recipients.items():
        for address in addresses:
            if address in suppressed:
                raise Invalid(
                    f"{field}: {address} is suppressed, because mail to it bounced or was marked as spam.",
                    code="recipient_suppressed",
                    field=field,
                    hint="Remove the recipient, or remove it from the suppression list with an admin key.",
                    recipients=sorted(suppressed),
                )


def _added(auto_cc: str, auto_bcc: str) -> Recipients:
    return {"auto_cc": clean_addresses(auto_cc), "auto_bcc": clean_addresses(auto_bcc)}


def _flat(recipients: Recipients) -> list[str]:
    return list(dict.fromkeys(address for addresses in recipients.values() for address in addresses))


def _field_of(recipients: Recipients, address: str) -> str:
    return next(field for field, addresses in recipients.items() if address in addresses)
