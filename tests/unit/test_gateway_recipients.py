"""Addresses and the grammar of allowlists: what is taken, however it is written. Whom
an entry lets through is in tests/allow_cases.py.
"""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from common.mail_addresses import clean_address, clean_addresses
from common.patterns import MAX_PATTERN, patterns_for, read_pattern, stored_pattern

LABELS = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)
# The last one is no number, so none is an IP address.
TOP_LEVELS = st.from_regex(r"[a-z]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)
DOMAINS = st.tuples(
    st.lists(LABELS, min_size=1, max_size=4).map(".".join), TOP_LEVELS
).map(".".join)
# No address has "=?" in it: it begins words in another alphabet. No entry has % or !,
# which name a next hop, and neither has what old mail servers run.
NAMES = st.from_regex(
    r"[A-Za-z0-9#&'+=?^_{}~][A-Za-z0-9#&'+/=?^_{}~-]{0,11}", fullmatch=True
).filter(lambda name: "=?" not in name)

NO_ADDRESSES = (
    "", "a", "@x.example", "a@", "a@x", "a@acme.com@evil.io", "a b@x.example", "a@x .example", "a@x.example>",
    "a@x.example\r\nBcc: b@x.example", "a@x.example\x00", "<a@x.example> <b@x.example>", '"a b"@x.example',
    "a@evil.example <b@x.example> c", "é@x.example", "a..b@x.example", "a@-x.example", "a@x..example", "a@[127.0.0.1]",
    "a@10.0.0.1", "a@127.1", "a@2130706433", "a@0x7f.0.0.0x1", "a@x.0x", "a@localhost",
    "-oQ@x.example", "-@x.example", "<-bs@x.example>", "|cmd@x.example", "a|b@x.example", "`id`@x.example",
    "${run{id}}@x.example", "$HOME@x.example", "/etc/passwd@x.example",
    ":include:/etc/passwd@x.example", '"|cmd"@x.example', "\\|cmd@x.example", "｜cmd@x.example", "－oQ@x.example",
    f"{'a' * 65}@x.example", f"a@{'x' * 64}.example", f"a@{'x.' * 130}example",
)  # fmt: skip
NO_ENTRIES = (
    "", " ", "*", "*.", "*@", "*.*", "**.x.example", "*.com", "com", "*@com", ".x.example", "x..example", "@x.example",
    "*@*.x.example", "*.*.x.example", "a.*.example", "x.*", "*x.example", "sales*@x.example", "*@a@x.example",
    "a@b@x.example", "a b@x.example", "x .example", "a@x.example b@x.example", "a@x.example,b@x.example",
    "Jane <jane@x.example>", "<jane@x.example>", "jane@*.x.example", "x.example\nevil.example", "x.example/../y",
    "a%b@x.example", "x.example!a@y.example", "-oQ@x.example", "|cmd@x.example", "$a@x.example",
    "10.0.0.1", "*.0.0.1", "a@10.0.0.1", "x.0x1", "localhost",
    "http://x.example", "-x.example", "x_y.example", "\ud800.example", "a" * 64 + ".example", "x." * 200 + "example",
)  # fmt: skip


def lets_through(pattern, address):
    return read_pattern(pattern) in patterns_for(clean_address(address))


def test_clean_address_returns_the_bare_form():
    bare = {
        "a@x.example": "a@x.example",
        " A.b+c@X.Example. ": "A.b+c@x.example",
        "Jane Doe <jane@x.example>": "jane@x.example",
        '"Doe, Jane" <jane@x.example>': "jane@x.example",
        "jane@bücher.example": "jane@xn--bcher-kva.example",
        "o'hara-de.la+r&d/y=z_1~@x.example": "o'hara-de.la+r&d/y=z_1~@x.example",
    }
    assert {text: clean_address(text) for text in bare} == bare
    assert clean_addresses("a@x.example, b@x.example,, a@X.example") == [
        "a@x.example",
        "b@x.example",
    ]


def test_clean_address_refuses_what_is_none_and_shows_no_control_characters():
    for text in (*NO_ADDRESSES, "a\r\n\x1b[31m"):
        with pytest.raises(
            ValueError, match=r"is not (?:an|accepted as an) email address"
        ) as caught:
            clean_address(text)
        assert not {"\r", "\n", "\x1b", "\x00"} & set(str(caught.value)), text
    for text in ("-oQ@x.example", "Jane <|cmd@x.example>"):
        with pytest.raises(
            ValueError,
            match="old mail servers may take the part before the @ for a command",
        ):
            clean_address(text)
    with pytest.raises(
        ValueError,
        match=r"'jörg@bücher.example' is not .* only ASCII is allowed before the @",
    ):
        clean_address("jörg@bücher.example")
    for value in (5, {"a": 1}, [1], [["a@x.example"]]):
        with pytest.raises(ValueError, match="must be an address"):
            clean_addresses(value)


def test_hostile_entry_is_refused_and_named():
    for pattern in NO_ENTRIES:
        with pytest.raises(
            ValueError,
            match=r"is none of name@domain|is too long|has % or !|for a command",
        ) as caught:
            read_pattern(pattern)
        assert "\n" not in str(caught.value)
        assert str(caught.value).startswith(ascii(pattern.strip()[:80]))


def test_stored_entry_that_names_a_next_hop_can_be_taken_out():
    assert [stored_pattern(one) for one in ("Eve%a@x.example", "X.Example.")] == [
        "Eve%a@x.example",
        "x.example",
    ]


def test_entry_that_a_row_cannot_hold_is_refused():
    labels = ".".join(["a" * 63] * 3)
    assert len(read_pattern(f"*.{labels}.{'b' * 60}")) == MAX_PATTERN
    with pytest.raises(ValueError, match="none of"):
        read_pattern(f"*.{labels}.{'b' * 61}")


@given(st.text(max_size=60) | st.text(alphabet="*@.aB-ü。 <>,\\", max_size=12))
@example("*.")
@example("\u2024")
def test_any_text_is_refused_or_becomes_one_form_that_stays(text):
    try:
        pattern = read_pattern(text)
    except ValueError:
        return
    assert read_pattern(pattern) == pattern
    assert pattern.isascii()
    assert pattern == pattern.lower()
    assert pattern.count("*") == pattern.startswith("*.")


@given(NAMES, DOMAINS)
def test_address_is_let_through_by_itself_and_its_domain_and_every_parent(name, domain):
    address = f"{name}@{domain}"
    through = patterns_for(clean_address(address))
    assert len(through) == len(set(through))
    assert {
        read_pattern(text)
        for text in (address.upper(), f"{address}.", f"*@{domain}", domain)
    } <= set(through)
    # All that patterns_for names is an entry that somebody can write: no star reaches a
    # whole top-level domain.
    assert [read_pattern(pattern) for pattern in through] == through
    assert "*." + domain not in through


@pytest.mark.slow
@given(NAMES, DOMAINS, DOMAINS)
def test_subdomain_entry_lets_through_exactly_what_ends_in_it(name, domain, parent):
    assert lets_through(f"*.{parent}", f"{name}@{domain}.{parent}")
    assert lets_through(f"*.{parent}", f"{name}@{domain}") is domain.endswith(
        "." + parent
    )


@pytest.mark.slow
@given(NAMES, DOMAINS, NAMES, DOMAINS)
def test_address_entry_lets_through_nobody_else(name, domain, other, elsewhere):
    same = (name.lower(), domain) == (other.lower(), elsewhere)
    assert lets_through(f"{name}@{domain}", f"{other}@{elsewhere}") is same
