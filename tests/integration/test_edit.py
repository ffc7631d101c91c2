"""A reviewer corrects a held message: it is sent as a new held one, and the first is
rejected as replaced by it.
"""

from datetime import timedelta
from functools import partial

import pytest
from django.db.models.functions import Now
from django.urls import reverse

from approvals.decisions.by_rule import apply_policy
from approvals.decisions.decide import VerdictResult
from approvals.decisions.execute import run_decision
from approvals.decisions.ruling import rulings
from approvals.decisions.status import shown_status
from approvals.editing import send
from approvals.editing.commands import replace_message
from approvals.editing.send import run_replacement
from approvals.errors import AlreadyDecided, EditNotPossible, VerdictNotAllowed
from approvals.escalation.handling import extend_deadline
from approvals.intake import ingest
from approvals.models import Decision, Replacement
from approvals.operations.attention import attention_count, attention_for
from approvals.reconcile.reads import read_everything
from audit.models import Entry
from common.postgres import clock
from mirror.errors import ActNotAllowed
from mirror.models import Connection, Mailbox, Message
from tests.factories import (
    actor_of,
    change_row,
    event_body,
    make_connection,
    make_message,
    pending_row,
    put_in_force,
    rolled_back,
    show_row,
)
from tests.integration.deciding import (
    Killed,
    at_once,
    decide,
    die,
    make_decision,
    make_due,
    ruling_of,
)
from tests.ledger import latest_details
from tests.variants import variants
from upstream.agent import Agent

TEXT = "Hello **Dana**,\n\nyour refund of 40 EUR is on its way."
NEW = "01NEWMESSAGE"
FILE = {"name": "a.txt", "size": 3, "content_type": "text/plain", "sha256": ""}


@pytest.fixture
def connection(db, upstream):
    upstream.answers["/v1/send_email"] = (
        202,
        {"id": NEW, "oversight_status": "pending_approval"},
    )
    upstream.decides(200, status="rejected", decision="rejected")
    return make_connection(api_url=upstream.url, agent_key="mm_live_agent")


@pytest.fixture
def message(connection, upstream):
    message = make_message(connection)
    upstream.holds(pending_row(message.upstream_id))
    return message


def edit(message, person, *, reference="0123456789", note="", **fields):
    """Have a corrected copy stored."""
    message.refresh_from_db()
    content = {
        "to": ["dana@northwind.example"],
        "cc": [],
        "bcc": [],
        "subject": message.subject,
        "markdown": TEXT,
    }
    return replace_message(
        message=message.public_id,
        actor=actor_of(person),
        content=content | fields,
        links=(),
        fingerprint=message.revision.fingerprint,
        reference=reference,
        note=note,
    )


def run(row):
    return run_replacement(replacement_id=row.pk)


def page_of(client, message):
    return client.get(reverse("message", args=[message.public_id])).text


def sends(upstream):
    return [body for method, path, body in upstream.calls if path == "/v1/send_email"]


def arrive(connection, row, upstream_id=NEW):
    """Have MultiMail announce the corrected message, as it was sent."""
    sent = {
        "metadata": {**row.message.trigger, "countersign_edit": row.reference},
        "subject": row.subject,
    }
    body = event_body(email_id=upstream_id, **sent)
    stored = ingest.receive_webhook(
        connection=connection, body=body, secret_used="current"
    )
    show_row(stored.fetch, markdown=row.markdown, **sent)
    return Message.objects.get(pk=stored.fetch.pk)


def test_another_message_is_not_taken_for_the_edited_version(
    message, reviewer, upstream
):
    upstream.answers["/v1/send_email"] = (
        200,
        {"id": "01OTHER", "idempotent": True, "idempotency_mismatch": True},
    )
    row = edit(message, reviewer)
    assert run(row) == "refused"
    row.refresh_from_db()
    assert row.upstream_id == ""
    assert "another message" in row.problem
    message.refresh_from_db()
    assert message.is_held
    assert not Decision.objects.exists()


def test_edit_sends_a_held_copy_and_rejects_the_first_as_replaced(
    connection, message, reviewer, upstream
):
    row = edit(message, reviewer, subject="Your refund", note="The sum was missing.")
    assert run(row) == "done"
    sent = sends(upstream)[0]
    assert sent["oversight_mode"] == "gated_send"
    assert sent["subject"] == "Your refund"
    assert sent["markdown"] == TEXT
    # The person who edits knows the reference; an agent could use up a key of it.
    assert row.reference not in sent["idempotency_key"]
    assert sent["replaces"] == message.upstream_id
    assert sent["metadata"]["countersign_edit"] == "0123456789"
    assert sent["metadata"]["discord_user"] == "ana#1"
    make_due()
    decision = Decision.objects.get(message=message)
    # It is shown as nobody's rejection.
    message.refresh_from_db()
    assert shown_status(message).word == "Edited"
    assert run_decision(decision_id=decision.pk) == "applied"
    assert shown_status(Message.objects.get(pk=message.pk)).word == "Edited"
    told = upstream.decisions[-1]
    assert told["reason"].startswith(
        f"Replaced by {NEW}: {reviewer} edited the subject and the text"
    )
    assert "The sum was missing." in told["reason"]
    assert f"Edited text:\n{TEXT}" in told["reason"]
    assert "+your refund of 40" in latest_details("message.edit_asked")["changes"]
    new = arrive(connection, Replacement.objects.get())
    run(row)
    assert Entry.objects.get(action="message.edited").message == new.public_id


def test_editor_may_not_approve(
    connection, message, reviewer, second_reviewer, upstream
):
    row = edit(message, reviewer)
    run(row)
    row.refresh_from_db()
    new = arrive(connection, row)
    editor = actor_of(reviewer)
    with pytest.raises(VerdictNotAllowed, match="You edited this message"):
        decide(new, reviewer)
    many = rulings([new], editor, now=clock())[new.pk]
    assert many.rule == "editor"
    assert many.may_reject is True
    assert ruling_of(new, second_reviewer).may_approve
    made = decide(new, second_reviewer).decision
    # Asked again when it is carried out.
    Replacement.objects.update(editors=[reviewer.pk, second_reviewer.pk])
    upstream.holds(pending_row(NEW, markdown=TEXT))
    make_due()
    assert run_decision(decision_id=made.pk) == "refused"
    assert "You edited this message" in Decision.objects.get(pk=made.pk).explanation


@pytest.mark.slow
def test_crash_between_the_calls_leaves_both_held_and_says_so(
    connection, message, reviewer, upstream, desk, monkeypatch
):
    row = edit(message, reviewer)
    with monkeypatch.context() as crash:
        crash.setattr(send, "_reject_first", die)
        with pytest.raises(Killed):
            run(row)
    Replacement.objects.update(lease_until=clock())
    new = arrive(connection, Replacement.objects.get())
    assert "Both are held" in page_of(desk, new)
    actor = actor_of(reviewer)
    assert [one.kind for one in attention_for(actor, clock())] == ["replaced"]
    assert attention_count(actor) == 1
    assert desk.post(reverse("finish-edit", args=[new.public_id])).status_code == 302
    assert run(row) == "done"
    assert Decision.objects.get(message=message).feedback["replaced_by"] == NEW
    # However often it was called, it is one message to MultiMail.
    assert len({one["idempotency_key"] for one in sends(upstream)}) == 1
    assert attention_for(actor, clock()) == []


def test_answer_that_is_lost_is_asked_for_again_by_the_same_key(
    message, reviewer, upstream
):
    upstream.answers["/v1/send_email"] = (502, b"<html>")
    row = edit(message, reviewer)
    assert run(row) == "sending"
    Replacement.objects.update(next_attempt_at=clock())
    with rolled_back():
        # Not for more than a day.
        Replacement.objects.update(created_at=clock() - send.REPEAT_FOR)
        assert run(row) == "unknown"
        assert len(sends(upstream)) == 1
    upstream.answers["/v1/send_email"] = (200, {"id": NEW, "idempotent": True})
    assert run(row) == "done"
    assert len({one["idempotency_key"] for one in sends(upstream)}) == 1


@pytest.mark.parametrize(
    ("has_called", "state"), [(False, "refused"), (True, "unknown")]
)
def test_mailbox_that_sends_without_review_by_now_is_sent_nothing(
    message, reviewer, upstream, has_called, state
):
    Connection.objects.update(is_our_gateway=False)
    upstream.answers["/v1/send_email"] = (502, b"<html>")
    row = edit(message, reviewer)
    if has_called:
        assert run(row) == "sending"
        Replacement.objects.update(next_attempt_at=clock())
    Mailbox.objects.update(oversight_mode="autonomous")
    run(row)
    row.refresh_from_db()
    assert row.state == state
    assert len(sends(upstream)) == has_called
    assert "now sends without review" in row.problem


def test_message_decided_or_changed_before_the_call_is_not_sent_again(
    message, reviewer, second_reviewer, upstream
):
    row = edit(message, reviewer)
    for happens in (
        lambda: decide(message, second_reviewer, "reject", "No."),
        lambda: show_row(message, markdown="Another text."),
    ):
        with rolled_back():
            happens()
            assert run(row) == "refused"
    assert sends(upstream) == []


@pytest.fixture
def copy(connection, message, reviewer):
    """The edited version of a message that is still held too."""
    row = edit(message, reviewer)
    change_row(row, state="done", upstream_id=NEW, problem="The content changed.")
    return arrive(connection, row)


@pytest.mark.parametrize(
    ("state", "may"),
    variants(
        [("sending", False), ("refused", True), ("sent", False), ("unknown", False)], 2
    ),
)
def test_edit_that_is_not_over_refuses_approvals(
    message, reviewer, second_reviewer, state, may
):
    change_row(edit(message, reviewer), state=state)
    ruling = ruling_of(message, second_reviewer)
    assert ruling.may_approve == may
    assert ruling.may_reject


@pytest.mark.parametrize(
    ("state", "decision", "is_sent"),
    variants(
        [
            ("sent", None, True),
            ("gone", None, True),
            ("rejected", None, False),
            ("held", ("recorded", "approve"), True),
            ("held", ("undone", "approve"), False),
            ("held", ("withdrawn", "approve"), True),
            ("held", ("recorded", "reject"), False),
        ],
        4,
    ),
)
def test_of_a_message_and_its_edited_version_only_one_is_approved(
    message, copy, reviewer, second_reviewer, state, decision, is_sent
):
    for one, other in ((message, copy), (copy, message)):
        with rolled_back():
            change_row(one, state=state)
            if decision:
                make_decision(one, reviewer, *decision)
            ruling = ruling_of(other, second_reviewer)
            assert ruling.may_approve is not is_sent
            assert (ruling.rule == "version") is is_sent


def test_version_of_a_version_and_one_whose_id_is_unknown_count_too(
    connection, message, copy, second_reviewer, third
):
    row = edit(copy, second_reviewer, reference="ABCDEFGHJK", markdown="A third text.")
    # The answer of the call was lost, so the desk has only the reference.
    change_row(row, state="unknown")
    last = arrive(connection, row, upstream_id="01THIRD")
    versions = [message, copy, last]
    assert ruling_of(last, third).may_approve
    for sent in versions:
        with rolled_back():
            change_row(sent, state="sent")
            others = [one for one in versions if one != sent]
            ruled = rulings(others, actor_of(third))
            assert not any(one.may_approve for one in ruled.values())


def test_edit_gives_a_message_no_more_time(connection, message, reviewer):
    held_at = clock() - timedelta(hours=21)
    change_row(message, held_at=held_at)
    put_in_force({"expire_minutes": 24 * 60})
    apply_policy()
    message.refresh_from_db()
    ends = held_at + timedelta(hours=24)
    assert message.expires_at == ends
    row = edit(message, reviewer)
    run(row)
    row.refresh_from_db()
    new = arrive(connection, row)
    run(row)
    new.refresh_from_db()
    assert new.expires_at == ends
    # Nor does a rule that comes after the edit.
    change_row(new, expires_at=None)
    put_in_force({"expire_minutes": 22 * 60})
    apply_policy()
    new.refresh_from_db()
    ends = held_at + timedelta(hours=22)
    assert new.expires_at == ends
    with pytest.raises(ActNotAllowed, match="at the latest"):
        extend_deadline(
            message=new.public_id,
            actor=actor_of(reviewer),
            until=ends + timedelta(hours=1),
            reason="More.",
        )
    change_row(message, expires_at=clock())
    message.refresh_from_db()
    Decision.objects.all().delete()
    with pytest.raises(EditNotPossible, match="no longer be approved"):
        edit(message, reviewer, reference="ABCDEFGHJK")


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_of_many_approvals_of_all_versions_at_once_one_counts(
    connection, message, copy, second_reviewer, third
):
    row = edit(copy, second_reviewer, reference="ABCDEFGHJK", markdown="A third text.")
    change_row(row, state="done", upstream_id="01THIRD", problem="Held too.")
    last = arrive(connection, row, upstream_id="01THIRD")
    found = at_once(*[partial(decide, one, third) for one in (message, copy, last)] * 8)
    assert Decision.objects.count() == 1
    kinds = {type(one) for one in found}
    assert kinds == {VerdictResult, VerdictNotAllowed, AlreadyDecided}


def test_attached_file_is_sent_and_one_that_is_gone_after_a_call_ends_the_edit_in_doubt(
    connection, reviewer, upstream
):
    picture = {**FILE, "content_id": "logo"}
    message = make_message(connection, attachments=[FILE, picture])
    message.files.update(content=b"abc", state="fetched")
    target = f"/v1/mailboxes/{message.mailbox.upstream_id}/send"
    upstream.answers[target] = (502, b"<html>")
    row = edit(message, reviewer)
    assert run(row) == "sending"
    [sent] = [body for _, path, body in upstream.calls if path == target]
    attachment = {
        "name": "a.txt",
        "content_type": "text/plain",
        "content_base64": "YWJj",
    }
    assert sent["attachments"] == [attachment, {**attachment, "content_id": "logo"}]
    Replacement.objects.update(next_attempt_at=clock())
    message.files.update(content=None)
    assert run(row) == "unknown"
    row.refresh_from_db()
    assert "Nothing was sent" not in row.problem


def test_corrected_message_is_held_in_its_thread_and_the_agent_gets_the_text_as_data(
    account, reviewer
):
    Connection.objects.update(agent_key=account.world.keys["agent"])
    account.send(cc="eve@x.org")
    read_everything(connection_id=account.connection.pk, now=clock())
    first = Message.objects.get()
    first_id = first.upstream_id
    # Feedback comes with a rejection only.
    wrong = {"email_id": first_id, "action": "approve", "suggested_markdown": "Hi"}
    answer = account.ask("POST", "/v1/oversight/decide", key="desk", json=wrong)
    assert answer.status_code == 422
    row = edit(first, reviewer, markdown="Hello Dana.")
    assert run(row) == "done"
    make_due()
    assert run_decision(decision_id=Decision.objects.get().pk) == "applied"
    new_id = Replacement.objects.get().upstream_id
    told, new = (
        account.ask("GET", f"/v1/read_email?id={one}", key="agent").json()
        for one in (first_id, new_id)
    )
    assert told["replaced_by"] == new_id
    assert told["suggested_markdown"] == "Hello Dana."
    assert told["changes"] == [{"field": "cc", "before": "eve@x.org", "after": ""}]
    assert new["status"] == "pending_send_approval"
    assert new["thread_id"] == told["thread_id"]
    assert new["cc"] == []
    read_everything(connection_id=account.connection.pk, now=clock())
    assert Message.objects.get(upstream_id=new_id).answers_id == first.pk


@pytest.mark.slow
def test_editor_of_an_earlier_version_may_not_approve_a_later_one(
    connection, message, reviewer, second_reviewer, upstream
):
    run(edit(message, reviewer))
    between = arrive(connection, Replacement.objects.get())
    upstream.answers["/v1/send_email"] = (202, {"id": "01THIRD"})
    row = edit(between, second_reviewer, markdown=f"{TEXT}!", reference="ABCDEFGHJK")
    run(row)
    last = arrive(connection, Replacement.objects.get(pk=row.pk), upstream_id="01THIRD")
    for person in (reviewer, second_reviewer):
        assert ruling_of(last, person).rule == "editor"


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_of_many_edits_and_approvals_at_once_one_counts(
    message, reviewer, second_reviewer
):
    works = []
    for number in range(12):
        works.append(partial(edit, message, reviewer, reference=f"{number:010}"))
        works.append(partial(decide, message, second_reviewer, surface="discord"))
    at_once(*works)
    assert Decision.objects.count() + Replacement.objects.count() == 1


@pytest.mark.slow
def test_content_that_changes_during_the_call_is_left_to_a_person(
    message, reviewer, desk, monkeypatch
):
    row = edit(message, reviewer)

    def changed_meanwhile(*_, **__):
        show_row(message, markdown="Another text.")
        return {"id": NEW}

    monkeypatch.setattr(Agent, "send_held", changed_meanwhile)
    assert run(row) == "done"
    page = page_of(desk, message)
    assert "Both are held." in page
    assert "Reject this one as replaced" not in page
    # A person finds it however old it is.
    Replacement.objects.update(created_at=Now() - timedelta(days=8))
    assert Replacement.objects.left_half().exists()
    # Who edited it is recorded all the same, and the new version can be edited too.
    arrive(message.connection, Replacement.objects.get())
    run(row)
    assert Entry.objects.filter(action="message.edited").exists()
    message.refresh_from_db()
    edit(message, reviewer, reference="ABCDEFGHJK")


def test_second_press_sends_nothing_more(message, reviewer, second_reviewer, upstream):
    row = edit(message, reviewer)
    assert edit(message, reviewer).pk == row.pk
    with pytest.raises(AlreadyDecided, match="has already edited this message"):
        edit(message, second_reviewer, reference="ABCDEFGHJK")
    run(row)
    assert run(row) == "not due"
    assert len(sends(upstream)) == 1
