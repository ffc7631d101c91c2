"""Letters of one shape, letters that are nearly the same, and letters that only look it."""

from itertools import combinations

import pytest

from approvals.risk.likeness import MAX_DISTANCE, alike, bands, shape
from common.fingerprint import Attachment, Content

LETTER = (
    "Dear {name},\n\nyour invoice {number} over {amount} is due on {day}. Please transfer it to the account that you "
    "know, and answer this letter to {address} when you have done so, because our books are closed soon after. All "
    "details are under {link} if you want to see them again.\n\nKind regards\nThe billing team"
)
FILLED = {
    "name": "Dana",
    "number": "INV-2207",
    "amount": "EUR 1,200.00",
    "day": "3 May",
    "address": "billing@acme.example",
    "link": "https://pay.acme.example/i/2207?token=abc",
}


def letter(subject="Invoice 2207", html=False, **fields):
    text = LETTER.format(**{**FILLED, **fields})
    if html:
        return Content(subject=subject, html="<p>" + text.replace("\n\n", "</p><p>").replace("\n", "<br>") + "</p>")
    return Content(subject=subject, markdown=text)


@pytest.mark.parametrize("html", [False, True], ids=["text", "html"])
@pytest.mark.parametrize(
    "fields",
    [
        {"name": "Bob"},
        {"name": "Ms. van Dyke"},
        {"name": "Anna Müller"},
        {"number": "4471-B/22"},
        {"amount": "€ 45"},
        {"amount": "12.000,50 €"},
        {"amount": "$99"},
        {"day": "June 12"},
        {"day": "12.06.2026"},
        {"day": "June 12, 2026"},
        {"address": "a.b+c@northwind.example"},
        {"link": "https://pay.acme.example/i/99/xyz"},
        {"subject": "Invoice 99"},
    ],
    ids=lambda fields: " ".join(f"{name} {value}" for name, value in fields.items()),
)
def test_letters_that_differ_in_what_is_filled_in_have_one_shape(fields, html):
    assert shape(letter(html=html, **fields)) == shape(letter(html=html))
    assert bands(letter(html=html, **fields)) == bands(letter(html=html))


@pytest.mark.parametrize(
    "other",
    [
        letter(link="https://pay.evil.example/i/2207?token=abc"),
        letter(link="https://pay2.acme.example/i/2207?token=abc"),
        letter(subject="Reminder 2207"),
        Content(subject="Invoice 2207", markdown=letter().markdown + " Thanks."),
        Content(subject="Invoice 2207", markdown=letter().markdown, attachments=(Attachment("a.pdf", "", 1),)),
        Content(subject="Invoice 2207", markdown=letter().markdown, html="<p>Something else</p>"),
    ],
    ids=["host", "numbered host", "subject", "more words", "file", "other part"],
)
def test_letters_that_say_or_carry_something_else_have_another_shape(other):
    assert shape(other) != shape(letter())


def test_files_of_one_kind_have_any_name():
    one, other = (
        Content(markdown="Here it is", attachments=(Attachment(f"{name}.pdf", "", 1),)) for name in ("may", "june")
    )
    assert shape(one) == shape(other)


def test_letter_without_words_is_like_none():
    for empty in (Content(), Content(markdown=" \n "), Content(html="<p></p>")):
        assert (shape(empty), bands(empty)) == ("", [])


def test_shape_fits_its_column():
    assert len(shape(letter())) == 32
    assert all(0 <= band < 2**31 for band in bands(letter()))


def test_letters_that_differ_in_few_words_are_alike():
    one = bands(letter())
    other = bands(Content(subject="Invoice 2207", markdown=letter().markdown.replace("Please transfer", "Kindly send")))
    assert one != other
    assert alike(one, other)


def test_unrelated_letters_are_not_alike():
    letters = [
        letter(),
        Content(subject="Your refund", markdown="Hello Dana,\n\nyour refund for order 4471 is on its way to you."),
        Content(subject="Open day", markdown="Thank you for coming to our open day. The pictures are online by now."),
        Content(subject="Welcome", markdown="We are glad to have you with us. Here is how to begin, in three steps."),
    ]
    assert not any(alike(bands(one), bands(other)) for one, other in combinations(letters, 2))


@pytest.mark.parametrize("flipped", [(), (0,), (0, 20), (1, 17, 40), (0, 1, 2)])
def test_three_bits_apart_share_a_band(flipped):
    one = bands(letter())
    bits = sum((band & 0xFFFF) << 16 * place for place, band in enumerate(one))
    for bit in flipped:
        bits ^= 1 << bit
    other = [place << 16 | bits >> 16 * place & 0xFFFF for place in range(4)]
    assert set(one) & set(other)
    assert alike(one, other)


def test_alike_ends_where_it_says_and_asks_for_whole_bands():
    one = [0, 1 << 16, 2 << 16, 3 << 16]
    near, far = ([(1 << bits) - 1, 1 << 16, 2 << 16, 3 << 16] for bits in (MAX_DISTANCE, MAX_DISTANCE + 1))
    assert alike(one, near)
    assert not alike(one, far)
    assert not alike(one, [])
    assert not alike([], [])


def test_what_stands_far_back_still_counts_for_the_shape():
    long = "word " * 60_000
    assert shape(Content(markdown=f"{long} one end")) != shape(Content(markdown=f"{long} other end"))
