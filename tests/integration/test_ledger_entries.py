"""What an entry tells: who, what, when, from where, through which request; and never a
person's own words or name. Lines 58 and 59 of the security list.
"""

import re
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection as database
from django.db import transaction
from django.db.transaction import TransactionManagementError
from django.test import Client
from django.urls import reverse

from audit.models import Entry, EntryDetail
from audit.recording import detail_hash, entry_hash, record
from common.actors import Actor, worker
from common.logs import trace_id
from dashboard.frame.middleware import NAMED, OF_MESSAGES
from mirror.models import Message
from tests.account import account
from tests.acts import last_entry, told_since
from tests.factories import (
    NOW,
    event_body,
    make_connection,
    make_message,
    make_person,
    post_event,
    show_row,
)
from tests.integration.deciding import decide
from tests.ledger import ACTOR, lines_of
from tests.permission_table import addresses


def looks(message):
    looked = Entry.objects.of_message(message.public_id).filter(
        action__in=("message.served", "message.opened")
    )
    return list(looked.oldest_first().values_list("action", flat=True))


HERE = "192.0.2.7"


def is_complete(entry, person):
    """Who, what, when (UTC, just now), from where, and by which request."""
    who = (entry.actor_kind, entry.actor_id, entry.details["actor"])
    assert who == ("person", str(person.pk), str(person))
    assert (entry.surface, entry.details["address"]) == ("web", HERE)
    assert entry.at.utcoffset() == timedelta(0)
    assert abs(datetime.now(UTC) - entry.at) < timedelta(minutes=5)
    assert re.fullmatch("[0-9a-f]{16}", entry.trace)
    assert entry.sentence != entry.action
    return True


def enter(client, email, password="correct horse battery"):
    return client.post(
        "/accounts/login/", {"login": email, "password": password}, REMOTE_ADDR=HERE
    )


def test_no_column_of_an_entry_can_change_under_its_hash(message, reviewer):
    decide(message, reviewer)
    entry = Entry.objects.get(action="decision.recorded")
    known = entry_hash(entry)
    for name in ("actor_id", "surface", "action", "fingerprint", "trace", "outcome"):
        before = getattr(entry, name)
        setattr(entry, name, f"{before}x")
        assert entry_hash(entry) != known, name
        setattr(entry, name, before)
    assert entry_hash(entry) == known


# --- line 58


def test_who_signs_in_fails_to_and_signs_out_is_told(client, reviewer):
    enter(client, reviewer.email, "wrong")
    enter(client, reviewer.email)
    client.post("/accounts/logout/", REMOTE_ADDR=HERE)
    actions = ("person.sign_in_failed", "person.signed_in", "person.signed_out")
    failed, came, left = (lines_of(action)[0] for action in actions)
    assert is_complete(came, reviewer)
    assert is_complete(left, reviewer)
    assert (failed.actor_kind, failed.actor_id) == ("anonymous", "")
    assert failed.details["email"] == reviewer.email
    assert failed.details["address"] == HERE


def test_connection_and_its_webhook_are_told_from_the_first_step(
    signed_in, admin, settings
):
    with account(oversight=["oversight"], admin=["admin", "read"]) as there:
        settings.MULTIMAIL_API_URL = there.url
        client = signed_in(admin)
        keys = {f"{slot}_key": f"mm_live_{slot}_key" for slot in ("oversight", "admin")}
        form = {"place": "ours", "name": "Acme", **keys}
        client.post(reverse("add-connection"), form, REMOTE_ADDR=HERE)
        (added,) = lines_of("connection.added")
        of = {"connection_id": added.connection}
        for name in ("register-own-webhook", "rotate-own-webhook"):
            last = last_entry()
            client.post(reverse(name, kwargs=of), {"overlap": "day"}, REMOTE_ADDR=HERE)
            new = told_since(last)
            assert new, name
            assert all(is_complete(line, admin) for line in new)
    assert is_complete(added, admin)
    assert added.details["before"] == "nothing"
    fields = EntryDetail.objects.values_list("fields", flat=True)
    assert "mm_live" not in str(list(fields))


# --- who started it, and where nobody was asked


TRIGGER = {"discord_user": "ana#1", "run_id": "run-7"}


def test_mail_that_was_never_held_is_told_whole(client):
    connection = make_connection()
    client.defaults["REMOTE_ADDR"] = HERE
    received = {"direction": "inbound", "from": "eve@out.example", "status": "unread"}
    for name, action, fields in (
        ("message.sent", "message.sent", {"status": "sent"}),
        ("message.received", "message.received", received),
        ("oversight.pending", "message.held", {}),
    ):
        body = event_body(
            name,
            metadata=TRIGGER,
            sent_by_key="01KEY",
            sent_by_key_name="Invoices",
            **fields,
        )
        assert post_event(client, connection, body).status_code == 200
        (entry,) = lines_of(action)
        assert (entry.actor_kind, entry.actor_id) == ("webhook", "main"), name
        assert entry.connection == connection.pk, name
        assert entry.message == Message.objects.latest("pk").public_id, name
        told = {
            "sender": fields.get("from", "support@yourteam.example"),
            "subject": "Your refund for order 4471",
            "recipients": "dana@northwind.example",
            "key": "Invoices",
            "address": HERE,
        }
        assert told.items() <= entry.details.items(), name
        assert entry.trigger == TRIGGER, name


# --- served, and opened


# --- line 59

PRIVATE = (
    "ana ferreira", "ana@yourteam", "dana", "northwind", "refund", "because of", "mallory", HERE, "ana#1", "order 4471",
)  # fmt: skip


def test_no_entry_holds_a_name_an_address_or_a_word_of_anybody(
    client, signed_in, reviewer
):
    connection = make_connection()
    post_event(client, connection, event_body(metadata={"discord_user": "ana#1"}))
    message = make_message(connection)
    enter(client, "mallory@out.example", "wrong")
    enter(client, reviewer.email, "wrong")
    enter(client, reviewer.email)
    signed_in(reviewer).get(f"/queue/{message.public_id}/", REMOTE_ADDR=HERE)
    client.get("/people/second-factor/", REMOTE_ADDR=HERE)
    client.post(
        f"/queue/{message.public_id}/comment/",
        {"text": "Dana wrote to me"},
        REMOTE_ADDR=HERE,
    )
    decide(message, reviewer, "reject", "Because of Dana's order 4471")
    for entry in Entry.objects.all():
        columns = {**vars(entry), "detail_hashes": "", "_state": ""}
        found = [text for text in (*PRIVATE, "@") if text in str(columns).lower()]
        assert found == [], f"{entry.action} holds {found}"
        # Of the details it contains only names, which the code defines, and hashes.
        assert all(
            re.fullmatch("[0-9a-f]{64}", value)
            for value in entry.detail_hashes.values()
        )


def test_name_that_the_sender_made_up_stands_in_no_entry(client):
    """The name of a detail is not salted, and stays after the detail is erased."""
    metadata = {"run_id": "run-7", "dana@northwind.example": "refund", "Ticket": 81}
    post_event(client, make_connection(), event_body(metadata=metadata))
    (line,) = lines_of("message.held")
    assert line.trigger == {
        "run_id": "run-7",
        "other": "dana@northwind.example: refund; Ticket: 81",
    }
    assert "dana" not in str(line.detail_hashes)


def test_entry_of_no_known_action_or_outside_a_transaction_is_refused(monkeypatch):
    with pytest.raises(ValueError, match=r"'nobody\.knows' is not registered"):
        record("nobody.knows", actor=worker("test"))
    monkeypatch.setattr(database, "in_atomic_block", False)
    with pytest.raises(
        TransactionManagementError, match="must run in the transaction of the act"
    ):
        record("comment.added", actor=worker("test"))
    monkeypatch.undo()
    assert not Entry.objects.exists()


def denied():
    return lines_of("access.denied")


def test_denied_message_is_recorded_once_per_minute_and_an_unknown_url_is_not(
    signed_in, connection
):
    path = f"/queue/{make_message(connection).public_id}/"
    outsider = make_person(
        "olga@yourteam.example",
        "Olga",
        "reviewer",
        connection=make_connection("elsewhere"),
    )
    client = signed_in(outsider)
    for _ in range(3):
        assert client.get(path, REMOTE_ADDR=HERE).status_code == 404
    for nowhere in ("/nowhere/", "/queue/nonsense/"):
        assert client.get(nowhere).status_code == 404, nowhere
    client.post(f"{path}undo/")
    line, *others = denied()
    assert len(others) == 1
    assert (line.actor_id, line.surface) == (str(outsider.pk), "web")
    assert str(line.message) == path.split("/")[2]
    assert line.details == {
        "actor": "Olga", "address": HERE, "method": "GET", "path": path, "status": "404",
    }  # fmt: skip


def test_old_address_of_what_is_gone_is_no_denied_access(signed_in, admin, reviewer):
    client = signed_in(admin)
    removed = make_connection("removed", removed_at=NOW)
    for path in (
        f"/connections/{removed.pk}/",
        "/connections/987654/",
        "/people/987654/",
        "/alerts/987654/",
    ):
        assert client.get(path).status_code == 404, path
    assert denied() == []
    # Somebody else's row is withheld.
    path = f"/people/{admin.pk}/"
    assert signed_in(reviewer).get(path).status_code == 404
    assert [line.details["path"] for line in denied()] == [path]


# Parts of addresses that name no row, or one of which everybody who sees its page may
# know; of the latter a refusal says nothing.
UNNAMED = {"page", "place", "policy_number", "row_id", "verdict_id", "route_id"}
OF_THE_PERSON = {"browser_id", "factor_id"}
OF_ADMINS = {"destination_id", "invitation_id", "turn_id"}


def test_what_an_address_names_is_looked_for():
    parts = {
        part
        for _, route in addresses()
        for part in re.findall(r"<(?:int|uuid|path):(\w+)>", route)
    }
    assert parts - NAMED.keys() - OF_MESSAGES == UNNAMED | OF_THE_PERSON | OF_ADMINS


def test_denied_actions_and_csrf_failures_are_recorded(signed_in, auditor, connection):
    path = f"/queue/{make_message(connection).public_id}/"
    client = signed_in(auditor)
    assert client.get("/people/second-factor/").status_code == 403
    verdict = {"outcome": "approve", "fingerprint": "0" * 64, "reason": ""}
    assert client.post(f"{path}verdict/", verdict).status_code == 403
    # A denied verdict has its own kind of entry.
    assert Entry.objects.of_action("verdict.refused").count() == 1
    assert len(denied()) == 1

    without_token = Client(enforce_csrf_checks=True)
    without_token.force_login(auditor, backend="people.sign_in.backend.PersonBackend")
    without_token.post("/people/me/", {"name": "Mallory"})
    assert denied()[1].details["path"] == "/people/me/"


AWKWARD = (
    "",
    '"',
    "\\",
    "%s",
    "'",
    "}{",
    "\u2028",
    "é\U0001f600",
    "a\nb\x7f",
    "\\x00",
    "::text",
)


@pytest.mark.parametrize("text", AWKWARD)
def test_hash_is_that_of_the_stored_columns(text):
    actor = Actor(kind="person", id=text, label=text, surface="web", address=text)
    token = trace_id.set(text)
    try:
        entry = record("message.opened", actor=actor, details={f"a{text}": text})
    finally:
        trace_id.reset(token)
    stored = Entry.objects.get(pk=entry.pk)
    assert stored.actor_id == text
    assert stored.hash == entry.hash == entry_hash(stored)
    assert (stored.xid, stored.at) == (entry.xid, entry.at)
    detail = EntryDetail.objects.get(pk=entry.pk)
    hashes = {
        name: detail_hash(bytes(detail.salt), name, text)
        for name, text in detail.fields.items()
    }
    assert stored.detail_hashes == entry.detail_hashes == hashes


def test_entries_of_one_transaction_have_its_id_rising_numbers_and_a_salt_each():
    details = {"text": "the same words", "to": "", "cc": "a\0b"}
    with transaction.atomic():
        first, second = (
            record("message.opened", actor=ACTOR, details=details) for _ in range(2)
        )
    assert first.xid == second.xid
    assert first.pk < second.pk
    # Empty values are left out, and PostgreSQL stores no NUL characters.
    assert first.details == {
        "actor": ACTOR.label,
        "text": "the same words",
        "cc": "a\ufffdb",
    }
    assert first.detail_hashes["text"] != second.detail_hashes["text"], (
        "the same words look alike"
    )
    assert [len(bytes(one.salt)) for one in EntryDetail.objects.all()] == [16, 16]


@pytest.mark.slow
def test_prefetched_page_counts_as_opened_only_once_it_is_shown(signed_in, reviewer):
    message = make_message(make_connection())
    other = make_message(make_connection("other"))
    client = signed_in(reviewer)
    path = f"/queue/{message.public_id}/"
    client.head(f"{path}body/")
    assert looks(message) == []
    client.get(path, headers={"Sec-Purpose": "prefetch;prerender"})
    client.get(f"{path}body/")
    (served,) = lines_of("message.served")
    assert served.actor_id == str(reviewer.pk)
    assert served.fingerprint == message.revision.fingerprint
    for _ in range(2):
        client.post(f"{path}opened/", {"fingerprint": message.revision.fingerprint})
    assert looks(message) == ["message.served", "message.opened"]
    # Its content is also requested without its page; each version is noted.
    client.get(f"/queue/{other.public_id}/view/", headers={"HX-Request": "true"})
    for _ in range(2):
        client.get(f"/queue/{other.public_id}/body/")
    assert looks(other) == ["message.served"]
    show_row(other, markdown="Hello Eve")
    client.get(f"/queue/{other.public_id}/body/")
    assert looks(other) == ["message.served"] * 2
