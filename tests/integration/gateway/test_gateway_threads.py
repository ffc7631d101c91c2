"""Threads: all that may be read of a conversation, oldest first, and whether it waits for an answer."""

from typing import Any

import pytest

from gateway.api import threads
from gateway.models import Email
from gateway.states import Status
from tests.integration.gateway.world import World, add_key, make_inbound, status_of


def read(world: World, query: str = "", key: str = "agent") -> Any:
    answer = world.call("GET", f"{world.base}/threads/t{query}", key=key)
    assert answer.status_code == 200, answer.content
    return answer.json()


def ids(told: Any) -> list[str]:
    return [row["id"] for row in told["emails"]]


def test_thread_lists_oldest_first_and_marks_nothing_read(world: World, django_assert_num_queries: Any):
    first = make_inbound(world, cc=["carl@northwind.example"])
    answer = world.call("POST", f"{world.base}/reply/{first.pk}", json={"markdown": "secret words"})
    with django_assert_num_queries(3):
        told = read(world)
    assert ids(told) == [first.pk, answer.json()["id"]]
    assert (told["thread_id"], told["message_count"], told["truncated"]) == ("t", 2, False)
    assert told["participants"] == ["dana@northwind.example", world.mailbox.address, "carl@northwind.example"]
    assert told["last_activity"] == told["emails"][-1]["received_at"]
    assert {"direction", "status", "has_attachments", "delivered_at", "bounced_at"} <= told["emails"][0].keys()
    assert "markdown" not in told["emails"][1]
    assert status_of(first) == Status.UNREAD


def test_thread_hides_what_nobody_let_in_and_gives_bodies_where_asked(world: World):
    first = make_inbound(world, html="<p>Where is it?</p>")
    hidden = [make_inbound(world, status=one) for one in (Status.PENDING_INBOUND_APPROVAL, Status.REJECTED)]
    make_inbound(world, status=Status.SPAM_QUARANTINED)
    add_key(world, "watching reader", ["read", "oversight_read"])
    for key, seen in (("reader", [first]), ("watching reader", [first, *hidden])):
        assert ids(read(world, key=key)) == [one.pk for one in seen]
        told = read(world, "?bodies=true", key)
        assert ids(told) == [one.pk for one in seen]
        assert told["emails"][0]["markdown"] == "Where is it?"
        assert told["emails"][0]["html_body"] == "<p>Where is it?</p>"
    assert [status_of(one) for one in (first, *hidden)] == [one.status for one in (first, *hidden)]
    first.delete()
    assert world.call("GET", f"{world.base}/threads/t").status_code == 404


def test_thread_flat_gives_to_as_text_and_unknown_ones_are_404(world: World, other: World):
    make_inbound(world)
    for path in ("/get_thread", "/v1/get_thread"):
        told = world.call("GET", f"{path}?thread_id=t").json()
        assert (told["message_count"], told["emails"][0]["to"]) == (1, world.mailbox.address)
    assert world.call("GET", "/get_thread").status_code == 422
    assert world.call("GET", "/get_thread?thread_id=t&mailbox=no@acme.example").status_code == 404
    for caller, path in ((world, "none"), (other, "t")):
        answer = caller.call("GET", f"{caller.base}/threads/{path}")
        assert (answer.status_code, answer.json()["code"]) == (404, "unknown_thread")


def test_thread_waits_for_an_answer_unless_one_is_on_its_way(world: World):
    parent = make_inbound(world)
    assert read(world)["has_unanswered_inbound"] is True
    answer = world.call("POST", f"{world.base}/reply/{parent.pk}", json={"markdown": "x"}).json()
    on_its_way = {Status.PENDING_SEND_APPROVAL, Status.SENT}
    for status in (*on_its_way, Status.REJECTED, Status.CANCELLED, Status.SEND_FAILED):
        Email.objects.filter(pk=answer["id"]).update(status=status, gated=False)
        assert read(world)["has_unanswered_inbound"] is (status not in on_its_way), status


def test_thread_too_long_shows_the_newest_and_counts_all(world: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(threads, "MOST", 3)
    monkeypatch.setattr(threads, "MOST_BODIES", 2)
    made = [make_inbound(world).pk for _ in range(4)]
    for query, shown in (("", made[1:]), ("?bodies=true", made[2:])):
        told = read(world, query)
        assert (ids(told), told["message_count"], told["truncated"]) == (shown, 4, True)
