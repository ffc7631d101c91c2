"""Small readers and writers: times, text out of HTML, cursors, the server's address."""

import pytest

from gateway.errors import Invalid
from gateway.paging import as_number, clamp, read_cursor, read_offset
from gateway.plain_text import text_of_html
from gateway.smtp import Server
from gateway.timestamps import epoch_milliseconds, iso, parse_iso


def test_time_comes_back_as_it_is_kept():
    assert iso(parse_iso("2026-11-20T08:15:00.1239Z")) == "2026-11-20T08:15:00.123Z"
    assert epoch_milliseconds(parse_iso("1970-01-01T00:00:01Z")) == 1000
    assert iso(None) is None


@pytest.mark.parametrize(
    "text", ["", "Z", "soon", "2026-11-20T08:15:00", "2026-11-20T08:15:00+00:00", "2026-13-01T00:00:00Z"]
)
def test_time_in_another_form_is_refused(text: str):
    with pytest.raises(ValueError, match="must be a time in UTC"):
        parse_iso(text)


def test_text_of_html_is_what_a_reader_sees():
    html = "<style>p{}</style><h1>A &amp; B</h1><p>one\n two<br>three</p><script>x()</script><ul><li>four</li></ul>"
    assert text_of_html(html) == "A & B\n\none\n\ntwo\n\nthree\n\nfour"


@pytest.mark.parametrize(
    ("value", "size"), [(None, 20), ("", 20), ("x", 20), ("0", 1), ("-3", 1), ("7", 7), ("900", 100)]
)
def test_limit_is_clamped(value: str | None, size: int):
    assert clamp(value, default=20, most=100) == size


def test_offset_is_never_more_than_the_database_counts():
    assert [read_offset(text) for text in (None, "-1", "x", "5", "9" * 30)] == [0, 0, 0, 5, 1_000_000]


@pytest.mark.parametrize("text", ["'", "a b", "a" * 41, "é"])
def test_cursor_of_another_form_is_refused(text: str):
    with pytest.raises(Invalid):
        read_cursor(text)


@pytest.mark.parametrize("text", ["x", "9" * 19])
def test_number_cursor_of_another_form_is_refused(text: str):
    with pytest.raises(Invalid):
        as_number(text)


def test_mail_server_from_its_address():
    server = Server.from_url("smtps://user%40x:p%3Aw@mail.example")
    assert (server.host, server.port, server.user, server.password) == ("mail.example", 465, "user@x", "p:w")
    assert Server.from_url("smtp://127.0.0.1:8025?tls=off").starttls == "off"
