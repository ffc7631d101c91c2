"""Which hosts the desk accepts as MultiMail, and the limits of each call."""

import contextlib
import socket
import threading
import time

import pytest

from tests.serving import Handler, named, serving
from upstream import errors
from upstream.admin import AdminClient
from upstream.hosts import HOSTED, not_allowed_reason

OURS = "http://127.0.0.1:8001"
SECRET = "mm_live_never_shown"


@pytest.fixture(autouse=True)
def _operator(settings):
    settings.MULTIMAIL_API_URL = OURS
    settings.OUTGOING_ALLOW = []


def ask(url, *, within=5.0):
    return AdminClient(base_url=url, key=SECRET, within=within).ask("GET", "/v1/account")


class Endless(Handler):
    """Answers /huge with a gigabyte, /drip with a byte now and then, and all else with a redirect."""

    seen: list[str] = []
    sent: list[int] = []

    def do_GET(self):  # noqa: N802
        self.seen.append(self.path)
        with contextlib.suppress(OSError):
            if self.path.startswith("/huge"):
                self.send_response(200)
                self.send_header("Content-Length", str(1 << 30))
                self.end_headers()
                for _ in range(1 << 14):
                    self.sent.append(self.wfile.write(b"x" * 65536))
            elif self.path.startswith("/drip"):
                self.wfile.write(b"HTTP/1.0 200 OK\r\n\r\n")
                while True:
                    self.wfile.write(b" ")
                    time.sleep(0.02)
            else:
                self.send_response(302)
                self.send_header("Location", "http://169.254.169.254/latest/meta-data/")
                self.end_headers()


def test_host_that_is_not_named_is_refused_and_the_way_out_is_told():
    for url in (
        "https://api.multimail.dev.evil.example", "https://multimail.dev", "http://api.multimail.dev",
        "https://api.multimail.dev:8443", "http://127.0.0.1:8002", "https://127.0.0.1:8001", "http://localhost:8001",
    ):  # fmt: skip
        assert "OUTGOING_ALLOW" in not_allowed_reason(url)
        with pytest.raises(errors.NotSent, match="OUTGOING_ALLOW"):
            ask(url)


def test_named_hosts_are_taken(settings):
    settings.OUTGOING_ALLOW = ["https://mail.yourteam.example"]
    for url in (HOSTED, f"{HOSTED}:443/", OURS, "https://mail.yourteam.example/"):
        assert not_allowed_reason(url) == ""


def test_redirect_is_not_followed():
    with serving(Endless) as url, pytest.raises(errors.OutcomeUnknown) as caught:
        ask(url)
    assert caught.value.status == 302


PRIVATE = (
    *("127.0.0.1", "10.1.2.3", "169.254.169.254", "100.64.0.1", "0.0.0.0", "::1", "::ffff:10.0.0.1"),
    *("fe80::1", "fc00::1"),
)


def test_hosted_name_that_leads_to_a_private_address_is_not_called(monkeypatch):
    public = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("93.184.216.34", 443))
    for address in PRIVATE:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        private = (family, socket.SOCK_STREAM, 6, "", (address, 443))
        # Also where it is one among others.
        for found in ([private], [public, private]):
            monkeypatch.setattr(socket, "getaddrinfo", lambda *_, found=found, **__: found)
            with pytest.raises(errors.NotSent, match="private address") as caught:
                ask(HOSTED)
            assert SECRET not in caught.value.sentence


def test_name_that_turns_private_after_a_look_up_is_not_called(monkeypatch):
    """The checked address is the one that is connected to: each call resolves the name once."""
    looked_up = []

    def resolve(host, port, **_):
        looked_up.append(host)
        address = "93.184.216.34" if len(looked_up) == 1 else "127.0.0.1"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    connected = []
    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(socket.socket, "connect", lambda self, target: connected.append(target[0]) or _refuse())
    for _ in range(2):
        with pytest.raises(errors.NotSent):
            ask(HOSTED)
    assert (looked_up, connected) == (["api.multimail.dev"] * 2, ["93.184.216.34"])


def _refuse():
    raise ConnectionRefusedError


def test_loopback_in_another_spelling_is_not_the_named_one():
    with serving(Endless) as url:
        for host in ("2130706433", "0x7f.1", "0177.0.0.1", "[::ffff:127.0.0.1]", "127.1"):
            with pytest.raises(errors.NotSent, match="OUTGOING_ALLOW"):
                ask(url.replace("127.0.0.1", host))


def test_gigabyte_is_given_up_after_what_is_kept_and_a_drip_after_the_time_that_a_page_gives_it():
    """The stand-in never stops: the call's limit ends it."""
    with serving(Endless) as url:
        with pytest.raises(errors.TooLarge):
            ask(f"{url}/huge", within=60)
        assert sum(Endless.sent) < 1 << 26
        with pytest.raises(errors.OutcomeUnknown, match="in time"):
            ask(f"{url}/drip", within=0.4)


def test_peer_that_accepts_and_says_nothing_ends_in_that_time_too():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with named(url), pytest.raises(errors.OutcomeUnknown, match="in time"):
            ask(url, within=0.3)


def test_proxies_of_the_environment_are_ignored(monkeypatch):
    accepted = []
    with socket.create_server(("127.0.0.1", 0)) as proxy, serving(Endless) as url:
        threading.Thread(target=_count, args=[proxy, accepted], daemon=True).start()
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "HTTPS_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.getsockname()[1]}")
        with pytest.raises(errors.OutcomeUnknown):
            ask(f"{url}/asked")
        assert Endless.seen[-1] == "/asked/v1/account"
        assert accepted == []
        proxy.shutdown(socket.SHUT_RDWR)


def _count(listener, accepted):
    with contextlib.suppress(OSError):
        while True:
            accepted.append(listener.accept())
