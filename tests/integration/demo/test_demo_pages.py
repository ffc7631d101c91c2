"""The demo's pages, its inbox and its programs: hostile content stays text, the CSP is
strict, and what came is stored once.
"""

import base64
import json
import mailbox
import time
from datetime import UTC, datetime
from email import message_from_bytes

import requests
from standardwebhooks import Webhook

from common.demo import HOOK_PATH
from demo.inbox import mail_html, visible
from tests.integration.demo.running import SECONDS, ask

HOSTILE = '<script>alert(1)</script><img src=x onerror="alert(2)">'
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def assert_harmless(html):
    for markup in ("<script>", "<img", "style="):
        assert markup not in html
    assert "&lt;script&gt;" in html


def delivered(demo, subject):
    return [
        message
        for message in mailbox.Maildir(demo.data_dir / "outbox")
        if message["Subject"] == subject
    ]


def test_hostile_cards_are_escaped_everywhere(demo):
    embed = {
        "title": HOSTILE,
        "url": "https://desk.test/a?b=1&c=2",
        "description": HOSTILE,
        "fields": [{"name": HOSTILE, "value": HOSTILE}],
    }
    payload = {"content": HOSTILE, "username": HOSTILE[:60], "embeds": [embed]}
    assert ask("POST", demo.new_webhook(), json=payload).status_code == 204
    button = {"type": 2, "style": 5, "label": "x", "url": "javascript:alert(3)"}
    payload |= {"components": [{"type": 1, "components": [button]}]}
    embed["url"] = button["url"]
    assert ask("POST", demo.new_webhook(), json=payload).status_code == 204
    shown = demo.get("/messages/").text
    assert_harmless(shown)
    assert 'href="https://desk.test/a?b=1&amp;c=2"' in shown
    assert "javascript:" not in shown


def test_every_response_has_the_policy_and_no_path_leaves_the_folder(demo):
    for path in ("/", "/inbox/", "/programs.json", "/assets/refresh.js", "/no"):
        headers = demo.get(path).headers
        assert headers["Content-Security-Policy"] == POLICY, path
    for path in ("/inbox/%2e%2e%2fdiscord.jsonl/", "/assets/..%2fweb.py"):
        request = requests.Request("GET", demo.url).prepare()
        request.url = demo.url + path
        assert requests.Session().send(request, timeout=SECONDS).status_code == 404, (
            path
        )
    assert (
        demo.get("/inbox/", headers={"Host": "rebound.attacker.example"}).status_code
        == 400
    )


def test_delivered_mail_is_stored_once_listed_and_shown_as_source(demo):
    subject = f"Mail {HOSTILE}"
    recipients = ["to@a.example", "hidden@b.example"]
    assert (
        demo.mail(
            recipients, subject, text=HOSTILE, html=HOSTILE, file="in\u202efdp.exe"
        )
        == {}
    )
    (message,) = delivered(demo, subject)
    assert message["X-Envelope-To"] == "to@a.example, hidden@b.example"
    assert message["X-Envelope-From"] == "desk@a.example"
    assert message["To"] == "to@a.example"
    listed = demo.get("/inbox/").text
    assert_harmless(listed)
    key = listed.partition('class="item" href="/inbox/')[2].partition("/")[0]
    shown = demo.get(f"/inbox/{key}/").text
    assert_harmless(shown)
    sha256_of_1234 = "03ac674216f3e15c761ee1a5e255f067953623c8b388b4459e13f978d7c846f4"
    for part in ("hidden@b.example", "U+202E", sha256_of_1234):
        assert part in shown


SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()
ANOTHER = "whsec_" + base64.b64encode(b"x" * 32).decode()


def received_events(demo):
    return demo.get("/programs.json").json()["events"]


def hook(demo, body, secret=SECRET, *, moment=None):
    at = datetime.fromtimestamp(moment or time.time(), UTC)
    headers = {
        "webhook-id": "evt_2",
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(secret).sign("evt_2", at, body.decode()),
    }
    return ask("POST", demo.url + HOOK_PATH, data=body, headers=headers).status_code


def test_malformed_mail_is_no_error_and_what_hides_is_named():
    malformed = (
        b"Subject: =?nonsense?b?!!!?=\r\nFrom: \xff\xfe\r\nContent-Type: text/plain; "
        b"charset=nobody-knows\r\n\r\n\xffx"
    )
    assert "<pre>\ufffdx</pre>" in mail_html(
        "not-a-time", message_from_bytes(malformed)
    )
    assert visible("\u202e<b>") == '<span class="ghost">U+202E</span>&lt;b&gt;'


def test_only_recent_events_with_a_valid_signature_are_accepted(own_demo):
    (own_demo.data_dir / "credentials.env").write_text(f"HOOK_SECRET={SECRET}\n")
    named = {"type": "email.held", "data": {}}
    body = json.dumps(named).encode()
    assert hook(own_demo, body, ANOTHER) == 400
    assert hook(own_demo, body, moment=time.time() - 600) == 400
    assert ask("POST", own_demo.url + HOOK_PATH, data=body).status_code == 400
    assert received_events(own_demo) == []
    assert hook(own_demo, body) == 204
    assert [one["name"] for one in received_events(own_demo)] == ["email.held"]
