"""The guarded session: private targets, redirects, sizes and times; and which hosts the
desk accepts as MultiMail.

How each call to MultiMail is bounded: tests/unit/test_upstream_wire.py.
"""

import contextlib
import socket
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from common.origins import is_public, origin_of
from outgoing import guarded
from outgoing.guarded import DeliveryError, request
from tests.serving import Handler, serving
from upstream import errors
from upstream.admin import AdminClient
from upstream.hosts import HOSTED, not_allowed_reason

# Answers byte for byte. After the last one the server keeps the connection open.
RAW = {
    "/early-hints": b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 204 None\r\n\r\n",
    "/short": b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nfin",
    "/no-last-chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nfin\r\n",
    "/silent": b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nfin",
}


class Answers(Handler):
    retry_after = ""

    def do_GET(self):  # noqa: N802
        self.reply(429, {}, **{"Retry-After": self.retry_after})

    def do_POST(self):  # noqa: N802
        self.body()
        if self.path in RAW:
            self.wfile.write(RAW[self.path])
            self.close_connection = True
            if self.path == "/silent":
                # Until the client closes the connection.
                self.connection.recv(1)
        elif self.path == "/redirect":
            self.reply(302, Location="http://169.254.169.254/latest/meta-data/")
        elif self.path in ("/drip-head", "/drip-body"):
            self.drip(
                b"HTTP/1.0 200 OK\r\nX-Long: "
                if self.path == "/drip-head"
                else b"HTTP/1.0 200 OK\r\n\r\n"
            )
        elif self.path == "/huge":
            self.send_response(200)
            self.end_headers()
            try:
                for _ in range(400):
                    self.wfile.write(b"x" * 65536)
            except OSError:
                return
        else:
            self.reply(200, b"fine")

    def drip(self, beginning):
        """Send a byte every now and then, so that no time limit of a single read is
        reached.
        """
        with contextlib.suppress(OSError):
            self.wfile.write(beginning)
            while True:
                self.wfile.write(b"x")
                time.sleep(0.05)


@pytest.fixture(scope="module")
def server():
    with serving(Answers) as origin:
        yield origin


def post(url, **options):
    return request("POST", url, body=b"{}", headers={}, **options)


PRIVATE = """
    127.0.0.1 10.1.2.3 172.16.0.1 192.168.1.1 169.254.169.254 100.64.0.1 0.0.0.0
    224.0.0.1 ::1 fe80::1%eth0 fc00::1 ::ffff:127.0.0.1 ::ffff:10.0.0.1
    2002:7f00:1:: 64:ff9b::7f00:1 64:ff9b::a9fe:a9fe 64:ff9b:1::1 ::7f00:1
    ::ffff:0:7f00:1 fec0::1 ff02::1 ::
""".split()
PUBLIC = ["93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946"]


def test_private_addresses_are_distinguished_from_public_ones():
    assert [address for address in PRIVATE + PUBLIC if is_public(address)] == PUBLIC


def test_private_target_in_any_spelling_is_refused_at_connect():
    for host in ("127.0.0.1", "localhost", "2130706433", "0x7f.1", "[::1]"):
        for scheme in ("https", "HTTPS"):
            with pytest.raises(DeliveryError, match="private") as caught:
                post(f"{scheme}://{host}:9/hook", allow=[])
            assert caught.value.refused, host


def test_name_that_leads_to_a_private_address_is_refused_also_among_others_and_after_a_check(
    monkeypatch,
):
    """As DNS may say it of any name; it is asked once, at connect."""
    for addresses in (["127.0.0.1"], ["10.0.0.5", "93.184.216.34"]):
        found = [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 443))
            for address in addresses
        ]
        answers = iter([found])
        monkeypatch.setattr(
            socket, "getaddrinfo", lambda *_, answers=answers, **__: next(answers)
        )
        with pytest.raises(DeliveryError, match="private") as caught:
            post("https://looks-harmless.example/", allow=[])
        assert caught.value.refused


def test_address_with_an_impossible_port_is_refused():
    with pytest.raises(DeliveryError, match="not valid"):
        post("https://x.example:99999/a.png")


def test_plain_http_is_refused_unless_the_exact_origin_is_allowed(server):
    other_port = origin_of(server).rsplit(":", 1)[0] + ":1"
    for allow in ([], [other_port]):
        with pytest.raises(DeliveryError, match="https"):
            post(server, allow=allow)
    assert post(server, allow=[server]).body == b"fine"


def test_redirect_is_not_followed_and_a_huge_answer_is_cut(server):
    assert post(f"{server}/redirect", allow=[server]).status == 302
    assert len(post(f"{server}/huge", allow=[server]).body) == guarded.MAX_ANSWER


def test_proxies_of_the_environment_are_ignored(server, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "")
    assert post(server, allow=[server]).status == 200


def test_endpoint_that_drips_or_says_nothing_is_cut_off(server):
    """What drips never ends by itself, so that it came back at all is the proof; the
    sentence tells by which limit.
    """
    with pytest.raises(DeliveryError, match=r"within 0.3 seconds"):
        post(f"{server}/drip-head", allow=[server], limit=0.3)
    answer = post(f"{server}/drip-body", allow=[server], limit=0.3)
    # It counts by its status. Of a byte every 50 ms the usual 20 seconds would have
    # brought 400.
    assert answer.status == 200
    assert len(answer.body) < 200
    with socket.create_server(("127.0.0.1", 0)) as silent:
        origin = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(DeliveryError, match=r"within 0.2 seconds|ReadTimeout"):
            post(origin, allow=[origin], limit=0.2)


def test_answer_counts_by_its_final_status_however_its_body_ends(server, monkeypatch):
    monkeypatch.setattr(guarded, "READ_TIMEOUT", 0.3)
    for path in RAW:
        status = post(f"{server}{path}", allow=[server]).status
        assert status == (204 if path == "/early-hints" else 200), path


def test_wait_may_be_a_number_or_a_date(server, settings, monkeypatch):
    settings.OUTGOING_ALLOW = [server]
    soon = format_datetime(datetime.now(UTC) + timedelta(minutes=10), usegmt=True)
    for text, seconds in (("2.5", 2.5), (soon, 600), ("soon", 30), ("nan", 30)):
        monkeypatch.setattr(Answers, "retry_after", text)
        with pytest.raises(errors.Throttled) as caught:
            AdminClient(base_url=server, key="mm_x", within=5.0).ask("GET", "/")
        assert caught.value.retry_after == pytest.approx(seconds, rel=0.1), text


OURS = "http://127.0.0.1:8001"
SECRET = "mm_live_never_shown"


@pytest.fixture(autouse=True)
def _operator(settings):
    settings.MULTIMAIL_API_URL = OURS
    settings.OUTGOING_ALLOW = []


def ask(url):
    return AdminClient(base_url=url, key=SECRET, within=5.0).ask("GET", "/v1/account")


@pytest.mark.parametrize(
    "url",
    [
        "https://api.multimail.dev.evil.example",
        "http://api.multimail.dev",
        "https://api.multimail.dev:8443",
        # Our own address in other spellings.
        "http://localhost:8001",
        "http://2130706433:8001",
    ],
)
def test_host_that_is_not_named_is_refused_and_the_way_out_is_told(url):
    assert "OUTGOING_ALLOW" in not_allowed_reason(url)
    with pytest.raises(errors.NotSent, match="OUTGOING_ALLOW"):
        ask(url)


def test_named_hosts_are_taken(settings):
    settings.OUTGOING_ALLOW = ["https://mail.yourteam.example"]
    for url in (HOSTED, f"{HOSTED}:443/", OURS, "https://mail.yourteam.example/"):
        assert not_allowed_reason(url) == ""


def test_hosted_name_that_leads_to_a_private_address_among_others_is_not_called(
    monkeypatch,
):
    found = [
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 443))
        for address in ("93.184.216.34", "10.1.2.3")
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    with pytest.raises(errors.NotSent, match="private address") as caught:
        ask(HOSTED)
    assert SECRET not in caught.value.sentence
