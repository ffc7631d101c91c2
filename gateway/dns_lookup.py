"""Asks DNS what it says of a domain: its texts, and whether it takes mail; bounded in time, never in a transaction."""

import threading
from dataclasses import dataclass
from typing import Any

import dns.exception
import dns.name
import dns.resolver
from django.conf import settings

# Of each question, all servers and repetitions together: a client waits for the answer meanwhile.
LIMIT = 3.0
_TRY = 1.0
# A process has few threads, and whoever owns a domain decides how long its questions take.
asking = threading.Lock()


@dataclass(frozen=True)
class Findings:
    """What DNS says; `problem` is a sentence when it could not be asked."""

    texts: tuple[str, ...] = ()
    takes_mail: bool = False
    problem: str = ""

    @property
    def has_spf(self) -> bool:
        """Whether the domain publishes who may send for it. Whether that names our server is not judged."""
        return any(text.lower().split(" ")[0] == "v=spf1" for text in self.texts)


def look_up(domain: str) -> Findings:
    """Return what DNS says of `domain`; one question at a time, and who comes meanwhile is told to come again."""
    if not asking.acquire(blocking=False):
        return Findings(problem="Another domain is being looked up at this moment. Try again in a few seconds.")
    try:
        return _looked_up(domain)
    finally:
        asking.release()


def _looked_up(domain: str) -> Findings:
    try:
        resolver = _resolver()
        texts = tuple(b"".join(record.strings).decode("utf-8", "replace") for record in _ask(resolver, domain, "TXT"))
        # A lone dot says that the domain takes no mail at all (RFC 7505).
        takes_mail = any(record.exchange != dns.name.root for record in _ask(resolver, domain, "MX"))
    except dns.exception.DNSException as error:
        return Findings(problem=f"DNS could not be asked about {domain} ({type(error).__name__}). Try again later.")
    return Findings(texts=texts, takes_mail=takes_mail)


def _resolver() -> dns.resolver.Resolver:
    resolver = dns.resolver.Resolver(configure=settings.DNS_SERVER is None)
    if settings.DNS_SERVER is not None:
        address, resolver.port = settings.DNS_SERVER
        resolver.nameservers = [address]
    resolver.lifetime = LIMIT
    resolver.timeout = _TRY
    return resolver


def _ask(resolver: dns.resolver.Resolver, domain: str, kind: str) -> list[Any]:
    try:
        return list(resolver.resolve(dns.name.from_text(f"{domain}."), kind))
    except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
        # DNS did answer: there is no such name, or nothing of this kind at it.
        return []
