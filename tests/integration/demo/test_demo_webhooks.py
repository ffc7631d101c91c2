"""The stand-in speaks Discord's webhook protocol, as the documentation of API v10
describes it.
"""

import pytest
import requests

from tests.integration.demo.running import ask

EMBED = {
    "title": "Subject",
    "color": 0xF59E0B,
    "fields": [{"name": "From", "value": "a@b.example", "inline": True}],
}


def post(webhook, payload, **query):
    return ask("POST", webhook, json=payload, params=query)


def get(address):
    return ask("GET", address).json()


def listed(demo):
    return {
        entry["id"]: entry for entry in demo.get("/messages.json").json()["messages"]
    }


def test_post_without_wait_is_204_with_wait_returns_the_message_and_an_edit_preserves_the_rest(
    demo,
):
    webhook = demo.new_webhook()
    assert post(webhook, {"embeds": [EMBED]}).status_code == 204
    answer = post(webhook, {"content": "text", "embeds": [EMBED]}, wait="true")
    message = answer.json()
    assert answer.status_code == 200
    assert message["id"].isdigit()
    assert message["webhook_id"] == webhook.split("/")[-2]
    assert message["channel_id"] != ""
    assert message["edited_timestamp"] is None
    message_url = f"{webhook}/messages/{message['id']}"
    edited = ask(
        "PATCH", message_url, json={"embeds": [{**EMBED, "title": "Sent"}]}
    ).json()
    assert edited["content"] == "text"
    assert edited["embeds"][0]["title"] == "Sent"
    assert edited["edited_timestamp"]
    assert get(message_url) == edited
    assert listed(demo)[message["id"]]["edits"] == 1


def test_deleted_message_and_webhook_and_a_strangers_message_are_unknown(demo):
    webhook = demo.new_webhook().replace("/api/", "/api/v10/")
    message_id = post(webhook, {"content": "x"}, wait="true").json()["id"]
    assert get(f"{demo.new_webhook()}/messages/{message_id}")["code"] == 10008
    assert ask("DELETE", f"{webhook}/messages/{message_id}").status_code == 204
    gone = ask("PATCH", f"{webhook}/messages/{message_id}", json={"content": "y"})
    assert gone.status_code == 404
    assert gone.json()["code"] == 10008
    webhook = demo.new_webhook()
    assert get(webhook)["name"] == "Countersign"
    assert ask("DELETE", webhook).status_code == 204
    gone = post(webhook, {"content": "x"})
    assert gone.status_code == 404
    assert gone.json()["code"] == 10015
    for path in ("/api/webhooks/x/y", "/api/channels/1", "/api/webhooks/1"):
        assert demo.get(path).json() == {"message": "404: Not Found", "code": 0}, path


def test_body_discord_would_refuse_is_refused_with_its_code_and_path(demo):
    headers = {"Content-Type": "application/json"}
    too_long = b'{"embeds": [{"title": "%s"}]}' % (b"x" * 257)
    for body, code in (
        (b"{", 50109),
        (b"[]", 50109),
        (b'{"content": "\\ud800"}', 50109),
        (b"{}", 50006),
        (b'{"embeds": [{"color": 1}]}', 50006),
        (b'{"content": "%s"}' % (b"x" * 2001), 50035),
        (too_long, 50035),
    ):
        webhook = demo.new_webhook()
        answer = ask(
            "POST",
            webhook,
            data=body,
            headers=headers,
            params={"wait": "true"},
        )
        assert (answer.status_code, answer.json()["code"]) == (400, code), body[:40]
    assert answer.json()["message"] == "Invalid Form Body"
    title = answer.json()["errors"]["embeds"]["0"]["title"]
    assert title["_errors"][0]["code"] == "BASE_TYPE_MAX_LENGTH"


def test_components_are_stored_only_if_requested_and_only_links(demo):
    webhook = demo.new_webhook()
    link = {"type": 2, "style": 5, "label": "Review", "url": "http://desk.test/"}
    row = {
        "type": 1,
        "components": [
            link,
            {"type": 2, "style": 3, "label": "Approve", "custom_id": "x"},
        ],
    }
    payload = {"content": "x", "components": [row]}
    assert post(webhook, payload, wait="true").json()["components"] == []
    stored = post(webhook, payload, wait="true", with_components="true").json()[
        "components"
    ]
    assert stored == [{"type": 1, "components": [link]}]


def test_scripted_responses_are_used_once_each_and_in_order(demo):
    webhook = demo.new_webhook()
    demo.control(
        {"status": 429, "retry_after": 7.5, "global": True},
        {"status": 500},
        {"status": 404},
    )
    limited, broken, gone = (post(webhook, {"content": "x"}) for _ in range(3))
    assert limited.status_code == 429
    assert limited.json()["retry_after"] == 7.5
    assert limited.headers["Retry-After"] == "8"
    assert limited.headers["X-RateLimit-Scope"] == "global"
    assert broken.status_code == 500
    assert gone.status_code == 404
    assert gone.json()["code"] == 10015
    assert post(webhook, {"content": "x"}).status_code == 204
    answer = ask("POST", f"{demo.url}/control", data='{"next": []}')
    assert answer.status_code == 415, "posted by a form of another site"


def test_lost_response_still_took_effect(demo):
    webhook = demo.new_webhook()
    demo.control({"drop": True})
    with pytest.raises(requests.ConnectionError):
        post(webhook, {"content": "lost"})
    assert [entry["content"] for entry in listed(demo).values()][-1] == "lost"
