"""Personal details are removed after retention or on request; the entries stay and
still verify.
"""

import io
import uuid
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.db import connection as database

from audit import retention
from audit.models import Entry, EntryDetail, SealedEntry
from audit.recording import entry_hash
from audit.retention import list_old_details, remove_listed
from audit.tasks import forget_details
from audit.trail import lines
from mirror.models import WebhookEvent
from tests.factories import change_row, make_connection, make_message
from tests.integration.deciding import decide
from tests.ledger import latest_details, seal_here


@pytest.fixture
def message(settings):
    settings.AUDIT_DETAILS_DAYS = 30
    return make_message(make_connection(), metadata={"discord_user": "ana#1"})


def grow_old(entries, *, days):
    """Backdate entries directly in the database; their leaves are not checked here."""
    with database.cursor() as cursor:
        cursor.execute("SET session_replication_role = 'replica'")
        entries.update(
            at=Entry.objects.newest_first().first().at - timedelta(days=days)
        )
        cursor.execute("SET session_replication_role = 'origin'")


def erase(message, because="Asked for by the recipient, ticket 81"):
    out = io.StringIO()
    call_command(
        "audit_erase", message=str(message.public_id), because=because, stdout=out
    )
    return " ".join(out.getvalue().split())


def with_details():
    return set(EntryDetail.objects.values_list("entry__action", flat=True))


def test_details_past_their_retention_are_removed_entries_stay(message):
    seal_here()
    held = Entry.objects.of_action("message.held")
    grow_old(held, days=31)
    before = list(Entry.objects.oldest_first().values())
    list_old_details()
    assert remove_listed() == 0, "their list is not sealed yet"
    seal_here(action="ledger.details_removed")
    assert remove_listed() == 1
    assert list(Entry.objects.oldest_first().values())[: len(before)] == before
    assert with_details() == {"message.fetched", "ledger.details_removed"}
    (removal,) = lines(Entry.objects.of_action("ledger.details_removed"))
    assert (removal.details["entries"], removal.actor_kind) == ("1", "worker")
    (line,) = lines(held)
    assert (line.is_redacted, line.details) == (True, {})


@pytest.mark.django_db(transaction=True)
def test_erasing_a_message_removes_its_details_and_copies_once_and_says_what_stays(
    message, reviewer
):
    other = make_message(message.connection)
    decide(message, reviewer, "reject", "It names Dana's illness")
    change_row(message, state="rejected")
    message.decisions.update(state="applied")
    assert "the details of 4 entries" in erase(message)
    told = lines(Entry.objects.of_message(message.public_id))
    (erasure,) = [line for line in told if not line.is_redacted]
    assert erasure.action == "ledger.details_erased"
    assert WebhookEvent.objects.get().email_id == other.upstream_id
    others = lines(Entry.objects.of_message(other.public_id))
    assert not any(line.is_redacted for line in others)
    for entry in Entry.objects.of_message(message.public_id):
        assert entry_hash(entry) == entry.hash
    message.refresh_from_db()
    assert message.revision.content["subject"], "what was decided on stays"

    # The reason for an erasure survives the next one.
    assert "Removed the details of 0 entries" in erase(message, because="Once more")
    erased = latest_details("ledger.details_erased")
    assert erased["reason"] == "Asked for by the recipient, ticket 81"


def test_erasing_is_refused_while_the_message_waits_without_a_reason_and_for_what_nobody_knows(
    message, settings
):
    with pytest.raises(CommandError, match="not finished yet"):
        erase(message)
    with pytest.raises(CommandError, match="Give a reason"):
        erase(message, because="  ")
    with pytest.raises(CommandError, match="Neither the ledger nor the mirror knows"):
        call_command("audit_erase", message=str(uuid.UUID(int=0)), because="x")
    settings.SEAL_KEYS = []
    change_row(message, state="rejected")
    with pytest.raises(CommandError, match="2 entries keep their details"):
        erase(message)
    assert "message.held" in with_details()


@pytest.mark.slow
def test_details_that_are_recent_unsealed_or_without_a_limit_stay(
    message, settings, monkeypatch
):
    seal_here()
    grow_old(Entry.objects.all(), days=29)
    make_message(message.connection)
    forget_details()
    grow_old(Entry.objects.exclude(pk__in=SealedEntry.objects.values("entry")), days=31)
    forget_details()
    grow_old(Entry.objects.all(), days=3_000)
    settings.AUDIT_DETAILS_DAYS = 0
    forget_details()
    lists = Entry.objects.of_action("ledger.details_removed")
    assert not lists.exists()
    # Many go in steps, each with an entry of its own, and once.
    settings.AUDIT_DETAILS_DAYS = 30
    monkeypatch.setattr(retention, "STEP", 1)
    assert [forget_details() for _ in range(2)] == ["0 forgotten"] * 2
    seal_here(action="ledger.details_removed")
    assert forget_details() == "2 forgotten"
    assert lists.count() == 2
