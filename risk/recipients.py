"""Rules about who gets the letter: look-alikes of known addresses, first contacts, large numbers, the allowlist."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import islice

from common.domains import registered_domain
from common.fingerprint import Content
from risk.addresses import bare_address, domain_of, everybody, own_domains, strangers
from risk.findings import Finding, RiskContext, counted, finding, one_word
from risk.lookalikes import PROVIDERS, Neighbours, is_one_slip_apart, resembles
from risk.places import ADDRESSES, at_address
from risk.rules import Level

MANY, VERY_MANY = 10, 50

# A letter to more unknown domains than this is one mass mail; comparing each with each would take too long.
MAX_COMPARED = 100
MAX_NAMED = 20
MAX_ADDRESSES = 1000
MAX_COLLEAGUES = 500


def lookalikes(content: Content, context: RiskContext) -> Iterator[Finding]:
    """Addresses that are almost, but not quite, somebody known."""
    return islice(_lookalikes(content, context), MAX_NAMED)


def _lookalikes(content: Content, context: RiskContext) -> Iterator[Finding]:
    ours = own_domains(context)
    unknown = list(islice(strangers(content, context), MAX_ADDRESSES))
    people = _people(context, {domain_of(address) for _, address in unknown})
    known = {registered_domain(domain_of(address)) for address in context.known_addresses}
    domains = Neighbours((ours | known) - PROVIDERS)
    kin: dict[str, str] = {}
    for who, address in unknown:
        domain = domain_of(address)
        if domain not in kin and len(kin) < MAX_COMPARED:
            kin[domain] = resembles(domain, domains) if domain not in PROVIDERS else ""
        if found := kin.get(domain, ""):
            yield _lookalike(who, address, found, context, ours)
        elif near := _near_person(address.lower(), people[domain]):
            yield finding(
                "lookalike_recipient",
                f"A {who}'s address is one letter from one that is known.",
                f"{one_word(address)} was never written to; {one_word(near)} was.",
                (address, near),
                level="notice",
                anchor=at_address(address),
            )


def first_contacts(content: Content, context: RiskContext) -> Iterator[Finding]:
    """Recipients outside that nobody has written to before."""
    if not context.known_addresses:
        return
    ours = own_domains(context)
    everyone = (a for a in everybody(content) if domain_of(a) not in ours)
    new = [address for address in everyone if not context.known_addresses.get(address.lower())]
    if len(new) == 1:
        sentence, anchor = "Nobody has written to this address before.", at_address(new[0])
        yield finding("first_contact", sentence, f"{one_word(new[0])}.", new, anchor=anchor)
    elif new:
        sentence = f"Nobody has written to {len(new):,} of these addresses before."
        yield finding("first_contact", sentence, f"{_some(new)}.", new, anchor=ADDRESSES)


def off_allowlist(content: Content, context: RiskContext) -> Iterator[Finding]:
    """Recipients that no allowlist names as the lists stood when the letter was read."""
    off = context.off_list or context.watched
    level: Level | None = None if context.off_list else "notice"
    named = [bare_address(address) for address in off]
    if len(named) == 1:
        sentence, anchor = "This recipient was on no allowlist when the message was read.", at_address(named[0])
        yield finding("off_allowlist", sentence, f"{one_word(named[0])}.", named, level, anchor=anchor)
    elif named:
        sentence = f"{len(named):,} recipients were on no allowlist when the message was read."
        yield finding("off_allowlist", sentence, f"{_some(named)}.", named, level, anchor=ADDRESSES)


def many(content: Content, context: RiskContext) -> Iterator[Finding]:
    """Letters to more people than an ordinary letter goes to."""
    number = len(everybody(content))
    if number <= MANY:
        return
    copies = ((len(content.to), "To"), (len(content.cc), "Cc"), (len(content.bcc), "Bcc"))
    detail = ", ".join(f"{count:,} in {name}" for count, name in copies if count)
    sentence = f"This goes to {counted(number, 'person', 'people')}."
    milder = None if number > VERY_MANY else "notice"
    yield finding("many_recipients", sentence, f"{detail}.", level=milder, anchor=ADDRESSES)  # type: ignore[arg-type]


def _people(context: RiskContext, domains: set[str]) -> dict[str, list[str]]:
    """Return the known people at these domains."""
    people: dict[str, list[str]] = defaultdict(list)
    for address in context.known_addresses:
        domain = domain_of(address)
        if domain in domains and len(people[domain]) < MAX_COLLEAGUES:
            people[domain].append(address.lower())
    return people


def _near_person(address: str, known: Iterable[str]) -> str:
    """Return a known address at the same domain whose name is one letter away; numbered ones (sales2) do not count."""
    local = address.rpartition("@")[0]
    if len(local) < 4:
        return ""
    for other in known:
        name = other.rpartition("@")[0]
        if is_one_slip_apart(name, local) and re.sub(r"\d", "", name) != re.sub(r"\d", "", local):
            return other
    return ""


def _lookalike(who: str, address: str, kin: str, context: RiskContext, ours: frozenset[str]) -> Finding:
    times = sum(n for a, n in context.known_addresses.items() if f".{domain_of(a)}".endswith(f".{kin}"))
    whose = "your own domain" if kin in ours else "one you write to"
    if kin in domain_of(address):
        sentence = f"A {who}'s domain has {whose} inside it, but is another one."
    else:
        sentence = f"A {who}'s domain is almost {whose}."
    known = f", {counted(times, 'message')} so far" if times else ""
    detail = f"{one_word(address)} is not {one_word(kin)}{known}."
    return finding("lookalike_recipient", sentence, detail, (address, kin), anchor=at_address(address))


def _some(addresses: list[str]) -> str:
    rest = len(addresses) - 3
    return ", ".join(map(one_word, addresses[:3])) + (f" and {rest:,} more" if rest > 0 else "")
