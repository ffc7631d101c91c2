"""Stored webhooks: an admin replays one with today's code, or dismisses it; both are
recorded.
"""

from datetime import timedelta

import pytest
from django.db.models.functions import Now

from approvals.errors import EventAlreadyHandled
from approvals.intake.ingest import dismiss_event, replay_event
from audit.models import Entry
from mirror.errors import ActNotAllowed
from mirror.models import Message, WebhookEvent
from tests.factories import (
    actor_of,
    event_body,
    make_connection,
    make_person,
    post_event,
)


def break_down(*args, **kwargs):
    raise RuntimeError("a bug of ours")


@pytest.fixture
def poison(client, connection, monkeypatch):
    """An event that could not be applied because of a bug that is fixed by now."""
    with monkeypatch.context() as broken:
        broken.setattr("mirror.store.begin_message", break_down)
        assert post_event(client, connection, event_body(email_id="01SAME")).json() == {
            "result": "poison"
        }
    return WebhookEvent.objects.get()


def replay(event, person):
    return replay_event(event_id=event.pk, actor=actor_of(person))


def test_replay_of_poison_that_can_be_applied_now_moves_the_mirror_once(poison, admin):
    assert replay(poison, admin) == "applied"
    poison.refresh_from_db()
    assert poison.result == "applied"
    assert poison.error == ""
    assert poison.email_id == "01SAME"
    assert poison.handled_at
    assert Message.objects.get().state == "held"
    entry = Entry.objects.get(action="webhook.replayed")
    assert entry.actor_id == str(admin.pk)
    assert entry.detail.fields["result"] == "applied"
    with pytest.raises(EventAlreadyHandled):
        replay(poison, admin)


def test_replay_that_fails_again_keeps_the_event_with_its_new_error(
    poison, admin, monkeypatch
):
    monkeypatch.setattr("mirror.store.begin_message", lambda *a, **k: [][0])
    assert replay(poison, admin) == "poison"
    poison.refresh_from_db()
    assert poison.handled_at is None
    assert poison.error == "IndexError while applying; see the log."
    assert Message.objects.count() == 0
    assert Entry.objects.filter(action="webhook.replayed").count() == 1


def test_replay_of_a_late_event_changes_nothing_that_came_after_it(
    client, connection, admin
):
    post_event(client, connection, event_body("message.sent", email_id="01SAME"))
    post_event(client, connection, event_body("oversight.rejected", email_id="01SAME"))
    WebhookEvent.objects.update(received_at=Now() - timedelta(minutes=2))
    late = WebhookEvent.objects.get(result="late")
    assert replay(late, admin) == "late"
    late.refresh_from_db()
    assert late.handled_at is None
    assert Message.objects.get().state == "sent"
    # A body that is not an event stays poison.
    post_event(client, connection, b"[1]")
    assert replay(WebhookEvent.objects.latest("pk"), admin) == "poison"


def test_dismissed_event_is_not_looked_at_any_more(poison, admin):
    dismiss_event(event_id=poison.pk, actor=actor_of(admin))
    assert not WebhookEvent.objects.to_look_at().exists()
    assert WebhookEvent.objects.get().result == "poison"
    assert Message.objects.count() == 0
    assert Entry.objects.filter(action="webhook.dismissed").exists()


def test_only_an_admin_of_the_connection_deals_with_its_events(
    poison, reviewer, auditor
):
    of_another = make_person(
        "x@yourteam.example", "X", "admin", connection=make_connection("other")
    )
    for person in (reviewer, auditor, of_another):
        with pytest.raises(ActNotAllowed):
            replay(poison, person)
        with pytest.raises(ActNotAllowed):
            dismiss_event(event_id=poison.pk, actor=actor_of(person))
    assert not Entry.objects.filter(
        action__in=("webhook.replayed", "webhook.dismissed")
    ).exists()
