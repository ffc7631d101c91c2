"""Reads the addresses of a message, and has the checks about them: unknown, resembling,
too many or not allowed recipients, oddly written addresses, and replies that go
elsewhere. Without patterns: pages and workers read addresses too.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence

from common.ascii import lowered
from common.domains import registered_domain
from common.fingerprint import Content, normalise_address
from common.mail_addresses import RUN_REASON, ascii_domain, may_be_run, names_next_hop
from rendering import RenderedMessage
from rendering.links import in_punycode, unicode_host
from risk.findings import (
    ADDRESSES,
    Finding,
    RiskContext,
    address_anchor,
    counted,
    finding,
    one_word,
)
from risk.lookalikes import (
    MAX_DOMAIN,
    PROVIDERS,
    has_mixed_scripts,
    is_one_slip_apart,
    lookalike_of,
    looks_of,
    passes_for_latin,
)


def bare_address(address: str) -> str:
    """Return the address itself, without a display name, normalised."""
    return normalise_address(_split(address)[1])


def shown_name(address: str) -> str:
    """Return the display name before an address; empty if there is none."""
    return _split(address)[0].strip().strip("\"'").strip()[:1000]


# Returns the name and the address of "Name <address>"; else the text as the address.
def _split(address: str) -> tuple[str, str]:
    written = address.rstrip()
    name, sign, bare = written[:-1].rpartition("<")
    is_named = sign and written.endswith(">") and ">" not in bare and len(bare) < 1000
    return (name, bare) if is_named else ("", address)


def everybody(content: Content) -> tuple[str, ...]:
    """Return each address that gets the message, also copies that the mailbox adds."""
    added = [
        content.additions.get(name, "")
        for name in ("auto_cc", "auto_bcc", "oversight_copy")
    ]
    extra = [part for text in added for part in text.split(",")]
    addresses = map(bare_address, (*content.recipients, *extra))
    return tuple(dict.fromkeys(address for address in addresses if "@" in address))


def reply_addresses(content: Content) -> tuple[str, ...]:
    """Return the addresses of Reply-To."""
    addresses = (bare_address(part) for part in (content.reply_to or "").split(","))
    return tuple(dict.fromkeys(address for address in addresses if "@" in address))


def named_addresses(content: Content) -> Iterator[tuple[str, str, str]]:
    """Yield each address of the message, its display name, and what that name is."""
    sender = bare_address(content.sender)
    yield sender, content.sender_name or shown_name(content.sender), "sender's name"
    for address in (content.reply_to or "").split(","):
        yield bare_address(address), shown_name(address), "name in Reply-To"
    for address in content.recipients:
        yield bare_address(address), shown_name(address), "recipient's name"


def all_addresses(content: Content) -> Iterator[tuple[str, str]]:
    """Yield (whose, address) once for each address of the message; whose is
    "sender", "Reply-To" or "recipient".
    """
    whose = {
        bare_address(content.sender): "sender",
        **dict.fromkeys(reply_addresses(content), "Reply-To"),
    }
    whose |= dict.fromkeys(
        (a for a in everybody(content) if a not in whose), "recipient"
    )
    for address, who in whose.items():
        if "@" in address:
            yield who, address


def unknown_addresses(
    content: Content, context: RiskContext
) -> Iterator[tuple[str, str]]:
    """Yield (whose, address) once for each address that is neither known nor at one of
    the organisation's own domains.
    """
    ours = context.own_domains
    known = context.known_addresses
    for whose, address in all_addresses(content):
        if lowered(address) not in known and domain_of(address) not in ours:
            yield whose, address


def domain_of(address: str) -> str:
    """Return the domain of a normalised address. Of a text that is too long to be a
    domain, the end is returned, one character longer than a domain can be.
    """
    return address.rpartition("@")[2][-MAX_DOMAIN - 1 :]


def is_same_registrant(domain: str, other: str) -> bool:
    """Whether two domains belong to the same registered domain."""
    return registered_domain(domain) == registered_domain(other)


# More recipients than MANY make a finding, more than VERY_MANY a high one.
MANY = 10
VERY_MANY = 50

# How many unknown domains of a message are compared with the known ones; more would
# take too long.
MAX_COMPARED = 100
MAX_ADDRESSES = 1000
MAX_COLLEAGUES = 500


def lookalike_recipient(
    content: Content, rendered: RenderedMessage, context: RiskContext
) -> Iterator[Finding]:
    """Addresses that are nearly the same as a known address."""
    own = context.own_domains
    unknown = list(unknown_addresses(content, context))
    if not unknown:
        return
    known_by_domain = defaultdict[str, list[str]](list)
    for known_address in context.known_addresses:
        known_by_domain[domain_of(known_address)].append(known_address)
    domains = looks_of(own.union(map(registered_domain, known_by_domain)) - PROVIDERS)
    resembled: dict[str, str] = {}
    for who, address in unknown[:MAX_ADDRESSES]:
        domain = domain_of(address)
        if domain not in resembled and len(resembled) < MAX_COMPARED:
            resembled[domain] = (
                lookalike_of(domain, domains) if domain not in PROVIDERS else ""
            )
        if known_domain := resembled.get(domain, ""):
            whose = "your own domain" if known_domain in own else "one you write to"
            sentence = f"A {who}'s domain looks almost like {whose}."
            if known_domain in domain:
                sentence = f"A {who}'s domain contains {whose}, but is a different one."
            times = 0
            for known_address, number in context.known_addresses.items():
                if f".{domain_of(known_address)}".endswith(f".{known_domain}"):
                    times += number
            so_far = f", {counted(times, 'message')} so far" if times else ""
            yield finding(
                "lookalike_recipient",
                sentence,
                f"{one_word(address)} is not {one_word(known_domain)}{so_far}.",
                (address, known_domain),
                anchor=address_anchor(address),
            )
        elif near := _near_person(
            lowered(address), known_by_domain[domain][:MAX_COLLEAGUES]
        ):
            yield finding(
                "lookalike_recipient",
                f"A {who}'s address is one letter away from a known one.",
                f"{one_word(address)} is new; {one_word(near)} is known.",
                (address, near),
                is_milder=True,
                anchor=address_anchor(address),
            )
    domains_of_all = {domain_of(address) for _, address in unknown}
    is_long = len(unknown) > MAX_ADDRESSES or len(domains_of_all) > MAX_COMPARED
    if domains and is_long:
        yield finding(
            "lookalike_recipient",
            "Not all addresses were compared with known ones.",
            f"They are at {counted(len(domains_of_all), 'unknown domain')}.",
            is_milder=True,
            anchor=ADDRESSES,
        )


def first_contact(
    content: Content, rendered: RenderedMessage, context: RiskContext
) -> Iterator[Finding]:
    """Recipients outside the own domains to whom nobody has written before; none while
    no address is known at all, as on a new desk.
    """
    known = context.known_addresses
    if not known:
        return
    ours = context.own_domains
    new = [
        address
        for address in everybody(content)
        if domain_of(address) not in ours and not known.get(lowered(address))
    ]
    if new:
        these = "this address" if len(new) == 1 else f"{len(new):,} of these addresses"
        more = f" and {len(new) - 3:,} more" if len(new) > 3 else ""
        yield finding(
            "first_contact",
            f"Nobody had written to {these} before this message.",
            f"{', '.join(map(one_word, new[:3]))}{more}.",
            new,
            anchor=address_anchor(new[0]) if len(new) == 1 else ADDRESSES,
        )


def many_recipients(
    content: Content, rendered: RenderedMessage, context: RiskContext
) -> Iterator[Finding]:
    """Messages to more than MANY people."""
    number = len(everybody(content))
    if number > MANY:
        fields = (("To", content.to), ("Cc", content.cc), ("Bcc", content.bcc))
        details = [f"{len(to):,} in {name}" for name, to in fields if to]
        yield finding(
            "many_recipients",
            f"This goes to {number:,} people.",
            f"{', '.join(details)}.",
            is_milder=number <= VERY_MANY,
            anchor=ADDRESSES,
        )


def _near_person(address: str, known: Sequence[str]) -> str:
    """Return the address among `known` that differs from this one by one letter before
    the @; empty if there is none. Other numbers (sales1, sales2) do not count.
    """
    local = address.rpartition("@")[0]
    if len(local) < 4:
        return ""
    for other in map(lowered, known):
        name = other.rpartition("@")[0]
        is_other_number = _without_digits(name) == _without_digits(local)
        if is_one_slip_apart(name, local) and not is_other_number:
            return other
    return ""


def _without_digits(text: str) -> str:
    return "".join(one for one in text if not one.isdecimal())


def odd_address(
    content: Content, rendered: RenderedMessage, context: RiskContext
) -> Iterator[Finding]:
    """Misleading addresses. The form of all addresses is checked, the characters only
    of unknown ones.
    """
    yield from _by_form(content)
    yield from _by_characters(content, context)


def _by_form(content: Content) -> Iterator[Finding]:
    for whose, address in all_addresses(content):
        domain = ascii_domain(domain_of(address))
        if names_next_hop(address):
            sentence = f"A {whose}'s address has % or ! before the @, so the mail may be forwarded to somebody else."
        elif may_be_run(address):
            sentence = f"A {whose}'s address is no ordinary one: {RUN_REASON}."
        elif _is_number(domain):
            sentence = f"A {whose}'s address has a number instead of a domain."
        elif domain and "." not in domain:
            sentence = f"A {whose}'s address has a single name instead of a domain."
        else:
            continue
        yield finding(
            "odd_address",
            sentence,
            f"{one_word(address)}.",
            (address,),
            anchor=address_anchor(address),
        )


def _is_number(domain: str) -> bool:
    """Whether a text in place of a domain is an IP address: in brackets or bare, also
    as one number (2130706433) or in hexadecimal.
    """
    last = domain.rpartition(".")[2]
    digits = last.removeprefix("0x")
    is_hexadecimal = digits != last and not digits.strip("0123456789abcdef")
    return domain.startswith("[") or is_hexadecimal or last.isdecimal()


def _by_characters(content: Content, context: RiskContext) -> Iterator[Finding]:
    for whose, address in unknown_addresses(content, context):
        local = address.rpartition("@")[0]
        domain = domain_of(address)
        if address.isascii() and "xn--" not in domain:
            continue
        parts = ((domain, "domain"), (local, "name before the @"))
        mixed = [part for text, part in parts if has_mixed_scripts(text)]
        latin = [part for text, part in parts if passes_for_latin(text)]
        if mixed:
            odd = f"{mixed[0]} mixes letters of different scripts"
        elif latin:
            odd = f"{latin[0]} is written in letters that look like Latin ones"
        elif unicode_host(domain) != domain or not domain.isascii():
            odd = "domain has non-Latin letters"
        else:
            continue
        shown = one_word(address)
        yield finding(
            "odd_address",
            f"A {whose}'s {odd}.",
            f"{shown} reads as {spelled_both_ways(shown)}.",
            (address,),
            is_milder=not mixed and not latin,
            anchor=address_anchor(address),
        )


def spelled_both_ways(address: str) -> str:
    """Return the address as people read it, followed by the domain in the ASCII form in
    which computers look it up.
    """
    local, _, domain = address.rpartition("@")
    read = unicode_host(domain)
    if len(read) > MAX_DOMAIN:
        return f"{local}@{read[:MAX_DOMAIN]}…"
    return f"{local}@{read}, which is looked up as {in_punycode(read)}"


def reply_elsewhere(
    content: Content, rendered: RenderedMessage, context: RiskContext
) -> Iterator[Finding]:
    """A Reply-To that is neither at the sender's domain nor at one of our own."""
    sender = domain_of(bare_address(content.sender))
    accepted = (sender, *context.own_domains)
    for address in reply_addresses(content):
        domain = domain_of(address)
        if not sender or any(is_same_registrant(domain, own) for own in accepted):
            continue
        is_known = bool(context.known_addresses.get(lowered(address)))
        yield finding(
            "reply_elsewhere",
            "Replies go to a different domain from the sender's.",
            f"The message is from {sender}; replies go to {one_word(address)}{', which is known' if is_known else ''}.",
            (address,),
            is_milder=is_known,
            anchor=address_anchor(address),
        )
