"""What the desk takes in and what it refuses, over real HTTP."""

import json
import socket
import uuid
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
import requests

from tests.desk import Product
from upstream.signatures import HEADER, sign

pytestmark = pytest.mark.stack

FROM = "support@yourteam.example"
TO = "dana@northwind.example"
SUBJECT = "Your refund"


def new_id() -> str:
    return f"01CHECK{uuid.uuid4().hex[:18].upper()}"


def rows(product: Product, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
    with psycopg.connect(product.known["DATABASE_URL"]) as database:
        return database.execute(sql, parameters).fetchall()  # type: ignore[arg-type]


def message(product: Product, email_id: str) -> tuple[Any, ...]:
    """The state, sender, recipients and subject in the desk."""
    found = rows(
        product,
        "SELECT state, sender, recipients, subject FROM mirror_message WHERE upstream_id = %s",
        email_id,
    )
    assert len(found) == 1
    return found[0]


def results(product: Product, email_id: str) -> list[str]:
    sql = "SELECT result FROM mirror_webhookevent WHERE email_id = %s ORDER BY id"
    return [result for (result,) in rows(product, sql, email_id)]


def now() -> str:
    return datetime.now(UTC).isoformat()


def envelopes(email_id: str) -> dict[str, dict[str, Any]]:
    """A rejection in each published form: a closed row that no read of held messages
    changes.
    """
    mail = {"from": FROM, "subject": SUBJECT}
    hybrid = {
        "event_id": uuid.uuid4().hex,
        "timestamp": now(),
        "id": email_id,
        "email_id": email_id,
    }
    hybrid |= {"message_id": email_id, **mail, "to": [TO], "decision": "rejected"}
    name = "oversight.rejected"
    return {
        "A": {
            "event": name,
            "timestamp": now(),
            "data": {"email_id": email_id, **mail, "to": [TO]},
        },
        "B": {
            "type": "message.rejected",
            "data": {"message_id": email_id, **mail, "to": TO},
        },
        "C": {
            "type": "email.decided",
            "message_id": email_id,
            "decision": "rejected",
            **mail,
            "to": TO,
        },
        "D": {
            "event_type": "email.rejected",
            "timestamp": now(),
            "message_id": email_id,
            **mail,
            "to": TO,
        },
        "hybrid": {
            "event": name,
            "type": name,
            "event_type": name,
            **hybrid,
            "data": hybrid,
        },
    }


def post(
    product: Product, body: bytes, signature: str | bytes | None, **headers: str
) -> requests.Response:
    sent: dict[str, Any] = {"Content-Type": "application/json", **headers}
    if signature is not None:
        sent[HEADER] = signature
    return requests.post(
        product.known["WEBHOOK_URL"],
        data=body,
        headers=sent,
        timeout=60,
        allow_redirects=False,
    )


def signed(product: Product, body: bytes) -> str:
    return sign(body, product.known["WEBHOOK_SECRET"])


def test_every_envelope_is_taken_with_either_form_of_signature(product: Product):
    for dialect in ("A", "B", "C", "D", "hybrid"):
        for begins in ("sha256=", ""):
            email_id = new_id()
            body = json.dumps(envelopes(email_id)[dialect]).encode()
            answer = post(
                product, body, begins + signed(product, body).removeprefix("sha256=")
            )
            assert answer.status_code == 200, dialect
            assert answer.json() == {"result": "applied"}, dialect
            assert message(product, email_id) == ("rejected", FROM, [TO], SUBJECT), (
                dialect
            )


def test_wrong_missing_and_non_ascii_signatures_are_401_and_leave_no_row(
    product: Product,
):
    email_id = new_id()
    body = json.dumps(envelopes(email_id)["A"]).encode()
    for signature in (
        None,
        "",
        "sha256=" + "0" * 64,
        "ключ".encode(),
        b"sha256=\xff\xfe",
    ):
        answer = post(product, body, signature)
        assert answer.status_code == 401, signature
        assert HEADER in answer.json()["error"], signature
    assert results(product, email_id) == []


def test_without_a_secret_everything_is_refused(product: Product):
    webhook_id = uuid.uuid4().hex
    own = {
        "slug": webhook_id[:20],
        "webhook_id": webhook_id,
        "webhook_secret": "",
        "previous_webhook_secret": "",
    }
    own |= {"api_url": "http://127.0.0.1:1", "paused_because": "A test of its own."}
    rows(
        product,
        "INSERT INTO mirror_connection SELECT (jsonb_populate_record(one, %s::jsonb || jsonb_build_object("
        "'id', nextval(pg_get_serial_sequence('mirror_connection', 'id')), 'paused_at', now()))).* "
        "FROM mirror_connection one WHERE removed_at IS NULL LIMIT 1 RETURNING id",
        json.dumps(own),
    )
    address = f"{product.known['DASHBOARD_URL']}/webhooks/multimail/{webhook_id}/"
    body = json.dumps(envelopes(new_id())["A"]).encode()
    try:
        for secret in ("", "whsec_guess"):
            headers = {HEADER: sign(body, secret), "Content-Type": "application/json"}
            assert (
                requests.post(
                    address, data=body, headers=headers, timeout=60
                ).status_code
                == 401
            )
    finally:
        rows(
            product,
            "DELETE FROM mirror_connection WHERE webhook_id = %s RETURNING id",
            webhook_id,
        )


def test_repeated_delivery_is_one_row_and_one_line_and_a_closed_row_is_never_reopened(
    product: Product,
):
    email_id = new_id()
    body = json.dumps(envelopes(email_id)["hybrid"]).encode()
    answers = [product.post_webhook(body).json()["result"] for _ in range(3)]
    assert answers == ["applied", "duplicate", "duplicate"]
    pending = {
        "event": "oversight.pending",
        "timestamp": now(),
        "data": {"email_id": email_id, "subject": SUBJECT},
    }
    assert product.post_webhook(json.dumps(pending).encode()).json() == {
        "result": "late"
    }
    assert results(product, email_id) == ["applied", "late"]
    assert message(product, email_id)[0] == "rejected"
    written = (
        "SELECT action FROM audit_entry WHERE action NOT LIKE 'alert.%%' AND message = "
        "(SELECT public_id FROM mirror_message WHERE upstream_id = %s) ORDER BY id"
    )
    assert rows(product, written, email_id) == [
        ("message.rejected",),
        ("webhook.late",),
    ]


def test_unknown_event_is_kept_and_what_is_no_object_is_400_and_nothing_is_guessed(
    product: Product,
):
    email_id = new_id()
    unknown = {"event": "message.teleported", "data": {"email_id": email_id}}
    undecided = {"type": "email.decided", "message_id": email_id, "subject": SUBJECT}
    for body in (unknown, undecided):
        answer = product.post_webhook(json.dumps(body).encode())
        assert answer.status_code == 200
        assert answer.json() == {"result": "unknown"}
    assert results(product, email_id) == ["unknown", "unknown"]
    assert (
        rows(product, "SELECT 1 FROM mirror_message WHERE upstream_id = %s", email_id)
        == []
    )
    for raw_body in (b"[1, 2]", b"null", b'"text"', b"7", b"{broken"):
        answer = product.post_webhook(raw_body)
        assert answer.status_code == 400, raw_body
        assert answer.json()["stored"] is True, raw_body


def raw(
    product: Product, head: str, *parts: bytes, close: bool = False
) -> tuple[int, bytes]:
    """Send raw bytes, and return the status and the whole answer."""
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
    return int(received.split(b" ", 2)[1]) if received else 0, received


def test_chunked_body_is_read_and_limited(product: Product):
    email_id = new_id()
    body = json.dumps(envelopes(email_id)["A"]).encode()
    head = f"Transfer-Encoding: chunked\r\n{HEADER}: {signed(product, body)}\r\n"
    half = len(body) // 2
    chunks = [
        b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:half], body[half:])
    ]
    assert raw(product, head, *chunks, b"0\r\n\r\n")[0] == 200
    assert results(product, email_id) == ["applied"]
    endless = [b"10000\r\n" + b" " * 65_536 + b"\r\n"] * 5
    assert raw(product, head, *endless, b"0\r\n\r\n")[0] == 413


def test_length_over_the_limit_is_refused_before_the_body_and_one_that_lies_stores_nothing(
    product: Product,
):
    for claimed in ("300000", "99999999999999999999"):
        status, _ = raw(
            product, f"Content-Length: {claimed}\r\n{HEADER}: sha256=00\r\n"
        )
        assert status in (400, 413), claimed
    email_id = new_id()
    body = json.dumps(envelopes(email_id)["A"]).encode()
    signature = f"{HEADER}: {signed(product, body)}\r\n"
    # Shorter than declared: the connection ends early. Longer: the rest does not belong
    # to the body.
    assert raw(
        product, f"Content-Length: {len(body) + 10}\r\n{signature}", body, close=True
    )[0] in (0, 400)
    assert (
        raw(product, f"Content-Length: {len(body) - 10}\r\n{signature}", body)[0] == 401
    )
    assert results(product, email_id) == []


def test_two_signature_headers_are_refused(product: Product):
    email_id = new_id()
    body = json.dumps(envelopes(email_id)["A"]).encode()
    good = signed(product, body)
    bad = "sha256=" + "0" * 64
    for first, second in ((good, bad), (bad, good), (good, good)):
        head = f"Content-Length: {len(body)}\r\n{HEADER}: {first}\r\n{HEADER}: {second}\r\n"
        assert raw(product, head, body)[0] == 401
    assert results(product, email_id) == []


def test_nothing_redirects_and_every_answer_has_the_rules(product: Product):
    body = json.dumps(envelopes(new_id())["A"]).encode()
    address = product.known["WEBHOOK_URL"].rstrip("/")
    headers = {HEADER: signed(product, body), "Content-Type": "application/json"}
    answer = requests.post(
        address, data=body, headers=headers, timeout=60, allow_redirects=False
    )
    assert answer.status_code == 200
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cache-Control"] == "no-store"
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert "Set-Cookie" not in answer.headers
    assert (
        requests.get(address + "/", timeout=60, allow_redirects=False).status_code
        == 405
    )
