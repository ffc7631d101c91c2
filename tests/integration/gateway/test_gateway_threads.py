"""Threads: all that may be read of a conversation, oldest first, and whether it waits for an answer."""

import pytest

from gateway.api import threads
from gateway.models import Email
from gateway.states import Status
from tests.integration.gateway.world import World, add_key, make_inbound, make_world


def read(world: World, thread_id: str = "t", key: str = "agent") -> dict[str, object]:
    answer = world.call("GET", f"{world.base}/threads/{thread_id}", key=key)
    assert answer.status_code == 200, answer.content
    return answer.json()


def test_thread_lists_oldest_first_and_marks_nothing_read(world: World):
    first = make_inbound(world, cc=["carl@northwind.example"])
    answer = world.call("POST", f"{world.base}/reply/{first.pk}", json={"markdown": "secret words"})
    told = read(world)
    assert [row["id"] for row in told["emails"]] == [first.pk, answer.json()["id"]]
    assert (told["thread_id"], told["message_count"], told["truncated"]) == ("t", 2, False)
    assert told["participants"] == ["dana@northwind.example", world.mailbox.address, "carl@northwind.example"]
    assert told["last_activity"] == told["emails"][-1]["received_at"]
    assert {"direction", "status", "has_attachments", "delivered_at", "bounced_at"} <= told["emails"][0].keys()
    assert "markdown" not in told["emails"][1]
    assert Email.objects.get(pk=first.pk).status == Status.UNREAD


def test_thread_with_bodies_gives_what_letters_say_and_marks_nothing_read(world: World):
    first = make_inbound(world, markdown="Where is it?", html="<p>Where is it?</p>")
    hidden = make_inbound(world, status=Status.PENDING_INBOUND_APPROVAL, markdown="not let in")
    add_key(world, "watching reader", ["read", "oversight_read"])
    for key, seen in (("reader", 1), ("watching reader", 2)):
        told = world.call("GET", f"{world.base}/threads/t?bodies=true", key=key).json()
        assert len(told["emails"]) == seen
        assert (told["emails"][0]["markdown"], told["emails"][0]["html_body"]) == (
            "Where is it?",
            "<p>Where is it?</p>",
        )
    assert {Email.objects.get(pk=one.pk).status for one in (first, hidden)} == {first.status, hidden.status}


def test_thread_with_bodies_gives_the_newest_letters_only(world: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(threads, "MOST_BODIES", 2)
    made = [make_inbound(world) for _ in range(3)]
    told = world.call("GET", f"{world.base}/threads/t?bodies=true").json()
    assert [row["id"] for row in told["emails"]] == [one.pk for one in made[1:]]
    assert (told["message_count"], told["truncated"]) == (3, True)


def test_thread_flat_gives_to_as_text(world: World):
    make_inbound(world)
    for path in ("/get_thread", "/v1/get_thread"):
        told = world.call("GET", f"{path}?thread_id=t").json()
        assert (told["message_count"], told["emails"][0]["to"]) == (1, world.mailbox.address)
    assert world.call("GET", "/get_thread").status_code == 422
    assert world.call("GET", "/get_thread?thread_id=t&mailbox=no@acme.example").status_code == 404


@pytest.mark.parametrize(
    ("answered", "waits"),
    [
        (None, True),
        (Status.PENDING_SEND_APPROVAL, False),
        (Status.SENT, False),
        (Status.REJECTED, True),
        (Status.CANCELLED, True),
        (Status.SEND_FAILED, True),
    ],
)
def test_thread_waits_for_an_answer_unless_one_is_on_its_way(world: World, answered: Status | None, waits: bool):
    parent = make_inbound(world)
    if answered:
        answer = world.call("POST", f"{world.base}/reply/{parent.pk}", json={"markdown": "x"})
        Email.objects.filter(pk=answer.json()["id"]).update(status=answered, gated=False)
    assert read(world)["has_unanswered_inbound"] is waits


def test_thread_hides_what_nobody_let_in(world: World):
    shown = make_inbound(world)
    hidden = [make_inbound(world, status=one) for one in (Status.PENDING_INBOUND_APPROVAL, Status.REJECTED)]
    add_key(world, "watching reader", ["read", "oversight_read"])
    assert [row["id"] for row in read(world)["emails"]] == [shown.pk]
    assert len(read(world, key="watching reader")["emails"]) == 3
    Email.objects.filter(pk=shown.pk).delete()
    assert world.call("GET", f"{world.base}/threads/t").status_code == 404
    assert len(hidden) == 2


def test_thread_leaves_out_spam_in_quarantine(world: World):
    make_inbound(world)
    make_inbound(world, status=Status.SPAM_QUARANTINED)
    assert read(world)["message_count"] == 1


def test_thread_unknown_or_foreign_is_404(world: World, other: World):
    make_inbound(world)
    make_world("third")
    for caller, path in (
        (world, f"{world.base}/threads/none"),
        (other, f"{other.base}/threads/t"),
        (other, "/get_thread?thread_id=t"),
    ):
        answer = caller.call("GET", path)
        assert (answer.status_code, answer.json()["code"]) == (404, "unknown_thread")


def test_thread_too_long_shows_the_newest_and_counts_all(world: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(threads, "MOST", 2)
    made = [make_inbound(world).pk for _ in range(4)]
    told = read(world)
    assert [row["id"] for row in told["emails"]] == made[2:]
    assert (told["message_count"], told["truncated"]) == (4, True)


def test_thread_statements_do_not_grow_with_rows(world: World, django_assert_num_queries):
    for _ in range(3):
        make_inbound(world)
    read(world)
    with django_assert_num_queries(3):
        read(world)
