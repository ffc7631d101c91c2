"""Personal details go when their time is over, or when somebody asks for it; the entries stay and still hold."""

import io
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.db import connection as database
from django.test import override_settings

from approvals.models import Message, WebhookEvent
from audit import retention
from audit.models import Entry, EntryDetail, Leaf
from audit.recording import leaf_hash
from audit.retention import forget_old_details
from audit.sealing.sealer import seal_all
from audit.tasks import forget_details
from audit.trail import lines
from tests.factories import make_connection, make_message
from tests.integration.deciding import decide

pytestmark = pytest.mark.django_db(transaction=True)

KEPT = override_settings(AUDIT_DETAILS_DAYS=30)


@pytest.fixture
def message():
    return make_message(make_connection(), metadata={"discord_user": "ana#1"})


def grow_old(entries, *, days):
    """Move entries into the past beneath the application, which cannot; their leaves are not looked at here."""
    with database.cursor() as cursor:
        cursor.execute("SET session_replication_role = 'replica'")
        entries.update(at=Entry.objects.newest_first().first().at - timedelta(days=days))
        cursor.execute("SET session_replication_role = 'origin'")


def erase(message, because="Asked for by the recipient, ticket 81"):
    out = io.StringIO()
    call_command("audit_erase", message=str(message.public_id), because=because, stdout=out)
    return " ".join(out.getvalue().split())


def with_details():
    return set(EntryDetail.objects.values_list("entry__action", flat=True))


@KEPT
def test_details_older_than_they_may_be_kept_go_and_the_entries_stay(message):
    seal_all()
    held = Entry.objects.of_action("message.held")
    grow_old(held, days=31)
    before = list(Entry.objects.oldest_first().values())
    assert forget_old_details() == 1
    assert list(Entry.objects.filter(pk__lte=before[-1]["id"]).oldest_first().values()) == before
    assert with_details() == {"message.fetched", "ledger.details_removed"}
    (told,) = lines(Entry.objects.of_action("ledger.details_removed"))
    assert (told.details["entries"], told.entry.actor_kind, told.entry.surface) == ("1", "worker", "worker")
    assert "UTC" in told.details["up to"]
    (line,) = lines(held)
    assert (line.is_redacted, line.details, line.as_json()["details_removed"]) == (True, {}, True)
    assert not told.is_redacted


def test_pages_say_that_details_were_removed_and_script_learns_it_too(message, signed_in, auditor):
    EntryDetail.objects.filter(entry__action="message.held").delete()
    client = signed_in(auditor)
    for path in ("/audit/?action=message.held", f"/audit/trace/{message.public_id}/"):
        assert "personal details were removed" in client.get(path).content.decode(), path
    (told,) = client.get("/audit/?action=message.held&format=json").json()["entries"]
    assert (told["details"], told["details_removed"]) == ({}, True)


@KEPT
def test_what_is_young_or_not_sealed_keeps_its_details(message):
    grow_old(Entry.objects.of_action("message.held"), days=31)
    assert forget_old_details() == 0, "it is not sealed"
    seal_all()
    grow_old(Entry.objects.of_action("message.held"), days=29)
    assert forget_old_details() == 0, "it is not old"
    assert "message.held" in with_details()
    assert not Entry.objects.of_action("ledger.details_removed").exists(), "nothing was removed"


def test_details_are_kept_for_ever_unless_days_are_set(message):
    seal_all()
    grow_old(Entry.objects.all(), days=3_000)
    assert forget_details() == "0 forgotten"
    assert "message.held" in with_details()


@KEPT
def test_many_go_in_steps_each_with_an_entry_of_its_own(message, monkeypatch):
    monkeypatch.setattr(retention, "STEP", 1)
    seal_all()
    grow_old(Entry.objects.all(), days=31)
    assert forget_details() == "2 forgotten"
    assert Entry.objects.of_action("ledger.details_removed").count() == 2


@KEPT
def test_entry_without_details_still_hashes_to_its_leaf(message):
    seal_all()
    erased = list(Entry.objects.all())
    EntryDetail.objects.all().delete()
    for entry in erased:
        fresh = Entry.objects.get(pk=entry.pk)
        assert leaf_hash(fresh) == fresh.leaf_hash == bytes(Leaf.objects.get(entry=fresh.pk).hash).hex()


def test_erasing_a_message_removes_its_details_and_copies_and_says_what_stays(message, reviewer):
    other = make_message(message.connection)
    decide(message, reviewer, "reject", "It names Dana's illness")
    Message.objects.filter(pk=message.pk).update(state="rejected")
    message.decisions.update(state="applied")
    said = erase(message)
    assert "Removed the details of 4 entries" in said
    assert "1 webhooks as they came" in said
    assert "versions, verdicts, comments and cards" in said
    told = lines(Entry.objects.of_message(message.public_id).oldest_first())
    assert [line.entry.action for line in told if not line.is_redacted] == ["ledger.details_erased"]
    assert told[-1].details["reason"] == "Asked for by the recipient, ticket 81"
    assert (told[-1].entry.actor_kind, told[-1].entry.actor_id) == ("command", "audit_erase")
    assert not WebhookEvent.objects.filter(email_id=message.upstream_id).exists()
    assert WebhookEvent.objects.filter(email_id=other.upstream_id).exists()
    assert not any(line.is_redacted for line in lines(Entry.objects.of_message(other.public_id)))
    message.refresh_from_db()
    assert message.revision.content["subject"], "what was decided on stays"


def test_erasing_again_finds_nothing_and_keeps_why(message):
    Message.objects.filter(pk=message.pk).update(state="rejected")
    erase(message)
    assert "Removed the details of 0 entries" in erase(message, because="Once more")
    (told,) = lines(Entry.objects.of_action("ledger.details_erased"))
    assert told.details["reason"] == "Asked for by the recipient, ticket 81"


def test_message_that_waits_is_not_erased_beneath_its_reviewers(message):
    with pytest.raises(CommandError, match="not past the desk yet"):
        erase(message)
    assert "message.held" in with_details()


@pytest.mark.parametrize("because", ["", "  "])
def test_erasing_asks_why(message, because):
    with pytest.raises(CommandError, match="Say why"):
        erase(message, because=because)


def test_message_that_nobody_knows_is_named():
    with pytest.raises(CommandError, match="Neither the ledger nor the mirror knows"):
        call_command("audit_erase", message="00000000-0000-0000-0000-000000000000", because="x")


@override_settings(SEAL_KEYS=[])
def test_what_cannot_be_sealed_keeps_its_details_and_the_command_fails(message):
    Message.objects.filter(pk=message.pk).update(state="rejected")
    with pytest.raises(CommandError, match="2 entries are not sealed yet"):
        erase(message)
    assert "message.held" in with_details()
