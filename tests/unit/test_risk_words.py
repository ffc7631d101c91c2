"""Own words: how phrases and patterns are read and compared, and the findings that they
make.
"""

import pytest

from common.fingerprint import Attachment, Content
from rendering.render import render_message
from risk.findings import OwnPhrase, RiskContext
from risk.own_words import (
    PLACES,
    SearchedText,
    fits,
    own_word,
    read_phrase,
    search_terms,
)
from tests.linear import is_linear


@pytest.mark.parametrize(
    ("phrase", "text", "found"),
    [
        ("Project Tulip", "the PROJECT-tulip plan", "project tulip"),
        ("project tulip", "project tulips", ""),
        ("resume", "my Résumé", "resume"),
        ("Confidential", "con\u200bfi\u00addential", "confidential"),
        ("confiden*", "in confidence", "confidence"),
        ("*secret*", "topsecrets", "topsecrets"),
        ("s*cr*t", "secrets", ""),
        ("inv-####", "see INV-2207.", "inv 2207"),
        ("gr?y", "a gray day", "gray"),
        ("*解約*", "本日解約します", "解約"),
        ("发票", "请查收附件中的发票", "发票"),
        ("发票", "发 票", "发票"),
        ("发票 inv-####", "发票INV-2207", "发票 inv 2207"),
        ("发票", "发了票", ""),
        ("ใบแจ้งหนี้", "กรุณาชำระใบแจ้งหนี้ภายใน", "ใบแจงหน"),
        ("发?号", "发票号", "发票号"),
        ("解*約", "解除約", "解除約"),
        ("发票", "请" * 100 + "发票", "发票"),
        ("aa bb", "aa aa bb", "aa bb"),
    ],
)
def test_phrase_is_compared_by_whole_words_without_case_accents_and_invisible_characters(
    phrase, text, found
):
    match = SearchedText(text).find(read_phrase(phrase))
    assert (match.found if match else "") == found


@pytest.mark.parametrize(
    ("typed", "why"),
    [
        (" \u200b ", "Write a word"),
        ("* ? *a*", "nearly every message"),
        ("x" * 81, "under 80 characters"),
        ("a b c d e f g h i", "at most 8 words"),
        ("a*b*c*d*e", "at most 3 stars"),
        ("(a+)+$", "“+” cannot be searched"),
    ],
)
def test_phrase_that_cannot_be_looked_for_is_refused_with_a_sentence(typed, why):
    with pytest.raises(ValueError, match=why.replace("(", r"\(").replace("+", r"\+")):
        read_phrase(typed)


def test_no_pattern_and_no_text_takes_more_than_its_length():
    assert not fits("a" * 60, "a*a*a*b")
    phrases = [
        read_phrase(text)
        for text in ("*a*a*ab", "aa aa aa aa aa aa aa bb", "*a aa* *aa a? ?a bb")
    ]
    for piece in ("aa ", "a" * 59 + " ", "aa bb ", "aabb"):
        assert is_linear(
            lambda text: [SearchedText(text).find(one) for one in phrases],
            piece * 1500,
            piece * 12000,
        )


def test_terms_for_the_database_are_what_a_fitting_text_must_hold():
    assert search_terms(read_phrase("Project tul*p ##")) == "'project' & 'tul':*"
    assert search_terms(read_phrase("*secret")) == ""
    assert search_terms(read_phrase("发票 inv*")) == "'inv':*"


CONTENT = Content(
    sender="support@yourteam.example",
    sender_name="Tulip Desk",
    to=("Dana <dana@tulip.example>",),
    subject="About the tulip",
    html='<p>Hello</p><p style="display:none">tulip inside</p>',
    markdown="Hello",
    attachments=(Attachment("tulip plan.pdf", "application/pdf", 10),),
)


def found(*phrases):
    return list(
        own_word(CONTENT, render_message(CONTENT), RiskContext(own_phrases=phrases))
    )


def tulip(*looks_in):
    return OwnPhrase(read_phrase("tulip"), frozenset(looks_in), 20)


def test_finding_names_the_word_and_leads_to_its_place():
    [one] = found(tulip("subject"))
    assert (one.level, one.points, one.anchor) == ("notice", 20, "#subject")
    assert one.detail == "“about the tulip”."
    [one] = found(tulip("text"))
    assert one.anchor.startswith("#hidden-")
    [one] = found(tulip("files"))
    assert one.anchor == "#attachments"
    [one] = found(tulip("addresses"))
    assert one.anchor.startswith("#address-")
    assert found(OwnPhrase(read_phrase("rose"), frozenset(PLACES), 20)) == []
