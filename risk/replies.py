"""The rule about where answers go."""

from collections.abc import Iterator

from common.fingerprint import Content
from risk.addresses import answered_to, bare_address, domain_of, is_kin, own_domains
from risk.findings import Finding, RiskContext, finding, one_word
from risk.places import at_address


def reply_elsewhere(content: Content, context: RiskContext) -> Iterator[Finding]:
    """A Reply-To at another domain than the sender's and one's own."""
    sender = domain_of(bare_address(content.sender))
    ours = own_domains(context)
    for address in answered_to(content):
        domain = domain_of(address)
        if not sender or is_kin(domain, sender) or domain in ours or any(is_kin(domain, own) for own in ours):
            continue
        is_known = bool(context.known_addresses.get(address.lower()))
        yield finding(
            "reply_elsewhere",
            "Answers go to another domain than the message comes from.",
            f"The message is from {sender}; answers go to {one_word(address)}{', which is known' if is_known else ''}.",
            (address,),
            "notice" if is_known else None,
            anchor=at_address(address),
        )
