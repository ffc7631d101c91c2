"""The pending list, whole and in pages, with and without contents: nothing is lost,
memory does not grow with it, and each fingerprint is the one that a decision needs.
"""

import json
import tracemalloc

from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from gateway.api import oversight
from gateway.messages.content import fingerprint_of
from gateway.models import Email
from gateway.states import Status
from tests.factories import change_row
from tests.integration.gateway.world import bad_field_of, make_inbound

PENDING = "/v1/oversight/pending"
NAMES = ("pending", "emails", "messages")


def stored(world, number, **fields):
    """Store so many held messages, and return their ids in order."""
    return [
        make_inbound(
            world,
            direction="outbound",
            status=Status.PENDING_SEND_APPROVAL,
            gated=True,
            **fields,
        ).pk
        for _ in range(number)
    ]


def ids(rows):
    return [row["id"] for row in rows]


def test_whole_list_has_each_message_once_under_each_name(world):
    sent = stored(world, 45, markdown="Größe “x” \u2028")
    answer = world.pending()
    for name in NAMES:
        assert ids(answer[name]) == sent
        assert answer[name] == answer["pending"]
    assert (answer["count"], answer["cursor"]) == (45, None)
    assert answer["pending"][0]["markdown"] == "Größe “x” \u2028"
    only = world.pending(only="pending")
    assert only == {name: answer[name] for name in ("pending", "count", "cursor")}


def whole_list(world):
    """Ask for the whole list, and return its pieces as they are made."""
    headers = {"Authorization": f"Bearer {world.keys['desk']}"}
    return iter(Client().get(PENDING, headers=headers).streaming_content)


def test_lists_are_equal_although_a_message_is_decided_meanwhile(world):
    sent = stored(world, 45)
    pieces = whole_list(world)
    begin = [next(pieces) for _ in range(2)]
    # The first of them is read already.
    for email_id in (sent[1], sent[-1]):
        assert world.decide(email_id).status_code == 200
    answer = json.loads(b"".join([*begin, *pieces]))
    for name in NAMES:
        assert ids(answer[name]) == sent[:-1]
    assert answer["count"] == 44


def test_memory_does_not_grow_with_the_list(world):
    body = "x" * 100_000

    def peak_of_list():
        tracemalloc.start()
        size = sum(len(piece) for piece in whole_list(world))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return size, peak

    stored(world, 40, markdown=body)
    size, peak = peak_of_list()
    assert size > 40 * 6 * len(body)
    stored(world, 80, markdown=body)
    larger, new_peak = peak_of_list()
    assert larger > 2.9 * size
    # Three times as many messages: held in memory, they would take three times as much.
    assert new_peak < 2 * peak


def test_page_with_contents_ends_before_it_is_too_long(world, monkeypatch):
    monkeypatch.setattr(oversight, "MAX_PAGE", 100_000)
    sent = stored(world, 4, markdown="x" * 15_000)
    sent += stored(world, 1, markdown="x" * 60_000)
    sent += stored(world, 2)
    found, cursor, pages = [], "", []
    while cursor is not None:
        page = world.pending(only="pending", limit=100, cursor=cursor)
        pages.append(page["count"])
        found += page["pending"]
        cursor = page["cursor"]
    assert ids(found) == sent
    assert pages == [3, 1, 1, 2]


def test_row_at_the_end_of_a_page_may_be_decided_meanwhile(world):
    sent = stored(world, 5)
    first = world.pending(limit=2, contents="false")
    assert first["cursor"] == sent[1]
    world.decide(sent[1])
    rest = world.pending(cursor=first["cursor"], contents="false")
    assert ids(rest["pending"]) == sent[2:]
    assert (rest["cursor"], rest["total"]) == (None, 4)


def test_form_without_contents_has_all_else(world, other):
    other.held()
    files = [{"name": "a.txt", "content_base64": "aGk="}]
    world.held(html="<p>secret words</p>", attachments=files)
    world.held(markdown="secret words")
    for filters in ({}, {"limit": 1}, {"only": "pending"}):
        whole = world.pending(**filters)["pending"]
        short = world.pending(contents="false", **filters)
        assert short["contents"] is False
        assert short["total"] == 2
        assert "secret words" not in str(short)
        bodies = dict.fromkeys(("markdown", "body_markdown", "html_body"))
        assert [row | bodies for row in short["pending"]] == [
            row | bodies for row in whole
        ]
    read = world.pending(contents="false", email_id=whole[0]["id"])["pending"]
    assert read == short["pending"][:1]
    refused = world.call("GET", f"{PENDING}?contents=perhaps", key="desk")
    assert bad_field_of(refused) == (422, "contents")
    assert short["pending"][0].keys() == whole[0].keys() - bodies.keys()


def test_form_without_contents_has_100_rows_a_page(world):
    sent = stored(world, 101)
    page = world.pending(contents="false")
    assert ids(page["pending"]) == sent[:100]
    assert (page["cursor"], page["total"]) == (sent[99], 101)


def listed_fingerprint(world, email_id):
    [row] = world.pending(contents="false")["pending"]
    assert row["id"] == email_id
    return row["fingerprint"]


def edit_and_hold_again(world, email):
    """Let an agent edit it by the API, as a message that waits for its time."""
    change_row(email, status=Status.SCHEDULED)
    path = f"{world.base}/emails/{email.pk}/schedule"
    edited = world.patch(path, key="agent", markdown="Edited")
    assert edited.status_code == 200, edited.content
    change_row(email, status=Status.PENDING_SEND_APPROVAL)


def test_listed_fingerprint_is_that_of_what_would_leave_now(world):
    email_id = world.held(send_at="2099-01-01T08:00:00Z")
    email = Email.objects.get(pk=email_id)
    mailbox, account = world.mailbox, world.account
    fingerprints = {listed_fingerprint(world, email_id)}
    for change in (
        lambda: change_row(mailbox, auto_cc="copy@acme.example"),
        lambda: change_row(mailbox, signature_block="Acme Ltd"),
        lambda: change_row(mailbox, commercial=True),
        lambda: change_row(account, physical_address="1 Main Street"),
        lambda: change_row(email, send_at="2099-02-01T08:00:00Z"),
        lambda: change_row(email, subject="Another"),
        lambda: change_row(email, markdown="Another text"),
        lambda: change_row(email, html="<p>Another</p>"),
        lambda: edit_and_hold_again(world, email),
        # One that can be approved: a commercial message has one recipient.
        lambda: change_row(mailbox, commercial=False),
    ):
        change()
        listed = listed_fingerprint(world, email_id)
        assert listed == fingerprint_of(Email.objects.get(pk=email_id))
        # Stored by now.
        assert listed == listed_fingerprint(world, email_id)
        assert listed not in fingerprints
        fingerprints.add(listed)
    decided = world.decide(email_id, expected_fingerprint=listed)
    assert decided.status_code == 200


def test_form_without_contents_loads_bodies_only_once(world):
    stored(world, 30, markdown="x" * 1_000)
    world.pending(contents="false")
    with CaptureQueriesContext(connection) as queries:
        world.pending(contents="false")
    assert not any('"markdown"' in query["sql"] for query in queries)
    assert len(queries) < 15
