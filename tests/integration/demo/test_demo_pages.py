"""The pages of the stand-ins: hostile content stays text, the CSP is strict, and mail
is stored once.
"""

import mailbox
import smtplib

import pytest
import requests

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
        "author": {"name": HOSTILE},
        "footer": {"text": HOSTILE},
        "fields": [{"name": HOSTILE, "value": HOSTILE}],
    }
    payload = {"content": HOSTILE, "username": HOSTILE[:60], "embeds": [embed]}
    assert ask("POST", demo.new_webhook(), json=payload).status_code == 204
    assert_harmless(demo.get("/messages/").text)


def test_channel_shows_titles_colours_and_edits_and_its_unchanged_fragment_is_204(demo):
    webhook = demo.new_webhook()
    embed = {"title": "Invoice 1", "url": "https://desk.test/q", "color": 0xF59E0B}
    version = demo.get("/messages/").headers["X-Version"]
    assert demo.get("/messages/", params={"version": version}).status_code == 204
    sent = ask(
        "POST", webhook, json={"embeds": [embed]}, params={"wait": "true"}
    ).json()
    changed = {"embeds": [{**embed, "color": 0x16A34A}]}
    ask("PATCH", f"{webhook}/messages/{sent['id']}", json=changed)
    assert demo.get("/messages/", params={"version": version}).status_code == 200
    page = demo.get("/").text
    shown = page.partition(f'id="message-{sent["id"]}"')[2]
    for part in ('fill="#16a34a"', '<a href="https://desk.test/q"', "(edited)"):
        assert part in shown
    assert 'href="http://desk.test/"' in page


def test_every_response_has_the_policy_and_no_path_leaves_the_folder(demo):
    for path in (
        "/",
        "/inbox/",
        "/messages/",
        "/messages.json",
        "/assets/discord.css",
        "/assets/refresh.js",
        "/no",
    ):
        headers = demo.get(path).headers
        assert headers["Content-Security-Policy"] == POLICY, path
        assert headers["X-Content-Type-Options"] == "nosniff", path
        assert headers["Cache-Control"] == "no-store", path
    for path in (
        "/inbox/../../etc/passwd/",
        "/inbox/%2e%2e%2fdiscord.jsonl/",
        "/assets/..%2fweb.py",
    ):
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


def test_recipients_that_begin_with_bounce_are_refused_and_the_others_served(demo):
    refused = demo.mail(["Bounce.kim@a.example", "to@a.example"], "Half")
    assert refused["Bounce.kim@a.example"][0] == 550
    (message,) = delivered(demo, "Half")
    assert message["X-Envelope-To"] == "to@a.example"
    with pytest.raises(smtplib.SMTPRecipientsRefused):
        demo.mail(["bounce@a.example"], "None")
    assert delivered(demo, "None") == []


def test_forged_envelope_header_in_a_message_is_not_believed(demo):
    with smtplib.SMTP("127.0.0.1", demo.smtp_port) as client:
        client.sendmail(
            "a@a.example",
            ["b@b.example"],
            b"Subject: Forged\r\nX-Envelope-To: c@c.example\r\n\r\nx",
        )
    (message,) = delivered(demo, "Forged")
    assert message["X-Envelope-To"] == "b@b.example"
