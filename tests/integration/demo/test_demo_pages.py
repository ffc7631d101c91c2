"""The pages of the stand-ins: hostile content stays text, and the policy lets nothing else in."""

import pytest
import requests

from tests.integration.demo.running import Demo

HOSTILE = '<script>alert(1)</script><img src=x onerror="alert(2)">'
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def assert_harmless(html: str) -> None:
    assert "<script>" not in html
    assert "<img" not in html
    assert "style=" not in html
    assert "&lt;script&gt;" in html


def test_hostile_cards_are_escaped_everywhere(demo: Demo) -> None:
    embed = {
        "title": HOSTILE,
        "url": "https://desk.test/a?b=1&c=2",
        "description": HOSTILE,
        "author": {"name": HOSTILE},
        "footer": {"text": HOSTILE},
        "fields": [{"name": HOSTILE, "value": HOSTILE}],
    }
    payload = {"content": HOSTILE, "username": HOSTILE[:60], "embeds": [embed]}
    assert requests.post(demo.new_webhook(), json=payload, timeout=5).status_code == 204
    assert_harmless(demo.get("/messages/").text)


def test_the_channel_shows_title_colour_fields_and_edits(demo: Demo) -> None:
    webhook = demo.new_webhook()
    embed = {"title": "Invoice 1", "url": "https://desk.test/q", "color": 0xF59E0B}
    message = requests.post(webhook, json={"embeds": [embed]}, params={"wait": "true"}, timeout=5).json()
    requests.patch(f"{webhook}/messages/{message['id']}", json={"embeds": [{**embed, "color": 0x16A34A}]}, timeout=5)
    shown = demo.get("/").text.partition(f'id="message-{message["id"]}"')[2]
    assert 'fill="#16a34a"' in shown
    assert '<a href="https://desk.test/q"' in shown
    assert "(edited)" in shown
    assert 'href="http://desk.test/"' in demo.get("/").text


def test_the_fragment_is_204_while_nothing_changed(demo: Demo) -> None:
    version = demo.get("/messages/").headers["X-Version"]
    assert demo.get("/messages/", params={"version": version}).status_code == 204
    requests.post(demo.new_webhook(), json={"content": "new"}, timeout=5)
    assert demo.get("/messages/", params={"version": version}).status_code == 200


@pytest.mark.parametrize(
    "path", ["/", "/inbox/", "/messages/", "/messages.json", "/assets/discord.css", "/assets/refresh.js", "/nowhere"]
)
def test_every_answer_carries_the_policy(demo: Demo, path: str) -> None:
    headers = demo.get(path).headers
    assert headers["Content-Security-Policy"] == POLICY
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-store"


def test_a_delivered_mail_is_listed_and_shown_as_source(demo: Demo) -> None:
    demo.mail(
        ["to@a.example", "hidden@b.example"], f"Mail {HOSTILE}", text=HOSTILE, html=HOSTILE, file="in\u202efdp.exe"
    )
    listed = demo.get("/inbox/").text
    assert_harmless(listed)
    key = listed.partition('class="item" href="/inbox/')[2].partition("/")[0]
    shown = demo.get(f"/inbox/{key}/").text
    assert_harmless(shown)
    assert "hidden@b.example" in shown
    assert "U+202E" in shown
    assert "03ac674216f3e15c761ee1a5e255f067953623c8b388b4459e13f978d7c846f4" in shown  # of 1234


@pytest.mark.parametrize("path", ["/inbox/../../etc/passwd/", "/inbox/%2e%2e%2fdiscord.jsonl/", "/assets/..%2fweb.py"])
def test_no_address_leads_out_of_the_folder(demo: Demo, path: str) -> None:
    session = requests.Session()
    request = requests.Request("GET", demo.url).prepare()
    request.url = demo.url + path
    assert session.send(request, timeout=5).status_code == 404


def test_another_host_name_is_not_served(demo: Demo) -> None:
    assert demo.get("/inbox/", headers={"Host": "rebound.attacker.example"}).status_code == 400
