"""Addresses and the grammar of allowlists: what is taken, however it is written. Whom
an entry lets through is in tests/allow_cases.py.
"""

import pytest

from common.mail_addresses import clean_address, clean_addresses
from common.patterns import MAX_PATTERN, read_pattern, stored_pattern

NO_ADDRESSES = (
    "", "a", "@x.example", "a@x", "a@acme.com@evil.io", "a b@x.example", "a@x.example>",
    "a@x.example\r\nBcc: b@x.example", "a@x.example\x00", "<a@x.example> <b@x.example>", '"a b"@x.example',
    "a@evil.example <b@x.example> c",
    "é@x.example", "a..b@x.example", "a@-x.example", "a@[127.0.0.1]", "a@10.0.0.1", "a@127.1", "a@2130706433",
    "a@0x7f.0.0.0x1", "a@x.0x", "a@localhost", "-oQ@x.example", "<-bs@x.example>", "|cmd@x.example", "`id`@x.example",
    "${run{id}}@x.example", "/etc/passwd@x.example", ":include:/etc/passwd@x.example", '"|cmd"@x.example',
    "\\|cmd@x.example", "｜cmd@x.example", "－oQ@x.example", "a\r\n\x1b[31m",
    f"{'a' * 65}@x.example", f"a@{'x' * 64}.example", f"a@{'x.' * 130}example",
)  # fmt: skip
NO_ENTRIES = (
    "", "*", "*.", "*@", "**.x.example", "*.com", "com", "*@com", ".x.example", "@x.example", "*@*.x.example",
    "a.*.example", "x.*", "*x.example", "sales*@x.example", "*@a@x.example", "a b@x.example",
    "x .example", "a@x.example,b@x.example",
    "<jane@x.example>", "jane@*.x.example", "x.example\nevil.example", "x.example/../y", "a%b@x.example",
    "x.example!a@y.example", "-oQ@x.example", "|cmd@x.example", "10.0.0.1", "*.0.0.1", "x.0x1", "localhost",
    "http://x.example", "-x.example", "x_y.example", "\ud800.example", "a" * 64 + ".example", "x." * 200 + "example",
)  # fmt: skip


def test_clean_address_returns_the_bare_form():
    for text, bare in {
        " A.b+c@X.Example. ": "A.b+c@x.example",
        '"Doe, Jane" <jane@x.example>': "jane@x.example",
        "jane@bücher.example": "jane@xn--bcher-kva.example",
        "o'hara-de.la+r&d/y=z_1~@x.example": "o'hara-de.la+r&d/y=z_1~@x.example",
    }.items():
        assert clean_address(text) == bare
    assert clean_addresses("a@x.example, b@x.example,, a@X.example") == [
        "a@x.example",
        "b@x.example",
    ]


def test_clean_address_refuses_what_is_none_and_shows_no_control_characters():
    for text in NO_ADDRESSES:
        with pytest.raises(ValueError, match="email address") as caught:
            clean_address(text)
        assert not {"\r", "\n", "\x1b", "\x00"} & set(str(caught.value)), text
    for value in (5, {"a": 1}, [["a@x.example"]]):
        with pytest.raises(ValueError, match="must be an address"):
            clean_addresses(value)


def test_hostile_entry_is_refused_and_named():
    for pattern in NO_ENTRIES:
        with pytest.raises(ValueError, match=r"domain|too long|command|%") as caught:
            read_pattern(pattern)
        assert "\n" not in str(caught.value)
        assert str(caught.value).startswith(ascii(pattern.strip()[:80]))
    # One that was stored can be taken out.
    assert stored_pattern("Eve%a@x.example") == "Eve%a@x.example"
    assert read_pattern(" *@Bücher。Example. ") == "xn--bcher-kva.example"
    # A row holds so many characters.
    labels = ".".join(["a" * 63] * 3)
    assert len(read_pattern(f"*.{labels}.{'b' * 60}")) == MAX_PATTERN
    with pytest.raises(ValueError, match="none of"):
        read_pattern(f"*.{labels}.{'b' * 61}")
