"""Domains of an account: added, verified by DNS or by the operator's word, and removed."""

import secrets

import idna
from django.db import IntegrityError, transaction
from django.utils import timezone

from common.domains import is_public_suffix
from common.mail_addresses import ascii_domain, is_domain
from gateway import auditing
from gateway.domains.dkim import activate_published, make_key
from gateway.domains.dns_records import OWNERSHIP, look_up, record_error, records_of
from gateway.errors import Conflict
from gateway.lookups import check_unlimited
from gateway.models import Account, ApiKey, DkimKey, Domain, Mailbox

_MOST_KEYS = 5
# Names that mean something else than a domain somebody owns (RFC 6761 and its
# followers), but for `example`.
_SPECIAL = frozenset(("arpa", "invalid", "local", "localhost", "internal", "onion"))


def add_domain(*, key: ApiKey, name: str) -> Domain:
    """Add a domain, which is pending until it is verified. Raises Conflict, or
    Forbidden for a limited key.
    """
    check_unlimited(key)
    if earlier := Domain.objects.visible_to(key).filter(domain=name).first():
        raise Conflict(
            f"{name} is already a domain of this account.",
            code="domain_exists",
            id=earlier.pk,
        )
    if Domain.objects.active().filter(domain=name).exists():
        raise _domain_conflict(name)
    try:
        with transaction.atomic():
            domain = Domain.objects.create(
                account_id=key.account_id, domain=name, token=secrets.token_hex(16)
            )
            make_key(domain)
            auditing.record("domain.added", domain, key=key)
    except IntegrityError:
        raise Conflict(
            f"{name} is already a domain of this account.", code="domain_exists"
        ) from None
    domain.refresh_from_db()
    return domain


def verify_domain(*, key: ApiKey, domain: Domain) -> str:
    """Look each record of a domain up in DNS, and make the domain active where its
    proof is found. Raises Conflict.

    Returns a sentence with the result; `domain` is as it is stored then.

    A domain that is active stays so: DNS that is broken today must not close mailboxes.
    """
    if not domain.dkim_keys.exists():
        # Made before domains had keys, or by the operator's command.
        make_key(domain)
    records = records_of(domain)
    found = look_up([(record.name, record.type) for record in records])
    record_errors = {
        record.key: record_error(record, found[record.name, record.type])
        for record in records
    }
    result = dict(record_errors)
    # Records that could not be looked up keep their last result.
    unasked = [
        record.key for record in records if found[record.name, record.type].error
    ]
    record_errors |= {
        key: domain.dns_problems[key] for key in unasked if key in domain.dns_problems
    }
    if (
        domain.status == Domain.Status.PENDING
        and not record_errors[OWNERSHIP]
        and OWNERSHIP not in unasked
    ):
        _activate(domain, key)
    published = [
        name.removeprefix("dkim:") for name, error in record_errors.items() if not error
    ]
    activate_published(domain, published)
    Domain.objects.filter(pk=domain.pk).update(
        dns_problems=record_errors, looked_at=timezone.now()
    )
    domain.refresh_from_db()
    if domain.status == Domain.Status.PENDING:
        return result[OWNERSHIP]
    return " ".join(
        ["The domain is active.", *dict.fromkeys(filter(None, result.values()))]
    )


@transaction.atomic
def rotate_key(*, key: ApiKey, domain: Domain) -> Domain:
    """Make another DKIM key, which signs once it is in DNS. Raises Conflict while an
    earlier one waits for that.
    """
    domain = Domain.objects.select_for_update().get(pk=domain.pk)
    if waiting := domain.dkim_keys.filter(verified_at=None).first():
        raise Conflict(
            f"The key {waiting.selector} is waiting for its DNS record. Publish it, then verify the domain.",
            code="dkim_key_waits",
        )
    old = domain.dkim_keys.exclude(retired_at=None).order_by("-pk")[_MOST_KEYS:]
    DkimKey.objects.filter(pk__in=[one.pk for one in old]).delete()
    made = make_key(domain)
    auditing.record("domain.dkim_rotated", domain, key=key, selector=made.selector)
    return domain


@transaction.atomic
def remove_domain(*, key: ApiKey, domain: Domain) -> None:
    """Remove a domain. Raises Conflict while mailboxes live under it."""
    # The same lock as for a new mailbox, so that none is made meanwhile.
    Account.locked(key.account_id)
    living = (
        Mailbox.objects.visible_to(key)
        .filter(address__endswith=f"@{domain.domain}")
        .first()
    )
    if living is not None:
        raise Conflict(
            f"This domain still has mailboxes, such as {living.address}. Delete them first.",
            code="domain_in_use",
            mailbox_id=living.pk,
        )
    auditing.record("domain.removed", domain, key=key)
    domain.delete()


def assign_domain(*, account: Account, name: str) -> Domain:
    """Give a domain to an account without proof. Raises Conflict when another account
    has it.
    """
    domain, _ = Domain.objects.get_or_create(
        account=account, domain=name, defaults={"token": secrets.token_hex(16)}
    )
    if not domain.dkim_keys.exists():
        make_key(domain)
    if domain.status == Domain.Status.PENDING:
        _activate(domain, None)
    domain.refresh_from_db()
    return domain


def _activate(domain: Domain, key: ApiKey | None) -> None:
    try:
        with transaction.atomic():
            pending = Domain.objects.filter(pk=domain.pk, status=Domain.Status.PENDING)
            if pending.update(status=Domain.Status.ACTIVE, verified_at=timezone.now()):
                auditing.record(
                    "domain.verified", domain, key=key, by="dns" if key else "operator"
                )
    except IntegrityError:
        # The unique index refused it: another account has the domain.
        raise _domain_conflict(domain.domain) from None


def _domain_conflict(name: str) -> Conflict:
    return Conflict(f"{name} belongs to another account.", code="domain_taken")


def clean_domain(text: str) -> str:
    """Return the domain in `text` in lower-case ASCII. Raises ValueError with a
    sentence.
    """
    domain = ascii_domain(text.strip())
    try:
        idna.decode(domain)
        can_be_read_back = True
    except idna.IDNAError:
        can_be_read_back = False
    if not is_domain(domain) or not can_be_read_back:
        raise ValueError("must be a domain such as example.com.")
    # A public suffix could never be verified in DNS; this says so at once.
    if domain.rpartition(".")[2] in _SPECIAL or is_public_suffix(domain):
        raise ValueError("is not a domain that a single owner can register.")
    return domain
