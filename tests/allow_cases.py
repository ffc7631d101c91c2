"""A table of which recipients an allowlist refuses. The tests of the desk and of the
gateway both use it, so that the two agree.
"""

from typing import NamedTuple

from simple_form.data import rows


class Case(NamedTuple):
    """One case: an allowlist with a mode and entries, the recipients of a message, and
    which of them are refused.

    `contacts` are the addresses that the account knows. `ends` maps an entry to the
    seconds until it ends. `is_no_address`: the gateway refuses the recipient already
    because it is no valid address.
    """

    mode: str
    entries: list[str]
    recipients: list[str]
    refused: list[str]
    contacts: list[str]
    ends: dict[str, int]
    is_no_address: bool


def _case(mode, entries, recipients, *more):
    entries = [] if entries == "-" else entries.split()
    named = recipients.split(", ")
    return Case(
        mode,
        [one.removesuffix(":ended") for one in entries],
        [one.removeprefix("✗ ") for one in named],
        [one.removeprefix("✗ ") for one in named if one.startswith("✗ ")],
        [one.removeprefix("knows ") for one in more if one.startswith("knows ")],
        {one.removesuffix(":ended"): -1 for one in entries if ":" in one},
        "no address" in more,
    )


# The mode, the entries, and the recipients; ✗ stands before whom the list refuses.
CASES = {
    name: _case(*columns)
    for name, *columns in rows("""
domain                   enforce   acme.com        ana@acme.com
domain beside            enforce   acme.com        ✗ ana@evilacme.com
domain below             enforce   acme.com        ✗ ana@sub.acme.com
domain in front          enforce   acme.com        ✗ ana@acme.com.evil.io
two signs                enforce   acme.com        ✗ a@acme.com@evil.io               no address
dot at the end           enforce   acme.com        ana@acme.com.
capitals                 enforce   acme.com        ANA@ACME.COM
with a name              enforce   acme.com        Ana Acme <ana@acme.com>
name that lies           enforce   acme.com        ✗ ana@acme.com <eve@evil.io>
sent on by %             enforce   acme.com        ✗ eve%evil.io@acme.com
sent on by !             enforce   *.acme.com      ✗ evil.io!eve@mx.acme.com
sent on, and a contact   contacts  acme.com        ✗ eve%evil.io@acme.com             knows eve%evil.io@acme.com
route                    enforce   acme.com        ✗ <@evil.io:ana@acme.com>          no address
address in brackets      enforce   acme.com        ✗ ana@[127.0.0.1]                  no address
address in numbers       contacts  acme.com        ✗ ana@10.0.0.1    knows ana@10.0.0.1    no address
single name              enforce   acme.com        ✗ root@localhost                   no address
plus is another person   enforce   ana@acme.com    ✗ ana+sales@acme.com
end of a name            enforce   ana@acme.com    ✗ joana@acme.com
star                     enforce   *@acme.com      ana@acme.com
subdomains               enforce   *.acme.com      ana@sub.acme.com, bo@a.b.acme.com
subdomains alone         enforce   *.acme.com      ✗ ana@acme.com
subdomains of another    enforce   *.acme.com      ✗ ana@evilacme.com
idn                      enforce   bücher.example  ana@xn--bcher-kva.example, bo@BÜCHER.example
idn and another dot      enforce   *.bücher.example jane@bücher。example
                                                   a@www.xn--bcher-kva.example, jane@bücher.example
idn look-alike           enforce   acme.com        ✗ ana@аcme.com
one of many              enforce   acme.com        ana@acme.com, ✗ eve@evil.io
nobody listed            enforce   -               ✗ ana@acme.com
over                     enforce   acme.com:ended  ✗ ana@acme.com
over, and another not    enforce   acme.com:ended ana@acme.com    ana@acme.com
off                      off       -               eve@evil.io
watching                 monitor   -               eve@evil.io
contact                  contacts  -               ana@acme.com                       knows ana@acme.com
contact's colleague      contacts  -               ✗ bo@acme.com                      knows ana@acme.com
contact or listed        contacts  evil.io         ana@acme.com, eve@evil.io          knows ana@acme.com
contact under enforce    enforce   -               ✗ ana@acme.com                     knows ana@acme.com
""")
}
