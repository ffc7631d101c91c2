"""Letters that no person would write: huge subjects, a hundred thousand recipients, broken ends of lines, odd bytes.

Nothing of them crashes the page, and what does not fit it is counted there and reachable on a page further.
"""

import html
import re

import pytest

from tests.factories import event_body, make_message, post_event

pytestmark = pytest.mark.django_db


@pytest.fixture
def desk(signed_in, reviewer):
    return signed_in(reviewer)


def read(client, message, query=""):
    answer = client.get(f"/queue/{message.public_id}/{query}")
    assert answer.status_code == 200
    return answer.content.decode()


def sheet(client, message, view, page=1):
    address = f"/queue/{message.public_id}/letter/?view={view}&page={page}"
    return client.get(address, headers={"HX-Request": "true"}).content.decode()


def words(page):
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page)))


@pytest.mark.proves("security 37")
def test_ten_megabytes_of_subject_are_cut_with_a_count_and_stand_whole_under_headers(desk, connection):
    subject = "S" * 9_999_990 + "the-end"
    message = make_message(connection, subject="Short", hydrated=False)
    from tests.factories import show_row

    show_row(message, subject=subject)
    page = read(desk, message)
    assert len(page) < 1_000_000
    assert "9,997,997 more characters" in page
    first = sheet(desk, message, "headers")
    assert "characters 1 to 60,000 of 9,999,997" in first
    assert "Page 1 of 167" in words(first)
    assert "the-end" not in first
    assert "the-end" in sheet(desk, message, "headers", page=167)
    assert "the-end" in sheet(desk, message, "headers", page=999)


@pytest.mark.proves("security 37")
def test_hundred_thousand_recipients_are_counted_and_the_suspicious_come_first(desk, connection):
    people = [f"person{number}@acme.example" for number in range(100_000)]
    message = make_message(connection, to_addresses=[*people, "eve@b\u0430d.example"])
    page = read(desk, message)
    assert len(page) < 1_000_000
    assert "100,001 people" in page
    assert "100001 addresses" in page
    assert "99941 more stand under Headers" in page
    shown = re.findall(r'<span class="address whole"><bdi>([^<]*)', page)
    assert shown[1] == "eve@xn--bd-7kc.example" or "b\u0430d" in shown[1]
    last = sheet(desk, message, "headers", page=201)
    assert "100,001 to 100,001 of 100,001" in last
    assert "person99999@acme.example" in sheet(desk, message, "headers", page=200)


@pytest.mark.proves("security 37")
def test_megabyte_of_body_is_usable_on_every_tab(desk, connection):
    body = "".join(f"<p>Paragraph {number} of many, with some words in it.</p>\n" for number in range(17_000))
    message = make_message(connection, html_body=f"{body}<p>the-end</p>", markdown="Short")
    assert len(read(desk, message)) < 1_000_000
    for view in ("text", "source"):
        first = sheet(desk, message, view)
        assert len(first) < 400_000
        number = int(re.search(r"[Pp]age 1 of (\d+)", words(first))[1])
        assert "the rest is on the next pages" in words(first)
        assert "the-end" in sheet(desk, message, view, page=number)
    assert "Both stand here as they are." in words(sheet(desk, message, "parts"))


@pytest.mark.proves("security 37")
@pytest.mark.parametrize(
    "hostile",
    ["a\r\nBcc: eve@evil.example", "a\rb", "a\x0bb\x85c", "=?utf-8?q?=00?=", "\ufffd\ufffe", "%s{0}{{x}}", "\u2028x"],
    ids=["crlf", "cr", "controls", "encoded word", "no characters", "templates", "separator"],
)
def test_malformed_header_fields_neither_crash_nor_hide(desk, connection, hostile):
    fields = ("subject", "from_name", "reply_to", "in_reply_to", "send_at")
    values: dict[str, object] = {field: f"{hostile} of {field}" for field in fields}
    message = make_message(connection, **values, to_addresses=[f"{hostile}@acme.example", "dana@acme.example"])
    for view in ("rendered", "text", "source", "headers", "changes", "parts"):
        page = read(desk, message, f"?view={view}")
        assert 'id="decide"' in page
    told = words(read(desk, message, "?view=headers"))
    pieces = [" ".join(piece.split()) for piece in re.split(r"[\x00-\x1f\x7f-\x9f\u2028\ufffe]+", hostile)]
    assert all(piece in told for piece in pieces)
    for field in fields:
        assert f"{pieces[-1]} of {field}" in told


@pytest.mark.proves("security 37")
@pytest.mark.parametrize(
    "body",
    ["<p>unclosed <b <i", "<table><tr><td>" * 2000, "\udcff".encode("utf-8", "replace").decode(), "Ã©Ã¨ \x92 \x00"],
    ids=["broken", "deep", "surrogate", "charset"],
)
def test_malformed_body_is_shown_or_said_not_to_be(desk, connection, body):
    message = make_message(connection, html_body=body.replace("\x00", "\ufffd"), markdown=None)
    for view in ("rendered", "text", "source", "parts"):
        assert 'id="decide"' in read(desk, message, f"?view={view}")
    frame = desk.get(f"/queue/{message.public_id}/body/")
    assert frame.status_code == 200


@pytest.mark.proves("security 37")
def test_header_injection_by_webhook_is_text(client, desk, connection):
    body = event_body(subject="Hello\r\nBcc: eve@evil.example\r\n\r\n<script>alert(1)</script>")
    assert post_event(client, connection, body).status_code == 200
    page = desk.get("/queue/").content.decode()
    assert "<script>alert(1)" not in page
    assert "eve@evil.example" in page


@pytest.mark.proves("security 36")
@pytest.mark.parametrize("attribute", ["hx-get", "hx-on:click", "data-hx-post", "hx-trigger"])
def test_htmx_attributes_of_a_mail_reach_no_page_as_attributes(desk, connection, attribute):
    mail = f'<div {attribute}="/queue/" onclick="alert(1)">words</div>'
    message = make_message(connection, html_body=mail, subject=mail, from_name=mail, markdown=mail)
    for view in ("rendered", "text", "source", "headers", "parts"):
        pane = read(desk, message, f"?view={view}").partition('id="message"')[2]
        assert f"<div {attribute}" not in pane
        assert f"&lt;div {attribute}" in pane
    frame = desk.get(f"/queue/{message.public_id}/body/").content.decode()
    assert attribute not in frame
    assert "onclick" not in frame


@pytest.mark.proves("security 26")
def test_frame_has_a_policy_of_its_own_and_the_page_a_sandbox_around_it(desk, connection):
    message = make_message(connection, html_body="<p>Hello</p>")
    frame = desk.get(f"/queue/{message.public_id}/body/")
    assert frame["Content-Security-Policy"] == (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; form-action 'none'; base-uri 'none'; "
        "frame-ancestors 'self'; sandbox"
    )
    page = desk.get(f"/queue/{message.public_id}/")
    assert "frame-src 'self'" in page["Content-Security-Policy"]
    (element,) = re.findall(r"<iframe[^>]*>", page.content.decode())
    assert re.search(r" sandbox(?= |>)(?!=)", element)
    assert "srcdoc" not in element
    assert f'src="/queue/{message.public_id}/body/"' in element
