"""Asks DNS what it says of names; bounded in time and size, never in a transaction."""

import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import dns.exception
import dns.name
import dns.resolver
from django.conf import settings

# Of each question, all servers and repetitions together; and of all questions: a client waits for the answer meanwhile.
LIMIT = 3.0
LIMIT_OF_ALL = 8.0
_TRY = 1.0
# Whoever owns a domain decides how much its answers say.
_MOST_RECORDS, _MOST_TEXT = 50, 4_000
# A process has few threads, and whoever owns a domain decides how long its questions take.
asking = threading.Lock()

Question = tuple[str, str]


@dataclass(frozen=True)
class DnsAnswer:
    """What DNS says to one question, record by record; `problem` is a sentence where it could not be asked."""

    records: tuple[str, ...] = ()
    problem: str = ""


def look_up(questions: Iterable[Question]) -> dict[Question, DnsAnswer]:
    """Return what DNS says to each name and kind, TXT or MX; who comes while others ask is told to come again."""
    questions = list(dict.fromkeys(questions))
    if not asking.acquire(blocking=False):
        busy = DnsAnswer(problem="Another domain is being looked up at this moment. Try again in a few seconds.")
        return dict.fromkeys(questions, busy)
    try:
        ends = time.monotonic() + LIMIT_OF_ALL
        return {question: _ask(*question, seconds=min(LIMIT, ends - time.monotonic())) for question in questions}
    finally:
        asking.release()


def _ask(name: str, kind: str, *, seconds: float) -> DnsAnswer:
    if seconds <= 0:
        return DnsAnswer(problem=f"DNS was too slow to be asked about {name}. Try again later.")
    try:
        answer = _resolver(seconds).resolve(dns.name.from_text(f"{name}."), kind)
    except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
        # DNS did answer: there is no such name, or nothing of this kind at it.
        return DnsAnswer()
    except dns.exception.DNSException as error:
        return DnsAnswer(problem=f"DNS could not be asked about {name} ({type(error).__name__}). Try again later.")
    return DnsAnswer(tuple(_said(record, kind) for record in list(answer)[:_MOST_RECORDS]))


def _said(record: Any, kind: str) -> str:
    """Return the text of a record, or the host that takes mail, which is "." for none at all (RFC 7505)."""
    if kind == "MX":
        return str(record.exchange.to_text().lower())
    return b"".join(record.strings).decode("utf-8", "replace")[:_MOST_TEXT]


def _resolver(seconds: float) -> dns.resolver.Resolver:
    resolver = dns.resolver.Resolver(configure=settings.DNS_SERVER is None)
    if settings.DNS_SERVER is not None:
        address, resolver.port = settings.DNS_SERVER
        resolver.nameservers = [address]
    resolver.lifetime = seconds
    resolver.timeout = _TRY
    return resolver
