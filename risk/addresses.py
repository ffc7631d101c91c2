"""The addresses of a message, and checks of them: who it goes to, who it is from, and
how their addresses and names are written.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import islice

from common.domains import registered_domain
from common.fingerprint import Content, normalise_address
from common.mail_addresses import RUN_REASON, ascii_domain, may_be_run, names_next_hop
from rendering import RenderedMessage
from rendering.links import find_hosts, in_punycode, readable, unicode_host
from risk.findings import (
    ADDRESSES,
    Finding,
    RiskContext,
    address_anchor,
    counted,
    finding,
    one_word,
    quoted,
)
from risk.lookalikes import (
    MAX_DOMAIN,
    PROVIDERS,
    KnownDomains,
    has_mixed_scripts,
    is_one_slip_apart,
    lookalike_of,
    passes_for_latin,
)

_ADDRESS = re.compile(r"<([^<>]*)>\s*$")


def bare_address(address: str) -> str:
    """Return the address itself, without a display name, normalised."""
    found = _ADDRESS.search(address[-1000:])
    return normalise_address(found.group(1) if found else address)


def shown_name(address: str) -> str:
    """Return the display name before an address; empty when there is none."""
    found = _ADDRESS.search(address[-1000:])
    name = address[: -len(found[0])] if found else ""
    return name.strip().strip("\"'").strip()[:1000]


def everybody(content: Content) -> tuple[str, ...]:
    """Return each distinct address that gets the message, those that the mailbox adds
    included.
    """
    added = [
        content.additions.get(name, "")
        for name in ("auto_cc", "auto_bcc", "oversight_copy")
    ]
    extra = [part for text in added for part in text.split(",")]
    addresses = map(bare_address, (*content.recipients, *extra))
    return tuple(dict.fromkeys(address for address in addresses if "@" in address))


def reply_addresses(content: Content) -> tuple[str, ...]:
    """Return the addresses that answers go to instead of the sender's."""
    found = (bare_address(part) for part in (content.reply_to or "").split(","))
    return tuple(dict.fromkeys(address for address in found if "@" in address))[:20]


def named_addresses(content: Content) -> Iterator[tuple[str, str, str]]:
    """Yield every address of the message with its display name, and whose it is:
    "sender", "Reply-To" or "recipient".
    """
    sender = bare_address(content.sender)
    yield sender, content.sender_name or shown_name(content.sender), "sender"
    for address in (content.reply_to or "").split(",")[:20]:
        yield bare_address(address), shown_name(address), "Reply-To"
    for address in content.recipients:
        yield bare_address(address), shown_name(address), "recipient"


def all_addresses(content: Content) -> Iterator[tuple[str, str]]:
    """Yield (whose, address) of each distinct address of the message, sender included."""
    whose = {
        bare_address(content.sender): "sender",
        **dict.fromkeys(reply_addresses(content), "Reply-To"),
    }
    whose |= dict.fromkeys(
        (a for a in everybody(content) if a not in whose), "recipient"
    )
    yield from ((who, address) for address, who in whose.items() if "@" in address)


def unknown_addresses(
    content: Content, context: RiskContext
) -> Iterator[tuple[str, str]]:
    """Yield (whose, address) of each distinct address that is neither known nor of an
    own domain.
    """
    ours = own_domains(context)
    known = context.known_addresses
    for who, address in all_addresses(content):
        if address.lower() not in known and domain_of(address) not in ours:
            yield who, address


def own_domains(context: RiskContext) -> frozenset[str]:
    """Return our own domains in one spelling."""
    return frozenset(domain.lower().rstrip(".") for domain in context.own_domains)


def domain_of(address: str) -> str:
    """Return the domain of a normalised address; of one too long to be a domain, its
    end.
    """
    return address.rpartition("@")[2][-MAX_DOMAIN - 1 :]


def is_same_registrant(domain: str, other: str) -> bool:
    """Whether two domains belong to the same registered domain."""
    return registered_domain(domain) == registered_domain(other)


MANY = 10
VERY_MANY = 50

# A message to more unknown domains than this is one mass mail; comparing each with each
# would take too long.
MAX_COMPARED = 100
MAX_ADDRESSES = 1000
MAX_COLLEAGUES = 500


def lookalike_recipient(
    content: Content, rendered: RenderedMessage, context: RiskContext
) -> Iterator[Finding]:
    """Addresses that are nearly the same as a known address."""
    ours = own_domains(context)
    unknown = list(islice(unknown_addresses(content, context), MAX_ADDRESSES))
    if not unknown:
        return
    people = defaultdict[str, list[str]](list)
    for known in context.known_addresses:
        people[domain_of(known)].append(known)
    domains = KnownDomains((ours | set(map(registered_domain, people))) - PROVIDERS)
    kin: dict[str, str] = {}
    for who, address in unknown:
        domain = domain_of(address)
        if domain not in kin and len(kin) < MAX_COMPARED:
            kin[domain] = (
                lookalike_of(domain, domains) if domain not in PROVIDERS else ""
            )
        if found := kin.get(domain, ""):
            whose = "your own domain" if found in ours else "one you write to"
            sentence = f"A {who}'s domain looks almost like {whose}."
            if found in domain:
                sentence = f"A {who}'s domain contains {whose}, but is a different one."
            times = 0
            for known, number in context.known_addresses.items():
                if f".{domain_of(known)}".endswith(f".{found}"):
                    times += number
            so_far = f", {counted(times, 'message')} so far" if times else ""
            yield finding(
                "lookalike_recipient",
                sentence,
                f"{one_word(address)} is not {one_word(found)}{so_far}.",
                (address, found),
                anchor=address_anchor(address),
            )
        elif near := _near_person(address.lower(), people[domain][:MAX_COLLEAGUES]):
            yield finding(
                "lookalike_recipient",
                f"A {who}'s address is one letter away from a known one.",
                f"{one_word(address)} is new; {one_word(near)} is known.",
                (address, near),
                is_milder=True,
                anchor=address_anchor(address),
            )


def first_contact(
    content: Content, rendered: RenderedMessage, context: RiskContext
) -> Iterator[Finding]:
    """Recipients outside that nobody has written to before."""
    known = context.known_addresses
    if not known:
        return
    ours = own_domains(context)
    new = [
        address
        for address in everybody(content)
        if domain_of(address) not in ours and not known.get(address.lower())
    ]
    these = "this address" if len(new) == 1 else f"{len(new):,} of these addresses"
    yield from _about(new, "first_contact", f"Nobody has written to {these} before.")


def off_allowlist(
    content: Content, rendered: RenderedMessage, context: RiskContext
) -> Iterator[Finding]:
    """Recipients that no allowlist names as the lists stood when the message was read."""
    off = [bare_address(address) for address in context.off_list or context.watched]
    these = "This recipient was" if len(off) == 1 else f"{len(off):,} recipients were"
    sentence = f"{these} on no allowlist when the message was checked."
    yield from _about(off, "off_allowlist", sentence, is_milder=not context.off_list)


def _about(
    addresses: Sequence[str], rule: str, sentence: str, *, is_milder: bool = False
) -> Iterator[Finding]:
    """Yield one finding about these addresses, which leads to the address where there
    is only one.
    """
    if addresses:
        rest = len(addresses) - 3
        detail = ", ".join(map(one_word, addresses[:3])) + (
            f" and {rest:,} more" if rest > 0 else ""
        )
        anchor = address_anchor(addresses[0]) if len(addresses) == 1 else ADDRESSES
        yield finding(
            rule, sentence, f"{detail}.", addresses, is_milder=is_milder, anchor=anchor
        )


def many_recipients(
    content: Content, rendered: RenderedMessage, context: RiskContext
) -> Iterator[Finding]:
    """Messages to more people than an ordinary message goes to."""
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
    """Return a known address at the same domain whose name is one letter away; numbered
    ones (sales2) do not count.
    """
    local = address.rpartition("@")[0]
    if len(local) < 4:
        return ""
    for other in map(str.lower, known):
        name = other.rpartition("@")[0]
        is_other_number = re.sub(r"\d", "", name) == re.sub(r"\d", "", local)
        if is_one_slip_apart(name, local) and not is_other_number:
            return other
    return ""


# Names of products rather than of domains.
_NO_DOMAINS = frozenset({"cs", "ai"})


def name_says_address(
    content: Content, rendered: RenderedMessage, context: RiskContext
) -> Iterator[Finding]:
    """Display names that contain a mail address or a domain other than their own
    address's.
    """
    for address, name, whose in named_addresses(content):
        domain = domain_of(address)
        hosts = find_hosts(readable(name))
        claims = [
            one.host
            for one in hosts
            if one.host.rpartition(".")[2] not in _NO_DOMAINS
            and not is_same_registrant(one.host, domain)
        ]
        is_milder = True
        if mail := next((one.text for one in hosts if one.local), ""):
            claimed = normalise_address(mail).lower()
            claims = [claimed] if claimed != address.lower() else []
            is_milder = domain_of(claimed) == domain
        if claims and "@" in address:
            whose_name = (
                f"{whose}'s name" if whose != "Reply-To" else "name in Reply-To"
            )
            yield finding(
                "name_says_address",
                f"The {whose_name} shows a different address from the real one.",
                f"The name is {quoted(name)}; the address is {one_word(address)}.",
                (address, claims[0]),
                is_milder=is_milder,
                anchor=address_anchor(address),
            )


# An IP address, in brackets or bare, also as one number (2130706433) and in
# hexadecimal.
_NUMBER = re.compile(r"\[.*|(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)")


def odd_address(
    content: Content, rendered: RenderedMessage, context: RiskContext
) -> Iterator[Finding]:
    """Misleading addresses: by their form for anybody, by their characters for unknown
    people.
    """
    yield from _by_form(content)
    yield from _by_characters(content, context)


def _by_form(content: Content) -> Iterator[Finding]:
    for who, address in all_addresses(content):
        domain = ascii_domain(domain_of(address))
        if names_next_hop(address):
            sentence = f"A {who}'s address has % or ! before the @, so the mail may be forwarded to somebody else."
        elif may_be_run(address):
            sentence = f"A {who}'s address is no ordinary one: {RUN_REASON}."
        elif _NUMBER.fullmatch(domain):
            sentence = f"A {who}'s address has a number instead of a domain."
        elif domain and "." not in domain:
            sentence = f"A {who}'s address has a single name instead of a domain."
        else:
            continue
        yield finding(
            "odd_address",
            sentence,
            f"{one_word(address)}.",
            (address,),
            anchor=address_anchor(address),
        )


def _by_characters(content: Content, context: RiskContext) -> Iterator[Finding]:
    for who, address in unknown_addresses(content, context):
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
        one = one_word(address)
        yield finding(
            "odd_address",
            f"A {who}'s {odd}.",
            f"{one} reads as {spelled_both_ways(one)}.",
            (address,),
            is_milder=not mixed and not latin,
            anchor=address_anchor(address),
        )


def spelled_both_ways(address: str) -> str:
    """Return the address as people read it, and the domain as computers look it up."""
    local, _, domain = address.rpartition("@")
    read = unicode_host(domain)
    if len(read) > MAX_DOMAIN:
        return f"{local}@{read[:MAX_DOMAIN]}…"
    return f"{local}@{read}, which is looked up as {in_punycode(read)}"


def reply_elsewhere(
    content: Content, rendered: RenderedMessage, context: RiskContext
) -> Iterator[Finding]:
    """A Reply-To at another domain than the sender's and one's own."""
    sender = domain_of(bare_address(content.sender))
    ours = own_domains(context)
    for address in reply_addresses(content):
        domain = domain_of(address)
        if not sender or any(
            is_same_registrant(domain, own) for own in (sender, *ours)
        ):
            continue
        is_known = bool(context.known_addresses.get(address.lower()))
        yield finding(
            "reply_elsewhere",
            "Replies go to a different domain from the sender's.",
            f"The message is from {sender}; replies go to {one_word(address)}{', which is known' if is_known else ''}.",
            (address,),
            is_milder=is_known,
            anchor=address_anchor(address),
        )
