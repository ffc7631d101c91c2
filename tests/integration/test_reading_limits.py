"""Unusual messages: huge subjects, very many recipients, broken line endings, odd
bytes.

Nothing of them crashes the page, and what does not fit it is counted there; the rest of
a text is reachable on a page further.
"""

import re

import pytest

from mirror.models import Message
from tests.factories import event_body, make_message, post_event, show_row
from tests.markup import HTMX, words_of


def read(client, message, query=""):
    answer = client.get(f"/queue/{message.public_id}/{query}", headers=HTMX)
    assert answer.status_code == 200
    page = answer.text
    assert 'id="decide"' in page
    return page


def sheet(client, message, view, page=1):
    answer = client.get(
        f"/queue/{message.public_id}/view/?view={view}&page={page}", headers=HTMX
    )
    assert answer.status_code == 200
    return answer.text


@pytest.mark.parametrize(
    "length", [70_000, pytest.param(10_000_000, marks=pytest.mark.slow)]
)
def test_huge_subject_is_cut_with_a_count_and_stands_under_headers(
    desk, connection, length
):
    message = make_message(connection, subject="Short", hydrated=False)
    show_row(message, subject="S" * (length - 7) + "the-end")
    page = read(desk, message)
    assert len(page) < 1_000_000
    assert f"{length - 2000:,} more characters" in page
    headers = sheet(desk, message, "headers")
    assert len(headers) < 1_500_000
    # A page that no browser could lay out says what it leaves out.
    is_whole = length < 1_000_000
    assert ("the-end" in headers) is is_whole
    assert (f"shortened: {length} characters" in words_of(headers)) is not is_whole


@pytest.mark.parametrize("number", [500, pytest.param(100_000, marks=pytest.mark.slow)])
def test_very_many_recipients_are_counted_and_the_suspicious_come_first(
    desk, connection, number
):
    people = [f"person{one}@acme.example" for one in range(number)]
    message = make_message(connection, to_addresses=[*people, "eve@b\u0430d.example"])
    page = read(desk, message)
    assert len(page) < 1_000_000
    assert f"{number + 1:,} people" in page
    assert f"{number + 1} addresses" in page
    assert f"{number + 1 - 60} more under Headers" in page
    shown = re.findall(r'<span class="address whole"><bdi>([^<]*)', page)
    assert shown[1] == "eve@xn--bd-7kc.example" or "b\u0430d" in shown[1]
    headers = sheet(desk, message, "headers")
    assert headers.count('class="value whole"') > number
    assert f"person{number - 1}@acme.example" in headers


@pytest.mark.slow
def test_megabyte_of_body_is_usable_on_every_tab(desk, connection):
    body = "".join(
        f"<p>Paragraph {number} of many, with some words in it.</p>\n"
        for number in range(17_000)
    )
    message = make_message(
        connection, html_body=f"{body}<p>the-end</p>", markdown="Short"
    )
    assert len(read(desk, message)) < 1_000_000
    for view in ("text", "source"):
        first = sheet(desk, message, view)
        assert len(first) < 400_000
        number = int(re.search(r"[Pp]age 1 of (\d+)", words_of(first))[1])
        assert "the rest is on the next pages" in words_of(first)
        assert "the-end" in sheet(desk, message, view, page=number)
    assert "Both are shown unchanged." in words_of(sheet(desk, message, "parts"))


HOSTILE = (
    *(
        "a\r\nBcc: eve@evil.example",
        "a\rb",
        "a\x0bb\x85c",
        "=?utf-8?q?=00?=",
        "\ufffd\ufffe",
        "%s{0}{{x}}",
    ),
    "\u2028x",
)


ATTRIBUTES = ("hx-get", "hx-on:click", "data-hx-post", "hx-trigger")
MAIL = "".join(
    f'<div {attribute}="/queue/" onclick="alert(1)">words</div>'
    for attribute in ATTRIBUTES
)


def test_hostile_fields_and_body_neither_crash_nor_hide_nor_reach_a_page_as_attributes(
    desk, connection
):
    fields = ("subject", "from_name", "reply_to", "in_reply_to", "send_at")
    values = {field: " ".join((*HOSTILE, MAIL, f"of {field}")) for field in fields}
    people = [f"{hostile}@acme.example" for hostile in HOSTILE]
    body = f"{MAIL}<p>unclosed <b <i \ufffd Ã©Ã¨ \x92"
    message = make_message(
        connection,
        **values,
        html_body=body,
        markdown=MAIL,
        to_addresses=[*people, "dana@acme.example"],
    )
    pages = {"": read(desk, message)}
    for view in ("text", "source", "parts", "headers"):
        pages[view] = sheet(desk, message, view)
        assert 'id="sheet"' in pages[view], view
    header_text = words_of(pages["headers"])
    for field in fields:
        assert f" of {field}" in header_text
    for hostile in HOSTILE:
        for piece in re.split(r"[\x00-\x1f\x7f-\x9f\u2028\ufffe]+", hostile):
            assert " ".join(piece.split()) in header_text, hostile
    frame = desk.get(f"/queue/{message.public_id}/body/").text
    for attribute in ATTRIBUTES:
        assert [
            view for view, page in pages.items() if f"<div {attribute}" in page
        ] == []
        assert f"&lt;div {attribute}" in pages[""]
        assert f"&lt;div {attribute}" in pages["source"]
        assert attribute not in frame
    assert "onclick" not in frame


@pytest.mark.slow
def test_body_nested_without_end_is_shown_or_said_not_to_be(desk, connection):
    message = make_message(
        connection, html_body="<table><tr><td>" * 2000, markdown=None
    )
    read(desk, message)
    for view in ("text", "source", "parts"):
        assert 'id="sheet"' in sheet(desk, message, view)
    assert desk.get(f"/queue/{message.public_id}/body/").status_code == 200


def test_header_injection_by_webhook_is_text_on_every_page(client, desk, connection):
    body = event_body(
        subject="Hello\r\nBcc: eve@evil.example\r\n\r\n<script>alert(1)</script><b hx-get=/x>"
    )
    assert post_event(client, connection, body).status_code == 200
    message = Message.objects.get().public_id
    pages = {
        path: desk.get(path).text
        for path in ("/queue/", "/audit/", f"/audit/trace/{message}/")
    }
    assert [
        path
        for path, page in pages.items()
        if "<script>alert(1)" in page or "<b hx-get" in page
    ] == []
    assert "eve@evil.example" in pages["/queue/"]


def test_frame_has_a_policy_of_its_own_and_the_page_a_sandbox_around_it(
    desk, connection
):
    message = make_message(
        connection,
        markdown="Hi **bold** <img src=https://t.example/o.gif>\n\n<script>x()</script>",
    )
    frame = desk.get(f"/queue/{message.public_id}/body/")
    assert frame["Content-Security-Policy"] == (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; form-action 'none'; base-uri 'none'; "
        "frame-ancestors 'self'; sandbox"
    )
    assert b"<strong>bold</strong>" in frame.content
    assert b"<script" not in frame.content
    assert b"src=" not in frame.content
    page = desk.get(f"/queue/{message.public_id}/")
    assert "frame-src 'self'" in page["Content-Security-Policy"]
    (element,) = re.findall(r"<iframe[^>]*>", page.text)
    assert re.search(r" sandbox(?= |>)(?!=)", element)
    assert "srcdoc" not in element
    assert f'src="/queue/{message.public_id}/body/"' in element
