"""Messages of one shape, and messages that only look it."""

from common.fingerprint import Content
from rendering.render import parse_content
from risk import similarity

TEXT = (
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


def shape(content):
    return similarity.shape(content, parse_content(content))


def message(subject="Invoice 2207", html=False, **fields):
    text = TEXT.format(**{**FILLED, **fields})
    if html:
        return Content(
            subject=subject,
            html="<p>" + text.replace("\n\n", "</p><p>").replace("\n", "<br>") + "</p>",
        )
    return Content(subject=subject, markdown=text)


# Other words where the message is filled in.
FILLINGS = {
    "name": ["Bob", "Ms. van Dyke", "Anna Müller"],
    "number": ["INV-9/22"],
    "amount": ["EUR 45", "EUR 12.000,50", "EUR ４５", "EUR 1 200"],
    "day": ["12 June", "1 march"],
    "address": ["a.b+c@northwind.example"],
    "link": ["https://pay.acme.example/i/99/xyz"],
    "subject": ["Invoice 99"],
}


def test_messages_that_differ_in_what_is_filled_in_have_one_shape():
    for html in (False, True):
        whole = message(html=html)
        filled = [
            message(html=html, **{name: value})
            for name, values in FILLINGS.items()
            for value in values
        ]
        assert [one for one in filled if shape(one) != shape(whole)] == []


def test_message_without_words_is_like_none_and_a_shape_fits_its_column():
    for empty in (Content(), Content(markdown=" \n "), Content(html="<p></p>")):
        assert shape(empty) == ""
    assert len(shape(message())) == 32


def test_html_that_shows_the_same_words_otherwise_has_another_shape():
    whole = Content(
        html="<p>Hello Dana,</p><p>it is done: 4 <b>of</b> 5.<img src=cid:1 alt=Logo></p>"
    )
    same = Content(
        html="<p>Hello Bob,</p><p>it is done: 7 <b>of</b> 8.<img src=cid:1 alt=Logo></p>"
    )
    others = [
        Content(html=whole.html.replace("alt=Logo", "alt='We are closing'")),
        Content(
            html=whole.html.replace("<img", "<img src=data:image/png;base64,AAAA><img")
        ),
        Content(html=whole.html.replace("<b>of</b>", "<b>o</b> f")),
        Content(html=whole.html.replace("<b>of</b>", "<textarea>Pay now</textarea>")),
    ]
    assert shape(whole) == shape(same)
    assert [one for one in others if shape(one) == shape(whole)] == []


def test_link_that_goes_elsewhere_makes_another_shape():
    pairs = [
        ("https://pay.acme.com/r/1", "https://pay-acme.com/r/1"),
        ("https://acme.com/r/1", "http://acme.com/r/1"),
        ("https://acme.com/r/1", "https://acme.com:8443/r/1"),
        ("https://acme.example/r/1", r"https://acme.example\.evil.com/r/1"),
        ("https://münchen.example/r/1", "https://munchen.example/r/1"),
        # Mail programs make links of these.
        ("acme4.com/r/1", "acme5.com/r/1"),
    ]
    as_text = [
        [Content(markdown=f"See {target} for it") for target in pair] for pair in pairs
    ]
    as_markdown = [
        [Content(markdown=f"[See it]({target})") for target in pair] for pair in pairs
    ]
    # In an attribute nothing escapes the backslash: it begins the path.
    as_html = [
        [Content(html=f"<a href='{target}'>See it</a>") for target in pair]
        for pair in pairs
        if "\\" not in pair[1]
    ]
    for one, other in (*as_text, *as_markdown, *as_html):
        assert shape(one) != shape(other), other
    assert shape(as_html[0][0]) == shape(
        Content(html="<a href='https://pay.acme.com:443/r/2'>See it</a>")
    )


def test_only_the_name_greeted_and_whole_values_are_left_free():
    pairs = [
        ("Hi Dana,\n\nDana is here.", "Hi Pay Evil Now,\n\nNow Pay Evil Now is here."),
        ("Hi Dana,\n\n5 come.", "Hi Dana,\n\n5 may come."),
        ("Hi Dana,\n\nwe *pay* you.", "Hi Dana,\n\nwe do *pay* you."),
        # What a value is replaced by can be written, too.
        ("we pay EUR 20", "we pay EUR #"),
        ("write to a@acme.example", "write to @"),
    ]
    for one, other in pairs:
        assert shape(Content(markdown=one)) != shape(Content(markdown=other)), other
    for name in ("Bob", "Ms. van Dyke", "Anna van der Berg", "Anna Smith-Jones"):
        named = (
            Content(markdown=f"Hi {one},\n\nit is done.") for one in ("Dana", name)
        )
        assert len(set(map(shape, named))) == 1
