"""Words that rules name: how phrases and patterns are read and compared, and where in a
message they are found.
"""

from dataclasses import replace

import pytest

from common.fingerprint import Attachment, Content
from policy.rules.facts import words_in
from rendering.render import render_message
from risk.words import (
    SearchedText,
    fits,
    read_phrase,
)
from simple_form.data import rows
from tests.linear import is_linear

# A phrase, and texts in which it is found, or not.
FOUND = list(
    rows("""
Project Tulip  the PROJECT-tulip plan
project tulip  pro|ject tu-l🌷ip
tulip          the t.u.l.i.p or t u l i p
tulip          t u l i p
tulip          buy a t u l i p today
tulip today    buy a t u l i p today
project tulip  p r o j e c t t u l i p
tulip          buy tuIip
resume         my Résumé
Confidential   con\u200bfi\u00addential
confiden*      in confidence
*secret*       topsecrets
inv-####       see INV-2207.
gr?y           a gray day
*解約*          本日解約します
发票            请查收附件中的发票
发票            发 票
发票 inv-####   发票INV-2207
ใบแจ้งหนี้         กรุณาชำระใบแจ้งหนี้ภายใน
发?号           发票号
解*約           解除約
aa bb          aa aa bb
project tulip  pr0ject tu1ip
tulip          tuli\u0440
secret*        ѕеcrеts
invoice        ɪɴᴠᴏɪᴄᴇ
""")
)
# Words that are written in Latin letters only are what they are.
NOT_FOUND = list(
    rows("""
project tulip  project tulips
s*cr*t         secrets
发票            发了票
mall           by mail
""")
)


def test_phrase_is_compared_by_whole_words_without_case_accents_and_look_alikes():
    found = [*FOUND, ("tulip", "the tu-\nlip"), ("发票", "请" * 100 + "发票")]
    for phrase, text in found:
        assert SearchedText(text).has(read_phrase(phrase)), (phrase, text)
    for phrase, text in NOT_FOUND:
        assert not SearchedText(text).has(read_phrase(phrase)), (phrase, text)


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
            lambda text: [SearchedText(text).has(one) for one in phrases],
            piece * 1500,
            piece * 12000,
        )


CONTENT = Content(
    sender="support@yourteam.example",
    sender_name="Rose Desk",
    to=("Dana <dana@tulip.example>",),
    subject="About the lily",
    html='<p>Hello d<b>ais</b>y</p><p style="display:none">iris inside</p>',
    markdown="Hello poppy",
    attachments=(Attachment("violet plan.pdf", "application/pdf", 10),),
)


# Words, and where in the message they are; - for none, as from the end of one text to
# the beginning of the next.
PLACES = list(
    rows("""
lily           subject
daisy          text
iris           text
poppy          text
violet plan    file
rose           person
dana           person
tulip.example  person
desk support   -
rose desk supportyourteamexample  -
aster          -
""")
)


def test_words_are_looked_for_in_all_that_a_person_reads():
    wanted = dict(PLACES)
    found = words_in(CONTENT, render_message(CONTENT), {*wanted})
    assert found == {word: place.strip("-") for word, place in wanted.items()}


@pytest.mark.parametrize(
    "fields",
    [
        {"coverage": ("from", "to", "subject", "markdown")},
        {"coverage": ("from", "to", "subject", "attachments")},
        {"markdown": "a " * 100_001},
        # Each stands for eighteen letters.
        {"subject": "\ufdfa" * 12_000},
    ],
)
def test_word_that_is_not_in_what_could_be_read_may_be_in_the_rest(fields):
    content = replace(CONTENT, html=None, **fields)
    found = words_in(content, render_message(content), ["dana", "aster"])
    assert found == {"dana": "person"}
