"""What the desk takes in and what it refuses, over real HTTP.

Lines 44 to 47, of envelopes, signatures and repetitions, are proven with the desk's own
tests.
"""

import json
import socket
import uuid
from urllib.parse import urlsplit

import psycopg
import pytest
import requests

from upstream.signatures import HEADER, sign

pytestmark = pytest.mark.stack


def new_id():
    return f"01CHECK{uuid.uuid4().hex[:18].upper()}"


def event(email_id):
    """A rejection: a closed row that no read of held messages changes."""
    said = {"event": "oversight.rejected", "data": {"email_id": email_id}}
    return json.dumps(said).encode()


def signed(product, body):
    return sign(body, product.known["WEBHOOK_SECRET"])


def results(product, email_id):
    sql = "SELECT result FROM mirror_webhookevent WHERE email_id = %s ORDER BY id"
    with psycopg.connect(product.known["DATABASE_URL"]) as database:
        return [result for (result,) in database.execute(sql, [email_id])]


def raw(product, head, *parts, close=False):
    """Send raw bytes, and return the status, 0 without an answer."""
    address = urlsplit(product.known["WEBHOOK_URL"])
    with socket.create_connection(
        (address.hostname, address.port), timeout=60
    ) as connection:
        head = f"POST {address.path} HTTP/1.1\r\nHost: {address.netloc}\r\nContent-Type: application/json\r\n{head}\r\n"
        connection.sendall(head.encode("latin-1"))
        try:
            for part in parts:
                connection.sendall(part)
            if close:
                connection.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # answered before all of it was sent
        received = b""
        while b"\r\n\r\n" not in received and (more := connection.recv(65_536)):
            received += more
    return int(received.split(b" ", 2)[1]) if received else 0


def test_chunked_body_is_read_and_limited(product):
    email_id = new_id()
    body = event(email_id)
    head = f"Transfer-Encoding: chunked\r\n{HEADER}: {signed(product, body)}\r\n"
    half = len(body) // 2
    chunks = [
        b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:half], body[half:])
    ]
    assert raw(product, head, *chunks, b"0\r\n\r\n") == 200
    assert results(product, email_id) == ["applied"]
    endless = [b"10000\r\n" + b" " * 65_536 + b"\r\n"] * 5
    assert raw(product, head, *endless, b"0\r\n\r\n") == 413


def test_length_over_the_limit_is_refused_before_the_body_and_one_that_lies_stores_nothing(
    product,
):
    for claimed in ("300000", "99999999999999999999"):
        status = raw(product, f"Content-Length: {claimed}\r\n{HEADER}: sha256=00\r\n")
        assert status in (400, 413), claimed
    email_id = new_id()
    body = event(email_id)
    signature = f"{HEADER}: {signed(product, body)}\r\n"
    # Shorter than declared: the connection ends early. Longer: the rest does not belong
    # to the body.
    assert raw(
        product, f"Content-Length: {len(body) + 10}\r\n{signature}", body, close=True
    ) in (0, 400)
    assert raw(product, f"Content-Length: {len(body) - 10}\r\n{signature}", body) == 401
    assert results(product, email_id) == []


def test_signature_that_is_doubled_or_no_ascii_is_refused(product):
    email_id = new_id()
    body = event(email_id)
    good = signed(product, body)
    bad = "sha256=" + "0" * 64
    cyrillic = "ключ".encode().decode("latin-1")
    for values in ((good, bad), (bad, good), (good, good), (cyrillic,), ("\xff",)):
        head = "".join(f"{HEADER}: {value}\r\n" for value in values)
        head = f"Content-Length: {len(body)}\r\n{head}"
        assert raw(product, head, body) == 401, values
    assert results(product, email_id) == []


def test_nothing_redirects_and_every_answer_has_the_rules(product):
    body = event(new_id())
    address = product.known["WEBHOOK_URL"].rstrip("/")
    headers = {HEADER: signed(product, body), "Content-Type": "application/json"}
    answer = requests.post(
        address, data=body, headers=headers, timeout=60, allow_redirects=False
    )
    assert answer.status_code == 200
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert "Set-Cookie" not in answer.headers
