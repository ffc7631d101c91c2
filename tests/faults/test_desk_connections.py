"""MultiMail is unreachable, or connections break: unsent requests are repeated automatically."""

import contextlib
import datetime
import socket
import ssl
import threading
from urllib.parse import urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.faults.proxy import DECIDE, READ

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("desk-faults")]


@contextlib.contextmanager
def led_to(desk, url):
    """Point the desk's connection to another address."""
    desk.sql("UPDATE mirror_connection SET api_url = %s WHERE slug = 'demo'", url)
    try:
        yield
    finally:
        desk.sql("UPDATE mirror_connection SET api_url = %s WHERE slug = 'demo'", desk.upstream.url)


@contextlib.contextmanager
def refused(desk):
    with desk.upstream.refusing():
        yield


@contextlib.contextmanager
def unknown_name(desk):
    with led_to(desk, "http://no-such-host.invalid"):
        yield


@contextlib.contextmanager
def bad_certificate(desk):
    """Answer TLS with an untrusted certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(_certificate(desk.stack.data.parent))
    written: list[bytes] = []
    # An allowed address: only the certificate is refused.
    with socket.create_server(("127.0.0.1", urlsplit(desk.secured).port)) as server:
        threading.Thread(target=_shake_hands, args=[server, context, written], daemon=True).start()
        with led_to(desk, desk.secured):
            yield
        server.shutdown(socket.SHUT_RDWR)
    assert not any(written), "something was written to whom nobody vouches for"


def _shake_hands(server, context, written):
    with contextlib.suppress(OSError):
        while True:
            connection, _ = server.accept()
            with contextlib.suppress(OSError), context.wrap_socket(connection, server_side=True) as secured:
                written.append(secured.recv(1))


def _certificate(folder):
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    file = folder / "self-signed.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return file


def test_unreachable_multimail_is_known_as_not_sent(desk):
    messages, decisions = [desk.hold() for _ in range(3)], []
    for held, unreachable in zip(messages, (refused, unknown_name, bad_certificate), strict=True):
        with unreachable(desk):
            assert desk.decide(held) == 302
            desk.wait(lambda held=held: desk.decision(held)["explanation"], f"{unreachable.__name__} to fail")
            decision = desk.wait_for_decision(held, "recorded")
            assert (decision["may_have_left"], desk.calls(held)) == (False, 0), unreachable.__name__
            assert decision["due_at"] > decision["changed_at"]
            decisions.append(decision["id"])
    for held, decision in zip(messages, decisions, strict=True):
        desk.let_fall_due(held)
        assert (desk.sweep_to(held, "applied")["id"], desk.calls(held)) == (decision, 1)


def test_port_that_closes_between_read_and_call_is_known_as_not_sent(desk):
    held = desk.hold()

    def close_behind(exchange):
        answer = exchange.forward()
        closing.enter_context(desk.upstream.refusing(keep_open=True))
        exchange.reply(answer)

    with contextlib.ExitStack() as closing, desk.upstream.fault(close_behind, READ, held.upstream_id, times=1):
        assert desk.decide(held) == 302
        desk.wait(lambda: desk.decision(held)["explanation"], "the attempt to fail")
        assert desk.wait_for_decision(held, "recorded")["may_have_left"] is False
    desk.let_fall_due(held)
    desk.sweep_to(held, "applied")
    assert desk.calls(held) == 1


def test_idle_connections_that_are_reset_cost_no_decision(desk):
    desk.upstream.resets_idle = True
    try:
        messages = [desk.hold() for _ in range(2)]
        for held in messages:
            assert desk.decide(held) == 302
        for held in messages:
            assert desk.wait_for_decision(held, "applied")["attempt"] == 1
    finally:
        desk.upstream.resets_idle = False
    calls = [call for held in messages for call in desk.upstream.requests(DECIDE, held.upstream_id)]
    assert [call.request_number for call in calls] == [1, 1]
    assert not {call.connection for call in calls} & {
        seen.connection for seen in desk.upstream.seen if seen not in calls
    }
