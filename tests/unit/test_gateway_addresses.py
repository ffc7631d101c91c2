"""Addresses: what is taken, in which form, and what never is."""

import pytest

from common.mail_addresses import clean_address, clean_addresses


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("a@x.example", "a@x.example"),
        (" A.b+c@X.Example. ", "A.b+c@x.example"),
        ("Jane Doe <jane@x.example>", "jane@x.example"),
        ('"Doe, Jane" <jane@x.example>', "jane@x.example"),
        ("jane@bücher.example", "jane@xn--bcher-kva.example"),
    ],
)
def test_clean_address_returns_the_bare_form(text: str, address: str):
    assert clean_address(text) == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        "@x.example",
        "a@",
        "a@x",
        "a@acme.com@evil.io",
        "a b@x.example",
        "a@x .example",
        "a@x.example\r\nBcc: b@x.example",
        "a@x.example\x00",
        "a@x.example>",
        "<a@x.example> <b@x.example>",
        "a@evil.example <b@x.example> c",
        '"a b"@x.example',
        "é@x.example",
        "a..b@x.example",
        "a@-x.example",
        "a@x..example",
        "a@[127.0.0.1]",
        f"{'a' * 65}@x.example",
        f"a@{'x' * 64}.example",
        f"a@{'x.' * 130}example",
    ],
)
def test_clean_address_refuses(text: str):
    with pytest.raises(ValueError, match="is not an email address"):
        clean_address(text)


def test_clean_address_error_shows_no_control_characters():
    with pytest.raises(ValueError, match="not an email") as caught:
        clean_address("a\r\n\x1b[31m")
    assert "\r" not in str(caught.value)
    assert "\x1b" not in str(caught.value)


def test_clean_address_error_says_what_is_wrong_with_umlauts():
    with pytest.raises(ValueError, match=r"'jörg@bücher.example' is not .* only ASCII can stand before the @"):
        clean_address("jörg@bücher.example")


def test_clean_addresses_takes_text_with_commas_and_drops_repetitions():
    assert clean_addresses("a@x.example, b@x.example,, a@X.example") == ["a@x.example", "b@x.example"]


@pytest.mark.parametrize("value", [5, {"a": 1}, [1], [["a@x.example"]]])
def test_clean_addresses_refuses_other_types(value: object):
    with pytest.raises(ValueError, match="must be an address"):
        clean_addresses(value)
