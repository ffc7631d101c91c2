"""Which addresses may be told of events: said in words, without a key, and never shown
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
    f"http://inn.gs/e/{KEY}": "start with https://",
    f"https://inn.gs:8443/e/{KEY}": "have no port",
    "https://inn.gs/e/": "not an event URL",
    f"{OWN}/x/{KEY}": "not an event URL",
    f"https://inn.gs/e/signkey-prod-{KEY}": "signing key",
    f"{INNGEST}?x=1": "question mark",
    f"https://app.inngest.com/env/production/manage/{KEY}": "not an event URL",
    f"http://127.0.0.1:8289/e/{KEY}": "OUTGOING_ALLOW",
    f"https://inn.gs.elsewhere.example/e/{KEY}": "not an address of Inngest",
    KEY: "not a complete address",
}
PRIVATE = (
    "127.0.0.1",
    "[::1]",
    "10.0.0.7",
    "localhost:8288",
    "metadata.internal",
    "intranet",
)
NO_WEBHOOK = {
    "http://hooks.example/in": "https://",
    **{f"https://{host}/in": "private network" for host in PRIVATE},
    "https://desk.yourteam.example/webhooks/": "the desk's own",
    f"https://discord.com/api/webhooks/1/{KEY}": "Discord",
    INNGEST: "Inngest",
    "https://me:secret@hooks.example/in": "a user name",
    "ftp://hooks.example/in": "not a complete address",
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
        assert said.endswith("."), url
        assert KEY not in said


def test_address_is_shown_without_what_would_let_somebody_post():
    shown = {
        INNGEST: "inn.gs/e/…WXYZ",
        f"{OWN}/e/test": "127.0.0.1:8288/e/••••",
        "https://me:secret@hooks.example/in/secret?token=secret": "hooks.example/••••",
        "secret": "••••",
        "https://[::1/secret": "••••",
    }
    for url, address in shown.items():
        assert channel_of("inngest").address(Destination(url=url)) == address
