"""What the desk tries by itself: whether PUBLIC_URL leads to it, and how long its
certificate lasts. test_sealing.py has the seals' file.
"""

import contextlib
import ssl
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from common import exchange
from dashboard import probes
from dashboard.health import checks
from dashboard.tasks import probe
from tests.certificates import make_certificate

pytestmark = pytest.mark.django_db


@contextlib.contextmanager
def site(body, *, status=200, certificate=None):
    """Serve this on one port, for every path."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    scheme = "http"
    if certificate:
        scheme = "https"
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"{scheme}://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def found():
    """Try, and return by kind what is found and whether somebody must act."""
    probe()
    return {one.kind: (one.why, one.needs_action) for one in checks._noted()}


def test_public_url_must_lead_to_this_desk(settings, live_server):
    settings.PUBLIC_URL = live_server.url
    assert found() == {}
    settings.PUBLIC_URL = "http://127.0.0.1:1"
    assert found()["public_url"][1]
    # Another desk answers there, or a page to sign in to a network.
    for status, must_act in ((200, True), (404, True), (401, False), (302, False)):
        with site('{"status": "ok", "desk": "another"}', status=status) as url:
            settings.PUBLIC_URL = url
            why = f"It answered: status {status}, not from this desk"
            assert found() == {"public_url": (why, must_act)}


@pytest.mark.parametrize(
    ("days", "kinds"), [(100, set()), (0.1, {"certificate"}), (-0.5, {"public_url"})]
)
def test_certificate_is_named_before_it_ends(
    days, kinds, settings, tmp_path, monkeypatch
):
    certificate = make_certificate(tmp_path, days=days)
    monkeypatch.setattr(exchange.certifi, "where", lambda: str(certificate))
    exchange.tls_context.cache_clear()
    try:
        with site(probes.desk_id(), certificate=certificate) as url:
            settings.PUBLIC_URL = url
            assert set(found()) == kinds
    finally:
        exchange.tls_context.cache_clear()


def test_authority_that_only_this_host_lacks_is_no_fault(settings, tmp_path):
    with site(probes.desk_id(), certificate=make_certificate(tmp_path)) as url:
        settings.PUBLIC_URL = url
        assert found() == {
            "public_url": ("It answered: self-signed certificate", False)
        }
