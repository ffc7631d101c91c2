"""Addresses that are told only so far."""

import time

import pytest

from common.mail_addresses import masked_address, without_addresses


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("dana@northwind.example", "d…@northwind.example"),
        ("d@x@northwind.example", "d…@northwind.example"),
        ("@northwind.example", "…@northwind.example"),
        ("Émile@northwind.example", "É…@northwind.example"),
        ("dana", "…"),
        ("", "…"),
    ],
)
def test_address_is_told_by_its_first_sign_and_its_domain(address, told):
    assert masked_address(address) == told


def test_every_address_in_a_text_is_masked_and_the_rest_stays():
    text = "Ask Dana <dana@northwind.example>, or ops@a.example;x@b.example."
    assert without_addresses(text) == "Ask Dana <d…@northwind.example>, or o…@a.example;x…@b.example."


@pytest.mark.parametrize("text", ["@", "@ana", "ana@", "@@", "ana @ work"])
def test_sign_between_nothing_makes_no_address(text):
    assert without_addresses(text) == text


@pytest.mark.parametrize("repeated", ["a", "@", "a@", "a ", "a@b "])
def test_longest_text_is_searched_as_fast_as_it_is_read(repeated):
    text = repeated * (262_144 // len(repeated))
    begun = time.process_time()
    assert len(without_addresses(text)) <= len(text) + text.count(" ") + 1
    # A search that begins anew at every sign takes minutes.
    assert time.process_time() - begun < 2
