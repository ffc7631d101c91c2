"""Domains of an account: claimed, proved by DNS or by the operator's word, and given back."""

from __future__ import annotations

import logging
import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from django.db import IntegrityError, transaction

from gateway import auditing
from gateway.errors import Conflict
from gateway.lookups import check_unlimited
from gateway.models import Account, ApiKey, Domain, Mailbox

if TYPE_CHECKING:
    from gateway.dns_lookup import Findings

log = logging.getLogger(__name__)

PROOF = "countersign-domain="


@dataclass(frozen=True)
class Verified:
    """A domain after it was looked at, and a sentence that says what was found."""

    domain: Domain
    message: str


def add_domain(*, key: ApiKey, name: str) -> Domain:
    """Claim a domain, which is pending until it is proved. Raises Conflict, or Forbidden for a limited key."""
    check_unlimited(key)
    if earlier := Domain.objects.visible_to(key).filter(domain=name).first():
        raise Conflict(f"{name} is a domain of this account already.", code="domain_exists", id=earlier.pk)
    if Domain.objects.active().filter(domain=name).exists():
        raise _taken(name)
    try:
        with transaction.atomic():
            domain = Domain.objects.create(account_id=key.account_id, domain=name, token=secrets.token_hex(16))
            _note("domain.added", key.account_id, domain, key)
    except IntegrityError:
        raise Conflict(f"{name} is a domain of this account already.", code="domain_exists") from None
    domain.refresh_from_db()
    return domain


def verify_domain(*, key: ApiKey, domain: Domain, now: datetime) -> Verified:
    """Look for the proof in DNS, and make the domain active where it is found. Raises Conflict.

    A domain that is active stays so: DNS that is broken today must not close mailboxes.
    """
    # Loaded where it is needed: the library is large, and domains are verified seldom.
    from gateway.dns_lookup import look_up

    check_unlimited(key)
    found = look_up(domain.domain)
    if not found.problem:
        Domain.objects.filter(pk=domain.pk).update(spf_verified=found.has_spf, mx_verified=found.takes_mail)
    if domain.status == Domain.Status.PENDING and f"{PROOF}{domain.token}" in found.texts:
        _activate(domain, key.account_id, key, now)
    domain.refresh_from_db()
    return Verified(domain, _sentence(domain, found))


def remove_domain(*, key: ApiKey, domain: Domain) -> None:
    """Give a domain back. Raises Conflict while mailboxes live under it."""
    check_unlimited(key)
    with transaction.atomic():
        # The same lock as for a new mailbox, so that none is made meanwhile.
        Account.objects.select_for_update(no_key=True).get(pk=key.account_id)
        living = Mailbox.objects.visible_to(key).filter(address__endswith=f"@{domain.domain}").first()
        if living is not None:
            raise Conflict(
                f"Mailboxes live under this domain, such as {living.address}. Delete them first.",
                code="domain_in_use",
                mailbox_id=living.pk,
            )
        _note("domain.removed", key.account_id, domain, key)
        domain.delete()


def give_domain(*, account: Account, name: str, now: datetime) -> Domain:
    """Make a domain the account's on the operator's word. Raises Conflict when another account has it."""
    domain, _ = Domain.objects.get_or_create(account=account, domain=name, defaults={"token": secrets.token_hex(16)})
    if domain.status == Domain.Status.PENDING:
        _activate(domain, account.pk, None, now)
    domain.refresh_from_db()
    return domain


def _activate(domain: Domain, account_id: str, key: ApiKey | None, now: datetime) -> None:
    try:
        with transaction.atomic():
            pending = Domain.objects.filter(pk=domain.pk, status=Domain.Status.PENDING)
            if pending.update(status=Domain.Status.ACTIVE, verified_at=now):
                _note("domain.verified", account_id, domain, key, by="dns" if key else "operator")
    except IntegrityError:
        # The index that lets only one account have it decided.
        raise _taken(domain.domain) from None
    log.info("domain verified", extra={"domain": domain.pk})


def _sentence(domain: Domain, found: Findings) -> str:
    if domain.status == Domain.Status.ACTIVE:
        return found.problem or "The domain is active."
    return found.problem or (
        f"No TXT record with the text {PROOF}{domain.token} was found at {domain.domain}. "
        "A new record may take some time to be seen."
    )


def _taken(name: str) -> Conflict:
    return Conflict(f"{name} belongs to another account.", code="domain_taken")


def _note(action: str, account_id: str, domain: Domain, key: ApiKey | None, **facts: str) -> None:
    auditing.note_thing(
        action, account_id=account_id, kind="domain", thing_id=domain.pk, key=key, domain=domain.domain, **facts
    )
