"""Reads the addresses of a message: its recipients, its sender, and their display
names.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from common.domains import registered_domain
from common.fingerprint import Content, normalise_address
from risk.findings import RiskContext
from risk.lookalikes import MAX_DOMAIN

_ADDRESS = re.compile(r"<([^<>]*)>\s*$")


@dataclass(frozen=True)
class NamedAddress:
    """An address with its display name, and whose it is: "sender", "Reply-To" or
    "recipient".
    """

    address: str
    name: str
    whose: str


def bare_address(address: str) -> str:
    """Return the address itself, without a display name, normalised."""
    found = _ADDRESS.search(address[-1000:])
    return normalise_address(found.group(1) if found else address)


def shown_name(address: str) -> str:
    """Return the display name before an address; empty when there is none."""
    found = _ADDRESS.search(address[-1000:])
    return (
        address[: -len(found.group())].strip().strip("\"'").strip()[:1000]
        if found
        else ""
    )


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


def named_addresses(content: Content) -> Iterator[NamedAddress]:
    """Yield every address of the message with its display name."""
    yield NamedAddress(
        bare_address(content.sender),
        content.sender_name or shown_name(content.sender),
        "sender",
    )
    for address in (content.reply_to or "").split(",")[:20]:
        yield NamedAddress(bare_address(address), shown_name(address), "Reply-To")
    for address in content.recipients:
        yield NamedAddress(bare_address(address), shown_name(address), "recipient")


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
