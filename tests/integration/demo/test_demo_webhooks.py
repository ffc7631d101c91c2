"""The stand-in speaks Discord's webhook protocol, as the documentation of API v10 describes it."""

from typing import Any

import pytest
import requests

from tests.integration.demo.running import Demo

EMBED = {"title": "Subject", "color": 0xF59E0B, "fields": [{"name": "From", "value": "a@b.example", "inline": True}]}


def post(webhook: str, payload: Any, **query: str) -> requests.Response:
    return requests.post(webhook, json=payload, params=query, timeout=5)


def test_a_message_without_wait_is_204_and_with_wait_the_message(demo: Demo) -> None:
    webhook = demo.new_webhook()
    assert post(webhook, {"embeds": [EMBED]}).status_code == 204
    answer = post(webhook, {"embeds": [EMBED]}, wait="true")
    message = answer.json()
    assert answer.status_code == 200
    assert message["id"].isdigit()
    assert message["webhook_id"] == webhook.split("/")[-2]
    assert message["channel_id"]
    assert message["edited_timestamp"] is None
    assert message["embeds"][0]["title"] == "Subject"


def test_an_edit_keeps_what_it_does_not_name_and_says_that_it_was_one(demo: Demo) -> None:
    webhook = demo.new_webhook()
    message = post(webhook, {"content": "text", "embeds": [EMBED]}, wait="true").json()
    place = f"{webhook}/messages/{message['id']}"
    edited = requests.patch(place, json={"embeds": [{**EMBED, "title": "Sent"}]}, timeout=5).json()
    assert (edited["content"], edited["embeds"][0]["title"]) == ("text", "Sent")
    assert edited["edited_timestamp"]
    assert requests.get(place, timeout=5).json() == edited
    shown = {entry["id"]: entry for entry in demo.get("/messages.json").json()["messages"]}
    assert shown[message["id"]]["edits"] == 1


def test_a_deleted_message_and_a_stranger_s_message_are_unknown(demo: Demo) -> None:
    webhook = demo.new_webhook()
    message_id = post(webhook, {"content": "x"}, wait="true").json()["id"]
    assert requests.get(f"{demo.new_webhook()}/messages/{message_id}", timeout=5).json()["code"] == 10008
    assert requests.delete(f"{webhook}/messages/{message_id}", timeout=5).status_code == 204
    gone = requests.patch(f"{webhook}/messages/{message_id}", json={"content": "y"}, timeout=5)
    assert (gone.status_code, gone.json()["code"]) == (404, 10008)


def test_a_webhook_can_be_looked_at_until_it_is_deleted(demo: Demo) -> None:
    webhook = demo.new_webhook().replace("/api/", "/api/v10/")
    assert requests.get(webhook, timeout=5).json()["name"] == "Countersign"
    assert requests.delete(webhook, timeout=5).status_code == 204
    gone = post(webhook, {"content": "x"})
    assert (gone.status_code, gone.json()["code"]) == (404, 10015)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"{", 50109),
        (b"[]", 50109),
        (b'{"content": "\\ud800"}', 50109),
        (b"{}", 50006),
        (b'{"embeds": [{"color": 1}]}', 50006),
        (b'{"content": "%s"}' % (b"x" * 2001), 50035),
    ],
)
def test_a_body_discord_would_refuse_is_refused_with_its_code(demo: Demo, body: bytes, code: int) -> None:
    answer = requests.post(
        demo.new_webhook(), data=body, headers={"Content-Type": "application/json"}, params={"wait": "true"}, timeout=5
    )
    assert (answer.status_code, answer.json()["code"]) == (400, code)


def test_a_title_that_is_too_long_is_named_in_the_tree(demo: Demo) -> None:
    answer = post(demo.new_webhook(), {"embeds": [{"title": "x" * 257}]}).json()
    assert answer["message"] == "Invalid Form Body"
    assert answer["errors"]["embeds"]["0"]["title"]["_errors"][0]["code"] == "BASE_TYPE_MAX_LENGTH"


def test_components_are_kept_only_when_the_address_asks_for_them_and_only_links(demo: Demo) -> None:
    webhook = demo.new_webhook()
    link = {"type": 2, "style": 5, "label": "Review", "url": "http://desk.test/"}
    row = {"type": 1, "components": [link, {"type": 2, "style": 3, "label": "Approve", "custom_id": "x"}]}
    payload = {"content": "x", "components": [row]}
    assert post(webhook, payload, wait="true").json()["components"] == []
    kept = post(webhook, payload, wait="true", with_components="true").json()["components"]
    assert kept == [{"type": 1, "components": [link]}]


def test_the_sixth_request_within_two_seconds_is_429_and_told_how_long_to_wait(demo: Demo) -> None:
    webhook = demo.new_webhook()
    answers = [post(webhook, {"content": "x"}) for _ in range(6)]
    assert [answer.status_code for answer in answers] == [204] * 5 + [429]
    assert [answer.headers["X-RateLimit-Remaining"] for answer in answers] == ["4", "3", "2", "1", "0", "0"]
    refused = answers[-1]
    assert refused.json()["global"] is False
    assert int(refused.headers["Retry-After"]) >= refused.json()["retry_after"] > 0


def test_scripted_answers_come_once_each_and_in_order(demo: Demo) -> None:
    webhook = demo.new_webhook()
    demo.control({"status": 429, "retry_after": 7.5, "global": True}, {"status": 500}, {"status": 404})
    limited, broken, gone = (post(webhook, {"content": "x"}) for _ in range(3))
    assert (limited.status_code, limited.json()["retry_after"], limited.headers["Retry-After"]) == (429, 7.5, "8")
    assert limited.headers["X-RateLimit-Scope"] == "global"
    assert (broken.status_code, gone.status_code, gone.json()["code"]) == (500, 404, 10015)
    assert post(webhook, {"content": "x"}).status_code == 204


def test_an_answer_that_hangs_or_is_lost_took_effect_all_the_same(demo: Demo) -> None:
    webhook = demo.new_webhook()
    demo.control({"hang": 0.5}, {"drop": True})
    with pytest.raises(requests.Timeout):
        requests.post(webhook, json={"content": "late"}, timeout=0.2)
    with pytest.raises(requests.ConnectionError):
        post(webhook, {"content": "lost"})
    contents = [entry["content"] for entry in demo.get("/messages.json").json()["messages"]]
    assert contents[-2:] == ["late", "lost"]


def test_pings_are_counted_and_an_empty_parse_means_none(demo: Demo) -> None:
    webhook = demo.new_webhook()
    text = "@everyone <@1>"
    loud = post(webhook, {"content": text}, wait="true").json()["id"]
    quiet = post(webhook, {"content": text, "allowed_mentions": {"parse": []}}, wait="true").json()["id"]
    pings = {entry["id"]: entry["pings"] for entry in demo.get("/messages.json").json()["messages"]}
    assert (pings[loud], pings[quiet]) == (2, 0)


def test_control_cannot_be_posted_by_a_form_of_another_site(demo: Demo) -> None:
    answer = requests.post(f"{demo.url}/control", data='{"next": []}', timeout=5)
    assert answer.status_code == 415


@pytest.mark.parametrize("path", ["/api/webhooks/x/y", "/api/channels/1", "/api/webhooks/1"])
def test_an_unknown_route_is_discord_s_404(demo: Demo, path: str) -> None:
    assert demo.get(path).json() == {"message": "404: Not Found", "code": 0}


def test_token_that_is_not_the_webhook_s_is_refused_also_after_a_restart(own_demo: Demo) -> None:
    own_demo.start()
    webhook = own_demo.new_webhook()
    assert post(webhook, {"content": "x"}).status_code == 204
    for _ in range(2):
        path = webhook[webhook.index("/api") :]
        refused = post(own_demo.url + path[:-1], {"content": "y"})
        assert (refused.status_code, refused.json()["code"]) == (401, 50027)
        assert post(own_demo.url + path, {"content": "z"}).status_code == 204
        own_demo.stop()
        own_demo.start()
