"""Practice messages: planted as copies with one fault, decided like others, and never
carried out by anything.
"""

import json
import random
from contextlib import contextmanager, nullcontext
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.db import IntegrityError, transaction
from django.db import connection as database
from django.db.models.functions import Now
from django.urls import reverse
from django.utils import timezone

from alerts.cards.message import card_of_message
from alerts.channels import channel_of
from approvals import tasks
from approvals.decisions import by_rule, execute
from approvals.desk_messages import desk_messages
from approvals.models import Arrival, Decision, Replacement, Verdict
from approvals.reconcile import reads
from audit.models import Entry
from common.postgres import clock
from connections.accounts.commands import remove_connection
from mirror.errors import ActNotAllowed
from mirror.models import Connection, Mailbox, Message
from people.second_admin.changes import accept, ask_second_admin
from people.second_admin.registry import SecondAdminNeeded
from policy.kill_switch import pull
from policy.models import PolicyVersion
from practice import ending, planting
from practice.models import PracticeMessage, PracticeSetting
from practice.setting import switch_practice_off, switch_practice_on
from tests.factories import actor_of, change_row, make_message, make_person, rolled_back
from tests.integration.deciding import (
    decide,
    in_thread,
    make_decision,
    post_verdict,
    read_all,
)
from tests.integration.practising import make_approved, make_planted
from tests.integration.test_bulk import approve as decide_sheet
from tests.integration.test_bulk import open_sheet
from tests.ledger import seal_here


@pytest.fixture
def approved(connection, reviewer):
    """A message that Ana approved, and that was sent."""
    return make_approved(connection, reviewer)


@pytest.fixture
def planted(approved, connection):
    return make_planted(connection)


def entries_of(message):
    return list(
        Entry.objects.of_message(message.public_id)
        .order_by("id")
        .values_list("action", "actor_kind")
    )


def test_planted_message_is_a_copy_with_one_fault_that_no_trail_gives_away(
    planted, approved, reviewer, auditor
):
    message = Message.objects.get(pk=planted.message_id)
    assert message.state == "held"
    assert message.is_local is True
    assert len(message.upstream_id) == 26 != approved.upstream_id
    assert message.revision.fingerprint != approved.revision.fingerprint
    assert entries_of(message) == entries_of(approved)[:2]
    marked = Entry.objects.of_action("practice.planted")
    assert marked.get().detail.fields["practice"] == str(message.public_id)
    assert list(marked.readable_by(actor_of(reviewer))) == []
    assert list(marked.readable_by(actor_of(auditor))) == list(marked)


def test_nothing_of_it_tells_a_reviewer_before_it_is_decided(
    signed_in, planted, reviewer, route
):
    client = signed_in(reviewer)
    names = "message message-body message-view beside trace approve edit-message"
    paths = [reverse(name, args=[planted.message.public_id]) for name in names.split()]
    answers = [client.get(path, follow=True) for path in (*paths, "/queue/")]
    assert {one.status_code for one in answers} == {200}
    markup = channel_of("discord").markup
    card = card_of_message(planted.message, route.destination, markup)
    told = "".join(one.text + json.dumps(dict(one.headers)) for one in answers)
    told += str(card)
    assert "practice" not in told.lower()
    assert planted.explanation not in told


def test_who_lets_it_pass_learns_it_at_once_and_nothing_is_carried_out(
    signed_in, planted, reviewer
):
    message = planted.message
    client = signed_in(reviewer)
    page = client.get(post_verdict(client, message).url).text
    assert "This was a practice message" in page
    assert "Nothing was sent" in page
    planted.refresh_from_db()
    message.refresh_from_db()
    assert planted.outcome == "passed"
    assert planted.person == reviewer
    assert message.state == "cancelled"
    assert not Decision.objects.filter(message=message).exists()
    assert not Verdict.objects.filter(message=message).exists()
    decided = Entry.objects.of_action("practice.decided").get()
    assert decided.actor_id == str(reviewer.pk)
    assert decided.message is None
    assert ("message.cancelled", "worker") in entries_of(message)
    assert "Practice message" in client.get("/history/").text


@pytest.mark.slow
def test_who_stops_it_learns_that_and_the_second_person_learns_that_it_is_over(
    signed_in, planted, reviewer, second_reviewer
):
    message = planted.message
    told = decide(message, reviewer, "reject", "The wrong recipient.").told
    assert "well spotted" in told
    path = reverse("message", args=[message.public_id])
    assert "well spotted" in signed_in(reviewer).get(path).text
    client = signed_in(second_reviewer)
    page = client.get(path).text
    assert "well spotted" not in page
    assert "it is over" in page
    answer = post_verdict(client, message, outcome="reject", reason="Wrong")
    assert answer.status_code == 409
    assert "practice message, and it is over" in answer.text


@pytest.mark.slow
def test_sheet_of_many_says_what_it_was_and_decides_the_others(
    signed_in, planted, connection, reviewer
):
    client = signed_in(reviewer)
    other = make_message(connection)
    both = [planted.message, other]
    page = open_sheet(client, *both)
    assert "practice" not in page.text.lower()
    done = client.get(decide_sheet(client, page, both, unread=2).url).text
    assert "easily missed" in done
    assert "Not decided" not in done
    assert Decision.objects.latest("pk").message == other


@pytest.mark.slow
def test_correcting_it_ends_it_and_sends_nothing(signed_in, planted, reviewer):
    Connection.objects.update(
        agent_key="mm_live_agent", key_scopes={"agent": ["send", "read"]}
    )
    url = reverse("edit-message", args=[planted.message.public_id])
    typed = {
        "to": "dana@northwind.example",
        "subject": "Refund",
        "markdown": "Hello.",
        "do": "send",
        "fingerprint": planted.message.revision.fingerprint,
        "reference": "EDIT000001",
    }
    page = signed_in(reviewer).post(url, typed, follow=True).text
    planted.refresh_from_db()
    assert planted.outcome == "caught"
    assert "well spotted" in page
    assert not Replacement.objects.exists()


# --- It never leaves: each layer without the ones before it.


@contextmanager
def refused_here():
    with (
        pytest.raises(IntegrityError, match="exists at this desk alone"),
        transaction.atomic(),
    ):
        yield


def force_decision(planted, person, state="recorded"):
    """Store a decision on it although the database refuses that."""
    with database.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute(
            "ALTER TABLE approvals_decision DISABLE TRIGGER approvals_decision_local"
        )
    return make_decision(planted.message, person, state)


def test_database_refuses_a_decision_a_replacement_and_another_state(planted, reviewer):
    message = planted.message
    fields = {"message": message, "revision": message.revision, "reference": "R"}
    with refused_here():
        Decision.objects.create(**fields, outcome="reject", due_at=Now())
    with refused_here():
        Replacement.objects.create(
            **fields,
            root=message,
            connection=message.connection,
            person=reviewer,
            to=["a@b.example"],
        )
    for change in ({"state": "approved"}, {"state": "sent"}, {"is_local": False}):
        with pytest.raises(IntegrityError), transaction.atomic():
            change_row(message, **change)


def test_executor_never_claims_a_decision_on_it_nor_may_one_be_called(
    planted, reviewer
):
    forced = force_decision(planted, reviewer)
    assert not Decision.objects.due().exists()
    assert execute.run_decision(decision_id=forced.pk) == "not due"
    with refused_here():
        change_row(forced, state="calling")


def test_mark_before_the_call_excludes_it(planted, reviewer):
    forced = force_decision(planted, reviewer, state="calling")
    soon = timezone.now() + timedelta(minutes=1)
    change_row(forced, attempt=1, lease_until=soon)
    forced.refresh_from_db()
    with pytest.raises(Exception, match="abandoned before its call"):
        execute._mark(forced)
    forced.refresh_from_db()
    assert not forced.may_have_left


def test_sweeps_expiry_policy_and_lists_pass_it_by(planted):
    message = planted.message
    change_row(
        message, expires_at=timezone.now() - timedelta(hours=1), gate_expires_at=None
    )
    rules = [{"id": "a", "name": "No", "then": {"reject": "Never"}}]
    PolicyVersion.objects.create(
        number=1, state="active", rules=rules, activated_at=Now()
    )
    now = desk_messages()
    for found in (
        now.past_expiry(),
        now.nearly_over(),
        now.expiry_to_tell(),
        now.overdue(),
        by_rule.not_asked(),
        now.to_hydrate(),
        now.to_count(),
        now.to_ask_about(),
        now.held_since(message.held_at),
    ):
        assert message not in found
    assert not Arrival.objects.filter(upstream_id=message.upstream_id).exists()


@pytest.mark.slow
def test_whole_reads_close_none_and_multimail_is_never_asked_about_one(
    planted, connection, upstream
):
    Connection.objects.update(is_our_gateway=False, api_url=upstream.url)
    upstream.holds()
    for _ in range(2):
        Connection.objects.update(reading_until=None, read_at=None)
        assert read_all(connection) == "0 held"
    assert reads.ask_about(message_id=planted.message_id, now=clock()) == "local"
    assert Message.objects.get(pk=planted.message_id).state == "held"
    assert planted.message.upstream_id not in str(upstream.calls)


# --- Planting.


def on(admin, one_in=3, **fields):
    second = make_person("second@yourteam.example", "Second Admin", "admin")
    setting = PracticeSetting(
        pk=1, one_in=one_in, asked_by=admin, accepted_by=second, **fields
    )
    setting.save()
    PracticeSetting.objects.update(since=timezone.now() - timedelta(days=30))
    return setting


@pytest.mark.slow
def test_one_in_so_many_held_messages_is_planted(approved, connection, admin):
    setting = on(admin, one_in=3, place=2, counted_to=approved.pk)
    rng = random.Random(1)
    make_message(connection)
    assert tasks.sweep() == "swept"
    assert not PracticeMessage.objects.exists()
    make_message(connection)
    make_message(connection)
    assert planting.plant_due([setting.pk], rng=rng) == 1
    assert planting.plant_due([setting.pk], rng=rng) == 0
    setting.refresh_from_db()
    assert setting.counted == 0
    assert Message.objects.filter(is_local=True).count() == 1


@pytest.mark.slow
def test_nothing_is_planted_where_something_stops_it(
    planted, connection, mailbox, admin, reviewer
):
    setting = on(admin, one_in=2, place=1, counted_to=planted.message_id)
    make_message(connection)
    make_approved(connection, reviewer)
    stops = (
        lambda: None,
        lambda: pull(actor=actor_of(admin), reason="Stop", mailbox=mailbox),
        lambda: Connection.objects.update(paused_at=Now()),
        lambda: Mailbox.objects.update(is_active=False),
    )
    for number, stop in enumerate(stops):
        with rolled_back():
            if number:
                # It waits no more, which stops the first one.
                ending.end_quietly(key=planted.pk)
            stop()
            assert planting.plant_due([setting.pk]) == 0, number
    ending.end_quietly(key=planted.pk)
    assert planting.plant_due([setting.pk]) == 1


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_two_sweeps_at_once_plant_one(approved, connection, admin):
    setting = on(admin, one_in=2, place=1, counted_to=approved.pk)
    make_message(connection)
    with transaction.atomic():
        # One worker is at it: another passes by, and does not wait to do the same
        # again.
        PracticeSetting.objects.select_for_update().get()
        thread, results = in_thread(lambda: planting.plant_due([setting.pk]))
        thread.join(timeout=60)
        assert results == [0]
    assert planting.plant_due([setting.pk]) == 1
    assert planting.plant_due([setting.pk]) == 0
    assert PracticeMessage.objects.count() == 1


@pytest.mark.slow
def test_it_ends_quietly_by_itself(planted, connection, mailbox, admin):
    ends = (
        lambda: PracticeMessage.objects.update(ends_at=Now()),
        lambda: Mailbox.objects.update(is_active=False),
        mailbox.delete,
        lambda: remove_connection(
            connection=connection,
            typed_name=connection.name,
            actor=actor_of(admin),
            now=clock(),
        ),
    )
    for end in ends:
        with rolled_back():
            end()
            assert tasks.sweep() == "swept"
            found = PracticeMessage.objects.select_related("message").get()
            assert found.outcome == "unanswered"
            assert found.message.state == "cancelled"


@pytest.mark.slow
def test_erasing_the_copied_message_erases_the_copy(planted, approved):
    erase = {"message": str(approved.public_id), "because": "A request"}
    # Ending the copy is an entry of its own, and so is each list of what to remove.
    for left in ("not sealed yet", "not sealed yet", ""):
        seal_here()
        with pytest.raises(CommandError, match=left) if left else nullcontext():
            call_command("audit_erase", **erase, verbosity=0)
    planted.refresh_from_db()
    about = Entry.objects.of_message(planted.message.public_id).with_details()
    assert planted.outcome == "unanswered"
    assert about.get(action="message.fetched").details == {}
    assert about.get(action="message.cancelled").details == {}


# --- Who switches it on, and who is told.


def test_switching_on_always_takes_two_admins_and_off_takes_one(
    admin, second, reviewer, planted
):
    with pytest.raises(ActNotAllowed):
        switch_practice_on(actor=actor_of(reviewer), one_in=10)
    with pytest.raises(SecondAdminNeeded) as needed:
        switch_practice_on(actor=actor_of(admin), one_in=10)
    change = ask_second_admin(
        asked=needed.value.asked, reason="To learn", actor=actor_of(admin)
    )
    accept(change_id=change.pk, actor=actor_of(second))
    setting = PracticeSetting.objects.get()
    assert setting.one_in == 10
    assert (setting.asked_by, setting.accepted_by) == (admin, second)
    entry = Entry.objects.of_action("practice.switched_on").get()
    assert entry.detail.fields["accepted_by"] == "Sam Second"
    assert switch_practice_off(actor=actor_of(second))
    off = Entry.objects.of_action("practice.switched_off").get()
    assert off.actor_id == str(second.pk)
    planted.refresh_from_db()
    assert planted.outcome == "unanswered"
    assert not PracticeSetting.objects.exists()


@pytest.mark.slow
def test_reviewers_are_told_over_the_queue(signed_in, admin, reviewer):
    client = signed_in(reviewer)
    assert "practice" not in client.get("/queue/").text
    on(admin)
    assert "practice messages" in client.get("/queue/").text
    assert "practice messages" not in client.get("/history/").text
    assert "practice messages" not in signed_in(admin).get("/queue/").text
