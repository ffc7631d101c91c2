"""Verdicts and decisions: one choke point, the first valid verdict wins, only what was shown can be decided."""

import threading
from datetime import timedelta

import pytest
from django.db import IntegrityError, connections, transaction
from django.db import connection as db

from approvals import ingest
from approvals.decide import give_verdict, undo_decision
from approvals.errors import AlreadyDecided, ContentChanged, StaleDecision, VerdictNotAllowed
from approvals.models import Connection, Decision, Verdict
from approvals.reading.opening import note_opened
from approvals.settle import advance, meet_reports
from audit.models import Entry
from common.postgres import clock
from people.actors import worker
from tests.factories import NOW, event_body, make_connection, make_message, make_person, post_event, show_row
from tests.integration.deciding import waiting_for_a_lock

pytestmark = pytest.mark.django_db


def decide(message, person, outcome="approve", reason="", fingerprint=None):
    return give_verdict(
        message=message.public_id,
        actor=person.actor(surface="web"),
        outcome=outcome,
        fingerprint=fingerprint or message.revision.fingerprint,
        reason=reason,
        now=NOW,
    )


def test_verdict_makes_one_decision_that_points_to_what_was_shown(connection, reviewer):
    message = make_message(connection)
    given = decide(message, reviewer)
    assert (given.decision.state, given.decision.revision_id) == ("recorded", message.revision_id)
    actions = set(Entry.objects.of_message(message.public_id).values_list("action", flat=True))
    assert {"message.held", "message.fetched", "verdict.given", "decision.recorded"} <= actions


def test_second_verdict_learns_who_was_first(connection, reviewer, second_reviewer):
    message = make_message(connection)
    decide(message, reviewer)
    with pytest.raises(AlreadyDecided, match="Ana Ferreira approved this message first"):
        decide(message, second_reviewer, outcome="reject", reason="no")
    assert Decision.objects.count() == 1


@pytest.mark.proves("security 18")
def test_second_person_learns_who_what_and_when_in_the_same_answer(
    client, signed_in, connection, reviewer, second_reviewer
):
    message = make_message(connection)
    decision = decide(message, reviewer).decision
    answer = signed_in(second_reviewer).post(
        f"/queue/{message.public_id}/verdict/",
        {"outcome": "reject", "fingerprint": message.revision.fingerprint, "reason": "not like this"},
    )
    assert answer.status_code == 409
    when = f"{decision.recorded_at:%H:%M:%S} UTC"
    assert f"Ana Ferreira approved this message first, at {when}." in answer.content.decode()
    assert "not like this" in answer.content.decode()


def test_verdict_keeps_how_long_the_version_was_on_the_persons_screen(connection, reviewer, second_reviewer):
    message = make_message(connection)
    note_opened(message, actor=second_reviewer.actor(surface="web"))
    opened = note_opened_ago(message, reviewer, seconds=42)
    verdict = decide(message, reviewer).verdict
    assert verdict.seconds_shown in (42, 43)
    given = Entry.objects.get(action="verdict.given")
    assert given.detail.fields["seconds_shown"] == str(verdict.seconds_shown)
    assert opened.actor_id == str(reviewer.pk)


def test_verdict_on_what_was_never_on_the_screen_keeps_no_time(connection, reviewer):
    message = make_message(connection)
    note_opened_ago(message, reviewer, seconds=42)
    message = show_row(message, subject="Another")
    assert decide(message, reviewer).verdict.seconds_shown is None


def note_opened_ago(message, person, seconds):
    """Note that the message was opened that long ago: entries cannot be changed, so it is written as of then."""
    entry = Entry(
        id=-message.pk, xid=1, at=clock() - timedelta(seconds=seconds), actor_kind="person", actor_id=str(person.pk),
        surface="web", action="message.opened", message=message.public_id, leaf_hash="0" * 64,
        fingerprint=message.revision.fingerprint,
    )  # fmt: skip
    entry.save(force_insert=True)
    return entry


def test_changed_content_refuses_the_verdict(connection, reviewer):
    message = make_message(connection)
    show_row(message, bcc=["eve@evil.example"])
    with pytest.raises(ContentChanged) as caught:
        decide(message, reviewer)
    assert caught.value.shown == message.revision.fingerprint
    assert Decision.objects.count() == 0


def test_unfetched_content_cannot_be_decided(connection, reviewer):
    message = make_message(connection, hydrated=False)
    with pytest.raises(VerdictNotAllowed, match="still being fetched"):
        decide(message, reviewer, fingerprint="0" * 64)


@pytest.mark.parametrize("role", ["admin", "auditor"])
def test_only_reviewers_decide(connection, role):
    message = make_message(connection)
    person = make_person("x@yourteam.example", "X", role)
    with pytest.raises(VerdictNotAllowed, match="only a reviewer"):
        decide(message, person)


def test_reviewer_of_another_connection_does_not_see_it(connection):
    message = make_message(connection)
    person = make_person("x@yourteam.example", "X", "reviewer", connection=make_connection("other"))
    with pytest.raises(VerdictNotAllowed, match="does not exist"):
        decide(message, person)


def test_deactivated_reviewer_decides_nothing(connection, reviewer):
    reviewer.is_active = False
    with pytest.raises(VerdictNotAllowed):
        decide(make_message(connection), reviewer)


def test_decided_message_cannot_be_decided_again_after_upstream_ended_it(client, connection, reviewer):
    message = make_message(connection)
    post_event(client, connection, event_body("oversight.rejected", email_id=message.upstream_id, reason="elsewhere"))
    with pytest.raises(AlreadyDecided, match="not held any more"):
        decide(message, reviewer)


def test_undo_gives_the_message_back(connection, reviewer):
    message = make_message(connection)
    decide(message, reviewer)
    decision = undo_decision(message=message.public_id, actor=reviewer.actor(surface="web"), now=NOW)
    assert decision.state == "undone"
    assert not Verdict.objects.filter(live=True).exists()
    assert decide(message, reviewer, outcome="reject", reason="on second thought").decision.state == "recorded"


def test_undo_is_refused_once_a_call_may_have_left(connection, reviewer):
    message = make_message(connection)
    decision = decide(message, reviewer).decision
    Decision.objects.filter(pk=decision.pk).update(state="calling", attempt=1, may_have_left=True)
    with pytest.raises(AlreadyDecided, match="too late"):
        undo_decision(message=message.public_id, actor=reviewer.actor(surface="web"), now=NOW)


def test_database_itself_allows_one_live_decision_a_message(connection, reviewer):
    message = make_message(connection)
    decision = decide(message, reviewer).decision
    with pytest.raises(IntegrityError), transaction.atomic():
        Decision.objects.create(
            message=message, revision=message.revision, outcome="reject", reference="other", due_at=NOW,
            given_by=decision.given_by,
        )  # fmt: skip


def test_worker_that_wakes_up_late_cannot_overwrite_a_newer_attempt(connection, reviewer):
    decision = decide(make_message(connection), reviewer).decision
    Decision.objects.filter(pk=decision.pk).update(state="calling", attempt=1)
    zombie = Decision.objects.get(pk=decision.pk)
    Decision.objects.filter(pk=decision.pk).update(attempt=2)
    with pytest.raises(StaleDecision), transaction.atomic():
        advance(zombie, event="succeed", actor=worker("decisions"))
    assert Decision.objects.get().state == "calling"


@pytest.mark.parametrize(
    ("reported", "reason", "who", "at_our_gateway", "hosted"),
    [
        ("approved", "{reference}", "key_desk", "applied", "applied"),
        # What tells neither reason nor name was shortened on its way, whoever sent it.
        ("approved", "", "", "applied", "applied"),
        # Our gateway tells every reason, and each call of ours has one; hosted MultiMail may drop it.
        ("approved", "", "key_other", "superseded", "applied"),
        ("approved", "Fine by me", "", "superseded", "applied"),
        ("approved", "[countersign:SOMEBODYEL]", "", "superseded", "superseded"),
        ("rejected", "{reference}", "", "superseded", "superseded"),
        ("rejected", "", "", "superseded", "superseded"),
    ],
)
def test_report_settles_a_running_call(connection, reviewer, reported, reason, who, at_our_gateway, hosted):
    for is_our_gateway, state in ((True, at_our_gateway), (False, hosted)):
        Connection.objects.update(is_our_gateway=is_our_gateway)
        decision = decide(make_message(connection), reviewer).decision
        Decision.objects.filter(pk=decision.pk).update(state="calling", attempt=1, may_have_left=True)
        decision = Decision.objects.select_related("message__connection", "revision").get(pk=decision.pk)
        said = reason.format(reference=f"[countersign:{decision.reference}]")
        meet_reports(decision.message, reported=reported, reason=said, decided_by=who, actor=worker("sync"))
        decision.refresh_from_db()
        assert (is_our_gateway, decision.state) == (is_our_gateway, state)


def test_decision_elsewhere_supersedes_one_that_still_waits(client, connection, reviewer):
    message = make_message(connection)
    decide(message, reviewer)
    post_event(
        client, connection, event_body("oversight.approved", email_id=message.upstream_id, decided_by="key_other")
    )
    decision = Decision.objects.get()
    assert decision.state == "superseded"
    assert "key_other" in decision.explanation


@pytest.mark.proves("promise 5")
@pytest.mark.django_db(transaction=True)
def test_two_people_at_once_one_decides_and_the_other_is_told():
    connection = make_connection()
    people = [
        make_person("ana@yourteam.example", "Ana", "reviewer"),
        make_person("ben@yourteam.example", "Ben", "reviewer"),
    ]
    message = make_message(connection)
    start, said = threading.Barrier(2), []

    def press(person):
        start.wait()
        try:
            decide(message, person)
            said.append("decided")
        except AlreadyDecided as error:
            said.append(error.sentence)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=press, args=[person]) for person in people]
    [thread.start() for thread in threads]
    [thread.join(10) for thread in threads]
    assert said.count("decided") == 1
    assert sum("approved this message first" in sentence for sentence in said) == 1
    assert Decision.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_webhook_that_comes_while_the_answer_is_written_is_not_lost():
    connection = make_connection()
    message = make_message(connection)
    decision = decide(message, make_person("ana@yourteam.example", "Ana", "reviewer")).decision
    Decision.objects.update(state="calling", attempt=1, may_have_left=True)
    decision.refresh_from_db()
    body = event_body("oversight.approved", email_id=message.upstream_id, reason=f"[countersign:{decision.reference}]")
    results = []

    def receive():
        stored = ingest.receive_webhook(connection=connection, body=body, secret_used="current")
        results.append(stored.result)
        connections.close_all()

    webhook = threading.Thread(target=receive)
    with transaction.atomic():
        advance(decision, event="succeed", actor=worker("decisions"))
        webhook.start()
        waiting_for_a_lock(db)
    webhook.join(10)
    message.refresh_from_db()
    assert (results, message.state, Decision.objects.get().state) == (["applied"], "approved", "applied")


@pytest.mark.django_db(transaction=True)
def test_verdict_that_waits_while_another_content_is_stored_is_refused_with_what_is_there_now():
    connection = make_connection()
    message = make_message(connection)
    person = make_person("ana@yourteam.example", "Ana", "reviewer")
    refused = []

    def give():
        try:
            decide(message, person)
        except ContentChanged as error:
            refused.append(error)
        connections.close_all()

    thread = threading.Thread(target=give)
    with transaction.atomic():
        show_row(message, subject="Another one")
        thread.start()
        waiting_for_a_lock(db)
    thread.join(10)
    message.refresh_from_db()
    [error] = refused
    assert message.revision.short_fingerprint in error.sentence


def test_verdict_on_what_somebody_outside_decided_is_told_who_it_was(connection, reviewer, second_reviewer):
    message = make_message(connection)
    decide(message, reviewer)
    with transaction.atomic():
        meet_reports(message, reported="rejected", reason="", decided_by="key_other", actor=worker("sync"))
    with pytest.raises(AlreadyDecided, match="rejected by key_other outside this desk first"):
        decide(message, second_reviewer)
