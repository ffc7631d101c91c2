"""Carrying a decision out: every answer of MultiMail ends in the state that design.md section 5 names."""

import base64
import json
import threading
from datetime import timedelta

import pytest
from django.db import connections, transaction
from django.db.models.functions import Now

from approvals import mirror, tasks
from approvals.deciding.ending import end_with_error, end_with_success
from approvals.deciding.resolve import resolve
from approvals.execute import abandon, run_decision, upstream_reason
from approvals.forms import MAX_REASON, VerdictForm
from approvals.models import Connection, Decision, Message
from approvals.reconcile import read_everything
from approvals.settle import meet_reports
from audit.models import Entry
from common import nudge
from common.postgres import clock
from gateway.schemas.oversight import DecideIn
from people.actors import worker
from tests.factories import NOW, event_body, make_connection, make_message, make_person, pending_row, post_event
from tests.integration.deciding import carry_out, decide, make_due
from upstream import errors
from upstream.client import Client

pytestmark = pytest.mark.django_db


# Our gateway is asked for one message by id, hosted MultiMail for everything it holds.
both = pytest.mark.parametrize("connection", [True, False], ids=["our gateway", "hosted"], indirect=True)


@pytest.fixture
def connection(request, db, upstream):
    return make_connection(api_url=upstream.url, is_our_gateway=getattr(request, "param", True))


@pytest.fixture
def message(connection, upstream):
    message = make_message(connection)
    upstream.holds(pending_row(message.upstream_id))
    upstream.decides(200, status="approved_and_sent", decision="approved")
    return message


@pytest.mark.proves("promise 1")
@both
def test_decision_is_carried_out_once_with_its_reference(connection, message, reviewer, upstream):
    assert carry_out(message, reviewer) == "applied"
    decision = Decision.objects.get()
    assert run_decision(decision_id=decision.pk, now=NOW) == "not due"
    assert [sent["reason"] for sent in upstream.decisions] == [f"[countersign:{decision.reference}]"]


@both
@pytest.mark.parametrize("status", [400, 404, 409, 422, 500, 503])
def test_list_that_cannot_be_read_never_ends_a_decision(message, reviewer, upstream, connection, status):
    # Our gateway is asked for one message, and a 404 to that is an answer: the whole list is hosted MultiMail's.
    if status == 404:
        Connection.objects.update(is_our_gateway=False)
    upstream.answers["/v1/oversight/pending"] = (status, {"error": "no"})
    assert carry_out(message, reviewer) == "recorded"
    message.refresh_from_db()
    assert (message.state, upstream.decisions) == ("held", [])
    assert Decision.objects.get().may_have_left is False


@both
def test_message_is_not_missed_in_a_list_with_rows_that_name_nothing(connection, message, reviewer, upstream):
    upstream.holds({"subject": "which one is this?"})
    assert carry_out(message, reviewer) == "recorded"
    assert "could not be read whole" in Decision.objects.get().explanation


@both
@pytest.mark.parametrize("status", [401, 403])
def test_key_that_may_not_even_read_pauses_the_connection(message, reviewer, upstream, connection, status):
    upstream.answers["/v1/oversight/pending"] = (status, {"error": "The key was revoked."})
    assert carry_out(message, reviewer) == "recorded"
    connection.refresh_from_db()
    assert "The key was revoked." in connection.paused_because
    assert Entry.objects.filter(action="connection.paused").count() == 1


def test_attempts_that_had_no_effect_leave_no_doubt_behind(client, message, reviewer, upstream, connection):
    upstream.answers["/v1/oversight/pending"] = (503, {})
    carry_out(message, reviewer)
    upstream.holds(pending_row(message.upstream_id))
    upstream.decides(429, error="slow down")
    Decision.objects.update(due_at=Now())
    assert run_decision(decision_id=Decision.objects.get().pk, now=NOW) == "recorded"
    post_event(client, connection, event_body("oversight.approved", email_id=message.upstream_id, decided_by="Ben"))
    decision = Decision.objects.get()
    assert (decision.attempt, decision.may_have_left, decision.state) == (2, False, "superseded")


@pytest.mark.parametrize(
    ("status", "body", "state"),
    [
        (200, {"status": "approved_and_sent"}, "applied"),
        (409, {"status": "sent", "decision": "approved", "reason": "{reference}"}, "applied"),
        # Decided before our only call, and nothing says that it was by this decision.
        (409, {"status": "sent", "decision": "approved"}, "superseded"),
        (409, {"status": "sent", "decision": "approved", "reason": "[countersign:0123456789]"}, "superseded"),
        (409, {"status": "rejected", "decision": "rejected", "decided_by": "Ben"}, "superseded"),
        (409, {"status": "cancelled", "decision": None}, "superseded"),
        (409, {"status": "cancelled", "decision": "approved", "reason": "{reference}"}, "applied"),
        (409, {"status": "sent", "decision": "teleported"}, "unknown"),
        (409, {"status": "pending_send_approval", "code": "read_only"}, "refused"),
        (409, {"code": "content_changed", "status": "pending_send_approval"}, "refused"),
        (409, {}, "unknown"),
        (400, {}, "refused"),
        (401, {}, "recorded"),
        (403, {}, "refused"),
        (404, {}, "refused"),
        (422, {}, "refused"),
        (429, {}, "recorded"),
        (302, {}, "unknown"),
        (500, {}, "unknown"),
    ],
)
def test_every_answer_ends_where_it_should(message, reviewer, upstream, monkeypatch, status, body, state):
    monkeypatch.setattr("approvals.decide.crockford", lambda *_: "REFERENCE0")
    reason = str(body.get("reason", "")).replace("{reference}", "[countersign:REFERENCE0]")
    upstream.decides(status, **body | {"error": "because"} | ({"reason": reason} if reason else {}))
    assert carry_out(message, reviewer) == state
    assert len(upstream.decisions) == 1


@both
def test_message_taken_for_gone_comes_back_when_a_read_lists_it(client, message, reviewer, upstream, connection):
    upstream.decides(404, error="There is no such message.")
    carry_out(message, reviewer)
    message.refresh_from_db()
    assert message.state == "gone"
    # A webhook that comes late does not open it again, a read does.
    post_event(client, connection, event_body(email_id=message.upstream_id))
    assert Message.objects.get().state == "gone"
    Connection.objects.update(read_at=None)
    read_everything(connection_id=connection.pk, now=NOW)
    message.refresh_from_db()
    assert message.state == "held"
    upstream.decides(200, status="rejected", decision="rejected")
    assert carry_out(message, reviewer) == "applied"


@both
@pytest.mark.parametrize(("outcome", "state"), [("approve", "approved"), ("reject", "rejected")])
def test_message_that_we_decided_ends_so_although_no_webhook_comes(
    message, reviewer, upstream, connection, outcome, state
):
    carry_out(message, reviewer, outcome=outcome)
    upstream.holds()
    upstream.headers = {}
    read_everything(connection_id=connection.pk, now=NOW + timedelta(minutes=1))
    message.refresh_from_db()
    assert message.state == state


@pytest.mark.parametrize(("state", "end"), [("calling", "held"), ("unknown", "held"), ("unattributed", "gone")])
def test_absence_says_nothing_while_our_own_call_may_be_its_cause(message, reviewer, upstream, connection, state, end):
    carry_out(message, reviewer)
    Decision.objects.update(state=state)
    upstream.holds()
    upstream.headers = {}
    read_everything(connection_id=connection.pk, now=NOW + timedelta(minutes=1))
    message.refresh_from_db()
    assert message.state == end


def test_late_effect_of_an_earlier_call_is_ours_although_the_decision_waits_again(message, reviewer, upstream):
    upstream.decides(429, error="slow down")
    carry_out(message, reviewer)
    Decision.objects.update(may_have_left=True, attempt=2)
    decision = Decision.objects.select_related("message", "revision").get()
    assert decision.state == "recorded"
    reason = f"[countersign:{decision.reference}]"
    meet_reports(message, reported="approved", reason=reason, decided_by="", actor=worker("sync"))
    assert Decision.objects.get().state == "applied"


def test_late_report_still_settles_a_decision_in_doubt(client, message, reviewer, upstream, connection):
    upstream.decides(500)
    assert carry_out(message, reviewer) == "unknown"
    post_event(client, connection, event_body("message.sent", email_id=message.upstream_id))
    reason = f"[countersign:{Decision.objects.get().reference}]"
    late = event_body("oversight.approved", email_id=message.upstream_id, reason=reason)
    assert post_event(client, connection, late).json()["result"] == "late"
    assert Decision.objects.get().state == "applied"


def test_longest_reason_that_the_form_takes_fits_with_our_reference(message, reviewer):
    form = VerdictForm({"outcome": "reject", "fingerprint": "0" * 64, "reason": "a\r\n" * (MAX_REASON // 2)})
    assert form.is_valid(), form.errors
    sent = upstream_reason(Decision(reason="x" * MAX_REASON, reference="0123456789"))
    DecideIn(email_id="01E", action="reject", reason=sent)


@pytest.mark.django_db(transaction=True)
def test_many_workers_at_once_make_one_call(upstream):
    connection = make_connection(api_url=upstream.url)
    message = make_message(connection)
    upstream.holds(pending_row(message.upstream_id))
    upstream.decides(200, decision="approved")
    person = make_person("ana@yourteam.example", "Ana", "reviewer")
    decision = decide(message, person).decision
    make_due()
    start, ends = threading.Barrier(6), []

    def work():
        start.wait()
        ends.append(run_decision(decision_id=decision.pk, now=NOW))
        connections.close_all()

    workers = [threading.Thread(target=work) for _ in range(6)]
    [worker.start() for worker in workers]
    [worker.join(20) for worker in workers]
    assert sorted(ends) == ["applied"] + ["not due"] * 5
    assert len(upstream.decisions) == 1


@pytest.mark.parametrize(
    ("status", "body", "state"),
    [
        (400, {}, "withdrawn"),
        (403, {}, "withdrawn"),
        (422, {}, "withdrawn"),
        (409, {"status": "pending_send_approval", "code": "read_only"}, "withdrawn"),
        (409, {"code": "content_changed", "status": "pending_send_approval"}, "withdrawn"),
        (404, {}, "unknown"),
        (429, {}, "recorded"),
        (401, {}, "recorded"),
        (500, {}, "unknown"),
        (409, {"status": "rejected", "decision": "rejected"}, "superseded"),
        (409, {}, "unknown"),
    ],
)
def test_refusal_of_a_second_call_says_nothing_of_the_first(message, reviewer, upstream, status, body, state):
    given = decide(message, reviewer)
    make_due()
    Decision.objects.update(attempt=1, may_have_left=True)
    upstream.decides(status, **body, error="because")
    assert run_decision(decision_id=given.decision.pk, now=NOW) == state
    assert Decision.objects.get().may_have_left is True


@pytest.mark.parametrize(("left", "end"), [(False, "superseded"), (True, "applied")])
def test_conflict_that_names_nobody_is_ours_only_where_an_earlier_call_may_have_arrived(
    message, reviewer, upstream, left, end
):
    # Hosted MultiMail, which need not give a reason.
    Connection.objects.update(is_our_gateway=False)
    given = decide(message, reviewer)
    make_due()
    Decision.objects.update(attempt=1, may_have_left=left)
    upstream.decides(409, status="sent", decision="approved", error="decided")
    assert run_decision(decision_id=given.decision.pk, now=NOW) == end


@pytest.mark.parametrize("moved", ["withdrawn", "unknown"])
def test_conflict_that_names_nobody_makes_our_only_call_no_success_although_the_row_moved_on(message, reviewer, moved):
    Connection.objects.update(is_our_gateway=False)
    given = decide(message, reviewer)
    Decision.objects.update(state="calling", attempt=1, may_have_left=True)
    attempt = Decision.objects.get(pk=given.decision.pk)
    Decision.objects.update(state=moved)
    error = errors.Conflict("decided", body={"status": "sent", "decision": "approved"})
    ended = end_with_error(attempt, error, had_left=False)
    assert (ended.state, ended.explanation) == ("superseded", "The message was approved outside this desk first.")
    assert not Entry.objects.filter(action="decision.left_after_all").exists()


@pytest.mark.proves("security 19")
def test_permission_is_asked_again_before_the_call(message, reviewer, upstream):
    given = decide(message, reviewer)
    make_due()
    reviewer.grants.all().delete()
    assert run_decision(decision_id=given.decision.pk, now=NOW) == "refused"
    assert "may not decide this any more" in Decision.objects.get().explanation
    assert upstream.calls == []


@pytest.mark.proves("security 19")
def test_disabled_person_decides_nothing_any_more(message, reviewer, upstream):
    given = decide(message, reviewer)
    make_due()
    reviewer.is_active = False
    reviewer.save()
    assert run_decision(decision_id=given.decision.pk, now=NOW) == "refused"
    assert upstream.calls == []


def test_lost_permission_withdraws_what_may_have_left(message, reviewer):
    given = decide(message, reviewer)
    make_due()
    Decision.objects.update(attempt=1, may_have_left=True)
    reviewer.grants.all().delete()
    assert run_decision(decision_id=given.decision.pk, now=NOW) == "withdrawn"
    assert "An earlier call may still arrive" in Decision.objects.get().explanation


@pytest.mark.parametrize(("left", "state", "mirror"), [(False, "superseded", "gone"), (True, "unknown", "held")])
def test_message_that_a_read_lacks_was_decided_elsewhere_unless_a_call_of_ours_may_be_it(
    message, reviewer, upstream, left, state, mirror
):
    Connection.objects.update(is_our_gateway=False)
    message.connection.refresh_from_db()
    given = decide(message, reviewer)
    make_due()
    Decision.objects.update(may_have_left=left)
    upstream.holds()
    assert run_decision(decision_id=given.decision.pk, now=NOW) == state
    assert (Message.objects.get().state, upstream.decisions) == (mirror, [])


@pytest.fixture
def hosted(upstream):
    """A message of which hosted MultiMail shows neither bcc nor attachments."""
    upstream.headers = {}
    connection = make_connection(api_url=upstream.url, is_our_gateway=False)
    message = make_message(connection, hydrated=False)
    with transaction.atomic():
        locked = mirror.lock_message(connection, upstream_id=message.upstream_id)
        mirror.store_revision(locked, row=bare(message), actor=worker("sync"), now=NOW)
    upstream.decides(200, decision="approved")
    return Message.objects.get(pk=message.pk)


def bare(message, *without, **fields):
    """Return a row of hosted MultiMail's list, which lacks some fields."""
    row = pending_row(message.upstream_id, **fields)
    return {name: value for name, value in row.items() if name not in ("bcc", "attachments", *without)}


@pytest.mark.parametrize(
    ("without", "fields", "state"),
    [
        ((), {}, "applied"),
        # What both show is the same; the reviewer was told that the rest is not visible.
        (("cc", "from_name"), {}, "applied"),
        ((), {"subject": "Another"}, "refused"),
        (("cc",), {"to_addresses": ["eve@evil.example"]}, "refused"),
        (("markdown",), {}, "recorded"),
        (("to_addresses", "subject"), {}, "recorded"),
    ],
)
def test_content_is_compared_within_what_both_show(hosted, reviewer, upstream, without, fields, state):
    upstream.holds(bare(hosted, *without, **fields))
    assert carry_out(hosted, reviewer) == state
    assert len(upstream.decisions) == (state == "applied")


@pytest.mark.parametrize(
    ("shown", "state"),
    [({"bcc": []}, "applied"), ({"bcc": ["eve@evil.example"]}, "refused"), ({"attachments": ["x.pdf"]}, "refused")],
)
def test_what_nobody_could_read_does_not_leave_when_the_list_shows_it_later(hosted, reviewer, upstream, shown, state):
    upstream.holds(bare(hosted) | shown)
    assert carry_out(hosted, reviewer) == state
    assert len(upstream.decisions) == (state == "applied")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("is_ours", [True, False], ids=["our gateway", "hosted"])
@pytest.mark.parametrize("found", ["before the call", "by the call"])
def test_version_that_a_refusal_found_is_read_at_once(upstream, is_ours, found):
    upstream.headers = {"X-Countersign-Gateway": "1"} if is_ours else {}
    ana = make_person("ana@yourteam.example", "Ana Ferreira", "reviewer")
    message = make_message(make_connection(api_url=upstream.url, is_our_gateway=is_ours))
    given = decide(message, ana)
    make_due()
    nudge.flush()
    nudge.quick_redis().flushdb()
    changed = pending_row(message.upstream_id, subject="Another")
    upstream.holds(pending_row(message.upstream_id) if found == "by the call" else changed)
    upstream.meanwhile["POST"] = lambda: upstream.holds(changed)
    upstream.decides(409, code="content_changed", status="pending_send_approval", error="changed")
    assert run_decision(decision_id=given.decision.pk, now=NOW) == "refused"
    nudge.flush()
    Connection.objects.update(read_at=None)
    for sent in nudge.quick_redis().lrange("sync", 0, -1):
        [row_id], *_ = json.loads(base64.b64decode(json.loads(sent)["body"]))
        getattr(tasks, json.loads(sent)["headers"]["task"].rpartition(".")[2])(row_id)
    message.refresh_from_db()
    assert (message.subject, message.revision.number, message.state) == ("Another", 2, "held")


def test_key_that_may_not_be_used_pauses_and_says_so_once(message, reviewer, upstream, connection):
    upstream.decides(401, error="The key was revoked.")
    assert carry_out(message, reviewer) == "recorded"
    connection.refresh_from_db()
    assert "The key was revoked." in connection.paused_because
    make_due()
    assert Decision.objects.due().count() == 0


def test_whole_connection_waits_after_429_and_no_shorter_wait_ends_it(message, reviewer, upstream, connection):
    other = make_message(connection)
    upstream.holds(pending_row(message.upstream_id), pending_row(other.upstream_id))
    upstream.headers["Retry-After"] = "600"
    upstream.decides(429, error="slow down")
    carry_out(message, reviewer)
    assert carry_out(other, reviewer) == "not due"
    assert len(upstream.decisions) == 1
    Connection.objects.update(wait_until=Now() + timedelta(hours=1))
    decision = Decision.objects.order_by("pk")[0]
    Decision.objects.filter(pk=decision.pk).update(state="calling")
    decision.refresh_from_db()
    end_with_error(decision, errors.Throttled("slow down", retry_after=5.0), had_left=False)
    connection.refresh_from_db()
    assert connection.wait_until - clock() > timedelta(minutes=59)


def test_call_is_not_made_when_the_connection_was_told_to_wait_meanwhile(message, reviewer, upstream):
    given = decide(message, reviewer)
    Decision.objects.update(state="calling", attempt=1, lease_until=Now() + timedelta(minutes=1))
    attempt = Decision.objects.get(pk=given.decision.pk)
    Connection.objects.update(wait_until=Now() + timedelta(seconds=30))
    assert Decision.objects.held_by(attempt).nothing_stops(message).update(may_have_left=True) == 0


@pytest.mark.parametrize(
    ("fields", "marked"),
    [
        ({}, 1),
        ({"attempt": 2}, 0),
        ({"state": "unknown"}, 0),
        ({"lease_until": Now() - timedelta(seconds=1)}, 0),
    ],
)
def test_only_the_attempt_that_holds_the_lease_may_call(message, reviewer, fields, marked):
    given = decide(message, reviewer)
    Decision.objects.update(state="calling", attempt=1, lease_until=Now() + timedelta(minutes=1))
    attempt = Decision.objects.get(pk=given.decision.pk)
    Decision.objects.update(**fields)
    assert Decision.objects.held_by(attempt).nothing_stops(message).update(may_have_left=True) == marked


def test_answer_to_a_worker_whose_lease_ran_out_still_tells_what_happened(message, reviewer):
    given = decide(message, reviewer)
    Decision.objects.update(state="calling", attempt=1, may_have_left=True, lease_until=Now() - timedelta(seconds=1))
    zombie = Decision.objects.get(pk=given.decision.pk)
    abandon(decision_id=zombie.pk)
    assert Decision.objects.get().state == "unknown"
    assert end_with_success(zombie, {"decision": "approved"}).state == "applied"


@pytest.mark.parametrize("error", [None, errors.Rejected("no"), errors.OutcomeUnknown("?"), errors.NotSent("no")])
def test_worker_that_wakes_up_late_does_not_touch_a_newer_attempt(message, reviewer, error):
    given = decide(message, reviewer)
    Decision.objects.update(state="calling", attempt=1, may_have_left=True)
    zombie = Decision.objects.get(pk=given.decision.pk)
    Decision.objects.update(attempt=2)
    if error is None:
        end_with_success(zombie, {})
    else:
        end_with_error(zombie, error, had_left=False)
    assert Decision.objects.values_list("state", "attempt", "may_have_left").get() == ("calling", 2, True)


@pytest.mark.parametrize(("left", "state"), [(False, "recorded"), (True, "unknown")])
def test_decision_of_a_dead_worker_is_taken_up_by_what_may_have_left(message, reviewer, left, state):
    given = decide(message, reviewer)
    Decision.objects.update(state="calling", attempt=1, may_have_left=left, lease_until=Now() - timedelta(seconds=1))
    abandon(decision_id=given.decision.pk)
    assert Decision.objects.get().state == state


def test_last_word_is_asked_only_when_the_connection_is_there():
    """The mark comes before the first byte and after the connection: where none is made, nothing may have left."""
    asked = []
    nowhere = Client(base_url="http://127.0.0.1:1", key="mm_live_oversight")
    with pytest.raises(errors.NotSent):
        nowhere.decide_email(
            email_id="x", action="approve", reason="", expected_fingerprint=None, before_write=lambda: asked.append(1)
        )
    assert asked == []


@pytest.mark.django_db(transaction=True)
def test_end_is_written_when_postgresql_cut_the_link_while_the_call_ran(upstream):
    ana = make_person("ana@yourteam.example", "Ana Ferreira", "reviewer")
    message = make_message(make_connection(api_url=upstream.url))
    upstream.holds(pending_row(message.upstream_id))
    upstream.decides(200, decision="approved")

    def cut_every_link():
        with connections["default"].cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
            )
        connections.close_all()

    upstream.meanwhile["POST"] = cut_every_link
    assert carry_out(message, ana) == "applied"
    assert len(upstream.decisions) == 1


@pytest.mark.parametrize(("left", "end"), [(False, "superseded"), (True, "unknown")])
def test_decision_on_a_message_that_is_past_the_desk_makes_no_call(message, reviewer, upstream, left, end):
    given = decide(message, reviewer)
    make_due()
    Decision.objects.update(may_have_left=left)
    Message.objects.update(state="cancelled")
    assert run_decision(decision_id=given.decision.pk, now=NOW) == end
    assert upstream.calls == []


@pytest.mark.parametrize(
    ("mirror", "reason", "end"),
    [
        ("sent", "", "applied"),
        ("sent", "[countersign:SOMEBODYEL]", "superseded"),
        ("rejected", "", "superseded"),
        ("cancelled", "", "superseded"),
    ],
)
def test_approval_that_was_to_go_out_again_and_had_arrived_is_not_told_as_left_after_all(
    message, reviewer, upstream, mirror, reason, end
):
    Connection.objects.update(is_our_gateway=False)
    given = decide(message, reviewer)
    make_due()
    Decision.objects.update(may_have_left=True, attempt=1, seen_held=2)
    Message.objects.update(state=mirror, upstream_reason=reason)
    upstream.holds()
    assert run_decision(decision_id=given.decision.pk, now=NOW) == "unknown"
    # What was read before it went out again says nothing any more.
    assert Decision.objects.get().seen_held == 0
    Decision.objects.update(changed_at=Now() - timedelta(seconds=3))
    assert resolve(decision_id=given.decision.pk) == end
    assert not Entry.objects.filter(action__in=("decision.withdrawn", "decision.left_after_all")).exists()
