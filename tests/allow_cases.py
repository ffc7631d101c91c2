"""Whom allowlists let through, as one table: the desk and the gateway are both held to
it.

Each case: the mode, the entries (with the seconds until they end, where they do), the
contacts of the account, who it goes to, and who of them is refused. What the gateway
takes for no address at all it refuses in another way.
"""

from typing import NamedTuple

DAY = 86_400


class Case(NamedTuple):
    """One case; `ends` are the seconds from now at which an entry is over, by its
    pattern.
    """

    mode: str
    entries: tuple[str, ...]
    recipients: tuple[str, ...]
    refused: tuple[str, ...] = ()
    contacts: tuple[str, ...] = ()
    ends: dict[str, int] = {}
    is_no_address: bool = False


CASES: dict[str, Case] = {
    "domain": Case("enforce", ("acme.com",), ("ana@acme.com",)),
    "domain beside": Case(
        "enforce", ("acme.com",), ("ana@evilacme.com",), ("ana@evilacme.com",)
    ),
    "domain below": Case(
        "enforce", ("acme.com",), ("ana@sub.acme.com",), ("ana@sub.acme.com",)
    ),
    "domain in front": Case(
        "enforce", ("acme.com",), ("ana@acme.com.evil.io",), ("ana@acme.com.evil.io",)
    ),
    "two signs": Case(
        "enforce",
        ("acme.com",),
        ("a@acme.com@evil.io",),
        ("a@acme.com@evil.io",),
        is_no_address=True,
    ),
    "two signs, the other way": Case(
        "enforce",
        ("evil.io", "acme.com"),
        ("a@acme.com@evil.io",),
        ("a@acme.com@evil.io",),
        is_no_address=True,
    ),
    "dot at the end": Case("enforce", ("acme.com",), ("ana@acme.com.",)),
    "dot at the end of the entry": Case("enforce", ("acme.com.",), ("ana@acme.com",)),
    "capitals": Case("enforce", ("acme.com",), ("ANA@ACME.COM",)),
    "capitals in the entry": Case("enforce", ("Ana@Acme.Com",), ("ana@acme.com",)),
    "with a name": Case("enforce", ("acme.com",), ("Ana Acme <ana@acme.com>",)),
    "name that lies": Case(
        "enforce",
        ("acme.com",),
        ("ana@acme.com <eve@evil.io>",),
        ("ana@acme.com <eve@evil.io>",),
    ),
    "sent on by %": Case(
        "enforce", ("acme.com",), ("eve%evil.io@acme.com",), ("eve%evil.io@acme.com",)
    ),
    "sent on by !": Case(
        "enforce",
        ("*.acme.com",),
        ("evil.io!eve@mx.acme.com",),
        ("evil.io!eve@mx.acme.com",),
    ),
    "sent on, and a contact": Case(
        "contacts",
        ("acme.com",),
        ("eve%evil.io@acme.com",),
        ("eve%evil.io@acme.com",),
        ("eve%evil.io@acme.com",),
    ),
    "route": Case(
        "enforce",
        ("acme.com",),
        ("<@evil.io:ana@acme.com>",),
        ("<@evil.io:ana@acme.com>",),
        is_no_address=True,
    ),
    "address in brackets": Case(
        "enforce",
        ("acme.com",),
        ("ana@[127.0.0.1]",),
        ("ana@[127.0.0.1]",),
        is_no_address=True,
    ),
    "address in numbers": Case(
        "contacts",
        ("acme.com",),
        ("ana@10.0.0.1",),
        ("ana@10.0.0.1",),
        ("ana@10.0.0.1",),
        is_no_address=True,
    ),
    "address in one number": Case(
        "contacts",
        ("acme.com",),
        ("ana@2130706433",),
        ("ana@2130706433",),
        ("ana@2130706433",),
        is_no_address=True,
    ),
    "address in hexadecimal": Case(
        "enforce",
        ("acme.com",),
        ("a@10.0.0.0x1",),
        ("a@10.0.0.0x1",),
        is_no_address=True,
    ),
    "single name": Case(
        "enforce",
        ("acme.com",),
        ("root@localhost",),
        ("root@localhost",),
        is_no_address=True,
    ),
    "plus": Case("enforce", ("acme.com",), ("ana+sales@acme.com",)),
    "plus is another person": Case(
        "enforce", ("ana@acme.com",), ("ana+sales@acme.com",), ("ana+sales@acme.com",)
    ),
    "plus in the entry": Case(
        "enforce", ("ana+sales@acme.com",), ("ana@acme.com",), ("ana@acme.com",)
    ),
    "end of a name": Case(
        "enforce", ("ana@acme.com",), ("joana@acme.com",), ("joana@acme.com",)
    ),
    "dots in a name": Case(
        "enforce", ("ana.b@acme.com",), ("anab@acme.com",), ("anab@acme.com",)
    ),
    "star": Case("enforce", ("*@acme.com",), ("ana@acme.com",)),
    "star is no subdomain": Case(
        "enforce", ("*@acme.com",), ("ana@sub.acme.com",), ("ana@sub.acme.com",)
    ),
    "subdomains": Case(
        "enforce", ("*.acme.com",), ("ana@sub.acme.com", "bo@a.b.acme.com")
    ),
    "subdomains alone": Case(
        "enforce", ("*.acme.com",), ("ana@acme.com",), ("ana@acme.com",)
    ),
    "subdomains of another": Case(
        "enforce", ("*.acme.com",), ("ana@evilacme.com",), ("ana@evilacme.com",)
    ),
    "idn": Case(
        "enforce",
        ("bücher.example",),
        ("ana@xn--bcher-kva.example", "bo@BÜCHER.example"),
    ),
    "idn, its subdomains and another dot": Case(
        "enforce",
        ("*.bücher.example", "jane@bücher。example"),
        ("a@www.xn--bcher-kva.example", "jane@bücher.example"),
    ),
    "idn in ascii": Case(
        "enforce", ("xn--bcher-kva.example",), ("ana@bücher.example",)
    ),
    "idn look-alike": Case(
        "enforce", ("acme.com",), ("ana@аcme.com",), ("ana@аcme.com",)
    ),
    "idn without its dots": Case(
        "enforce", ("bücher.example",), ("ana@bucher.example",), ("ana@bucher.example",)
    ),
    "one of many": Case(
        "enforce", ("acme.com",), ("ana@acme.com", "eve@evil.io"), ("eve@evil.io",)
    ),
    "nobody listed": Case("enforce", (), ("ana@acme.com",), ("ana@acme.com",)),
    "over": Case(
        "enforce",
        ("acme.com",),
        ("ana@acme.com",),
        ("ana@acme.com",),
        ends={"acme.com": -1},
    ),
    "not over yet": Case(
        "enforce", ("acme.com",), ("ana@acme.com",), ends={"acme.com": DAY}
    ),
    "over, and another is not": Case(
        "enforce",
        ("acme.com", "ana@acme.com"),
        ("ana@acme.com",),
        ends={"acme.com": -1},
    ),
    "off": Case("off", (), ("eve@evil.io",)),
    "watching": Case("monitor", (), ("eve@evil.io",)),
    "contact": Case("contacts", (), ("ana@acme.com",), contacts=("ana@acme.com",)),
    "contact in capitals": Case(
        "contacts", (), ("ANA@Acme.com",), contacts=("ana@acme.com",)
    ),
    "contact's colleague": Case(
        "contacts", (), ("bo@acme.com",), ("bo@acme.com",), contacts=("ana@acme.com",)
    ),
    "contact or listed": Case(
        "contacts",
        ("evil.io",),
        ("ana@acme.com", "eve@evil.io"),
        contacts=("ana@acme.com",),
    ),
    "contact under enforce": Case(
        "enforce", (), ("ana@acme.com",), ("ana@acme.com",), contacts=("ana@acme.com",)
    ),
}
