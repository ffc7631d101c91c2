"""MultiMail is unreachable: nothing is lost, nothing is closed, and every page says so."""

from datetime import timedelta

from django.db.models.functions import Now

from approvals.decisions.execute import run_decision
from approvals.reconcile.reads import read_everything
from audit.models import Entry
from mirror.models import Connection, Message
from mirror.sync.health import freshness_for, freshness_of
from tests.factories import NOW, make_message
from tests.integration.deciding import decide, make_due

# The factories' connection points to a port of this machine on which nobody listens.


def test_reading_fails_in_words_once_in_the_ledger_and_closes_nothing(
    connection, reviewer
):
    make_message(connection)
    for _ in range(3):
        assert read_everything(connection_id=connection.pk, now=NOW) == "unreachable"
        Connection.objects.update(read_at=None)
    connection.refresh_from_db()
    assert "could not be reached" in connection.last_error
    assert connection.reading_until is None
    assert Message.objects.get().state == "held"
    freshness = freshness_for(reviewer.actor(surface="web"))
    assert freshness.level == "amber"
    assert "could not be reached" in freshness.reason
    assert Entry.objects.filter(action="connection.failing").count() == 1


def test_stale_mirror_turns_amber_then_red_and_a_paused_connection_carries_nothing_out(
    connection, reviewer
):
    connection.complete_as_of = NOW
    levels = [
        freshness_of(connection, now=NOW + timedelta(minutes=minutes)).level
        for minutes in (0, 1, 3, 11)
    ]
    assert levels == ["green", "green", "amber", "red"]
    decision = decide(make_message(connection), reviewer, "reject", "no").decision
    make_due()
    Connection.objects.update(paused_at=Now(), paused_because="The key was revoked.")
    assert run_decision(decision_id=decision.pk) == "not due"
    assert freshness_for(reviewer.actor(surface="web")).level == "red"
