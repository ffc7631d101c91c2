"""Limits for anonymous requests: size, rate, and the figures for a monitor."""

from dashboard.serving import request_rules
from upstream.signatures import HEADER

TOKEN = "a-token-of-a-monitor"
# Headers that proxies add, each alone.
FORWARDED = (
    "X-Forwarded-For",
    "Forwarded",
    "X-Real-IP",
    "Via",
    "X-Forwarded-Host",
    "X-Forwarded-Proto",
)


def status(client, address="127.0.0.1", **headers):
    return client.get("/metrics", headers=headers, REMOTE_ADDR=address).status_code


def test_metrics_are_for_this_host_alone(client, settings):
    assert status(client) == 200
    assert status(client, "::1") == 200
    assert status(client, "10.0.0.2") == status(client, "") == 403
    for name in FORWARDED:
        assert status(client, **{name: "127.0.0.1"}) == 403, name
    # Behind a proxy all requests come from this host, and the proxy may add no header.
    settings.IS_BEHIND_PROXY = True
    assert status(client) == 403
    # Without a configured token no request is authorised.
    assert status(client, Authorization="Bearer ") == 403


def test_metrics_are_read_from_anywhere_with_the_token(client, settings):
    settings.METRICS_TOKEN = TOKEN
    forwarded = {"X-Forwarded-For": "198.51.100.7"}
    assert (
        status(client, "192.0.2.7", Authorization=f"Bearer {TOKEN}", **forwarded) == 200
    )
    for wrong in (f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer é"):
        assert status(client, "192.0.2.7", Authorization=wrong) == 403, wrong


def test_body_without_the_headers_it_needs_is_not_waited_for():
    signed = {f"HTTP_{HEADER.upper().replace('-', '_')}": "sha256=00"}
    by_discord = {"HTTP_X_SIGNATURE_ED25519": "00", "HTTP_X_SIGNATURE_TIMESTAMP": "1"}
    cases = [
        ("/webhooks/multimail/abc/", {}, 0),
        ("/webhooks/multimail/abc", signed, 256 * 1024),
        ("/discord/interactions/", {"HTTP_X_SIGNATURE_ED25519": "00"}, 0),
        ("/discord/interactions/", by_discord, 256 * 1024),
        ("/csp-report/", {}, 16 * 1024),
        ("/accounts/login/", {}, 4 * 1024 * 1024),
    ]
    assert [
        case
        for case in cases
        if request_rules.most_body({"PATH_INFO": case[0], **case[1]}) != case[2]
    ] == []
