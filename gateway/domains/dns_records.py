"""The records that the owner of a domain puts into DNS, and the comparison with what
DNS says.

Questions to DNS are bounded in time and size, and never asked in a transaction.
"""

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import ip_address
from urllib.parse import urlsplit

from django.conf import settings
from django.db.models import Q
from django.db.models.functions import Now

from gateway.models import DkimKey, Domain

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
    """A DNS record. `find_error` returns what is wrong with the texts found in DNS,
    empty where nothing is.
    """

    key: str
    type: str
    name: str
    value: str
    purpose: str
    find_error: Callable[[tuple[str, ...]], str]


def records_of(domain: Domain) -> list[Record]:
    """Return the records of a domain: ownership, DKIM, SPF, DMARC and, where a host can
    be named, MX.
    """
    name = domain.domain
    proof = f"{PROOF}{domain.token}"
    records = [
        Record(
            OWNERSHIP,
            "TXT",
            name,
            proof,
            "proves that the domain is yours",
            lambda found: (
                ""
                if proof in found
                else f"No TXT record with the text {proof} was found at {name}."
            ),
        )
    ]
    needed = Q(retired_at=None) | Q(retired_at__gt=Now() - OVERLAP)
    records += [
        _dkim(name, key) for key in domain.dkim_keys.filter(needed).order_by("pk")
    ]
    records += [_spf(name), _dmarc(name)]
    host = _public_host(settings.PUBLIC_URL)
    return records + ([_mx(name, host)] if host and not _is_address(host) else [])


def record_error(record: Record, found: DnsAnswer) -> str:
    """Return what is wrong with a record, as a sentence; empty: it is right."""
    if found.error:
        return found.error
    error = record.find_error(found.records)
    return f"{error} A new record can take some time to appear." if error else ""


def _dkim(domain: str, key: DkimKey) -> Record:
    name = f"{key.selector}._domainkey.{domain}"
    value = f"v=DKIM1; k=rsa; p={key.public_key}"
    purpose = "signs the mail (DKIM)"
    if key.retired_at:
        purpose = (
            "signed the mail until the key was rotated; can be removed after a week"
        )

    def find_error(found: tuple[str, ...]) -> str:
        published = [
            tags for text in found if (tags := _tags(text)).get("p") is not None
        ]
        if not published:
            return "" if key.retired_at else f"No DKIM key was found at {name}."
        same = any("".join(tags["p"].split()) == key.public_key for tags in published)
        return "" if same else f"The DKIM key at {name} is a different one."

    return Record(f"dkim:{key.selector}", "TXT", name, value, purpose, find_error)


def _spf(domain: str) -> Record:
    host = _public_host(settings.EMAIL_URL)
    # Without a public name of the mail server, the domain's MX hosts are named as
    # senders.
    sender = "mx"
    if host:
        sender = (
            f"ip{ip_address(host).version}:{host}" if _is_address(host) else f"a:{host}"
        )

    def find_error(found: tuple[str, ...]) -> str:
        policies = [text for text in found if text.lower().split(" ")[0] == "v=spf1"]
        if len(policies) != 1:
            return f"{'Several SPF records were' if policies else 'No SPF record was'} found at {domain}."
        words = policies[0].lower().split()
        names_it = {sender, f"+{sender}"} & set(words)
        refers = any(
            word.lstrip("+").startswith(("include:", "redirect=")) for word in words
        )
        if names_it:
            return ""
        more = " Records that it includes were not checked." if refers else ""
        return f"The SPF record at {domain} does not name {sender}.{more}"

    return Record(
        SPF,
        "TXT",
        domain,
        f"v=spf1 {sender} ~all",
        "lets the mail server send for it (SPF)",
        find_error,
    )


def _dmarc(domain: str) -> Record:
    name = f"_dmarc.{domain}"

    def find_error(found: tuple[str, ...]) -> str:
        has_policy = any(
            _tags(text).get("v") == "DMARC1" and "p" in _tags(text) for text in found
        )
        return "" if has_policy else f"No DMARC record was found at {name}."

    return Record(
        DMARC,
        "TXT",
        name,
        "v=DMARC1; p=none",
        "says what happens to mail that is not signed (DMARC)",
        find_error,
    )


def _mx(domain: str, host: str) -> Record:
    def find_error(found: tuple[str, ...]) -> str:
        exchanges = sorted(one.rstrip(".").lower() for one in found if one != ".")
        if not exchanges:
            return f"{domain} cannot receive mail: no MX record was found."
        return (
            ""
            if host.lower() in exchanges
            else f"The mail for {domain} goes to {exchanges[0]}, not to {host}."
        )

    return Record(
        MX, "MX", domain, host, "delivers its mail to this gateway", find_error
    )


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
