"""The words that mail is found by: one spelling on both sides, and nothing that means
anything to PostgreSQL.
"""

from common.words import (
    BY,
    TO,
    asked,
    words_of,
    words_of_address,
)


def test_words_have_one_spelling():
    spelled = {
        "Refund, ORDER 4471!": ["refund", "order", "4471"],
        "Müller straße": ["muller", "strasse"],
        "re\u200bfund": ["refund"],
        "acme.com/pay?x=1": ["acme", "com", "pay", "x", "1"],
        "ﬁne Ｄａｎａ": ["fine", "dana"],
        "\0\ud800 !?": [],
    }
    assert {text: words_of(text) for text in spelled} == spelled


def test_address_is_found_by_itself_and_by_each_of_its_parts():
    parts = "dana.smith@mail.northwind.example dana.smith mail.northwind.example northwind.example"
    parts += " dana smith mail northwind example"
    assert set(parts.split()) <= set(
        words_of_address("Dana.Smith@mail.Northwind.example")
    )


def test_words_asked_for_are_beginnings_and_phrases_keep_their_order():
    assert asked('ref "two words"') == "('ref':*) & ('two' <-> 'words':*)"
    assert asked("acme.com/pay") == "('acme' <-> 'com' <-> 'pay':*)"
    assert asked("dana@north", TO) == "('dana@north':*A)"
    assert asked("@north.example, dana", TO) == "('north.example':*A) & ('dana':*A)"
    assert asked("jean-luc", BY) == "('jean':*C) & ('luc':*C)"
    assert asked("!!! ???") == ""
    assert asked("发票号") == "('发票号':* | '发票':* & '票号':* & '号':*)"
