"""Domains of accounts: the records that an owner puts into DNS, compared with what DNS says;
and domains added, verified by DNS or by the operator's word, and removed.

Questions to DNS are bounded in time and size, and never asked in a transaction.
"""

import secrets
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import ip_address
from urllib.parse import urlsplit

import idna
from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from common.domains import is_public_suffix
from common.mail_addresses import ascii_domain, is_domain
from gateway import auditing
from gateway.dkim import activate_published, make_key
from gateway.errors import Conflict
from gateway.lookups import check_unlimited
from gateway.models import Account, ApiKey, DkimKey, Domain, Mailbox

# Seconds for one question with its retries, and for all questions together: a client
# waits for the answer.
LIMIT = 3.0
LIMIT_OF_ALL = 8.0
_TRY = 1.0
# The owner of a domain decides how long its answers are.
_MOST_RECORDS = 50
_MOST_TEXT = 4_000
# A process has few threads, and the owner of a domain decides how long its answers
# take.
asking = threading.Lock()
Question = tuple[str, str]
PROOF = "countersign-domain="
# The record of a retired key is needed while mail that it signed may still be on its
# way.
OVERLAP = timedelta(days=7)


@dataclass(frozen=True)
class DnsAnswer:
    """What DNS says to one question, record by record; `error` is a sentence where DNS
    could not be asked.
    """

    records: tuple[str, ...] = ()
    error: str = ""


def look_up(questions: Iterable[Question]) -> dict[Question, DnsAnswer]:
    """Return what DNS says to each name and kind, TXT or MX; a second caller at the
    same time gets an error.
    """
    questions = list(dict.fromkeys(questions))
    if not asking.acquire(blocking=False):
        busy = DnsAnswer(
            error="Another domain is being looked up. Try again in a few seconds."
        )
        return dict.fromkeys(questions, busy)
    try:
        ends = time.monotonic() + LIMIT_OF_ALL
        return {
            question: _ask(*question, seconds=min(LIMIT, ends - time.monotonic()))
            for question in questions
        }
    finally:
        asking.release()


def _ask(name: str, kind: str, *, seconds: float) -> DnsAnswer:
    if seconds <= 0:
        return DnsAnswer(error=f"The DNS lookup of {name} timed out. Try again later.")
    # Imported late: it needs 3 MB, and most processes never ask DNS.
    import dns.exception
    import dns.name
    import dns.resolver

    resolver = dns.resolver.Resolver(configure=settings.DNS_SERVER is None)
    if settings.DNS_SERVER is not None:
        address, resolver.port = settings.DNS_SERVER
        resolver.nameservers = [address]
    resolver.lifetime = seconds
    resolver.timeout = _TRY
    try:
        answer = resolver.resolve(dns.name.from_text(f"{name}."), kind)
    except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
        # DNS did answer: there is no such name, or nothing of this kind at it.
        return DnsAnswer()
    except dns.exception.DNSException as error:
        return DnsAnswer(
            error=f"The DNS lookup of {name} failed ({type(error).__name__}). Try again later."
        )
    records = list(answer)[:_MOST_RECORDS]
    if kind == "MX":
        # The host that takes mail, which is "." for none at all (RFC 7505).
        return DnsAnswer(tuple(record.exchange.to_text().lower() for record in records))
    return DnsAnswer(
        tuple(
            b"".join(record.strings).decode("utf-8", "replace")[:_MOST_TEXT]
            for record in records
        )
    )


OWNERSHIP = "ownership"
SPF = "spf"
DMARC = "dmarc"
MX = "mx"


@dataclass(frozen=True)
class Record:
    """A DNS record, as its owner should publish it."""

    key: str
    type: str
    name: str
    value: str
    purpose: str
    # Whether the domain does without it by now.
    is_retired: bool = False


def records_of(domain: Domain) -> list[Record]:
    """Return the records of a domain: ownership, DKIM, SPF, DMARC and, where a host can
    be named, MX.
    """
    name = domain.domain
    proof = f"{PROOF}{domain.token}"
    records = [Record(OWNERSHIP, "TXT", name, proof, "proves that the domain is yours")]
    needed = Q(retired_at=None) | Q(retired_at__gt=Now() - OVERLAP)
    for key in domain.dkim_keys.filter(needed).order_by("pk"):
        purpose = "signs the mail (DKIM)"
        if key.retired_at:
            purpose = (
                "signed the mail until the key was rotated; can be removed after a week"
            )
        records.append(
            Record(
                f"dkim:{key.selector}",
                "TXT",
                f"{key.selector}._domainkey.{name}",
                f"v=DKIM1; k=rsa; p={key.public_key}",
                purpose,
                is_retired=key.retired_at is not None,
            )
        )
    # Without a public name of the mail server, the domain's MX hosts are named as
    # senders.
    sender = "mx"
    if host := _public_host(settings.EMAIL_URL):
        sender = f"a:{host}"
        if _is_address(host):
            sender = f"ip{ip_address(host).version}:{host}"
    spf = f"v=spf1 {sender} ~all"
    records.append(
        Record(SPF, "TXT", name, spf, "lets the mail server send for it (SPF)")
    )
    records.append(
        Record(
            DMARC,
            "TXT",
            f"_dmarc.{name}",
            "v=DMARC1; p=none",
            "says what happens to mail that is not signed (DMARC)",
        )
    )
    host = _public_host(settings.PUBLIC_URL)
    if host and not _is_address(host):
        records.append(
            Record(MX, "MX", name, host, "delivers its mail to this gateway")
        )
    return records


def record_error(record: Record, found: DnsAnswer) -> str:
    """Return what is wrong with a record, as a sentence; empty: it is right."""
    if found.error:
        return found.error
    name = record.name
    texts = found.records
    error = ""
    if record.key == OWNERSHIP:
        if record.value not in texts:
            error = f"No TXT record with the text {record.value} was found at {name}."
    elif record.key == SPF:
        sender = record.value.split()[1]
        policies = [text for text in texts if text.lower().split(" ")[0] == "v=spf1"]
        words = " ".join(policies).lower().split()
        if len(policies) != 1:
            error = f"{'Several SPF records were' if policies else 'No SPF record was'} found at {name}."
        elif sender not in words and f"+{sender}" not in words:
            error = f"The SPF record at {name} does not name {sender}."
            included = ("include:", "redirect=")
            if any(word.lstrip("+").startswith(included) for word in words):
                error += " Records that it includes were not checked."
    elif record.key == DMARC:
        found_tags = [_tags(text) for text in texts]
        if not any(tags.get("v") == "DMARC1" and "p" in tags for tags in found_tags):
            error = f"No DMARC record was found at {name}."
    elif record.key == MX:
        exchanges = sorted(one.rstrip(".").lower() for one in texts if one != ".")
        if not exchanges:
            error = f"{name} cannot receive mail: no MX record was found."
        elif record.value.lower() not in exchanges:
            error = (
                f"The mail for {name} goes to {exchanges[0]}, not to {record.value}."
            )
    else:
        published = [tags["p"] for text in texts if "p" in (tags := _tags(text))]
        public_key = _tags(record.value)["p"]
        if published:
            if not any("".join(one.split()) == public_key for one in published):
                error = f"The DKIM key at {name} is a different one."
        elif not record.is_retired:
            error = f"No DKIM key was found at {name}."
    return f"{error} A new record can take some time to appear." if error else ""


def _tags(text: str) -> dict[str, str]:
    """Return the tags of a record such as `v=DKIM1; p=...`."""
    pairs = (part.partition("=") for part in text.split(";"))
    return {name.strip(): value.strip() for name, _, value in pairs if name.strip()}


def _public_host(url: str) -> str:
    """Return the host of an address, if others can reach a machine by it."""
    host = urlsplit(url).hostname or ""
    try:
        return host if ip_address(host).is_global else ""
    except ValueError:
        is_local = "." not in host or host.endswith(
            (".localhost", ".local", ".internal")
        )
        return "" if is_local else host


def _is_address(host: str) -> bool:
    """Whether it is a number and no name, as an MX record needs one."""
    try:
        return bool(ip_address(host))
    except ValueError:
        return False


_MOST_KEYS = 5
# Names that mean something else than a domain somebody owns (RFC 6761 and its
# followers), but for `example`.
_SPECIAL = frozenset(("arpa", "invalid", "local", "localhost", "internal", "onion"))


def add_domain(key: ApiKey, name: str) -> Domain:
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
            auditing.record("domain.added", domain, key)
    except IntegrityError:
        raise Conflict(
            f"{name} is already a domain of this account.", code="domain_exists"
        ) from None
    domain.refresh_from_db()
    return domain


def verify_domain(key: ApiKey, domain: Domain) -> str:
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
    result = {
        record.key: record_error(record, found[record.name, record.type])
        for record in records
    }
    # Records that could not be looked up keep their last result.
    known = result | {
        record.key: domain.dns_problems[record.key]
        for record in records
        if found[record.name, record.type].error and record.key in domain.dns_problems
    }
    if domain.status == Domain.Status.PENDING and not result[OWNERSHIP]:
        _activate(domain, key)
    published = [
        name.removeprefix("dkim:") for name, error in known.items() if not error
    ]
    activate_published(domain, published)
    Domain.objects.filter(pk=domain.pk).update(
        dns_problems=known, looked_at=timezone.now()
    )
    domain.refresh_from_db()
    if domain.status == Domain.Status.PENDING:
        return result[OWNERSHIP]
    return " ".join(
        ["The domain is active.", *dict.fromkeys(filter(None, result.values()))]
    )


@transaction.atomic
def rotate_key(key: ApiKey, domain: Domain) -> Domain:
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
    auditing.record("domain.dkim_rotated", domain, key, selector=made.selector)
    return domain


@transaction.atomic
def remove_domain(key: ApiKey, domain: Domain) -> None:
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
    auditing.record("domain.removed", domain, key)
    domain.delete()


def assign_domain(account: Account, name: str) -> Domain:
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
                    "domain.verified", domain, key, by="dns" if key else "operator"
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
