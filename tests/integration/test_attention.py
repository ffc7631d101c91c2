"""Stuck items are listed with a reason and one safe action, within a person's visible
scope.
"""

from datetime import timedelta
from functools import partial

import pytest
from django.db.models.functions import Now

from approvals.errors import EventAlreadyHandled
from approvals.intake.ingest import dismiss_event, replay_event
from approvals.operations.attention import attention_count, attention_for
from audit.models import Entry
from dashboard.models import Tick
from mirror.models import Connection, Message, WebhookEvent
from tests.factories import (
    NOW,
    actor_of,
    change_row,
    event_body,
    make_connection,
    make_message,
    make_person,
    post_event,
    rolled_back,
)
from tests.integration.deciding import make_decision

pytestmark = pytest.mark.usefixtures("working")

# Longer ago than anything that resolves itself may take.
LATE = Now() - timedelta(minutes=5)


@pytest.fixture
def press(signed_in, sent_tasks):
    """Return a function that presses a button and returns the sent tasks and rows, in
    order.
    """

    def post(person, url, **fields):
        sent_tasks.clear()
        assert signed_in(person).post(url, fields).status_code == 302
        return [(name.rpartition(".")[2], row) for name, row in sent_tasks]

    return post


decide = partial(make_decision, changed_at=LATE)


def found(person):
    """Return the stuck items; the count in the rail must match."""
    actor = actor_of(person)
    listed = attention_for(actor, NOW)
    assert attention_count(actor) == len(listed)
    return listed


def kinds(person):
    return [one.kind for one in found(person)]


def make_event(connection, result="poison", body=b"{", **fields):
    return WebhookEvent.objects.create(
        connection=connection, digest=str(WebhookEvent.objects.count()), body=body, secret_used="current",
        result=result, error="The body is no JSON.", name="oversight.pending", **{"received_at": LATE, **fields},
    )  # fmt: skip


DOUBTS = {
    "Unknown": ({"state": "unknown"}, "Check again", True),
    "Held twice": (
        {"state": "unknown", "seen_held": 2},
        "Read it, then send again",
        False,
    ),
    "Unattributed": ({"state": "unattributed"}, "Record what happened", False),
    "Withdrawn": ({"state": "withdrawn"}, "Reject at MultiMail", False),
    "Refused": (
        {"state": "refused", "explanation": "The content changed."},
        "Read again",
        False,
    ),
    "Undone": ({"state": "undone"}, "", False),
}


def test_unconfirmed_decision_is_listed_with_its_action_and_a_healthy_one_is_not(
    signed_in, reviewer, connection, press, django_assert_max_num_queries
):
    decisions = [
        decide(make_message(connection, subject=name), reviewer, **fields)
        for name, (fields, *_) in DOUBTS.items()
    ]
    wanted = {
        name: (fields["state"], label, posts)
        for name, (fields, label, posts) in DOUBTS.items()
        if label
    }
    assert {
        one.message.subject: (one.kind, one.act.label, bool(one.act.for_all))
        for one in found(reviewer)
    } == wanted
    client = signed_in(reviewer)
    with django_assert_max_num_queries(39):
        page = client.get("/attention/").text
    assert [name for name in wanted if name not in page] == []
    unknown = decisions[0]
    assert ("resolve_decision", unknown.pk) in press(
        reviewer, f"/attention/{unknown.message.public_id}/look/"
    )


@pytest.mark.slow
def test_item_that_resolves_itself_is_listed_only_once_it_is_overdue(
    reviewer, connection
):
    message = make_message(connection)
    for fields in DOUBTS.values():
        with rolled_back():
            decide(message, reviewer, **{**fields[0], "changed_at": Now()})
            only_people_can = fields[1] in (
                "Read it, then send again",
                "Reject at MultiMail",
                "Read again",
            )
            assert bool(found(reviewer)) == only_people_can, fields
    # MultiMail was restarted: the next reads may work.
    Connection.objects.update(
        failing_since=Now() - timedelta(seconds=10), last_error="No answer."
    )
    make_event(connection, result="late", received_at=Now())
    assert found(make_person("ada@yourteam.example", "Ada", "admin")) == []


def test_items_outside_the_visible_scope_are_neither_counted_nor_listed(
    admin, reviewer, connection
):
    decide(make_message(connection), reviewer, "unknown")
    make_event(connection)
    make_event(connection, result="late")
    assert attention_count(actor_of(admin)) == 3
    Connection.objects.update(paused_at=Now())
    other = make_connection("other", complete_as_of=NOW)
    change_row(other, complete_as_of=Now())
    stranger = make_person("x@yourteam.example", "X", "admin", connection=other)
    assert kinds(stranger) == []


def test_what_no_worker_claimed_and_what_has_no_news_is_listed(reviewer, connection):
    decide(make_message(connection), reviewer, "recorded", due_at=LATE)
    silent = make_message(connection)
    change_row(silent, state="approved", changed_at=Now() - timedelta(hours=2))
    assert sorted(kinds(reviewer)) == ["silent", "stalled"]


def test_webhook_that_does_not_come_is_listed_only_where_it_is_registered(
    admin, connection, signed_in
):
    message = make_message(connection)
    long_ago = Now() - timedelta(minutes=5)
    change_row(message, held_at=long_ago)
    # Its own webhook came.
    change_row(connection, webhook_since=Now() - timedelta(hours=1))
    assert kinds(admin) == []
    WebhookEvent.objects.update(received_at=Now() - timedelta(minutes=30))
    [item] = found(admin)
    assert (item.kind, item.act.label) == ("silent_webhook", "See the webhook")
    assert item.since == WebhookEvent.objects.get().received_at
    assert "Does not come" in signed_in(admin).get(item.act.url).text
    for healthy in (
        lambda: change_row(connection, webhook_since=Now()),
        lambda: change_row(message, held_at=Now()),
    ):
        with rolled_back():
            healthy()
            assert kinds(admin) == []
    # Registered by hand, if at all: the desk knows only what came.
    change_row(connection, webhook_since=None)
    assert kinds(admin) == ["silent_webhook"]
    WebhookEvent.objects.all().delete()
    assert kinds(admin) == []


def test_page_shows_admins_poison_and_silent_workers(signed_in, admin, connection):
    make_event(
        connection,
        body=b'{"subject": "<script>alert(1)</script>\xe2\x80\xae"' + b"x" * 5000,
    )
    Tick.objects.filter(job="alerts.tasks.sweep").update(
        at=Now() - timedelta(minutes=3)
    )
    page = signed_in(admin).get("/attention/").text
    expected = (
        "The body is no JSON.",
        "&lt;script&gt;alert(1)",
        "more bytes",
        "Alerts are not sent",
    )
    assert [one for one in expected if one not in page] == []
    hidden = ("<script>alert", "x" * 2500, "Nothing needs attention")
    assert [one for one in hidden if one in page] == []
    event = f"/attention/webhooks/{WebhookEvent.objects.get().pk}"
    for act in ("replay", "dismiss"):
        assert signed_in(admin).post(f"{event}/{act}/").status_code == 302


@pytest.fixture
def poison(client, connection, monkeypatch):
    """An event that could not be applied because of a bug that is fixed by now."""
    with monkeypatch.context() as broken:
        broken.setattr("mirror.store.begin_message", lambda *_, **__: [][0])
        post_event(client, connection, event_body(email_id="01SAME"))
    return WebhookEvent.objects.get()


def replay(event, person):
    return replay_event(event_id=event.pk, actor=actor_of(person))


def test_replay_of_poison_that_can_be_applied_now_moves_the_mirror_once(poison, admin):
    assert replay(poison, admin) == "applied"
    poison.refresh_from_db()
    assert poison.handled_at
    assert Message.objects.get().state == "held"
    entry = Entry.objects.get(action="webhook.replayed")
    assert entry.actor_id == str(admin.pk)
    with pytest.raises(EventAlreadyHandled):
        replay(poison, admin)


def test_replay_that_fails_again_keeps_the_event_with_its_new_error(
    poison, admin, monkeypatch
):
    monkeypatch.setattr("mirror.store.begin_message", lambda *a, **k: [][0])
    assert replay(poison, admin) == "poison"
    poison.refresh_from_db()
    assert poison.handled_at is None
    assert Message.objects.count() == 0
    assert Entry.objects.filter(action="webhook.replayed").count() == 1
    dismiss_event(event_id=poison.pk, actor=actor_of(admin))
    assert not WebhookEvent.objects.to_look_at().exists()
    assert Entry.objects.filter(action="webhook.dismissed").exists()
