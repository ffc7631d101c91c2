"""Commands that make, change and delete mailboxes, and that loosen a mailbox's
oversight mode with a one-time code.

`change_mailbox` never loosens the mode. A key requests a looser mode
(`request_upgrade`), an operator passes the code on, and with the code `upgrade` sets
the mode.
"""

import logging
import secrets
from collections.abc import Collection
from datetime import timedelta

from django.db import IntegrityError, transaction
from django.utils import timezone

from common.mail_addresses import ascii_address, clean_addresses, domain_of, quoted
from common.unique_keys import Json
from gateway import auditing, notices
from gateway.allowlists import judge
from gateway.errors import (
    BadRequest,
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    TooManyRequests,
)
from gateway.lookups import check_unlimited
from gateway.models import Account, ApiKey, Domain, Email, Mailbox, UpgradeRequest
from gateway.models.codes import LIFETIME, MAX_WRONG, new_code
from gateway.states import Mode, Status, is_looser, stricter

log = logging.getLogger(__name__)
# Upgrade requests of one mailbox.
MAX_AN_HOUR = 3


def create_mailbox(
    key: ApiKey, *, wanted: str, mode: Mode | None, settings: Json
) -> Mailbox:
    """Make a mailbox. `wanted` is its address, or only the part before the @; the
    domain is then the account's oldest.

    A `mode` that is looser than gated_send, or than the account's minimum, is replaced
    by the stricter of these two: only a person can loosen oversight. Raises Invalid for
    an address outside the account's domains, Conflict for an address that was ever
    used, and Forbidden.
    """
    check_unlimited(key)
    with transaction.atomic():
        # Locked, so that the count stays right until the mailbox is stored.
        account = Account.locked(key.account_id)
        address = _address(account, wanted)
        active_mailboxes = Mailbox.objects.filter(account=account, is_active=True)
        if (
            account.max_mailboxes is not None
            and active_mailboxes.count() >= account.max_mailboxes
        ):
            raise Forbidden(
                f"The account's limit is {account.max_mailboxes} mailboxes. Delete one, or ask the operator for more.",
                code="plan_limit",
            )
        _check_settings(account, settings)
        if settings.get("commercial"):
            _check_commercial(account, settings)
        loosest = stricter(
            Mode(account.minimum_oversight_mode or Mode.GATED_SEND), Mode.GATED_SEND
        )
        mode = stricter(mode or loosest, loosest)
        try:
            with transaction.atomic():
                mailbox = Mailbox.objects.create(
                    account=account, address=address, **settings, oversight_mode=mode
                )
        except IntegrityError:
            sentence = f"The address {address} is taken. Addresses are never reused."
            raise Conflict(sentence, code="address_taken") from None
        auditing.record(
            "mailbox.created",
            mailbox,
            key,
            oversight_mode=mailbox.oversight_mode,
            settings=sorted(settings),
        )
    mailbox.refresh_from_db(fields=["created_at"])
    return mailbox


def change_mailbox(
    key: ApiKey, mailbox: Mailbox, mode: Mode | None, changes: Json
) -> Mailbox:
    """Change settings of a mailbox, or make its oversight mode stricter.

    Raises Forbidden for a looser mode, and Invalid for an automatic copy to somebody
    who is not on the mailbox's list; then nothing changes.
    """
    for name in ("auto_cc", "auto_bcc"):
        # With a copy to somebody who is not on the list, all mail of the mailbox would
        # be refused.
        outsiders = judge(mailbox, clean_addresses(changes.get(name, ""))).outsiders
        if outsiders:
            raise Invalid(
                f"{name}: {outsiders[0]} is not on this mailbox's list of allowed recipients, so all of its mail would "
                "be refused. Add it to the list first.",
                code="copy_not_allowed",
            )
    with transaction.atomic():
        was_required = mailbox.require_fingerprint
        mailbox = Mailbox.locked(mailbox.pk)
        if mailbox.require_fingerprint and not (
            was_required or changes.get("require_fingerprint", True)
        ):
            # As it was read, this change needed no code.
            raise Conflict(
                "The mailbox was changed at the same time. Read it again before you retry.",
                code="changed_meanwhile",
            )
        _check_settings(mailbox.account, changes)
        if changes.get("commercial", mailbox.commercial):
            # Locked, so that the postal address is not removed meanwhile.
            _check_commercial(
                Account.locked(mailbox.account_id),
                {"auto_cc": mailbox.auto_cc, "auto_bcc": mailbox.auto_bcc, **changes},
            )
        if mode and mode != mailbox.oversight_mode:
            if is_looser(mode, mailbox.oversight_mode):
                raise Forbidden(
                    f"This mailbox is {mailbox.oversight_mode}; {mode} is looser and must be approved by a person. "
                    "Call request-upgrade, then upgrade with the code that an operator gives you.",
                    code="upgrade_needed",
                )
            # An open request was made under the old mode; its code must not undo this
            # change.
            UpgradeRequest.objects.void(mailbox)
            if mode != Mode.READ_ONLY:
                # Mail that waits in the mailbox's own mode follows it; in the old mode
                # it would count as loosened by its call, or lack its monitored copy.
                Email.objects.filter(
                    mailbox=mailbox,
                    status=Status.SCHEDULED,
                    decision="",
                    oversight_mode=mailbox.oversight_mode,
                ).update(oversight_mode=mode)
            changes = changes | {"oversight_mode": mode}
        mailbox.save_fields(**changes)
        auditing.record(
            "mailbox.updated",
            mailbox,
            key,
            oversight_mode=mailbox.oversight_mode,
            fields=sorted(changes),
        )
    return mailbox


def delete_mailbox(key: ApiKey, mailbox: Mailbox) -> None:
    """Close a mailbox for good; its address stays taken. The caller then cancels what
    waits in it (`cancel_in_closed_mailboxes`).

    Raises Forbidden for a sandbox key.
    """
    if key.sandbox:
        raise Forbidden(
            "A sandbox key cannot delete a mailbox, because live mail shares it.",
            code="sandbox_key",
        )
    with transaction.atomic():
        if Mailbox.objects.filter(pk=mailbox.pk, is_active=True).update(
            is_active=False
        ):
            auditing.record("mailbox.deleted", mailbox, key)


def _address(account: Account, wanted: str) -> str:
    # Returns the whole address that `wanted` means, in an active domain of the account.
    if "@" not in wanted:
        oldest = Domain.objects.oldest_of(account)
        if not oldest:
            raise Invalid(
                "address_local: the account has no active domain. Add one with POST /v1/domains and verify it."
            )
        wanted = f"{wanted}@{oldest}"
    try:
        address = ascii_address(wanted).lower()
    except ValueError as error:
        raise Invalid(f"address: {error}") from None
    if quoted(address) != address:
        raise Invalid(f"address: {address} has dots that many servers refuse.")
    domain = domain_of(address)
    if not Domain.objects.active().filter(account=account, domain=domain).exists():
        raise Invalid(
            f"address: {domain} is not an active domain of this account. Add it with POST /v1/domains and verify it."
        )
    if address == f"{notices.CODE_SENDER}@{domain}":
        raise Conflict(
            f"The address {address} is reserved: the gateway mails approval codes from it.",
            code="address_taken",
        )
    return address


def _check_commercial(account: Account, settings: Json) -> None:
    """Refuse commercial mail without a postal address, or with automatic copies: its
    link to unsubscribe is for one recipient.
    """
    if not account.physical_address.strip():
        raise Invalid(
            "commercial: the account has no postal address, which commercial mail must show. Set physical_address "
            "with PATCH /v1/account first.",
            code="physical_address_needed",
        )
    if settings.get("auto_cc") or settings.get("auto_bcc"):
        raise Invalid(
            "commercial: a commercial mailbox cannot add copies, because the link to unsubscribe is for the one "
            "recipient. Clear auto_cc and auto_bcc."
        )


@transaction.atomic
def request_upgrade(key: ApiKey, mailbox: Mailbox, target: Mode) -> UpgradeRequest:
    """Store a request for a looser mode, with a new code. An older open request of the
    mailbox ends.

    Raises BadRequest if the mode is not looser, Forbidden if the account's minimum
    forbids it, and TooManyRequests for a fourth request within an hour.
    """
    mailbox = Mailbox.locked(mailbox.pk)
    if target == mailbox.oversight_mode:
        raise BadRequest(
            f"target_mode: the mailbox is {target} already.", code="same_mode"
        )
    if not is_looser(target, mailbox.oversight_mode):
        raise BadRequest(
            f"target_mode: {target} is stricter than {mailbox.oversight_mode} and needs no code. "
            "PATCH the mailbox's oversight_mode with an admin key.",
            code="stricter_mode",
        )
    _check_minimum(mailbox.account, target)
    now = timezone.now()
    hour = timedelta(hours=1)
    recent = UpgradeRequest.objects.filter(
        mailbox=mailbox, created_at__gt=now - hour
    ).order_by("-created_at")
    if len(recent) >= MAX_AN_HOUR:
        free_in = recent[MAX_AN_HOUR - 1].created_at + hour - now
        raise TooManyRequests(
            f"Only {MAX_AN_HOUR} upgrades of a mailbox can be requested per hour.",
            code="too_many_upgrade_requests",
            retry_after=max(1, round(free_in.total_seconds())),
        )
    UpgradeRequest.objects.void(mailbox)
    request = UpgradeRequest.objects.create(
        mailbox=mailbox,
        target_mode=target,
        code=new_code(),
        requested_by_key=key,
        expires_at=now + LIFETIME,
    )
    auditing.record(
        "mailbox.upgrade_requested",
        mailbox,
        key,
        request_id=request.pk,
        target_mode=request.target_mode,
    )
    return request


def upgrade(key: ApiKey, mailbox: Mailbox, code: str) -> Mailbox:
    """Loosen the mailbox to the mode of its open request, if `code` is that request's
    code. Raises NotFound if no request is open, or Forbidden.

    The request is locked, so of two calls with the same code the second finds it used.
    A wrong try is counted and committed.
    """
    with transaction.atomic():
        # The mailbox is locked first, as in request_upgrade: another order could
        # deadlock.
        mailbox = Mailbox.locked(mailbox.pk)
        request = (
            UpgradeRequest.objects.waiting()
            .filter(mailbox=mailbox)
            .select_for_update()
            .first()
        )
        if request and request.redeem(code):
            # The account's minimum may have been set after the request was made.
            _check_minimum(mailbox.account, Mode(request.target_mode))
            was = mailbox.oversight_mode
            if was == Mode.READ_ONLY:
                # Waiting mail kept the mode that the mailbox had before. A looser one
                # would count as loosened by its call.
                target = Mode(request.target_mode)
                Email.objects.filter(
                    mailbox=mailbox,
                    status=Status.SCHEDULED,
                    decision="",
                    oversight_mode__in=[one for one in Mode if is_looser(one, target)],
                ).update(oversight_mode=target)
            mailbox.save_fields(oversight_mode=request.target_mode)
            auditing.record(
                "mailbox.upgraded",
                mailbox,
                key,
                request_id=request.pk,
                target_mode=request.target_mode,
                was=was,
            )
            return mailbox
    if not request:
        raise NotFound(
            "No upgrade is waiting for a code. Call request-upgrade first.",
            code="no_pending_upgrade",
        )
    log.info(
        "upgrade refused",
        extra={"mailbox": mailbox.pk, "reason": "wrong_code", "key": key.pk},
    )
    sentence = "The code is wrong."
    if request.wrong_attempts >= MAX_WRONG:
        sentence = "The code was wrong too often. Request the upgrade again."
    raise Forbidden(sentence, code="wrong_code")


@transaction.atomic
def stop_mailboxes(key: ApiKey, stopped: Collection[str]) -> None:
    """Stop these of the mailboxes that the key may use, and no others of them: what is
    approved there waits until its mailbox is no longer stopped. Raises Forbidden for a
    sandbox key.
    """
    if key.sandbox:
        raise Forbidden("A sandbox key cannot stop live mail.", code="sandbox_key")
    mailboxes = Mailbox.objects.visible_to(key)
    named = mailboxes.filter(pk__in=stopped, is_stopped=False)
    others = mailboxes.exclude(pk__in=stopped).filter(is_stopped=True)
    if named.update(is_stopped=True) + others.update(is_stopped=False):
        auditing.record(
            "mailboxes.stopped", key.account, key, mailboxes=sorted(stopped)
        )


def _check_minimum(account: Account, mode: Mode) -> None:
    # Raises Forbidden if `mode` is looser than the account's minimum mode.
    minimum = account.minimum_oversight_mode
    if minimum and is_looser(mode, minimum):
        raise Forbidden(
            f"The account's minimum oversight mode is {minimum}; {mode} is looser. Only an operator can change that.",
            code="below_minimum",
        )


def _check_settings(account: Account, changes: Json) -> None:
    if changes.get("allow_looser_per_call"):
        # A call could then ask for the loosest mode.
        _check_minimum(account, Mode.AUTONOMOUS)
    if changes.get("forward_inbound") and not notices.oversight_address(account):
        raise Invalid(
            "forward_inbound: received mail is forwarded to the account's oversight address. Set oversight_email "
            "first, to an address that is no mailbox here."
        )


def make_mailbox(
    account: Account,
    *,
    address: str,
    display_name: str,
    mode: Mode = Mode.GATED_SEND,
    looser: bool = False,
) -> Mailbox:
    """Return the account's mailbox with this address. If there is none, it is made, and
    its domain too. For the commands of operators.
    """
    defaults = {
        "account": account,
        "display_name": display_name,
        "oversight_mode": mode,
        "allow_looser_per_call": looser,
        "mcp_configured": True,
    }
    address = ascii_address(address).lower()
    # Only operators run commands, so the domain needs no proof.
    Domain.objects.get_or_create(
        domain=domain_of(address),
        status=Domain.Status.ACTIVE,
        defaults={
            "account": account,
            "token": secrets.token_hex(16),
            "verified_at": timezone.now(),
        },
    )
    return Mailbox.objects.get_or_create(address=address, defaults=defaults)[0]
