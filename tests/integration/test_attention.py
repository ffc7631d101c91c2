"""What is stuck is listed with why and the one safe act, within a person's reach, and each act does what it says."""

import json
from datetime import datetime, timedelta

import pytest
import redis
from django.conf import settings
from django.core.management import call_command
from django.db.models import F
from django.db.models.functions import Now

from alerts.models import Destination
from approvals.models import Connection, Decision, Message, Verdict, WebhookEvent
from approvals.operating import attention
from approvals.operating.attention import attention_count, attention_for
from audit.models import Entry
from common.nudge import flush
from dashboard.models import Tick
from people.actors import Role, Scope
from policy.kill_switch import pull
from tests.factories import NOW, make_connection, make_message, make_person, post_event

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _well(connection):
    """A desk in which nothing is stuck: its connection was just read, its workers were just seen."""
    Connection.objects.update(complete_as_of=Now(), created_at=Now())
    for job in ("approvals.tasks.sweep", "alerts.tasks.sweep"):
        Tick.objects.create(job=job, period=1)


@pytest.fixture
def nudged(monkeypatch):
    """Return a function that takes what workers were told of from the broker: task and row, in order."""
    # A test before this one may have met a Redis that was away, which is then left alone for a while.
    monkeypatch.setattr("common.nudge._rests_until", 0.0)
    broker = redis.Redis.from_url(settings.REDIS_URL)
    broker.delete("sync", "decisions")

    def told():
        flush()
        sent = []
        while raw := broker.rpop("sync") or broker.rpop("decisions"):
            headers = json.loads(raw)["headers"]
            sent.append((headers["task"].rpartition(".")[2], int(headers["argsrepr"].strip("[](),"))))
        return sent

    return told


def decide(message, person, state, outcome="approve", **fields):
    """Give a decision the state that a test starts from, as if its story had happened."""
    return Decision.objects.create(
        message=message, revision=message.revision, outcome=outcome, reference=f"R{message.pk}", given_by=person,
        state=state, due_at=Now(), **fields,
    )  # fmt: skip


def found(person, now=NOW):
    """Return what is stuck; the count in the rail must know of all of it."""
    actor = person.actor(surface="web")
    listed = attention_for(actor, now)
    assert attention_count(actor) == sum(one.number for one in listed)
    return listed


def kinds(person):
    return [one.kind for one in found(person)]


def make_event(connection, result="poison", body=b"{", **fields):
    return WebhookEvent.objects.create(
        connection=connection, digest=str(WebhookEvent.objects.count()), body=body, secret_used="current",
        result=result, error="The body is no JSON.", name="oversight.pending", **fields,
    )  # fmt: skip


def test_nothing_stuck_says_so_and_as_of_when(signed_in, admin):
    page = signed_in(admin).get("/attention/").content.decode()
    assert "Nothing is stuck" in page
    assert "as of <time" in page
    assert attention_count(admin.actor(surface="web")) == 0


def test_question_of_the_count_is_kept_without_a_time_or_a_row_in_it(connection, django_assert_num_queries):
    scopes = (Scope(Role.ADMIN, connection=connection.pk), Scope(Role.REVIEWER, connection=connection.pk, mailbox=1))
    attention._found.cache_clear()
    with django_assert_num_queries(0):
        _, parameters = attention._found(scopes, True)
    assert not [one for one in parameters if isinstance(one, datetime)]


STATES = {
    "unknown": ({"state": "unknown"}, "Look again", True),
    "seen_held_twice": ({"state": "unknown", "seen_held": 2}, "Read it, then send again", False),
    "unattributed": ({"state": "unattributed"}, "Say what became of it", False),
    "withdrawn": ({"state": "withdrawn"}, "Reject at MultiMail", False),
    "refused": ({"state": "refused", "explanation": "The content changed."}, "Read again", False),
}


@pytest.mark.parametrize("name", STATES)
def test_decision_in_doubt_is_listed_with_its_one_act(signed_in, reviewer, connection, name):
    fields, label, posts = STATES[name]
    decide(make_message(connection, subject="Invoice 2207"), reviewer, **fields)
    [one] = found(reviewer)
    assert (one.kind, one.act.label, one.act.posts) == (fields["state"], label, posts)
    page = signed_in(reviewer).get("/attention/").content.decode()
    assert "Invoice 2207" in page
    assert label in page


@pytest.mark.parametrize("state", ["unattributed", "withdrawn"])
def test_message_that_multimail_does_not_hold_is_asked_about_although_its_decision_waits_for_a_person(
    signed_in, reviewer, connection, nudged, state, django_capture_on_commit_callbacks
):
    message = make_message(connection)
    decide(message, reviewer, state)
    Message.objects.update(state="gone")
    assert [one.act.label for one in found(reviewer)] == ["Say what became of it"]
    with django_capture_on_commit_callbacks(execute=True):
        signed_in(reviewer).post(f"/attention/{message.public_id}/look/")
    assert nudged() == [("ask_about", message.pk)]


@pytest.mark.parametrize("fields", [{"state": "applied"}, {"state": "recorded"}, {"state": "undone"}], ids=str)
def test_decision_that_is_well_is_not_listed(reviewer, connection, fields):
    decide(make_message(connection), reviewer, **fields)
    assert kinds(reviewer) == []


def test_refusal_that_was_decided_anew_is_not_listed(reviewer, connection):
    message = make_message(connection)
    decide(message, reviewer, "refused")
    assert kinds(reviewer) == ["refused"]
    Decision.objects.create(
        message=message, revision=message.revision, outcome="reject", reference="NEW", given_by=reviewer, due_at=Now()
    )
    assert kinds(reviewer) == []


def test_auditor_sees_what_is_stuck_and_is_offered_nothing(signed_in, auditor, reviewer, connection, nudged):
    message = make_message(connection)
    decide(message, reviewer, "unknown")
    make_event(connection)
    assert [one.act for one in found(auditor)] == [None, None]
    client = signed_in(auditor)
    page = client.get("/attention/").content.decode()
    assert "It is not known whether" in page
    assert "The webhook as it came" not in page
    assert "<form" not in page.partition('id="attention"')[2].partition("</section>")[0]
    assert client.post(f"/attention/{message.public_id}/look/").status_code == 403
    assert nudged() == []


def test_what_is_out_of_reach_is_not_counted_listed_or_acted_on(signed_in, reviewer, connection):
    message = make_message(connection, subject="Not for everybody")
    decide(message, reviewer, "unknown")
    event = make_event(connection)
    Connection.objects.filter(pk=connection.pk).update(paused_at=Now())
    other = make_connection("other", complete_as_of=NOW)
    Connection.objects.filter(pk=other.pk).update(complete_as_of=Now())
    stranger = make_person("x@yourteam.example", "X", "admin", connection=other)
    assert kinds(stranger) == []
    assert attention_count(stranger.actor(surface="web")) == 0
    client = signed_in(stranger)
    paths = [f"webhooks/{event.pk}/{act}/" for act in ("replay", "compare", "dismiss")]
    for path in (*paths, f"{message.public_id}/look/"):
        assert client.post(f"/attention/{path}").status_code == 404
    assert client.post(f"/connections/{connection.pk}/read/").status_code == 404


def test_count_in_the_rail_counts_what_the_page_lists(signed_in, admin, reviewer, connection):
    decide(make_message(connection), reviewer, "unknown")
    make_event(connection)
    make_event(connection, result="late")
    assert attention_count(admin.actor(surface="web")) == 3
    assert "data-stuck>3<" in signed_in(admin).get("/history/").content.decode()


def test_look_again_asks_about_the_decision(
    signed_in, reviewer, connection, nudged, django_capture_on_commit_callbacks
):
    message = make_message(connection)
    decision = decide(message, reviewer, "unknown")
    with django_capture_on_commit_callbacks(execute=True):
        answer = signed_in(reviewer).post(f"/attention/{message.public_id}/look/")
    assert (answer.status_code, answer["Location"]) == (302, "/attention/")
    assert ("resolve_decision", decision.pk) in nudged()
    assert Entry.objects.filter(action="message.asked_about", message=message.public_id).count() == 1


def test_unfetchable_content_gets_new_tries(signed_in, admin, connection, nudged, django_capture_on_commit_callbacks):
    message = make_message(connection, hydrated=False)
    Message.objects.filter(pk=message.pk).update(fetch_tries=3, held_at=Now() - timedelta(minutes=5))
    [one] = found(admin)
    assert (one.kind, one.act.label) == ("unfetchable", "Try again")
    with django_capture_on_commit_callbacks(execute=True):
        signed_in(admin).post(one.act.url)
    message.refresh_from_db()
    assert message.fetch_tries == 0
    assert ("hydrate", message.pk) in nudged()


def test_newer_content_that_was_left_alone_is_told_too(
    signed_in, reviewer, connection, nudged, django_capture_on_commit_callbacks
):
    message = make_message(connection)
    Message.objects.filter(pk=message.pk).update(fetch_tries=4)
    [one] = found(reviewer)
    assert one.kind == "unfetchable"
    with django_capture_on_commit_callbacks(execute=True):
        signed_in(reviewer).post(one.act.url)
    assert nudged() == [("read_connection", connection.pk)]
    assert found(reviewer) == []


def test_content_that_has_not_come_for_long_says_why(admin, connection):
    message = make_message(connection, hydrated=False)
    Message.objects.filter(pk=message.pk).update(held_at=Now() - timedelta(minutes=5))
    Connection.objects.update(last_error="MultiMail did not answer in time.")
    [one] = found(admin)
    assert (one.kind, one.why) == ("unread", "MultiMail did not answer in time.")


def test_overdue_message_is_listed(reviewer, connection):
    message = make_message(connection)
    Message.objects.filter(pk=message.pk).update(expires_at=Now() - timedelta(minutes=5))
    assert kinds(reviewer) == ["overdue"]
    decide(message, None, "recorded", outcome="reject", rule="expiry")
    assert kinds(reviewer) == []


def test_approved_mail_without_word_is_compared(
    signed_in, reviewer, connection, nudged, django_capture_on_commit_callbacks
):
    message = make_message(connection)
    Message.objects.filter(pk=message.pk).update(state="approved", changed_at=Now() - timedelta(hours=2))
    [one] = found(reviewer)
    assert (one.kind, one.act.label) == ("silent", "Compare with MultiMail")
    with django_capture_on_commit_callbacks(execute=True):
        signed_in(reviewer).post(one.act.url)
    assert ("ask_about", message.pk) in nudged()


LATE = Now() - timedelta(minutes=5)


def test_decision_that_no_worker_took_up_is_tried(
    signed_in, reviewer, connection, nudged, django_capture_on_commit_callbacks
):
    decision = decide(make_message(connection), reviewer, "recorded")
    Decision.objects.update(due_at=LATE)
    [one] = found(reviewer)
    assert (one.kind, one.why) == ("stalled", "No worker has taken them up.")
    with django_capture_on_commit_callbacks(execute=True):
        assert signed_in(reviewer).post(one.act.url).status_code == 302
    assert nudged() == [("execute_decision", decision.pk)]


@pytest.mark.parametrize("cause", ["switch", "paused", "waits"])
def test_decisions_of_one_cause_are_gathered_and_lead_to_it(reviewer, admin, connection, cause):
    for _ in range(3):
        decide(make_message(connection), reviewer, "recorded")
    Decision.objects.update(due_at=LATE)
    if cause == "switch":
        pull(actor=admin.actor(surface="web"), reason="A flood of refunds", connection=connection)
        place, words = "/stop/", "A flood of refunds"
    elif cause == "paused":
        Connection.objects.update(paused_at=Now(), paused_because="The key was refused.")
        place, words = f"/connections/#connection-{connection.pk}", "The key was refused."
    else:
        Connection.objects.update(wait_until=NOW + timedelta(hours=1))
        place, words = f"/connections/#connection-{connection.pk}", "asked Gateway main to wait until 11:00:00 UTC"
    one = next(one for one in found(reviewer) if one.kind == "stalled")
    assert one.what.startswith("3 decisions were not carried out")
    assert words in one.why
    assert one.act.url == place


@pytest.mark.parametrize("scope", ["everything", "connection", "mailbox", "mailbox not known"])
def test_decisions_that_a_pulled_switch_keeps_are_told_at_once(signed_in, reviewer, admin, connection, capsys, scope):
    message = make_message(connection, subject="Invoice 2207")
    where = {"connection": {"connection": connection}, "everything": {}}.get(scope, {"mailbox": message.mailbox})
    if scope == "mailbox not known":
        Message.objects.update(mailbox=None)
    decision = decide(message, reviewer, "recorded")
    assert found(reviewer) == []
    pull(actor=admin.actor(surface="web"), reason="A flood of refunds", **where)
    [one] = found(admin)
    assert (one.kind, one.message, one.act.url) == ("stalled", message, "/stop/")
    assert "“Invoice 2207” was approved" in one.what
    assert "Ida Lindqvist pulled the kill switch for" in one.why
    assert "Nothing is stuck" not in signed_in(admin).get("/attention/").content.decode()
    with pytest.raises(SystemExit):
        call_command("doctor")
    assert "“Invoice 2207” was approved, and that was not carried out" in capsys.readouterr().out
    # Whoever can still undo it waits for that, not for the switch.
    Decision.objects.filter(pk=decision.pk).update(due_at=Now() + timedelta(seconds=5))
    assert found(reviewer) == []


def test_message_past_the_desk_that_nothing_named_is_asked_about_when_a_person_looks(
    signed_in, reviewer, connection, nudged, django_capture_on_commit_callbacks
):
    message = make_message(connection, hydrated=False)
    Message.objects.update(state="approved", subject="", changed_at=Now() - timedelta(hours=2))
    [one] = found(reviewer)
    with django_capture_on_commit_callbacks(execute=True):
        signed_in(reviewer).post(one.act.url)
    assert ("ask_about", message.pk) in nudged()


def test_switch_of_another_connection_is_not_blamed(reviewer, admin, connection):
    decide(make_message(connection), reviewer, "recorded")
    Decision.objects.update(due_at=LATE)
    pull(actor=admin.actor(surface="web"), reason="Elsewhere", connection=make_connection("other"))
    assert "No worker" in next(one.why for one in found(reviewer) if one.kind == "stalled")


def test_poison_is_shown_with_its_error_and_its_escaped_head_to_admins(signed_in, admin, connection):
    make_event(connection, body=b'{"subject": "<script>alert(1)</script>\xe2\x80\xae"' + b"x" * 5000)
    page = signed_in(admin).get("/attention/").content.decode()
    assert "The body is no JSON." in page
    assert "&lt;script&gt;alert(1)" in page
    assert "<script>alert" not in page
    assert "more bytes" in page
    assert "x" * 2500 not in page


def test_replaying_poison_that_still_is_keeps_it(signed_in, admin, connection):
    event = make_event(connection)
    answer = signed_in(admin).post(f"/attention/webhooks/{event.pk}/replay/", follow=True)
    assert b"could still not be applied" in answer.content
    assert kinds(admin) == ["poison"]


def test_replaying_an_event_whose_cause_is_gone_applies_it(signed_in, admin, connection, client):
    from tests.factories import event_body

    post_event(client, connection, event_body(subject="Was poison once"))
    event = WebhookEvent.objects.get()
    Message.objects.all().delete()
    WebhookEvent.objects.update(result="poison", error="KeyError while applying; see the log.")
    answer = signed_in(admin).post(f"/attention/webhooks/{event.pk}/replay/", follow=True)
    assert b"The webhook was applied." in answer.content
    assert Message.objects.get().subject == "Was poison once"
    assert signed_in(admin).post(f"/attention/webhooks/{event.pk}/replay/").status_code == 409


def test_reviewer_reads_of_poison_and_may_not_replay_it(signed_in, reviewer, connection):
    event = make_event(connection)
    client = signed_in(reviewer)
    assert b"could not be applied" in client.get("/attention/").content
    assert client.post(f"/attention/webhooks/{event.pk}/replay/").status_code == 403
    assert kinds(reviewer) == ["poison"]


def test_late_webhook_is_compared_and_put_away(
    signed_in, admin, connection, nudged, django_capture_on_commit_callbacks
):
    message = make_message(connection)
    known = make_event(connection, result="late", email_id=message.upstream_id)
    unknown = make_event(connection, result="late", email_id="nobody knows")
    client = signed_in(admin)
    with django_capture_on_commit_callbacks(execute=True):
        for event in (known, unknown):
            assert client.post(f"/attention/webhooks/{event.pk}/compare/").status_code == 302
    assert nudged() == [("ask_about", message.pk), ("read_connection", connection.pk)]
    assert kinds(admin) == []


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"paused_at": Now(), "paused_because": "The key was refused."}, "is paused"),
        ({"failing_since": Now(), "last_error": "No answer."}, "is not well read"),
        ({"complete_as_of": None, "created_at": F("created_at") - timedelta(hours=1)}, "has never been read"),
        ({"complete_as_of": Now() - timedelta(minutes=11)}, "is not well read"),
    ],
    ids=["paused", "failing", "never", "stale"],
)
def test_connection_that_is_not_well_is_read_now(
    signed_in, admin, connection, nudged, django_capture_on_commit_callbacks, fields, words
):
    Connection.objects.update(**fields)
    [one] = found(admin)
    assert words in one.what
    with django_capture_on_commit_callbacks(execute=True):
        answer = signed_in(admin).post(one.act.url, {"back": "attention"})
    assert answer["Location"] == "/attention/"
    assert nudged() == [("read_connection", connection.pk)]


def test_silent_workers_are_told(signed_in, admin):
    Tick.objects.filter(job="alerts.tasks.sweep").update(at=Now() - timedelta(minutes=3))
    page = signed_in(admin).get("/attention/").content.decode()
    assert "Alerts are not sent since" in page
    assert "Decisions are not carried out" not in page
    assert "Nothing is stuck" not in page


def test_destination_that_is_switched_off_is_told(signed_in, reviewer):
    Destination.objects.create(
        name="Ops", url="https://discord.com/api/webhooks/1/secret-token", switched_off_at=Now(),
        switched_off_because="Discord says that it is gone.",
    )  # fmt: skip
    page = signed_in(reviewer).get("/attention/").content.decode()
    assert "Alerts to Ops are switched off since" in page
    assert "Discord says that it is gone." in page
    assert "An admin of everything can put it right." in page
    assert "Send a test" not in page
    assert "Nothing is stuck" not in page
    assert "secret-token" not in page


def give(message, person, seconds, **fields):
    return Verdict.objects.create(
        message=message, revision=message.revision, person=person, outcome="approve", surface="web",
        seconds_shown=seconds, live=False, **fields,
    )  # fmt: skip


@pytest.mark.proves("security 23")
def test_approvals_too_fast_to_read_are_shown_to_admins_only(signed_in, admin, reviewer, second_reviewer, connection):
    short, long = make_message(connection), make_message(connection, markdown="word " * 400)
    give(short, reviewer, 1)
    give(short, reviewer, 9)
    give(long, reviewer, 9)
    give(short, second_reviewer, 4)
    page = signed_in(admin).get("/attention/").content.decode()
    assert "2 of 3" in page
    assert "Ben Okafor" not in page.partition('id="paces"')[2]
    assert b"faster than it can be read" not in signed_in(reviewer).get("/attention/").content


def test_attention_costs_the_same_queries_for_more_of_a_kind(
    signed_in, admin, reviewer, connection, django_assert_max_num_queries
):
    client = signed_in(admin)
    for _ in range(4):
        decide(make_message(connection), reviewer, "unknown")
        make_event(connection)
    with django_assert_max_num_queries(30):
        client.get("/attention/")
