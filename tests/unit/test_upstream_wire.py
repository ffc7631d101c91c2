"""The wire to MultiMail: bounded as a whole, and sure of one thing: whether a byte of the request was written."""

import contextlib
import json
import socket
import ssl
import threading
import time
from urllib.parse import urlsplit

import pytest

from upstream import client, errors, hosts, wire
from upstream.client import Client

KEY = "mm_live_secret"
OK = b'HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n{"pending": []}'


@pytest.fixture(autouse=True)
def _anywhere(monkeypatch):
    """Which places may be called at all is asked in integration/test_outgoing_rules.py."""
    monkeypatch.setattr(hosts, "is_named", lambda url: bool(urlsplit(url).port or True))


@contextlib.contextmanager
def peer(*answers, drip=0.0):
    """Answer one connection after the other with these bytes; `drip` seconds lie between two bytes, without end."""
    listener = socket.create_server(("127.0.0.1", 0))
    asked: list[bytes] = []
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
        thread.join(5)
        assert not thread.is_alive()


def answer(body, status="200 OK", **headers):
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(raw)}", *(f"{n}: {v}" for n, v in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode() + raw


def ask(url, **more):
    return Client(base_url=url, key=KEY).list_pending(**more)


def decide(url):
    return Client(base_url=url, key=KEY).decide_email(
        email_id="01E", action="approve", reason="", expected_fingerprint=None
    )


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\nX-Slow: " + b"x" * 60000,
        b"HTTP/1.1 100 Continue\r\n\r\n" * 3000,
        b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n" + b" " * 60000,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\n \r\n" * 9000,
    ],
    ids=["one header", "many interim answers", "body", "chunks"],
)
def test_answer_that_drips_ends_in_time_and_is_unknown(monkeypatch, raw):
    monkeypatch.setattr(client, "TOTAL_TIMEOUT", 0.25)
    began = time.monotonic()
    with peer(raw, drip=0.02) as (url, _), pytest.raises(errors.OutcomeUnknown, match="in time"):
        decide(url)
    assert time.monotonic() - began < 5


def test_peer_that_accepts_and_never_answers_ends_in_time(monkeypatch):
    monkeypatch.setattr(wire, "SILENCE_TIMEOUT", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(errors.OutcomeUnknown, match="in time"):
        decide(f"http://127.0.0.1:{silent.getsockname()[1]}")


def test_request_that_nobody_takes_ends_in_time(monkeypatch):
    monkeypatch.setattr(client, "TOTAL_TIMEOUT", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(errors.OutcomeUnknown):
        Client(base_url=f"http://127.0.0.1:{silent.getsockname()[1]}", key=KEY).decide_email(
            email_id="01E", action="reject", reason="x" * 20_000_000, expected_fingerprint=None
        )


def test_nobody_listens_and_nothing_was_sent():
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    with pytest.raises(errors.NotSent, match="could not be reached"):
        decide(f"http://127.0.0.1:{port}")


@pytest.mark.parametrize("found", [OSError("no such name"), []], ids=["no such name", "no address"])
def test_name_that_is_not_found_was_not_asked_anything(monkeypatch, found):
    def resolve(*_, **__):
        if isinstance(found, OSError):
            raise found
        return found

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    with pytest.raises(errors.NotSent):
        decide("https://api.multimail.example")


def test_resolver_that_hangs_holds_nothing_up(monkeypatch):
    free = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: free.wait(20) and [])
    monkeypatch.setattr(client, "TOTAL_TIMEOUT", 0.2)
    with pytest.raises(errors.NotSent):
        decide("https://api.multimail.example")
    free.set()


def test_peer_that_speaks_no_tls_was_not_asked_anything():
    with peer(b"HTTP/1.1 400 Bad Request\r\n\r\n") as (url, asked), pytest.raises(errors.NotSent):
        decide(url.replace("http:", "https:"))
    assert KEY.encode() not in b"".join(asked)


def test_certificate_of_nobody_known_is_refused_before_anything_is_sent(tmp_path):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(make_certificate(tmp_path))
    listener = socket.create_server(("127.0.0.1", 0))
    read: list[bytes] = []

    def serve():
        with contextlib.suppress(OSError), context.wrap_socket(listener.accept()[0], server_side=True) as opened:
            read.append(opened.recv(10))

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    with listener, pytest.raises(errors.NotSent, match="certificate is bad"):
        decide(f"https://127.0.0.1:{listener.getsockname()[1]}")
    thread.join(5)
    assert b"".join(read) == b""


def make_certificate(folder):
    from datetime import UTC, datetime, timedelta

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "nobody")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    file = folder / "certificate.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(made.public_bytes(serialization.Encoding.PEM) + private)
    return file


@pytest.mark.parametrize("url", ["ftp://a.example", "http://", "nothing", "http://a b.example", "http://a.example:x"])
def test_address_that_is_none_was_not_asked_anything(url):
    with pytest.raises(errors.NotSent):
        decide(url)


@pytest.mark.parametrize("key", ["", "two words", "line\r\nX-Other: 1", "ключ"], ids=ascii)
def test_key_that_no_header_can_carry_is_as_good_as_none(key):
    with pytest.raises(errors.KeyRefused):
        Client(base_url="http://127.0.0.1:1", key=key).list_pending()


@pytest.mark.parametrize(
    "raw",
    [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}", b"HTTP/1.1 abc\r\n\r\n", b"\x16\x03\x01", OK[:-4],
     b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 200],
    ids=["nothing", "short", "no status", "no HTTP", "cut", "bad chunk", "many headers"],
)  # fmt: skip
def test_answer_that_breaks_off_is_unknown(raw):
    with peer(raw) as (url, _), pytest.raises(errors.OutcomeUnknown):
        decide(url)


def test_answer_larger_than_any_is_not_kept(monkeypatch):
    monkeypatch.setattr(client, "MAX_DECISION_ANSWER", 1000)
    with peer(answer(b"x" * 5000)) as (url, _), pytest.raises(errors.OutcomeUnknown, match="larger"):
        decide(url)


@pytest.mark.parametrize("status", ["301 Moved", "307 Temporary Redirect"])
def test_redirect_is_not_followed(status):
    with peer(answer({}, status, Location="http://127.0.0.1:1/")) as (url, asked), pytest.raises(errors.OutcomeUnknown):
        decide(url)
    assert len(asked) == 1


@pytest.mark.parametrize("status", ["403 Forbidden", "404 Not Found", "409 Conflict", "422 Unprocessable"])
def test_error_of_something_in_between_says_nothing_of_the_call(status):
    with peer(answer(b"<html>no</html>", status)) as (url, _), pytest.raises(errors.OutcomeUnknown):
        decide(url)


def test_request_is_one_of_its_own_with_the_key_and_no_proxy(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    with peer(OK, OK) as (url, asked):
        ask(url)
        ask(url, email_id="01 E&x=1")
    assert [raw.split(b"\r\n")[0] for raw in asked] == [
        b"GET /v1/oversight/pending HTTP/1.1",
        b"GET /v1/oversight/pending?email_id=01+E%26x%3D1 HTTP/1.1",
    ]
    assert all(b"Authorization: Bearer mm_live_secret\r\n" in raw and b"Connection: close\r\n" in raw for raw in asked)


def page(*ids, cursor=None):
    return answer({"pending": [{"id": one} for one in ids], "cursor": cursor})


def test_all_pages_of_the_list_are_read():
    with peer(page("1", "2", cursor="a b"), page("3", cursor="c"), page("4", 5)) as (url, asked):
        pending = ask(url)
    assert [row["id"] for row in pending.rows] == ["1", "2", "3", "4", 5]
    assert pending.pages == 3
    assert b"?cursor=a+b " in asked[1]


@pytest.mark.parametrize(
    "second", [answer({"error": "no"}, "500 Oops"), b"", page("3", cursor="a"), answer({"error": "slow"}, "429 Slow")],
    ids=["error", "cut", "the same page again", "throttled"],
)  # fmt: skip
def test_list_without_its_last_page_is_none(second):
    with peer(page("1", cursor="a"), second) as (url, _), pytest.raises(errors.UpstreamError):
        ask(url)


def test_list_that_leads_back_to_a_page_ends():
    with (
        peer(page("1", cursor="a"), page("2", cursor="a"), page("3")) as (url, _),
        pytest.raises(errors.OutcomeUnknown, match="came back"),
    ):
        ask(url)


def test_pages_share_their_bounds(monkeypatch):
    monkeypatch.setattr(client, "MAX_ANSWER", 120)
    first, second = page("1" * 30, cursor="a"), page("2" * 30)
    with peer(first, second) as (url, _), pytest.raises(errors.OutcomeUnknown, match="larger"):
        ask(url)


def test_row_of_another_message_is_not_the_one_that_was_asked_for():
    # Hosted MultiMail does not know the filter and answers with everything.
    with peer(page("1", "2")) as (url, _):
        pending = ask(url, email_id="2")
    assert [row["id"] for row in pending.rows] == ["2"]
    with peer(page("1", "2")) as (url, _):
        assert (ask(url, email_id="3").rows, pending.closed) == ([], None)
