"""Which hosts the desk accepts as MultiMail, and how long a page waits for one.

How each call is bounded, and that it follows no redirect and no proxy:
tests/unit/test_upstream_wire.py.
"""

import socket

import pytest

from tests.serving import named
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
    return AdminClient(base_url=url, key=SECRET, within=within).ask(
        "GET", "/v1/account"
    )


@pytest.mark.parametrize(
    "url",
    [
        *(
            "https://api.multimail.dev.evil.example",
            "https://multimail.dev",
            "http://api.multimail.dev",
        ),
        *(
            "https://api.multimail.dev:8443",
            "http://127.0.0.1:8002",
            "https://127.0.0.1:8001",
        ),
        # Our own address in other spellings.
        *(
            "http://localhost:8001",
            "http://2130706433:8001",
            "http://0x7f.1:8001",
            "http://0177.0.0.1:8001",
        ),
        *("http://[::ffff:127.0.0.1]:8001", "http://127.1:8001"),
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


@pytest.mark.parametrize("address", ["127.0.0.1", "10.1.2.3", "::1", "::ffff:10.0.0.1"])
def test_hosted_name_that_leads_to_a_private_address_is_not_called(
    monkeypatch, address
):
    public = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("93.184.216.34", 443))
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    private = (family, socket.SOCK_STREAM, 6, "", (address, 443))
    # Also where it is one among others.
    for found in ([private], [public, private]):
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, found=found, **__: found)
        with pytest.raises(errors.NotSent, match="private address") as caught:
            ask(HOSTED)
        assert SECRET not in caught.value.sentence


def test_peer_that_accepts_and_says_nothing_ends_in_the_time_that_a_page_gives_it():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with named(url), pytest.raises(errors.OutcomeUnknown, match="in time"):
            ask(url, within=0.3)
