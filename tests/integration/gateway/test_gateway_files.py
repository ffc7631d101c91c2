"""Attachment links: the same bytes without a key for an hour, and nothing for a forged
link.
"""

from urllib.parse import quote, urlsplit

from django.core import signing
from django.test import Client
from django.utils import timezone

from gateway import lookups
from gateway.models import Account, ApiKey, Attachment, Mailbox
from gateway.states import Status
from tests.integration.gateway.world import (
    add_key,
    add_mailbox,
    make_inbound,
    refusal_of,
    status_of,
    undone,
)

NAME = "a b/ü+.txt"
FILE = {"name": NAME, "content_type": "text/html", "content_base64": "PGI+aGk8L2I+"}


def link(world, email_id, name=NAME, key="agent"):
    return world.call(
        "GET", f"{world.base}/emails/{email_id}/attachments/{quote(name)}/url", key=key
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


def test_link_gives_the_same_bytes_without_a_key_and_never_as_a_page(world, other):
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
    assert link(other, email_id).status_code == 404


def test_forged_link_or_link_of_another_message_is_refused(world):
    other_salt = signing.dumps(["a", "b", 1], salt="other")
    for token in ("x", "a:b:c", "%00", other_salt):
        assert fetch(f"/v1/files/{token}").status_code in (403, 404), token
    mine = world.held(attachments=[FILE])
    theirs = world.held(attachments=[FILE])
    file = Attachment.objects.get(email_id=theirs)
    file.email_id = mine
    token = lookups.link_token(ApiKey.objects.get(name="Key agent"), file)
    assert fetch(f"/v1/files/{token}").status_code == 404


def test_link_expires_with_its_hour_key_account_and_mailbox(world, monkeypatch):
    url = link(world, world.held(attachments=[FILE])).json()["url"]
    elsewhere = add_mailbox(world, "second").pk
    agent = ApiKey.objects.filter(name="Key agent")
    for rows, fields, status in (
        (Account.objects, {"is_active": False}, 403),
        (Mailbox.objects, {"is_active": False}, 404),
        (agent, {"scopes": ["send"]}, 403),
        (agent, {"mailbox_ids": [elsewhere]}, 403),
        (agent, {"revoked_at": timezone.now()}, 403),
    ):
        with undone():
            rows.update(**fields)
            assert fetch(url).status_code == status, fields
    assert fetch(url).status_code == 200
    monkeypatch.setattr(lookups, "LASTS", -1)
    assert refusal_of(fetch(url)) == (403, "link_expired")


def test_files_of_unapproved_inbound_mail_are_hidden_from_agents(world):
    add_key(world, "watching reader", ["read", "oversight_read"])
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
