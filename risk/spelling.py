"""The rule about addresses that mislead: mail is sent on, there is no real domain, or the letters are foreign."""

import re
from collections.abc import Iterator
from itertools import islice

from common.fingerprint import Content
from common.mail_addresses import ascii_domain, names_next_hop
from rendering.links import unicode_host
from risk.addresses import domain_of, everyone_named, strangers
from risk.findings import Finding, RiskContext, finding, one_word
from risk.lookalikes import MAX_DOMAIN, has_mixed_scripts, passes_for_latin
from risk.places import at_address

MAX_NAMED = 20

# An IP address, in brackets or bare, also as one number (2130706433) and in hexadecimal.
_NUMBER = re.compile(r"\[.*|(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)")


def odd_addresses(content: Content, context: RiskContext) -> Iterator[Finding]:
    """Addresses that are not what they seem: of anybody by their form, of strangers by their letters."""
    yield from islice(_by_form(content), MAX_NAMED)
    yield from islice(_by_letters(content, context), MAX_NAMED)


def _by_form(content: Content) -> Iterator[Finding]:
    for who, address in everyone_named(content):
        domain = ascii_domain(domain_of(address))
        if names_next_hop(address):
            sentence = f"A {who}'s address has % or ! before the @, so the mail may be sent on to somebody else."
        elif _NUMBER.fullmatch(domain):
            sentence = f"A {who}'s address has a number in place of a domain."
        elif domain and "." not in domain:
            sentence = f"A {who}'s address has a single name in place of a domain."
        else:
            continue
        yield finding("odd_address", sentence, f"{one_word(address)}.", (address,), anchor=at_address(address))


def _by_letters(content: Content, context: RiskContext) -> Iterator[Finding]:
    for who, address in strangers(content, context):
        local, domain = address.rpartition("@")[0], domain_of(address)
        if address.isascii() and "xn--" not in domain:
            continue
        places = ((domain, "domain"), (local, "name before the @"))
        if odd := next((place for text, place in places if has_mixed_scripts(text)), ""):
            yield _odd(who, address, f"A {who}'s {odd} mixes letters of different scripts.")
        elif odd := next((place for text, place in places if passes_for_latin(text)), ""):
            yield _odd(who, address, f"A {who}'s {odd} is written in letters that pass for Latin ones.")
        elif unicode_host(domain) != domain or not domain.isascii():
            yield _odd(who, address, f"A {who}'s domain has letters outside plain Latin.", is_milder=True)


def _odd(who: str, address: str, sentence: str, *, is_milder: bool = False) -> Finding:
    level = "notice" if is_milder else None
    detail = f"{one_word(address)} reads as {spelled_both_ways(one_word(address))}."
    return finding("odd_address", sentence, detail, (address,), level, anchor=at_address(address))  # type: ignore[arg-type]


def spelled_both_ways(address: str) -> str:
    """Return the address as people read it, and the domain as computers look it up."""
    local, _, domain = address.rpartition("@")
    read = unicode_host(domain)
    if len(read) > MAX_DOMAIN:
        return f"{local}@{read[:MAX_DOMAIN]}…"
    labels = (
        label if label.isascii() else "xn--" + label.encode("punycode").decode("ascii") for label in read.split(".")
    )
    return f"{local}@{read}, which is looked up as {'.'.join(labels)}"
