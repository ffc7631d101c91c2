"""What the owner of a domain puts into DNS, and whether what stands there is that."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import ip_address
from urllib.parse import urlsplit

from django.conf import settings
from django.db.models import Q
from django.db.models.functions import Now

from gateway.dns_lookup import DnsAnswer
from gateway.models import DkimKey, Domain

PROOF = "countersign-domain="
OWNERSHIP, SPF, DMARC, MX = "ownership", "spf", "dmarc", "mx"
# A record of a key that signs no more is needed while mail that it signed may still be on its way.
OVERLAP = timedelta(days=7)


@dataclass(frozen=True)
class Record:
    """One record. `problem_with` says what is wrong with what DNS has in its place; empty: it is right."""

    key: str
    type: str
    name: str
    value: str
    purpose: str
    problem_with: Callable[[tuple[str, ...]], str]


def records_of(domain: Domain) -> list[Record]:
    """Return the records of a domain: ownership, DKIM, SPF, DMARC and, where a host can be named, MX."""
    name = domain.domain
    proof = f"{PROOF}{domain.token}"
    records = [
        Record(
            OWNERSHIP,
            "TXT",
            name,
            proof,
            "proves that the domain is yours",
            lambda found: "" if proof in found else f"No TXT record with the text {proof} was found at {name}.",
        )
    ]
    needed = Q(retired_at=None) | Q(retired_at__gt=Now() - OVERLAP)
    records += [_dkim(name, key) for key in domain.dkim_keys.filter(needed).order_by("pk")]
    records += [_spf(name), _dmarc(name)]
    host = _public_host(settings.PUBLIC_URL)
    return records + ([_mx(name, host)] if host and not _is_address(host) else [])


def problem_of(record: Record, found: DnsAnswer) -> str:
    """Return what is wrong with a record, as a sentence; empty: it is right."""
    if found.problem:
        return found.problem
    problem = record.problem_with(found.records)
    return f"{problem} A new record may take some time to be seen." if problem else ""


def dkim_name(key: DkimKey, domain: str) -> str:
    """Return the name at which DNS has a key."""
    return f"{key.selector}._domainkey.{domain}"


def _dkim(domain: str, key: DkimKey) -> Record:
    name, value = dkim_name(key, domain), f"v=DKIM1; k=rsa; p={key.public_key}"
    purpose = "signs the mail (DKIM)"
    if key.retired_at:
        purpose = "signed the mail until another key took over; can go within a week"

    def problem_with(found: tuple[str, ...]) -> str:
        published = [tags for text in found if (tags := _tags(text)).get("p") is not None]
        if not published:
            return "" if key.retired_at else f"No DKIM key was found at {name}."
        same = any("".join(tags["p"].split()) == key.public_key for tags in published)
        return "" if same else f"The DKIM key at {name} is another one."

    return Record(f"dkim:{key.selector}", "TXT", name, value, purpose, problem_with)


def _spf(domain: str) -> Record:
    host = _public_host(settings.EMAIL_URL)
    # Where the mail server has no public name, those that take the domain's mail may send it too.
    sender = _as_sender(host) if host else "mx"

    def problem_with(found: tuple[str, ...]) -> str:
        policies = [text for text in found if text.lower().split(" ")[0] == "v=spf1"]
        if len(policies) != 1:
            return f"{'Several SPF records were' if policies else 'No SPF record was'} found at {domain}."
        words = policies[0].lower().split()
        names_it = {sender, f"+{sender}"} & set(words)
        refers = any(word.lstrip("+").startswith(("include:", "redirect=")) for word in words)
        if names_it:
            return ""
        more = " What it refers to was not looked into." if refers else ""
        return f"The SPF record at {domain} does not name {sender}.{more}"

    return Record(SPF, "TXT", domain, f"v=spf1 {sender} ~all", "lets the mail server send for it (SPF)", problem_with)


def _dmarc(domain: str) -> Record:
    name = f"_dmarc.{domain}"

    def problem_with(found: tuple[str, ...]) -> str:
        has_policy = any(_tags(text).get("v") == "DMARC1" and "p" in _tags(text) for text in found)
        return "" if has_policy else f"No DMARC record was found at {name}."

    return Record(
        DMARC, "TXT", name, "v=DMARC1; p=none", "says what becomes of mail that is not signed (DMARC)", problem_with
    )


def _mx(domain: str, host: str) -> Record:
    def problem_with(found: tuple[str, ...]) -> str:
        exchanges = sorted(one.rstrip(".").lower() for one in found if one != ".")
        if not exchanges:
            return f"{domain} takes no mail: no MX record was found."
        return "" if host.lower() in exchanges else f"The mail for {domain} goes to {exchanges[0]}, not to {host}."

    return Record(MX, "MX", domain, host, "brings its mail to this gateway", problem_with)


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
        is_local = "." not in host or host.endswith((".localhost", ".local", ".internal"))
        return "" if is_local else host


def _as_sender(host: str) -> str:
    """Return how SPF names this host."""
    return f"ip{ip_address(host).version}:{host}" if _is_address(host) else f"a:{host}"


def _is_address(host: str) -> bool:
    """Whether it is a number and no name, as an MX record needs one."""
    try:
        return bool(ip_address(host))
    except ValueError:
        return False
