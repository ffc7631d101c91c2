"""Which addresses destinations may have: said in words, without a key, and never shown
whole.
"""

import pytest

from alerts.channels import channel_of
from alerts.models import Destination

KEY = "abcdefghijklmnopqrstuvwxyz-0123456789_WXYZ"
INNGEST = f"https://inn.gs/e/{KEY}"
OWN = "http://127.0.0.1:8288"
# What is wrong with an address of Inngest, and with one for webhooks: a part of the
# sentence that says it.
NO_INNGEST = {
    "https://inn.gs/e/": "not a complete address",
    f"{OWN}/x/{KEY}": "not a complete address",
    f"https://inn.gs/e/signkey-prod-{KEY}": "signing key",
    f"http://127.0.0.1:8289/e/{KEY}": "OUTGOING_ALLOW",
    f"https://inn.gs.elsewhere.example/e/{KEY}": "not an address of Inngest",
}
NO_WEBHOOK = {
    "http://hooks.example/in": "https://",
    "https://desk.yourteam.example/webhooks/": "the desk's own",
    "https://desk.yourteam.example./webhooks/": "the desk's own",
    "https://me:secret@hooks.example/in": "a user name",
}


@pytest.fixture(autouse=True)
def _destinations(settings):
    settings.OUTGOING_ALLOW = [OWN]
    settings.PUBLIC_URL = "https://desk.yourteam.example"


def test_public_or_named_addresses_are_accepted():
    inngest = [INNGEST, f"{INNGEST}/", "https://inn.gs:443/e/k", f"{OWN}/e/test"]
    hooks = ["https://hooks.example/in?token=1", f"{OWN}/hooks", "https://8.8.8.8/in"]
    assert not any(map(channel_of("inngest").url_error, inngest))
    assert not any(map(channel_of("signed_webhook").url_error, hooks))


@pytest.mark.parametrize(
    ("kind", "wrong"), [("inngest", NO_INNGEST), ("signed_webhook", NO_WEBHOOK)]
)
def test_invalid_address_is_explained_without_the_key(kind, wrong):
    for url, sentence in wrong.items():
        said = channel_of(kind).url_error(url)
        assert sentence in said, url
        assert KEY not in said


def test_address_is_shown_without_what_would_let_somebody_post():
    shown = {
        INNGEST: "inn.gs/••••",
        f"{OWN}/e/test": "127.0.0.1:8288/••••",
        "https://me:secret@hooks.example/in/secret?token=secret": "hooks.example/••••",
        "secret": "••••",
        "https://[::1/secret": "••••",
    }
    for url, address in shown.items():
        assert channel_of("inngest").address(Destination(url=url)) == address


NUMBER = "1180000000000000427"
PATH = f"/api/webhooks/{NUMBER}/{KEY}"
DISCORD = f"https://discord.com{PATH}"
NO_DISCORD = {
    "discord.com/api/webhooks/1/x": "not a complete address",
    "https://discord.com/channels/1/2": "not a complete address",
    "https://discord.com/api/webhooks/118": "not a complete address",
    f"{DISCORD}?wait=true": "question mark",
    f"http://discord.com{PATH}": "start with https://",
    f"https://discord.com:8443{PATH}": "have no port",
    f"https://discord.com.evil.example{PATH}": "not an address of Discord",
    f"https://discord.com@evil.example{PATH}": "a user name or a #",
    f"https://disc\u043erd.com{PATH}": "invalid character",
    "http://10.0.0.5:8080/admin/": "not a complete address",
}


def test_only_webhook_addresses_at_discord_or_an_allowed_origin_are_accepted(settings):
    settings.OUTGOING_ALLOW = ["http://10.0.0.5:8080"]
    channel = channel_of("discord_webhook")
    for url, words in NO_DISCORD.items():
        assert words in channel.url_error(url), url
    for host in ("discord.com", "canary.discord.com"):
        url = f"https://{host}{PATH}"
        assert channel.url_error(url) == ""
        assert channel.url_error(f"{url}?thread_id=12") == ""
        assert KEY not in channel.address(Destination(url=url))
    assert channel.url_error(f"http://10.0.0.5:8080{PATH}") == ""
