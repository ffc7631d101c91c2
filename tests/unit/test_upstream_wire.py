"""The wire to MultiMail: bounded as a whole, and sure of one thing: whether a byte of
the request was written.
"""

import contextlib
import json
import socket
import ssl
import threading
from concurrent.futures import ThreadPoolExecutor
from unittest.mock import Mock
from urllib.parse import urlsplit

import pytest

from common import exchange
from tests.certificates import make_certificate
from upstream import client, errors, hosts
from upstream.client import Client

KEY = "mm_live_secret"
OK = b'HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n{"pending": []}'


@pytest.fixture(autouse=True)
def _anywhere(monkeypatch):
    """Which places may be called at all is asked in unit/test_outgoing_requests.py."""
    monkeypatch.setattr(hosts, "is_named", lambda url: bool(urlsplit(url).port or True))


@contextlib.contextmanager
def peer(*answers, drip=0.0, certificate=None):
    """Answer one connection after the other with these bytes; `drip` seconds lie
    between two bytes, without end.
    """
    listener = socket.create_server(("127.0.0.1", 0))
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        listener = context.wrap_socket(listener, server_side=True)
    asked = []
    stop = threading.Event()

    def serve():
        for raw in answers:
            with contextlib.suppress(OSError):
                opened, _ = listener.accept()
                with opened:
                    asked.append(opened.recv(65536))
                    for byte in raw if drip else ():
                        opened.sendall(bytes([byte]))
                        if stop.wait(drip):
                            return
                    opened.sendall(b"" if drip else raw)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", asked
    finally:
        stop.set()
        # Closing alone would leave the thread waiting for a caller who never comes.
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(60)
        assert not thread.is_alive()


def answer(body, status="200 OK", **headers):
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [
        f"HTTP/1.1 {status}",
        f"Content-Length: {len(raw)}",
        *(f"{n}: {v}" for n, v in headers.items()),
    ]
    return "\r\n".join([*lines, "", ""]).encode() + raw


def ask(url, **more):
    return Client(base_url=url, key=KEY).list_pending(**more)


def decide(url):
    return Client(base_url=url, key=KEY).decide_email(
        email_id="01E",
        action="reject",
        reason="",
        decided_by="Ana via Countersign",
        ended_by="person",
        expected_fingerprint=None,
    )


# Each byte comes long before anybody would call it silence, and the last after many
# minutes.
DRIPPING = [
    b"HTTP/1.1 200 OK\r\nX-Slow: " + b"x" * 60000,
    b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n" + b" " * 60000,
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\n \r\n" * 9000,
]


def test_answer_that_drips_ends_in_time_and_is_unknown(monkeypatch):
    monkeypatch.setattr(client, "TOTAL_TIMEOUT", 1)

    def let_drip(raw):
        with (
            peer(raw, drip=0.02) as (url, _),
            pytest.raises(errors.OutcomeUnknown, match="in time"),
        ):
            decide(url)

    # Side by side: each takes as long as it may.
    with ThreadPoolExecutor(len(DRIPPING)) as pool:
        list(pool.map(let_drip, DRIPPING))


def test_request_to_an_unknown_host_or_a_closed_port_was_not_sent(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    with pytest.raises(errors.NotSent, match="could not be reached"):
        decide(f"http://127.0.0.1:{port}")
    for resolve in (Mock(side_effect=OSError("no such name")), Mock(return_value=[])):
        monkeypatch.setattr(socket, "getaddrinfo", resolve)
        with pytest.raises(errors.NotSent):
            decide("https://api.multimail.example")


def test_resolver_that_hangs_holds_nothing_up(monkeypatch):
    is_free = threading.Event()
    has_answered = threading.Event()

    def resolve(*_, **__):
        is_free.wait(60)
        has_answered.set()
        return []

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(client, "TOTAL_TIMEOUT", 0.2)
    with pytest.raises(errors.NotSent):
        decide("https://api.multimail.example")
    assert not has_answered.is_set()
    is_free.set()


def test_certificate_must_be_known_and_of_this_host_before_anything_is_sent(
    tmp_path, monkeypatch
):
    certificate = make_certificate(tmp_path)
    exchange.tls_context.cache_clear()
    with (
        peer(b"", certificate=certificate) as (url, asked),
        pytest.raises(errors.NotSent, match="certificate is bad"),
    ):
        decide(url.replace("http:", "https:"))
    assert asked == []
    monkeypatch.setattr(exchange.certifi, "where", lambda: str(certificate))
    exchange.tls_context.cache_clear()
    try:
        with peer(b"", OK, certificate=certificate) as (url, asked):
            url = url.replace("http:", "https:")
            with pytest.raises(errors.NotSent, match="certificate is bad"):
                decide(url.replace("127.0.0.1", "localhost"))
            assert asked == []
            assert ask(url).rows == []
        assert KEY.encode() in asked[0]
    finally:
        exchange.tls_context.cache_clear()


def test_address_or_key_that_is_none_was_not_asked_anything():
    for url in ("ftp://a.example", "nothing", "http://a.example:x"):
        with pytest.raises(errors.NotSent):
            decide(url)
    # What no header can carry is as good as no key.
    for key in ("", "line\r\nX-Other: 1", "ключ"):
        with pytest.raises(errors.KeyRefused):
            Client(base_url="http://127.0.0.1:1", key=key).list_pending()


BROKEN = {
    "nothing": b"",
    "no HTTP": b"\x16\x03\x01",
    "cut": OK[:-4],
    "bad chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "many headers": b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 200,
    # Of something in between, which knows nothing of the call.
    "404": answer(b"<html>no</html>", "404 Not Found"),
    "409": answer(b"<html>no</html>", "409 Conflict"),
}


def test_answer_that_breaks_off_or_is_of_something_in_between_is_unknown():
    for name, raw in BROKEN.items():
        with peer(raw) as (url, _), pytest.raises(errors.OutcomeUnknown):
            pytest.fail(f"{name}: {decide(url)}")


def test_oversized_answer_is_not_stored(monkeypatch):
    monkeypatch.setattr(client, "MAX_DECISION_ANSWER", 1000)
    with (
        peer(answer(b"x" * 5000)) as (url, _),
        pytest.raises(errors.OutcomeUnknown, match="too large"),
    ):
        decide(url)


def test_request_is_one_of_its_own_with_the_key_and_no_proxy(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    with peer(OK, OK) as (url, asked):
        ask(url, cursor="01 D")
        Client(base_url=url, key=KEY).read_pending(email_id="01 E&x=1")
    assert [raw.split(b"\r\n")[0] for raw in asked] == [
        b"GET /v1/oversight/pending?only=pending&contents=false&limit=100&cursor=01+D HTTP/1.1",
        b"GET /v1/oversight/pending?email_id=01+E%26x%3D1 HTTP/1.1",
    ]
    assert all(
        b"Authorization: Bearer mm_live_secret\r\n" in raw
        and b"Connection: close\r\n" in raw
        for raw in asked
    )


def page(*ids, cursor=None):
    return answer({"pending": [{"id": one} for one in ids], "cursor": cursor})


def test_page_that_is_too_long_is_asked_for_with_fewer_rows(monkeypatch):
    monkeypatch.setattr(client, "MAX_PAGE", 1000)
    long = answer({"pending": [{"id": "1", "text": "x" * 5000}]})
    with peer(long, long, page("1", cursor="a")) as (url, asked):
        listed = ask(url)
    assert [raw.partition(b"limit=")[2].split(b" ")[0] for raw in asked] == [
        b"100",
        b"25",
        b"6",
    ]
    assert (listed.rows, listed.cursor, listed.limit) == ([{"id": "1"}], "a", 12)
    # A host that knows no limit, or one message that is longer: read all the same.
    with peer(long, long) as (url, asked):
        assert ask(url, limit=1).rows
        assert ask(url, without=["limit"]).rows
    assert b"limit" not in asked[1]


def test_redirect_is_not_followed():
    elsewhere = answer({}, "307 Moved", Location="http://127.0.0.1:1/")
    with (
        peer(elsewhere, elsewhere) as (url, asked),
        pytest.raises(errors.OutcomeUnknown),
    ):
        decide(url)
    assert len(asked) == 1
