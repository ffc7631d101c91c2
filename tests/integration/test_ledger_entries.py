"""What an entry tells: who, what, when, from where, through which request; and never a
person's own words or name.

Lines 58 and 59 of the security list.
"""

import re
from datetime import UTC, datetime, timedelta

import pytest
from allauth.account.signals import user_logged_in as by_allauth
from django.contrib.auth.signals import user_logged_in
from django.db import connection as database
from django.db.transaction import TransactionManagementError
from django.urls import reverse

from audit.models import Entry, EntryDetail
from audit.recording import record
from audit.trail import lines
from common.actors import worker
from connections.accounts import own_webhook
from mirror.models import Message
from people.sign_in.factors import add_passkey
from people.sign_in.sessions import _on_signed_in
from tests.account import account
from tests.factories import (
    event_body,
    make_connection,
    make_message,
    make_person,
    post_event,
    show_row,
)
from tests.integration.deciding import decide

HERE = "192.0.2.7"


def lines_of(action):
    return lines(Entry.objects.of_action(action).oldest_first())


def of(message, *actions):
    return [
        line
        for line in lines(Entry.objects.of_message(message).oldest_first())
        if line.action in actions
    ]


def is_complete(entry, person):
    """Who, what, when (UTC, just now), from where, and by which request."""
    assert entry.actor_kind == "person"
    assert entry.actor_id == str(person.pk)
    assert entry.details["actor"] == str(person)
    assert entry.surface == "web"
    assert entry.details["address"] == HERE
    assert entry.at.utcoffset() == timedelta(0)
    assert abs(datetime.now(UTC) - entry.at) < timedelta(minutes=5)
    assert re.fullmatch("[0-9a-f]{16}", entry.trace)
    assert entry.sentence != entry.action
    return True


def enter(client, email, password="correct horse battery"):
    return client.post(
        "/accounts/login/", {"login": email, "password": password}, REMOTE_ADDR=HERE
    )


# --- line 58


def test_who_signs_in_fails_to_and_signs_out_is_told(client, reviewer):
    enter(client, reviewer.email, "wrong")
    enter(client, reviewer.email)
    client.post("/accounts/logout/", REMOTE_ADDR=HERE)
    (failed,), (came,), (left,) = (
        lines_of("person.sign_in_failed"),
        lines_of("person.signed_in"),
        lines_of("person.signed_out"),
    )
    assert is_complete(came, reviewer)
    assert is_complete(left, reviewer)
    assert (failed.actor_kind, failed.actor_id) == ("anonymous", "")
    assert failed.details["email"] == reviewer.email
    assert failed.details["address"] == HERE
    assert failed.trace


def test_denied_access_a_look_a_decision_a_setting_and_an_export_are_told(
    signed_in, admin, auditor
):
    reviewer = make_person("ana@yourteam.example", "Ana", "reviewer")
    message = make_message(make_connection())
    client = signed_in(reviewer)
    here = {"REMOTE_ADDR": HERE}
    client.get(f"/queue/{message.public_id}/", **here)
    fields = {
        "outcome": "approve",
        "fingerprint": message.revision.fingerprint,
        "reason": "",
    }
    client.post(f"/queue/{message.public_id}/verdict/", fields, **here)
    client.get("/people/second-factor/", **here)
    (opened,), (verdict,), (denied,) = (
        lines_of("message.opened"),
        lines_of("verdict.given"),
        lines_of("access.denied"),
    )
    (decided,) = lines_of("decision.recorded")
    assert all(
        is_complete(line, reviewer) for line in (opened, verdict, decided, denied)
    )
    for line in (opened, verdict, decided):
        assert line.message == message.public_id
        assert line.fingerprint == message.revision.fingerprint
    assert verdict.trace == decided.trace, "of one request"
    signed_in(admin).post(
        "/rules/findings/first_contact/weigh/", {"points": "3"}, **here
    )
    assert is_complete(*lines_of("rule.weighed"), admin)
    signed_in(auditor).post("/audit/reports/rights/file/", {}, **here)
    assert is_complete(*lines_of("ledger.report_taken"), auditor)


def test_every_way_in_is_told_by_the_same_signal():
    """Passkeys, codes and providers all end in Django's sign-in, which is recorded."""
    listeners = [
        ref() if callable(ref) else ref for _, ref, *_ in user_logged_in.receivers
    ]
    assert _on_signed_in in listeners
    assert by_allauth is not user_logged_in
    assert Entry.objects.count() == 0


def test_passkey_is_told_when_it_is_added(reviewer):
    add_passkey(
        actor=reviewer.actor(surface="web", address=HERE), name="Phone", credential={}
    )
    (line,) = lines_of("person.factor_added")
    assert line.details["before"] == "nothing"
    assert line.details["after"] == "passkey Phone"


def test_connection_and_its_webhook_are_told_from_the_first_step(
    signed_in, admin, settings, monkeypatch
):
    monkeypatch.setattr(own_webhook, "TEST_SECONDS", 0.1)
    scopes = {"oversight": ["oversight"], "admin": ["admin", "read"]}
    with account(**scopes) as there:
        settings.MULTIMAIL_API_URL = there.url
        client = signed_in(admin)
        keys = {f"{slot}_key": f"mm_live_{slot}_key" for slot in scopes}
        client.post(
            reverse("add-connection"),
            {"place": "ours", "name": "Acme", **keys},
            REMOTE_ADDR=HERE,
        )
        (added,) = lines_of("connection.added")
        of = {"connection_id": added.connection}
        for name in ("register-own-webhook", "test-own-webhook", "rotate-own-webhook"):
            last = Entry.objects.newest_first().first().pk
            client.post(reverse(name, kwargs=of), {"overlap": "day"}, REMOTE_ADDR=HERE)
            new = lines(Entry.objects.filter(pk__gt=last))
            assert new, name
            assert all(is_complete(line, admin) for line in new)
    assert is_complete(added, admin)
    assert added.details["before"] == "nothing"
    assert "mm_live" not in str(
        list(EntryDetail.objects.values_list("fields", flat=True))
    )


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
        assert entry.actor_kind == "webhook", name
        assert entry.actor_id == "main", name
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


def test_prefetched_page_counts_as_opened_only_once_it_is_shown(signed_in, reviewer):
    message = make_message(make_connection())
    other = make_message(make_connection("other"))
    client = signed_in(reviewer)
    path = f"/queue/{message.public_id}/"
    client.head(f"{path}body/")
    assert looks(message) == []
    client.get(path, headers={"Sec-Purpose": "prefetch;prerender"})
    client.get(f"{path}body/")
    (served,) = of(message.public_id, "message.served", "message.opened")
    assert served.action == "message.served"
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


def looks(message):
    return [
        line.action
        for line in of(message.public_id, "message.served", "message.opened")
    ]


# --- line 59

PRIVATE = (
    "ana ferreira", "ana@yourteam", "dana", "northwind", "refund", "because of", "mallory", HERE, "ana#1", "order 4471",
)  # fmt: skip


def columns_of(entry):
    """Everything in an entry except the hashes of its details."""
    names = (
        "actor_kind",
        "actor_id",
        "surface",
        "action",
        "connection",
        "message",
        "fingerprint",
        "trace",
    )
    return " ".join(str(getattr(entry, name)) for name in names).lower()


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
    client.post("/people/me/name/", {"name": "Ana F."}, REMOTE_ADDR=HERE)
    client.get("/people/second-factor/", REMOTE_ADDR=HERE)
    client.post(
        f"/queue/{message.public_id}/comment/",
        {"text": "Dana wrote to me"},
        REMOTE_ADDR=HERE,
    )
    decide(message, reviewer, "reject", "Because of Dana's order 4471")
    everything = str(list(EntryDetail.objects.values_list("fields", flat=True))).lower()
    assert [text for text in PRIVATE if text not in everything] == [], (
        "these acts have to name them"
    )
    for entry in Entry.objects.all():
        found = [text for text in (*PRIVATE, "@") if text in columns_of(entry)]
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
    assert not [
        name for name in line.detail_hashes if "dana" in name or "icket" in name
    ]


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
