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
    make_inbound,
    refusal_of,
    status_of,
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
    assert body["content_type"] == "text/html"
    assert body["expires_in"] == 3600
    path = f"{world.base}/emails/{email_id}/attachments/{quote(NAME)}"
    for answer in (fetch(body["url"]), world.call("GET", path)):
        assert answer.status_code == 200
        assert answer.content == b"<b>hi</b>"
        assert answer["Content-Type"] == "text/html"
        assert answer["Content-Disposition"].startswith("attachment")
        assert answer["X-Content-Type-Options"] == "nosniff"
        assert "sandbox" in answer["Content-Security-Policy"]
    assert [
        link(world, email_id, "none").status_code,
        link(other, email_id).status_code,
    ] == [404, 404]


def test_forged_link_or_link_of_another_message_is_refused(world):
    for token in (
        "x",
        "a:b:c",
        "ImZvbyI:1:x",
        "%00",
        signing.dumps(["a", "b", 1], salt="other"),
    ):
        answer = fetch(f"/v1/files/{token}")
        assert answer.status_code in (403, 404), token
        assert answer.json()["error"], token
    mine = world.held(attachments=[FILE])
    theirs = world.held(attachments=[FILE])
    file = Attachment.objects.get(email_id=theirs)
    file.email_id = mine
    token = lookups.link_token(ApiKey.objects.get(name="Key agent"), file)
    assert fetch(f"/v1/files/{token}").status_code == 404


def test_link_expires_with_its_hour_key_account_and_mailbox(world, monkeypatch):
    url = link(world, world.held(attachments=[FILE])).json()["url"]
    with monkeypatch.context() as patched:
        patched.setattr(lookups, "LASTS", -1)
        answer = fetch(url)
    assert refusal_of(answer) == (403, "link_expired")
    Account.objects.update(is_active=False)
    assert fetch(url).status_code == 403
    Account.objects.update(is_active=True)
    Mailbox.objects.update(is_active=False)
    assert fetch(url).status_code == 404
    Mailbox.objects.update(is_active=True)
    assert fetch(url).status_code == 200
    ApiKey.objects.filter(name="Key agent").update(revoked_at=timezone.now())
    assert fetch(url).status_code == 403


def test_files_of_unapproved_inbound_mail_are_hidden_from_agents(world):
    add_key(world, "watching reader", ["read", "oversight_read"])
    for status in (Status.PENDING_INBOUND_APPROVAL, Status.REJECTED):
        email = attached(make_inbound(world, status=status, has_attachments=True))
        raw = f"{world.base}/emails/{email.pk}/attachments/{quote(NAME)}"
        for path in (
            raw,
            f"{raw}/url",
            f"{world.base}/emails/{email.pk}",
            f"/read_email?id={email.pk}",
        ):
            assert world.call("GET", path).status_code == 403, (status, path)
        assert world.call("GET", raw, key="watching reader").status_code == 200, status
        assert status_of(email) == status


def held_file(world, email_id, name=NAME, key="desk"):
    return world.call(
        "GET", f"/v1/oversight/pending/{email_id}/attachments/{quote(name)}", key=key
    )


def test_oversight_key_reads_files_of_held_mail_only(world, other):
    email_id = world.held(attachments=[FILE])
    for key in ("desk", "watcher"):
        answer = held_file(world, email_id, key=key)
        assert answer.status_code == 200
        assert answer.content == b"<b>hi</b>"
        assert "sandbox" in answer["Content-Security-Policy"]
    assert held_file(world, email_id, key="agent").status_code == 403
    assert [
        held_file(world, email_id, "none").status_code,
        held_file(other, email_id).status_code,
    ] == [404, 404]
    world.decide(email_id)
    assert held_file(world, email_id).status_code == 404
    received = attached(
        make_inbound(
            world, status=Status.PENDING_INBOUND_APPROVAL, has_attachments=True
        )
    )
    assert held_file(world, received.pk).content == b"x"
    assert status_of(received) == Status.PENDING_INBOUND_APPROVAL
