"""Changing scheduled mail: its time always, its content until it is approved, and
nothing once it is sending.
"""

from datetime import UTC, datetime, timedelta

import pytest
from django.db.models.functions import Now
from django.utils import timezone

from gateway.messages import submission
from gateway.models import Account, AuditLogEntry, Email, Mailbox
from gateway.states import Mode, Status
from tests.integration.gateway.world import (
    bad_field_of,
    events_of,
    leave,
    make_inbound,
    make_world,
    refusal_of,
)

AT = "2099-01-01T00:00:00Z"
LATER = "2099-02-01T00:00:00Z"
LATER_MOMENT = datetime(2099, 2, 1, tzinfo=UTC)


@pytest.fixture
def free(db):
    """A mailbox whose mail is sent without review."""
    return make_world(mode=Mode.AUTONOMOUS)


def edit(world, email, key="agent", **fields):
    email_id = getattr(email, "pk", email)
    return world.patch(f"{world.base}/emails/{email_id}/schedule", key=key, **fields)


def scheduled(world, **fields):
    email = Email.objects.get(pk=world.held(send_at=AT, **fields))
    assert email.status == Status.SCHEDULED
    return email


def test_rescheduling_moves_the_due_time(free):
    email = scheduled(free)
    for name, moment in (("send_at", LATER), ("scheduled_at", AT), ("send_at", LATER)):
        answer = edit(free, email, **{name: moment})
        assert answer.status_code == 200, answer.content
        assert answer.json()["status"] == "scheduled"
        assert answer.json()["send_at"] == moment.replace("Z", ".000Z")
    email.refresh_from_db()
    assert email.send_at == LATER_MOMENT
    assert email.due_at == LATER_MOMENT


def test_content_of_scheduled_mail_is_changed_and_scheduled_again(free):
    email = scheduled(free, cc="c@x.example", html="<p>old words</p>")
    response = edit(
        free,
        email,
        to=["new@x.example"],
        cc=[],
        bcc="b@x.example",
        subject="New",
        markdown="new words",
    )
    assert response.status_code == 200
    assert response.json()["status"] == "scheduled"
    assert response.json()["markdown"] == "new words"
    email.refresh_from_db()
    assert email.to == ["new@x.example"]
    assert email.cc == []
    assert email.bcc == ["b@x.example"]
    assert email.subject == "New"
    # Recipients must see the new text, not the HTML of the old one.
    assert email.html is None
    assert email.due_at == email.send_at == datetime(2099, 1, 1, tzinfo=UTC)


def test_mail_of_every_other_status_is_409(free):
    email = scheduled(free)
    for status in set(Status) - {Status.SCHEDULED}:
        Email.objects.filter(pk=email.pk).update(status=status)
        answer = edit(free, email, send_at=LATER)
        assert answer.status_code == 409
        assert answer.json()["code"] == "not_scheduled"
        assert answer.json()["status"] == status
    assert edit(free, make_inbound(free), send_at=LATER).status_code == 409


def test_mail_on_its_way_is_409(free):
    at_once = free.held()
    late = scheduled(free)
    leased = scheduled(free)
    offered = scheduled(free)
    Email.objects.filter(pk=late.pk).update(
        send_at=timezone.now() - timedelta(seconds=1)
    )
    Email.objects.filter(pk=leased.pk).update(lease_until=Now() + timedelta(minutes=1))
    Email.objects.filter(pk=offered.pk).update(data_attempted_at=Now())
    for email in (at_once, late, leased, offered):
        for fields in ({"send_at": LATER}, {"subject": "Other"}):
            assert edit(free, email, **fields).status_code == 409
    assert not AuditLogEntry.objects.filter(
        action__in=["email.edited", "email.rescheduled"]
    ).exists()


def test_gated_mail_that_asks_at_its_time_can_be_changed_and_still_asks(world):
    world.listen("oversight.pending")
    email = scheduled(world, gate_timing="schedule_first")
    # Gated mail stays gated when its mailbox is loosened.
    Mailbox.objects.update(oversight_mode=Mode.AUTONOMOUS)
    answer = edit(world, email, markdown="new words")
    assert answer.status_code == 200
    assert answer.json()["status"] == "scheduled"
    Email.objects.filter(pk=email.pk).update(due_at=Now())
    assert leave(email) == "asked"
    assert events_of(email.pk) == ["oversight.pending"]
    # Mail held back by `hold_all` stays gated, too, when the hold ends.
    Account.objects.update(hold_all_at=timezone.now())
    held = scheduled(world, gate_timing="schedule_first")
    Account.objects.update(hold_all_at=None)
    edit(world, held, markdown="new words")
    held.refresh_from_db()
    assert held.markdown == "new words"
    assert held.gated is True


def test_changed_content_is_subject_to_the_current_mode(free):
    email = scheduled(free)
    unchanged = scheduled(free)
    Mailbox.objects.update(oversight_mode=Mode.GATED_SEND)
    assert (
        edit(free, email, markdown="new words").json()["status"]
        == "pending_send_approval"
    )
    email.refresh_from_db()
    assert email.gated is True
    assert email.oversight_mode == "gated_send"
    assert email.due_at is None
    Mailbox.objects.update(oversight_mode=Mode.READ_ONLY)
    assert edit(free, unchanged, markdown="new words").status_code == 403
    unchanged.refresh_from_db()
    assert unchanged.status == Status.SCHEDULED
    assert unchanged.markdown == "Hello"


def test_mail_that_skipped_the_gate_skips_it_again_only_to_listed_recipients(world):
    world.allow("northwind.example", kind="bypass")
    email = scheduled(world)
    assert (
        edit(world, email, to=["carl@northwind.example"]).json()["status"]
        == "scheduled"
    )
    assert (
        edit(world, email, cc=["eve@x.example"]).json()["status"]
        == "pending_send_approval"
    )


def test_bad_edit_is_422_and_names_the_field(free, other):
    email = scheduled(free)
    for fields, field in (
        ({}, "send_at"),
        ({"send_at": None, "to": None}, "send_at"),
        ({"send_at": "2001-01-01T00:00:00Z"}, "send_at"),
        ({"send_at": "2099-01-01T00:00:00+02:00"}, "send_at"),
        ({"to": []}, "to"),
        ({"to": ["nobody"]}, "to"),
        ({"cc": ["a@x.example\nBcc: b@x.example"]}, "cc"),
        ({"subject": "a\nb"}, "subject"),
        ({"markdown": " "}, "markdown"),
    ):
        answer = edit(free, email, **fields)
        assert bad_field_of(answer) == (422, field), fields
    assert edit(other, email, send_at=LATER).status_code == 404
    Mailbox.objects.update(scheduling_enabled=False)
    assert edit(free, email, send_at=LATER).status_code == 403


def test_edits_are_audited_by_field_name(free):
    email = scheduled(free)
    edit(free, email, send_at=LATER)
    edit(free, email, subject="New", markdown="new words", send_at=AT)
    edit(free, email, subject="New")
    entries = AuditLogEntry.objects.filter(resource_id=email.pk).order_by("id")[1:]
    assert [entry.action for entry in entries] == ["email.rescheduled", "email.edited"]
    assert entries[1].metadata["fields"] == ["markdown", "send_at", "subject"]


def test_edit_of_concurrently_changed_mail_is_409(free, monkeypatch):
    email = scheduled(free)
    admit = submission.admit

    def overtaken(*arguments, **asked):
        Email.objects.filter(pk=email.pk).update(cc=["late@x.example"])
        return admit(*arguments, **asked)

    monkeypatch.setattr(submission, "admit", overtaken)
    answer = edit(free, email, to=["new@x.example"])
    assert refusal_of(answer) == (409, "changed_meanwhile")
    email.refresh_from_db()
    assert email.to == ["dana@northwind.example"]
    assert email.status == Status.SCHEDULED
