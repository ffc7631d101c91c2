"""Reading: lists and what they withhold, threads and whether they await a reply, and
tags.
"""

import pytest

from gateway.api import messages
from gateway.models import Attachment, AuditLogEntry, Email
from gateway.states import Status
from tests.integration.gateway.world import (
    add_key,
    bad_field_of,
    make_inbound,
    refusal_of,
    status_of,
)


def ids(answer):
    return [row["id"] for row in answer["emails"]]


def test_list_filters(world, django_assert_num_queries):
    names = {world.held(markdown="secret words"): "out"}
    names[make_inbound(world, status=Status.SPAM_QUARANTINED).pk] = "spam"
    names[make_inbound(world).pk] = "in"
    expected = {
        "status=unread": ["in"], "direction=outbound": ["out"], "sender=northwind": ["in"], "limit=0": ["in"],
        "subject_contains=quest": ["in"], "has_attachments=true": [], "status=spam_quarantined": ["spam"],
        "date_after=2099-01-01": [], "date_before=2099-01-01T00:00:00%2B02:00&date_after=2001-01-01": ["in", "out"],
        "offset=1": ["out"], "offset=99999999999999999999": [],
    }  # fmt: skip
    answers = {query: world.get(f"{world.base}/emails?{query}") for query in expected}
    assert {
        query: [names[one] for one in ids(answer)] for query, answer in answers.items()
    } == expected
    bad = (
        "status=nonsense",
        "date_after=yesterday",
        "has_attachments=perhaps",
        "offset=1.5",
    )
    assert {
        world.call("GET", f"{world.base}/emails?{query}").status_code for query in bad
    } == {422}
    with django_assert_num_queries(3):
        assert b"secret words" not in world.call("GET", f"{world.base}/emails").content


def test_parameter_that_no_list_can_take_is_refused_by_name_on_every_list(world):
    pages = {
        f"{world.base}/emails": "agent", "/v1/check_inbox": "agent", "/check_inbox": "agent", "/inbox": "agent",
        "/v1/emails/inbox": "agent", "/v1/emails": "agent", "/v1/contacts": "agent", "/v1/oversight/pending": "desk",
        "/v1/list_pending": "desk", "/v1/emails/pending": "desk", "/v1/suppression": "agent", "/v1/refusals": "admin",
        "/v1/audit-log": "admin", "/v1/webhook-deliveries": "admin",
    }  # fmt: skip
    for path, key in pages.items():
        asked = {"limit": ("many", "1.5", "١"), "cursor": ("zzz", "-1", "x" * 41)}
        if key == "agent" and path not in ("/v1/contacts", "/v1/suppression"):
            asked |= {
                "since_id": ("zzz", "12"),
                "offset": ("x",),
                "has_attachments": ("perhaps",),
            }
        if path.endswith("inbox"):
            asked |= {"unread": ("perhaps", "2")}
        for name, values in asked.items():
            for value in values:
                answer = world.call("GET", f"{path}?{name}={value}", key=key)
                body = answer.json()
                assert (answer.status_code, body.get("field")) == (422, name), (
                    path,
                    value,
                    body,
                )
                assert body["error"].startswith(f"{name}: "), body
        assert (
            world.call(
                "GET", f"{path}?limit=1000&offset=0&cursor=", key=key
            ).status_code
            == 200
        ), path
    unknown = "01" + "Z" * 24
    held = world.held()
    newer = world.get(f"{world.base}/emails?since_id={unknown}")
    older = world.get(f"{world.base}/emails?since_id=0")
    assert ids(newer) == []
    assert ids(older) == [held]


def test_key_that_sends_lists_held_outgoing_mail_and_nothing_that_waits_to_be_let_in(
    world,
):
    add_key(world, "digest", ["read", "send", "oversight_read"])
    out = world.held()
    waiting = make_inbound(
        world, status=Status.PENDING_INBOUND_APPROVAL, subject="evil words"
    ).pk
    for path in ("/list_pending", "/v1/oversight/pending"):
        answer = world.call("GET", path, key="digest")
        assert ids(answer.json()) == [out], path
        assert b"evil words" not in answer.content, path
    paths = (
        f"/v1/oversight/pending?email_id={waiting}",
        f"/v1/oversight/pending/{waiting}/original",
    )
    for path in (
        *paths,
        f"{world.base}/emails/{waiting}",
        f"/v1/oversight/pending/{waiting}/attachments/a.txt",
    ):
        assert world.call("GET", path, key="digest").status_code == 403, path
    add_key(world, "sees all", ["read", "oversight_read"])
    assert ids(world.get("/list_pending", key="sees all")) == [out, waiting]


@pytest.mark.slow
def test_check_inbox_lists_received_mail_by_its_filters(world):
    names = {world.held(): "out"}
    names[make_inbound(world, status=Status.READ, from_address="carl@x.example").pk] = (
        "old"
    )
    names[make_inbound(world, status=Status.PENDING_INBOUND_APPROVAL).pk] = "held"
    names[make_inbound(world).pk] = "new"
    for query, found in {
        "": ["new"], "unread=true": ["new"], "unread=false": ["new", "old"], "status=read": ["old"],
        "status=read&unread=true": ["old"], "unread=false&sender=carl": ["old"],
        "unread=false&limit=1&offset=1": ["old"], "status=pending_inbound_approval": ["held"],
    }.items():  # fmt: skip
        answer = world.get(f"/check_inbox?{query}")
        assert [names[one] for one in ids(answer)] == found, query
    for path in ("/v1/check_inbox", "/v1/inbox"):
        answer = world.get(f"{path}?unread=false&sender=carl")
        assert [names[one] for one in ids(answer)] == ["old"], path
    assert world.get("/check_inbox")["emails"][0]["to"] == world.mailbox.address


def test_list_withholds_the_text_of_unapproved_inbound_mail(world):
    texts = {
        "subject": "evil words",
        "from_name": "evil words",
        "message_id_header": "<evil words>",
    }
    texts |= {
        "to": ["send.evil@x.example"],
        "cc": ["evil@x.example"],
        "reply_to": "evil@x.example",
    }
    add_key(world, "watching reader", ["read", "oversight_read"])
    for status in (Status.PENDING_INBOUND_APPROVAL, Status.REJECTED):
        email = make_inbound(world, status=status, markdown="evil words", **texts)
        for path in (f"{world.base}/emails", f"/check_inbox?status={status}"):
            answer = world.call("GET", path)
            row = answer.json()["emails"][0]
            assert (row["subject"], row["to_addresses"]) == (
                "",
                [world.mailbox.address],
            ), (status, path)
            assert b"evil" not in answer.content
            assert (
                world.get(path, key="watching reader")["emails"][0]["subject"]
                == "evil words"
            )
        assert ids(world.get(f"{world.base}/emails?subject_contains=evil")) == []
        email.delete()


def read(world, query="", key="agent"):
    answer = world.call("GET", f"{world.base}/threads/t{query}", key=key)
    assert answer.status_code == 200, answer.content
    return answer.json()


def test_thread_lists_oldest_first_and_marks_nothing_read(
    world, django_assert_num_queries
):
    first = make_inbound(world, cc=["carl@northwind.example"])
    answer = world.post(f"{world.base}/reply/{first.pk}", markdown="secret words")
    with django_assert_num_queries(3):
        thread = read(world)
    assert ids(thread) == [first.pk, answer.json()["id"]]
    assert thread["thread_id"] == "t"
    assert thread["message_count"] == 2
    assert thread["truncated"] is False
    assert thread["participants"] == [
        "dana@northwind.example",
        world.mailbox.address,
        "carl@northwind.example",
    ]
    assert thread["last_activity"] == thread["emails"][-1]["received_at"]
    assert {
        "direction",
        "status",
        "has_attachments",
        "delivered_at",
        "bounced_at",
    } <= thread["emails"][0].keys()
    assert "markdown" not in thread["emails"][1]
    assert status_of(first) == Status.UNREAD


def test_thread_hides_unapproved_inbound_mail_and_returns_bodies_on_request(
    world, other
):
    first = make_inbound(world, html="<p>Where is it?</p>")
    hidden = [
        make_inbound(world, status=one)
        for one in (Status.PENDING_INBOUND_APPROVAL, Status.REJECTED)
    ]
    make_inbound(world, status=Status.SPAM_QUARANTINED)
    add_key(world, "watching reader", ["read", "oversight_read"])
    for key, seen in (("reader", [first]), ("watching reader", [first, *hidden])):
        assert ids(read(world, key=key)) == [one.pk for one in seen]
        thread = read(world, "?bodies=true", key)
        assert ids(thread) == [one.pk for one in seen]
        assert thread["emails"][0]["markdown"] == "Where is it?"
        assert thread["emails"][0]["html_body"] == "<p>Where is it?</p>"
    assert [status_of(one) for one in (first, *hidden)] == [
        one.status for one in (first, *hidden)
    ]
    # The flat path returns `to` as text, and omits what the key may not see.
    thread = world.get("/get_thread?thread_id=t")
    assert thread["message_count"] == 1
    assert thread["emails"][0]["to"] == world.mailbox.address
    assert world.call("GET", "/get_thread").status_code == 422
    assert (
        world.call("GET", "/get_thread?thread_id=t&mailbox=no@acme.example").status_code
        == 404
    )
    first.delete()
    for caller, path in ((world, "t"), (world, "none"), (other, "t")):
        answer = caller.call("GET", f"{caller.base}/threads/{path}")
        assert refusal_of(answer) == (404, "unknown_thread")


def test_reviewers_key_marks_nothing_as_read(world):
    unread = make_inbound(world, has_attachments=True)
    Attachment.objects.create(
        email=unread,
        name="a.txt",
        content_type="text/plain",
        content=b"x",
        size=1,
        sha256="x",
    )
    world.post(f"{world.base}/reply/{unread.pk}", markdown="In reply")
    add_key(world, "reviewer", ["read", "oversight"])
    add_key(world, "watching bot", ["read", "send", "oversight_read"])
    path = f"{world.base}/emails/{unread.pk}"
    for read_path in (
        f"{world.base}/threads/t?bodies=true",
        "/get_thread?thread_id=t",
        f"{world.base}/emails",
        "/check_inbox",
        "/v1/oversight/pending",
        "/list_pending",
        f"{path}/attachments/a.txt",
        f"{path}/attachments/a.txt/url",
        path,
        f"/read_email?id={unread.pk}",
        f"/v1/emails/{unread.pk}",
    ):
        assert world.call("GET", read_path, key="reviewer").status_code == 200, (
            read_path
        )
        assert status_of(unread) == Status.UNREAD, read_path
    assert world.call("GET", path, key="watching bot").status_code == 200
    assert status_of(unread) == Status.READ


@pytest.mark.slow
def test_thread_awaits_a_reply_unless_one_is_being_sent(world):
    parent = make_inbound(world)
    assert read(world)["has_unanswered_inbound"] is True
    answer = world.post(f"{world.base}/reply/{parent.pk}", markdown="x").json()
    on_its_way = {Status.PENDING_SEND_APPROVAL, Status.SENT}
    for status in (*on_its_way, Status.REJECTED, Status.CANCELLED, Status.SEND_FAILED):
        Email.objects.filter(pk=answer["id"]).update(status=status, gated=False)
        assert read(world)["has_unanswered_inbound"] is (status not in on_its_way), (
            status
        )


def test_long_thread_shows_the_newest_messages_and_counts_all(world, monkeypatch):
    monkeypatch.setattr(messages, "MAX_MESSAGES", 3)
    monkeypatch.setattr(messages, "MAX_MESSAGES_WITH_BODIES", 2)
    made = [make_inbound(world).pk for _ in range(4)]
    for query, shown in (("", made[1:]), ("?bodies=true", made[2:])):
        thread = read(world, query)
        assert ids(thread) == shown
        assert thread["message_count"] == 4
        assert thread["truncated"] is True


def tags_of(world, email, name=""):
    return f"{world.base}/emails/{email.pk}/tags{'/' if name else ''}{name}"


def put(world, email, tags):
    return world.put(tags_of(world, email), key="agent", tags=tags)


@pytest.mark.slow
def test_tags_are_accepted_in_every_shape(world):
    words = {"urgent": "true", "paid": "true"}
    numbers = {"n": "3", "x": "1.5", "y": "true"}
    shapes = [
        (["urgent", " paid "], words),
        ("urgent, paid", words),
        ({}, {}),
    ]
    for value, expected in [*shapes, ({"n": 3, "x": 1.5, "y": True}, numbers)]:
        assert put(world, make_inbound(world), value).json()["tags"] == expected


def test_tags_bad_or_too_many_are_422_and_change_nothing(world):
    email = make_inbound(world, tags={"kept": "1"})
    bad = [
        None, 3, {"": "x"}, {"a": None}, {"a": {"b": "c"}}, [3], ["a\nb"], {"x" * 101: "y"}, {"x": "y" * 1001},
        [f"t{number}" for number in range(65)],
    ]  # fmt: skip
    answers = [(tags, put(world, email, tags)) for tags in bad]
    assert [
        tags for tags, answer in answers if bad_field_of(answer) != (422, "tags")
    ] == []
    email.refresh_from_db()
    assert email.tags == {"kept": "1"}
    assert put(world, email, [f"t{number}" for number in range(63)]).status_code == 200
    assert put(world, email, ["one more"]).status_code == 422
    assert put(world, email, {"t1": "again"}).status_code == 200


def test_tags_are_audited_without_their_text(world):
    email = make_inbound(world)
    put(world, email, {"secret": "words"})
    put(world, email, {"secret": "words"})
    world.call("DELETE", tags_of(world, email, "secret"))
    entries = AuditLogEntry.objects.filter(resource_id=email.pk).order_by("id")
    assert [entry.action for entry in entries] == ["email.tagged", "email.untagged"]
    assert not any(
        "words" in str(entry.metadata) or "secret" in str(entry.metadata)
        for entry in entries
    )
