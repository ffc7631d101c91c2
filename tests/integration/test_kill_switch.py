"""The kill switch: who may pull and release it, what it stops, and that what it stops can still be undone."""

import threading
from datetime import timedelta

import pytest
from django.db import connection as db
from django.db import connections, transaction
from django.db.models import ProtectedError
from django.db.models.functions import Now

from approvals.decide import undo_decision
from approvals.execute import run_decision
from approvals.models import Decision, Mailbox, Message
from approvals.ruling import ruling_for
from audit.models import Entry, EntryDetail
from policy import kill_switch
from policy.errors import KillSwitchNotAllowed
from policy.models import KillSwitch
from tests.factories import NOW, make_connection, make_message, make_person, pending_row
from tests.integration.deciding import carry_out, decide, make_due, waiting_for_a_lock

pytestmark = pytest.mark.django_db


@pytest.fixture
def message(upstream):
    message = make_message(make_connection(api_url=upstream.url))
    upstream.holds(pending_row(message.upstream_id))
    upstream.decides(200, decision="approved")
    return message


def pull(person, **scope):
    return kill_switch.pull(actor=person.actor(surface="web"), reason="Wrong price in every letter", **scope)


def scope_of(message, name):
    return {
        "everything": {}, "connection": {"connection": message.connection}, "mailbox": {"mailbox": message.mailbox}
    }[name]  # fmt: skip


@pytest.mark.proves("security 25")
@pytest.mark.parametrize(
    ("scope", "outcome"),
    [("everything", "approve"), ("everything", "reject"), ("connection", "send_back"), ("mailbox", "approve")],
)
def test_pulled_switch_stops_every_call_of_its_scope(message, reviewer, upstream, scope, outcome):
    pull(reviewer, **scope_of(message, scope))
    assert carry_out(message, reviewer, outcome=outcome) == "not due"
    assert upstream.decisions == []
    assert Decision.objects.get().state == "recorded"


@pytest.mark.proves("security 25")
def test_switch_is_itself_in_the_ledger(message, reviewer, admin):
    switch = pull(reviewer)
    kill_switch.release(switch_id=switch.pk, actor=admin.actor(surface="web"))
    acts = Entry.objects.filter(action__startswith="kill_switch.").oldest_first()
    told = [(entry.action, entry.actor_id, entry.detail.fields["reason"]) for entry in acts]
    reason = "Wrong price in every letter"
    assert told == [
        ("kill_switch.pulled", str(reviewer.pk), reason), ("kill_switch.released", str(admin.pk), reason)
    ]  # fmt: skip
    assert EntryDetail.objects.get(entry=acts[0]).fields["scope"] == "everything"


def test_switch_of_another_scope_stops_nothing_here(message, reviewer):
    other = make_connection("other")
    pull(reviewer, connection=other)
    pull(reviewer, mailbox=Mailbox.objects.create(connection=message.connection, upstream_id="01B", address="b@x.io"))
    assert carry_out(message, reviewer) == "applied"


def test_message_of_unknown_mailbox_is_stopped_by_each_switch_of_its_connection(message, reviewer):
    Message.objects.update(mailbox=None)
    message.refresh_from_db()
    other = make_connection("other")
    switch = pull(reviewer, mailbox=other.mailboxes.get())
    assert KillSwitch.objects.stopping(connection=message.connection_id, mailbox=None).count() == 0
    assert carry_out(message, reviewer) == "applied"
    assert KillSwitch.objects.stopping(connection=other.pk, mailbox=None).get() == switch


def test_stopped_decision_of_unknown_mailbox_is_not_due(message, reviewer):
    mailbox = message.mailbox
    decide(message, reviewer)
    make_due()
    Message.objects.update(mailbox=None)
    pull(reviewer, mailbox=mailbox)
    assert Decision.objects.due().count() == 0


def test_release_lets_what_waited_go(message, reviewer, admin, upstream, django_capture_on_commit_callbacks):
    switch = pull(reviewer)
    assert carry_out(message, reviewer) == "not due"
    with django_capture_on_commit_callbacks() as sent:
        kill_switch.release(switch_id=switch.pk, actor=admin.actor(surface="web"))
    assert any("execute_due" in str(callback) for callback in sent)
    assert run_decision(decision_id=Decision.objects.get().pk, now=NOW) == "applied"
    assert len(upstream.decisions) == 1


def test_stopped_decision_can_be_undone_long_after_its_window(message, reviewer):
    pull(reviewer)
    carry_out(message, reviewer)
    assert undo_decision(message=message.public_id, actor=reviewer.actor(surface="web"), now=NOW).state == "undone"


def test_verdict_under_the_switch_counts_and_says_that_nothing_leaves(message, reviewer):
    pull(reviewer)
    ruling = ruling_for(message, actor=reviewer.actor(surface="web"), now=NOW)
    assert (ruling.may_approve, ruling.may_reject) == (True, True)
    assert "nothing leaves until the kill switch is released" in ruling.reasons[0]
    assert "Ana Ferreira (Wrong price in every letter)" in ruling.reasons[0]


def test_second_pull_keeps_the_first(message, reviewer, second_reviewer):
    assert pull(second_reviewer) == pull(reviewer)
    assert Entry.objects.filter(action="kill_switch.pulled").count() == 1


def test_switch_can_be_pulled_again_after_its_release(message, reviewer, admin):
    first = pull(reviewer)
    kill_switch.release(switch_id=first.pk, actor=admin.actor(surface="web"))
    assert pull(reviewer) != first


def test_pull_without_a_reason_is_refused(message, reviewer):
    with pytest.raises(KillSwitchNotAllowed, match="Say why"):
        kill_switch.pull(actor=reviewer.actor(surface="web"), reason="  ")


def test_pull_and_release_ask_for_the_role(message, reviewer, auditor):
    with pytest.raises(KillSwitchNotAllowed, match="Only a reviewer or an admin"):
        pull(auditor)
    switch = pull(reviewer)
    with pytest.raises(KillSwitchNotAllowed, match="Only an admin"):
        kill_switch.release(switch_id=switch.pk, actor=reviewer.actor(surface="web"))
    assert KillSwitch.objects.pulled().get() == switch


def test_released_switch_is_not_released_twice(message, reviewer, admin):
    switch = pull(reviewer)
    kill_switch.release(switch_id=switch.pk, actor=admin.actor(surface="web"))
    with pytest.raises(KillSwitchNotAllowed, match="not pulled any more"):
        kill_switch.release(switch_id=switch.pk, actor=admin.actor(surface="web"))


@pytest.mark.django_db(transaction=True)
def test_pull_while_a_worker_reads_is_met_before_its_call(upstream):
    """The switch is pulled after the decision was taken: the last word before the first byte stops it."""
    ana = make_person("ana@yourteam.example", "Ana Ferreira", "reviewer")
    message = make_message(make_connection(api_url=upstream.url))
    upstream.holds(pending_row(message.upstream_id))

    def meanwhile():
        pull(ana)
        connections.close_all()

    upstream.meanwhile["GET"] = meanwhile
    assert carry_out(message, ana) == "recorded"
    decision = Decision.objects.get()
    assert (upstream.decisions, decision.may_have_left) == ([], False)
    assert "Ana Ferreira pulled the kill switch before the call" in decision.explanation


@pytest.mark.django_db(transaction=True)
def test_undo_that_holds_the_row_is_met_by_the_mark_that_waits_for_it():
    """The mark asks again what the row says: with its conditions in a joined subquery it would call all the same."""
    ana = make_person("ana@yourteam.example", "Ana Ferreira", "reviewer")
    message = make_message(make_connection())
    decision = decide(message, ana).decision
    Decision.objects.update(state="calling", attempt=1, lease_until=Now() + timedelta(minutes=1))
    decision.refresh_from_db()
    marked = []

    def mark():
        marked.append(Decision.objects.held_by(decision).nothing_stops(message).update(may_have_left=True))
        connections.close_all()

    worker = threading.Thread(target=mark)
    with transaction.atomic():
        undo_decision(message=message.public_id, actor=ana.actor(surface="web"), now=NOW)
        worker.start()
        waiting_for_a_lock(db)
    worker.join(10)
    decision.refresh_from_db()
    assert (marked, decision.state, decision.may_have_left) == ([0], "undone", False)


@pytest.mark.parametrize("scope", ["connection", "mailbox"])
@pytest.mark.parametrize("is_released", [False, True], ids=["pulled", "released"])
def test_what_a_switch_stops_is_not_deleted_with_it(message, admin, scope, is_released):
    switch = pull(admin, **scope_of(message, scope))
    if is_released:
        kill_switch.release(switch_id=switch.pk, actor=admin.actor(surface="web"))
    Message.objects.update(revision=None)
    for row in (message.mailbox, message.connection):
        if scope == "mailbox" or row == message.connection:
            with pytest.raises(ProtectedError):
                row.delete()
    assert KillSwitch.objects.filter(pk=switch.pk).exists()
