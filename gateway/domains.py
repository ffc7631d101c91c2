"""Domains of accounts: commands that add, verify and remove a domain, and the DNS
records that its owner should publish, compared with what DNS has.

DNS look-ups are limited in time and size, and never run inside a transaction.
"""

import secrets
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import ip_address
from urllib.parse import urlsplit

import idna
from django.conf import settings
from django.core.cache import cache
from django.db import IntegrityError, transaction
from django.utils import timezone

from common.desk_mail import OWN_DOMAIN, OwnDomain, own_domain
from common.encryption import encrypt
from common.mail_addresses import ascii_domain, is_domain
from common.waiting_mail import BAD_DOMAINS, NOTED_FOR
from gateway import auditing
from gateway.dkim import make_key, replace_key
from gateway.errors import Conflict
from gateway.lookups import check_unlimited
from gateway.models import Account, ApiKey, Domain, Mailbox

# Seconds for one DNS question with its retries, and for all questions of a call
# together: an API client waits for the answer.
LIMIT = 3.0
LIMIT_OF_ALL = 8.0
# Seconds for one try of a question.
_TRY = 1.0
# How long the result of a look-up counts.
_LOOKED_AT = timedelta(minutes=5)
# Records of an answer, and characters of a record, that are read: the owner of a domain
# decides how long its answers are.
_MOST_RECORDS = 50
_MOST_TEXT = 4_000
# One call looks up at a time: a process has few threads, and the owner of a domain
# decides how long its answers take.
asking = threading.Lock()
# Name and type (TXT or MX) of the records that are looked up.
Question = tuple[str, str]
# The TXT record that proves ownership begins with this.
PROOF = "countersign-domain="


@dataclass(frozen=True)
class DnsAnswer:
    """The records that DNS has for one question. If DNS could not be asked, `error` is
    a sentence.
    """

    records: tuple[str, ...] = ()
    error: str = ""


def look_up(questions: Iterable[Question]) -> dict[Question, DnsAnswer]:
    """Return the answer of DNS to each question. While another call is looking up, all
    answers are errors.
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

    resolver = dns.resolver.Resolver(configure=not settings.DNS_SERVER)
    if settings.DNS_SERVER:
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


# The keys of the records; `Domain.dns_problems` stores results under them.
OWNERSHIP = "ownership"
SPF = "spf"
DKIM = "dkim"
NEXT_DKIM = "next_dkim"
DMARC = "dmarc"
MX = "mx"


@dataclass(frozen=True)
class Record:
    """A DNS record that the owner of a domain should publish."""

    key: str
    type: str
    name: str
    value: str
    purpose: str


def records_of(domain: Domain) -> list[Record]:
    """Return the records that a domain should have: ownership, DKIM if it has a key,
    SPF, DMARC and, if PUBLIC_URL has a public host name, MX.
    """
    name = domain.domain
    proof = f"{PROOF}{domain.token}"
    records = [Record(OWNERSHIP, "TXT", name, proof, "proves that the domain is yours")]
    for key, selector, public_key, purpose in (
        (DKIM, domain.dkim_selector, domain.dkim_public_key, "signs the mail (DKIM)"),
        (
            NEXT_DKIM,
            domain.next_dkim_selector,
            domain.next_dkim_public_key,
            "signs the mail once it is here (next DKIM key)",
        ),
    ):
        if selector:
            value = f"v=DKIM1; k=rsa; p={public_key}"
            at = f"{selector}._domainkey.{name}"
            records.append(Record(key, "TXT", at, value, purpose))
    # Without a public name of the mail server, the domain's MX hosts are named as
    # senders.
    sender = "mx"
    if host := _public_host(settings.EMAIL_URL):
        sender = f"a:{host}"
        if _is_address(host):
            sender = f"ip{ip_address(host).version}:{host}"
    spf = f"v=spf1 {sender} ~all"
    unsigned = "says what happens to mail that is not signed (DMARC)"
    records += [
        Record(SPF, "TXT", name, spf, "lets the mail server send for it (SPF)"),
        Record(DMARC, "TXT", f"_dmarc.{name}", "v=DMARC1; p=none", unsigned),
    ]
    host = _public_host(settings.PUBLIC_URL)
    if host and not _is_address(host):
        records += [Record(MX, "MX", name, host, "delivers its mail to this gateway")]
    return records


def record_error(record: Record, found: DnsAnswer) -> str:
    """Return what is wrong with a record, as a sentence, given the answer of DNS; empty
    if it is right.
    """
    if found.error:
        return found.error
    texts = found.records
    if record.key == SPF:
        # Records that a policy includes are not followed.
        policies = [text for text in texts if text.lower().split(" ")[0] == "v=spf1"]
        sender = record.value.split()[1]
        words = " ".join(policies).lower().replace("+", "").split()
        is_right = len(policies) == 1 and sender in words
    elif record.key in (DKIM, NEXT_DKIM):
        public_key = _tags(record.value)["p"]
        keys = ["".join(_tags(text).get("p", "").split()) for text in texts]
        is_right = public_key in keys
    elif record.key == DMARC:
        # Any policy will do: it is the owner's.
        is_right = any(
            tags.get("v") == "DMARC1" and "p" in tags for tags in map(_tags, texts)
        )
    elif record.key == MX:
        is_right = record.value.lower() in [host.rstrip(".") for host in texts]
    else:
        is_right = record.value in texts
    if is_right:
        return ""
    return f"No {record.type} record of {record.name} {record.purpose}. A new record can take some time to appear."


def _tags(text: str) -> dict[str, str]:
    """Return the tags of a record such as `v=DKIM1; p=...` by name."""
    pairs = (part.partition("=") for part in text.split(";"))
    return {name.strip(): value.strip() for name, _, value in pairs if name.strip()}


def _public_host(url: str) -> str:
    """Return the host of a URL if it may be reached from outside; empty for a private
    address or a local name.
    """
    host = urlsplit(url).hostname or ""
    try:
        return host if ip_address(host).is_global else ""
    except ValueError:
        is_local = "." not in host or host.endswith(
            (".localhost", ".local", ".internal")
        )
        return "" if is_local else host


def _is_address(host: str) -> bool:
    """Whether `host` is an IP address. An MX record needs a name."""
    try:
        return bool(ip_address(host))
    except ValueError:
        return False


def add_domain(key: ApiKey, name: str) -> Domain:
    """Add a domain to the key's account, pending until DNS proves that the account owns
    it. Raises Conflict if this account has it already or another has verified it, or
    Forbidden for a limited key.
    """
    check_unlimited(key)
    of_others = Domain.objects.active().exclude(account_id=key.account_id)
    if of_others.filter(domain=name).exists():
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
            f"{name} is already a domain of this account.",
            code="domain_exists",
            id=Domain.objects.visible_to(key).get(domain=name).pk,
        ) from None
    domain.refresh_from_db()
    return domain


def verify_domain(key: ApiKey, domain: Domain) -> str:
    """Look the records of a domain up in DNS, store the results, and make a pending
    domain active if its proof is found. Returns a sentence with the result, and
    refreshes `domain`. Raises Conflict if another account has the domain.

    An active domain stays active: a fault of DNS must not close mailboxes.
    """
    if not domain.dkim_selector:
        # The operator's command adds domains without a key.
        make_key(domain)
    errors, problems = _compare(domain)
    now = timezone.now()
    if domain.status == Domain.Status.PENDING and not errors[OWNERSHIP]:
        pending = Domain.objects.filter(pk=domain.pk, status=Domain.Status.PENDING)
        try:
            with transaction.atomic():
                if pending.update(status=Domain.Status.ACTIVE, verified_at=now):
                    auditing.record("domain.verified", domain, key)
        except IntegrityError:
            # The unique index refused it: another account has the domain.
            raise _domain_conflict(domain.domain) from None
    if not problems[DKIM]:
        domain.dkim_verified_at = domain.dkim_verified_at or now
    if problems.get(NEXT_DKIM) == "":
        replace_key(domain)
        problems[DKIM] = problems.pop(NEXT_DKIM)
        domain.dkim_verified_at = now
    domain.save_fields(
        dns_problems=problems, looked_at=now, dkim_verified_at=domain.dkim_verified_at
    )
    domain.refresh_from_db()
    if domain.status == Domain.Status.PENDING:
        return errors[OWNERSHIP]
    return " ".join(
        ["The domain is active.", *dict.fromkeys(filter(None, errors.values()))]
    )


def _compare(domain: Domain) -> tuple[dict[str, str], dict[str, str]]:
    """Look the records of a domain up. Return by their keys what is wrong with them now,
    and what to store: records that could not be looked up keep their last result.
    """
    records = records_of(domain)
    answers = look_up([(record.name, record.type) for record in records])
    errors = {
        record.key: record_error(record, answers[record.name, record.type])
        for record in records
    }
    kept = {
        record.key: domain.dns_problems[record.key]
        for record in records
        if answers[record.name, record.type].error and record.key in domain.dns_problems
    }
    return errors, errors | kept


def look_again() -> None:
    """Look up the domain that was looked up longest ago, if that is five minutes, and
    note for the desk those whose mail is signed with a key that DNS lacks.
    """
    signed = Domain.objects.active().exclude(dkim_verified_at=None)
    stale = signed.filter(looked_at__lt=timezone.now() - _LOOKED_AT)
    if domain := stale.order_by("looked_at").first():
        _, problems = _compare(domain)
        domain.save_fields(dns_problems=problems, looked_at=timezone.now())
    found = [(one.domain, one.dns_problems.get(DKIM)) for one in signed]
    cache.set(BAD_DOMAINS, [pair for pair in found if pair[1]], NOTED_FOR)


def rotate_key(key: ApiKey, domain: Domain) -> Domain:
    """Make the next DKIM key of a domain; the one in use signs until DNS is seen to
    have the next. Raises Conflict while a key of the domain waits for its record.
    """
    if domain.next_dkim_selector or not domain.dkim_verified_at:
        raise Conflict(
            f"A key of {domain.domain} is waiting for its DNS record. Publish it, then verify the domain.",
            code="dkim_key_waiting",
        )
    make_key(domain, prefix="next_")
    auditing.record("domain.dkim_rotated", domain, key)
    domain.refresh_from_db()
    return domain


@transaction.atomic
def remove_domain(key: ApiKey, domain: Domain) -> None:
    """Remove a domain. Raises Conflict while it has mailboxes."""
    # Making a mailbox takes the same lock, so that none is made meanwhile.
    Account.locked(key.account_id)
    mailbox = (
        Mailbox.objects.visible_to(key)
        .filter(address__endswith=f"@{domain.domain}")
        .first()
    )
    if mailbox:
        raise Conflict(
            f"This domain still has mailboxes, such as {mailbox.address}. Delete them first.",
            code="domain_in_use",
            mailbox_id=mailbox.pk,
        )
    auditing.record("domain.removed", domain, key)
    domain.delete()


def _domain_conflict(name: str) -> Conflict:
    return Conflict(f"{name} belongs to another account.", code="domain_taken")


def clean_domain(text: str) -> str:
    """Return the domain in `text` in lower-case ASCII. Raises ValueError with a
    sentence.
    """
    domain = ascii_domain(text.strip())
    # One that cannot be read back is refused too.
    with suppress(idna.IDNAError):
        idna.decode(domain)
        if is_domain(domain):
            return domain
    raise ValueError("must be a domain such as example.com.")


def note_own_domain() -> None:
    """Note for the desk what this gateway does for the domain of the desk's mail."""
    name = own_domain().name
    domain = Domain.objects.active().filter(domain=name).first() or Domain()
    note = OwnDomain(
        name,
        selector=domain.dkim_selector if domain.dkim_verified_at else "",
        private_key=encrypt(domain.dkim_private_key),
        takes_mail=domain.is_right(MX),
    )
    cache.set(OWN_DOMAIN + name, note, NOTED_FOR)
