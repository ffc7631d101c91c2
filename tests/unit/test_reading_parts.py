"""What the page says of a letter's parts: compared word by word, its source page by page, and how it is listed."""

import time
from dataclasses import replace

import pytest

from approvals.reading.client import PREVIEW, inbox_of
from approvals.reading.compare import compare_parts
from approvals.reading.source import STRETCH, page_count, source_of, stretch_of
from approvals.showing import show_letter
from common.fingerprint import FIELDS, Content

HTML = (
    "<p>Dear Lee,</p><p>please pay <b>EUR 1,000</b> by Friday at <a href='https://acme.example/pay'>our site</a>.</p>"
)
TEXT = "Dear Lee,\n\nplease pay EUR 1,000 by Friday at [our site](https://acme.example/pay)."


def compared(**fields):
    content = Content(**fields)
    return compare_parts(content, show_letter(content))


def said(comparison, kind):
    return [piece.text.strip() for piece in comparison.pieces if piece.kind == kind]


@pytest.mark.proves("security 30")
def test_amount_that_only_one_part_says_is_marked_and_counted():
    found = compared(html=HTML, markdown=TEXT.replace("1,000", "100"))
    assert (found.kind, found.differences) == ("differ", 1)
    assert said(found, "new") == ["1,000"]
    assert said(found, "gone") == ["100"]


@pytest.mark.proves("security 30")
def test_link_that_leads_elsewhere_under_the_same_words_is_a_difference():
    found = compared(html=HTML.replace("acme.example", "evil.example"), markdown=TEXT)
    assert found.differences == 2
    assert found.links_in_html == ("https://evil.example/pay",)
    assert found.links_in_text == ("https://acme.example/pay",)


@pytest.mark.proves("security 30")
def test_text_that_the_html_hides_is_only_in_the_html():
    found = compared(html=f"{HTML}<p style='display:none'>and wire it today</p>", markdown=TEXT)
    assert said(found, "new") == ["and wire it today"]


@pytest.mark.parametrize(
    "text", [TEXT, TEXT.replace(" by ", "\nby "), f"{TEXT}\n\n\n", TEXT.replace("\n\n", "\n\n\n\n")], ids=range(4)
)
def test_parts_that_only_break_their_lines_elsewhere_say_the_same(text):
    assert compared(html=HTML, markdown=text).kind == "same"


@pytest.mark.parametrize(
    ("fields", "kind", "only"),
    [
        ({"html": HTML}, "one", "html"),
        ({"markdown": TEXT}, "one", "markdown"),
        ({"html": HTML, "coverage": tuple(one for one in FIELDS if one != "markdown")}, "unseen", "html"),
        ({"markdown": TEXT, "coverage": tuple(one for one in FIELDS if one != "html")}, "unseen", "markdown"),
    ],
    ids=["only html", "only text", "text unseen", "html unseen"],
)
def test_letter_with_one_part_says_so_and_does_not_take_unseen_for_empty(fields, kind, only):
    found = compared(**fields)
    assert (found.kind, found.only) == (kind, only)


def test_parts_without_anything_in_common_stand_side_by_side():
    found = compared(
        html="<p>" + " ".join(f"one{n}" for n in range(2000)) + "</p>",
        markdown=" ".join(f"other{n}" for n in range(2000)),
    )
    assert [side.label for side in found.sides] == ["HTML", "Text"]
    assert "one1999" in found.sides[0].parts[0][1]


def test_comparison_leaves_no_differing_word_out_unsaid():
    tail = " ".join(f"word{n}" for n in range(9000))
    found = compared(html=f"<p>Hello {tail}</p>", markdown="Hello")
    shown = sum(len(piece.text) for piece in found.pieces if piece.kind == "new")
    # But for the blank at which it is cut.
    assert 0 < found.left_out <= len(tail) - shown <= found.left_out + 1


@pytest.mark.proves("security 38")
def test_comparing_a_megabyte_of_differences_stays_within_seconds():
    html = "".join(f"<p>Pay {n} to {n}</p>" for n in range(40_000))
    began = time.process_time()
    compared(html=html, markdown="\n\n".join(f"Pay {n} to {n * 2}" for n in range(9_000)))
    assert time.process_time() - began < 15


# the source, page by page


@pytest.mark.proves("security 37")
@pytest.mark.parametrize(
    "text",
    ["", "short", "x" * (3 * STRETCH + 7), "a line of text\n" * 20_000, "\u200b" * 70_000, "é\r\n\t" * 40_000],
    ids=["empty", "short", "one long line", "lines", "invisible", "ends of lines"],
)
def test_pages_of_a_text_together_are_all_of_it(text):
    stretches = [stretch_of(text, page=page) for page in range(1, page_count(text) + 1)]
    assert [one.start for one in stretches[1:]] == [one.end for one in stretches[:-1]]
    assert (stretches[0].start, stretches[-1].end) == (0, len(text))
    assert all(one.end - one.start <= STRETCH for one in stretches)
    seen = "".join(part for one in stretches for is_mark, part in one.parts if not is_mark)
    assert seen == ("" if "\u200b" in text else text)
    assert all(one.pages == len(stretches) for one in stretches)


def test_page_that_does_not_exist_is_the_last():
    assert stretch_of("a" * (STRETCH + 1), page=99).page == 2


@pytest.mark.proves("security 32")
def test_source_names_every_invisible_character_also_at_the_start_of_a_page():
    (only,) = source_of(Content(markdown="\ufeffpay\u202e 100\u200b"), page=1)
    assert [part for is_mark, part in only.parts if is_mark] == [
        "ZERO WIDTH NO-BREAK SPACE",
        "RIGHT-TO-LEFT OVERRIDE",
        "ZERO WIDTH SPACE",
    ]


def test_very_many_invisible_characters_are_counted_on_the_page():
    one = stretch_of("a\u200b" * 5000, page=1)
    assert one.unmarked == 3000


def test_source_has_both_parts_and_the_pages_of_the_longer():
    content = Content(html="x" * (STRETCH + 1), markdown="short")
    assert [(one.label, one.page, one.pages) for one in source_of(content, page=1)] == [
        ("HTML", 1, 2),
        ("Markdown", 1, 1),
    ]
    assert [one.label for one in source_of(content, page=2)] == ["HTML"]
    assert [one.label for one in source_of(content, page=99)] == ["HTML"]


# as it arrives


def test_inbox_shows_the_first_words_also_those_that_the_letter_hides():
    html = "<div style='display:none'>Your account is closed</div><p>Hello Lee, here is the newsletter.</p>"
    content = Content(sender="a@yourteam.example", sender_name="Team", html=html)
    found = inbox_of(content, show_letter(content))
    assert found.preview.startswith("Your account is closed Hello Lee")
    assert found.is_hidden
    plain = replace(content, html="<p>Hello Lee</p>")
    assert not inbox_of(plain, show_letter(plain)).is_hidden


def test_inbox_cuts_where_lists_cut_and_tells_of_colours():
    content = Content(html=f"<p style='color:#c00'>{'word ' * 60}</p>")
    found = inbox_of(content, show_letter(content))
    assert len(found.preview) == PREVIEW + 1
    assert found.has_own_colours
    assert not inbox_of(Content(markdown="Hi"), show_letter(Content(markdown="Hi"))).has_own_colours


def test_plain_text_is_what_the_text_part_says_with_the_signature():
    content = Content(html="<p>Rich</p>", markdown="Plain *words*", additions={"signature": "Mila"})
    assert inbox_of(content, show_letter(content)).plain == "Plain *words*\n\n-- \nMila"
