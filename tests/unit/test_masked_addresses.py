"""Addresses that are told only so far."""

from common.mail_addresses import masked_address, without_addresses


def test_address_is_masked_to_its_first_character_and_its_domain():
    expected = {
        "dana@northwind.example": "d…@northwind.example",
        "d@x@northwind.example": "d…@northwind.example",
        "@northwind.example": "…@northwind.example",
        "Émile@northwind.example": "É…@northwind.example",
        "dana": "…",
        "": "…",
    }
    assert {address: masked_address(address) for address in expected} == expected


def test_every_address_in_a_text_is_masked_and_the_rest_stays():
    text = "Ask Dana <dana@northwind.example>, or ops@a.example;x@b.example."
    assert (
        without_addresses(text)
        == "Ask Dana <d…@northwind.example>, or o…@a.example;x…@b.example."
    )
    plain = ["@", "@ana", "ana@", "@@", "ana @ work"]
    assert [without_addresses(text) for text in plain] == plain
