"""Reading: lists and what they withhold, threads and whether they await a reply, and
tags.
"""

from datetime import timedelta
from urllib.parse import quote, urlsplit

from django.core import signing
from django.test import Client
from django.utils import timezone

from gateway import lookups
from gateway.models import Account, ApiKey, Attachment, Email, Mailbox
from gateway.states import Status
from tests.integration.gateway.world import (
    add_key,
    add_mailbox,
    make_inbound,
    refusal_of,
    status_of,
    undone,
)


def ids(answer):
    return [row["id"] for row in answer["emails"]]


def test_mail_that_is_let_in_late_comes_once_by_since_id(world):
    held = Status.PENDING_INBOUND_APPROVAL
    first, second = (make_inbound(world, status=held, gated=True) for _ in range(2))
    Email.objects.update(readable_at=timezone.now() - timedelta(minutes=1))
    since = "0"
    for let_in in (None, second, first, None):
        if let_in:
            assert world.decide(let_in.pk).status_code == 200
        found = ids(world.get(f"{world.base}/emails?since_id={since}"))
        assert found == ([let_in.pk] if let_in else [])
        since = found[-1] if found else since


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
    for path in (
        f"/v1/oversight/pending?email_id={waiting}",
        f"/v1/oversight/pending/{waiting}/original",
        f"{world.base}/emails/{waiting}",
        f"/v1/oversight/pending/{waiting}/attachments/a.txt",
    ):
        assert world.call("GET", path, key="digest").status_code == 403, path
    add_key(world, "sees all", ["read", "oversight_read"])
    assert ids(world.get("/list_pending", key="sees all")) == [out, waiting]


def test_list_withholds_the_text_of_unapproved_inbound_mail(world):
    words = "evil@x.example"
    texts = dict.fromkeys(("subject", "from_name", "message_id_header"), words)
    texts |= {"reply_to": words, "to": [words], "cc": [words], "markdown": words}
    for status in (Status.PENDING_INBOUND_APPROVAL, Status.REJECTED):
        email = make_inbound(world, status=status, **texts)
        for path in (f"{world.base}/emails", f"/check_inbox?status={status}"):
            answer = world.call("GET", path)
            (row,) = answer.json()["emails"]
            assert row["to_addresses"] == [world.mailbox.address], (status, path)
            assert b"evil" not in answer.content
            (row,) = world.get(path, key="watching reader")["emails"]
            assert row["subject"] == words
        assert ids(world.get(f"{world.base}/emails?subject_contains=evil")) == []
        email.delete()


def read(world, query="", key="agent"):
    answer = world.call("GET", f"{world.base}/threads/t{query}", key=key)
    assert answer.status_code == 200, answer.content
    return answer.json()


def test_thread_hides_unapproved_inbound_mail_and_returns_bodies_on_request(
    world, other
):
    first = make_inbound(world, html="<p>Where is it?</p>", cc=["carl@x.example"])
    waiting, rejected, _ = (
        make_inbound(world, status=status)
        for status in (
            Status.PENDING_INBOUND_APPROVAL,
            Status.REJECTED,
            Status.SPAM_QUARANTINED,
        )
    )
    for key, seen in (
        ("reader", [first]),
        ("watching reader", [first, waiting, rejected]),
    ):
        for query in ("", "?bodies=true"):
            thread = read(world, query, key)
            assert ids(thread) == [one.pk for one in seen]
            assert ("markdown" in thread["emails"][0]) is bool(query)
        assert thread["emails"][0]["html_body"] == first.html
    assert thread["participants"] == [
        first.from_address,
        world.mailbox.address,
        "carl@x.example",
    ]
    assert status_of(first) == Status.UNREAD
    # The flat path returns `to` as text, and omits what the key may not see.
    (row,) = world.get("/get_thread?thread_id=t")["emails"]
    assert row["to"] == world.mailbox.address
    first.delete()
    for caller in (world, other):
        answer = caller.call("GET", f"{caller.base}/threads/t")
        assert refusal_of(answer) == (404, "unknown_thread")


# Links to files: the same bytes without a key for an hour, and nothing for a forged one.
NAME = "a b/ü+.txt"
FILE = {"name": NAME, "content_type": "text/html", "content_base64": "PGI+aGk8L2I+"}


def link(world, email_id, name=NAME):
    return world.call(
        "GET", f"{world.base}/emails/{email_id}/attachments/{quote(name)}/url"
    )


def fetch(url):
    return Client().get(urlsplit(url).path)


def attached(email):
    Attachment.objects.create(
        email=email,
        name=NAME,
        content_type="text/plain",
        size=1,
        sha256="",
        content=b"x",
    )
    return email


def test_link_gives_the_same_bytes_without_a_key_and_never_as_a_page(world):
    email_id = world.held(attachments=[FILE])
    body = link(world, email_id).json()
    assert body["url"].startswith("http://testserver/v1/files/")
    assert body["filename"] == NAME
    assert body["size_bytes"] == 9
    assert body["expires_in"] == 3600
    path = f"{world.base}/emails/{email_id}/attachments/{quote(NAME)}"
    for answer in (fetch(body["url"]), world.call("GET", path)):
        assert answer.content == b"<b>hi</b>"
        assert answer["Content-Type"] == "text/html"
        assert answer["Content-Disposition"].startswith("attachment")
        assert answer["X-Content-Type-Options"] == "nosniff"
        assert "sandbox" in answer["Content-Security-Policy"]
    assert link(world, email_id, "none").status_code == 404


def test_forged_link_is_refused(world):
    other_salt = signing.dumps(["a", "b", 1], salt="other")
    for token in ("x", "a:b:c", "%00", other_salt):
        assert fetch(f"/v1/files/{token}").status_code in (403, 404), token


def test_link_expires_with_its_hour_key_account_and_mailbox(world, monkeypatch):
    url = link(world, world.held(attachments=[FILE])).json()["url"]
    elsewhere = add_mailbox(world, "second").pk
    agent = ApiKey.objects.filter(name="Key agent")
    for rows, fields, status in (
        (Account.objects, {"is_active": False}, 403),
        (Mailbox.objects, {"is_active": False}, 404),
        (agent, {"scopes": ["send"]}, 403),
        (agent, {"mailbox_ids": [elsewhere]}, 404),
        (agent, {"revoked_at": timezone.now()}, 403),
    ):
        with undone():
            rows.update(**fields)
            assert fetch(url).status_code == status, fields
    assert fetch(url).status_code == 200
    monkeypatch.setattr(lookups, "LASTS", -1)
    assert refusal_of(fetch(url)) == (403, "invalid_link")


def test_files_of_unapproved_inbound_mail_are_hidden_from_agents(world):
    for status in (Status.PENDING_INBOUND_APPROVAL, Status.REJECTED):
        email = attached(make_inbound(world, status=status))
        path = f"{world.base}/emails/{email.pk}/attachments/{quote(NAME)}"
        for hidden in (path, f"{path}/url", f"/read_email?id={email.pk}"):
            assert world.call("GET", hidden).status_code == 403, (status, hidden)
        assert world.call("GET", path, key="watching reader").status_code == 200
        assert status_of(email) == status


def held_file(world, email_id, name=NAME, key="desk"):
    return world.call(
        "GET", f"/v1/oversight/pending/{email_id}/attachments/{quote(name)}", key=key
    )


def test_oversight_key_reads_files_of_held_mail_only(world, other):
    email_id = world.held(attachments=[FILE])
    for key in ("desk", "watcher"):
        answer = held_file(world, email_id, key=key)
        assert answer.content == b"<b>hi</b>"
        assert "sandbox" in answer["Content-Security-Policy"]
    assert held_file(world, email_id, key="agent").status_code == 403
    assert held_file(world, email_id, "none").status_code == 404
    assert held_file(other, email_id).status_code == 404
    world.decide(email_id)
    assert held_file(world, email_id).status_code == 404
    received = attached(make_inbound(world, status=Status.PENDING_INBOUND_APPROVAL))
    assert held_file(world, received.pk).content == b"x"
    assert status_of(received) == Status.PENDING_INBOUND_APPROVAL
