"""A table of which recipients an allowlist refuses. The tests of the desk and of the
gateway both use it, so that the two agree.
"""

from typing import NamedTuple

DAY = 86_400


class Case(NamedTuple):
    """One case: an allowlist with a mode and entries, the recipients of a message, and
    which of them are refused.

    `contacts` are the addresses that the account knows. `ends` maps an entry to the
    seconds until it ends. `is_no_address`: the gateway refuses the recipient already
    because it is no valid address.
    """

    mode: str
    entries: tuple[str, ...]
    recipients: tuple[str, ...]
    refused: tuple[str, ...] = ()
    contacts: tuple[str, ...] = ()
    ends: dict[str, int] = {}
    is_no_address: bool = False


def allows(entries, *recipients, mode="enforce", **more):
    """Return the case that a list with these entries (a string) refuses nobody."""
    return Case(mode, tuple(entries.split()), recipients, **more)


def refuses(entries, *recipients, mode="enforce", **more):
    """Return the case that a list with these entries (a string) refuses everybody."""
    return Case(mode, tuple(entries.split()), recipients, recipients, **more)


CASES = {
    "domain": allows("acme.com", "ana@acme.com"),
    "domain beside": refuses("acme.com", "ana@evilacme.com"),
    "domain below": refuses("acme.com", "ana@sub.acme.com"),
    "domain in front": refuses("acme.com", "ana@acme.com.evil.io"),
    "two signs": refuses("acme.com", "a@acme.com@evil.io", is_no_address=True),
    "dot at the end": allows("acme.com", "ana@acme.com."),
    "capitals": allows("acme.com", "ANA@ACME.COM"),
    "with a name": allows("acme.com", "Ana Acme <ana@acme.com>"),
    "name that lies": refuses("acme.com", "ana@acme.com <eve@evil.io>"),
    "sent on by %": refuses("acme.com", "eve%evil.io@acme.com"),
    "sent on by !": refuses("*.acme.com", "evil.io!eve@mx.acme.com"),
    "sent on, and a contact": refuses(
        "acme.com",
        "eve%evil.io@acme.com",
        mode="contacts",
        contacts=("eve%evil.io@acme.com",),
    ),
    "route": refuses("acme.com", "<@evil.io:ana@acme.com>", is_no_address=True),
    "address in brackets": refuses("acme.com", "ana@[127.0.0.1]", is_no_address=True),
    "address in numbers": refuses(
        "acme.com",
        "ana@10.0.0.1",
        mode="contacts",
        contacts=("ana@10.0.0.1",),
        is_no_address=True,
    ),
    "single name": refuses("acme.com", "root@localhost", is_no_address=True),
    "plus is another person": refuses("ana@acme.com", "ana+sales@acme.com"),
    "end of a name": refuses("ana@acme.com", "joana@acme.com"),
    "star": allows("*@acme.com", "ana@acme.com"),
    "subdomains": allows("*.acme.com", "ana@sub.acme.com", "bo@a.b.acme.com"),
    "subdomains alone": refuses("*.acme.com", "ana@acme.com"),
    "subdomains of another": refuses("*.acme.com", "ana@evilacme.com"),
    "idn": allows("bücher.example", "ana@xn--bcher-kva.example", "bo@BÜCHER.example"),
    "idn, its subdomains and another dot": allows(
        "*.bücher.example jane@bücher。example",
        "a@www.xn--bcher-kva.example",
        "jane@bücher.example",
    ),
    "idn look-alike": refuses("acme.com", "ana@аcme.com"),
    "one of many": Case(
        "enforce", ("acme.com",), ("ana@acme.com", "eve@evil.io"), ("eve@evil.io",)
    ),
    "nobody listed": refuses("", "ana@acme.com"),
    "over": refuses("acme.com", "ana@acme.com", ends={"acme.com": -1}),
    "over, and another is not": allows(
        "acme.com ana@acme.com", "ana@acme.com", ends={"acme.com": -1}
    ),
    "off": allows("", "eve@evil.io", mode="off"),
    "watching": allows("", "eve@evil.io", mode="monitor"),
    "contact": allows("", "ana@acme.com", mode="contacts", contacts=("ana@acme.com",)),
    "contact's colleague": refuses(
        "", "bo@acme.com", mode="contacts", contacts=("ana@acme.com",)
    ),
    "contact or listed": allows(
        "evil.io",
        "ana@acme.com",
        "eve@evil.io",
        mode="contacts",
        contacts=("ana@acme.com",),
    ),
    "contact under enforce": refuses("", "ana@acme.com", contacts=("ana@acme.com",)),
}
