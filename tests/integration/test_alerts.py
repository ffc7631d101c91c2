"""Bringing cards up to date: one worker a card, no act lost between two edits, a wait holds for the whole place."""

import threading
import time
from datetime import timedelta
from importlib import import_module

import pytest
from django.apps import apps
from django.db import connection as db
from django.db import connections, transaction
from django.db.models.functions import Now

from alerts.missed import plan_missed
from alerts.models import Card, Delivery, Destination, Route
from alerts.planning import CARD_ACTIONS
from alerts.sending.deliver import MAX_ATTEMPTS, deliver_card
from approvals.models import Decision, Verdict
from audit.models import Entry
from tests.factories import event_body, make_connection, make_message, post_event
from tests.integration.deciding import decide
from tests.standin import multimail

pytestmark = pytest.mark.django_db

PATH = "/api/webhooks/1/token"


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch):
    """The content is there at once in these tests, so a held card need not wait for it."""
    monkeypatch.setattr("alerts.planning.CONTENT_PAUSE", timedelta(0))


@pytest.fixture
def discord(settings):
    with multimail() as standin:
        settings.OUTGOING_ALLOW = [standin.url]
        standin.answers[PATH] = (200, {"id": "111"})
        standin.answers[f"{PATH}/messages/111"] = (200, {"id": "111"})
        yield standin


def make_destination(discord, name="#approvals"):
    destination = Destination.objects.create(name=name, url=discord.url + PATH)
    Route.objects.create(destination=destination, actions=list(CARD_ACTIONS))
    return destination


def titles(discord):
    return [body["embeds"][0]["description"].splitlines()[0] for _, _, body in discord.calls]


def wait_until_somebody_waits_for_a_lock():
    deadline = time.monotonic() + 10
    with db.cursor() as cursor:
        while time.monotonic() < deadline:
            cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
            if cursor.fetchone()[0]:
                return
    raise AssertionError("nobody waited")


def in_thread(work):
    """Run `work` in a thread with a database connection of its own; return the thread and where its result goes."""
    results = []

    def run():
        try:
            results.append(work())
        finally:
            connections.close_all()

    thread = threading.Thread(target=run)
    thread.start()
    return thread, results


def test_card_is_posted_once_and_then_edited(client, connection, discord):
    make_destination(discord)
    message = make_message(connection)
    deliver_card(delivery_id=Delivery.objects.get().pk)
    post_event(client, connection, event_body("oversight.rejected", email_id=message.upstream_id, reason="no"))
    deliver_card(delivery_id=Delivery.objects.get(state="due").pk)
    assert [(method, path.partition("?")[0]) for method, path, _ in discord.calls] == [
        ("POST", PATH), ("PATCH", f"{PATH}/messages/111"),
    ]  # fmt: skip
    assert all(body["allowed_mentions"] == {"parse": []} for _, _, body in discord.calls)


@pytest.mark.proves("case 4")
def test_message_that_is_held_while_another_waits_has_a_card_of_its_own(connection, discord):
    make_destination(discord)
    for subject in ("The first", "The second"):
        make_message(connection, subject=subject)
        assert deliver_card(delivery_id=Delivery.objects.get(state="due").pk) == "delivered"
    posts = [body["embeds"][0]["title"] for method, _, body in discord.calls if method == "POST"]
    assert posts == ["The first", "The second"]


@pytest.mark.proves("case 5")
def test_alert_that_fails_is_shown_as_failed_until_it_is_tried_again(signed_in, reviewer, connection, discord):
    make_destination(discord)
    make_message(connection)
    discord.answers[PATH] = (500, {})
    due = Delivery.objects.get()
    assert deliver_card(delivery_id=due.pk) == "postponed"
    page = signed_in(reviewer).get("/alerts/").content.decode()
    assert '<span class="chip shape rose">Failed (500)</span>' in page
    assert "tried again at" in page
    assert "Discord answered 500." in page
    assert not Delivery.objects.due().exists()
    discord.answers[PATH] = (200, {"id": "111"})
    Delivery.objects.update(next_attempt_at=Now())
    assert [one.pk for one in Delivery.objects.due()] == [due.pk]
    assert deliver_card(delivery_id=due.pk) == "delivered"
    page = signed_in(reviewer).get("/alerts/").content.decode()
    assert '<span class="chip shape green">Delivered (200)</span>' in page
    assert "Failed" not in page
    assert [method for method, _, _ in discord.calls] == ["POST", "POST"]


def test_card_of_a_message_that_nothing_had_named_is_turned_by_the_late_event_that_does(client, connection, discord):
    make_destination(discord)
    bare = {"email_id": "01LATE", "subject": "", "to": [], "from": "", "metadata": {}}
    post_event(client, connection, event_body("message.delivered", **bare))
    deliver_card(delivery_id=Delivery.objects.get().pk)
    for name in ("oversight.pending", "oversight.approved"):
        post_event(client, connection, event_body(name, email_id="01LATE"))
    # The second told nothing more.
    deliver_card(delivery_id=Delivery.objects.get(state="due").pk)
    shown = [(method, body["embeds"][0]) for method, _, body in discord.calls]
    assert [method for method, _ in shown] == ["POST", "PATCH"]
    assert (shown[1][1]["title"], shown[1][1]["fields"][1]["value"]) == (
        "Your refund for order 4471", r"dana\@northwind.example",
    )  # fmt: skip
    assert Entry.objects.filter(action="message.named").count() == 1


def test_late_event_that_names_a_message_without_a_card_makes_none(client, connection, discord, monkeypatch):
    bare = {"email_id": "01LATE", "subject": "", "to": [], "from": "", "metadata": {}}
    post_event(client, connection, event_body("message.delivered", **bare))
    make_destination(discord)
    Route.objects.update(actions=["message.named"])
    post_event(client, connection, event_body(email_id="01LATE"))
    monkeypatch.setattr("alerts.missed.PATIENCE", timedelta(0))
    assert (plan_missed(), Card.objects.count()) == (0, 0)


@pytest.mark.parametrize(
    ("actions", "since"),
    [
        (["message.held"], ["message.held", "message.named"]),
        (["decision.superseded"], ["decision.superseded", "message.named", "decision.without_effect"]),
        (list(CARD_ACTIONS), list(CARD_ACTIONS)),
        ([], []),
    ],
    ids=["held", "superseded", "all", "none"],
)
def test_route_of_before_is_told_of_the_acts_that_turn_cards_since(discord, actions, since):
    make_destination(discord)
    Route.objects.update(actions=actions)
    import_module("alerts.migrations.0003_acts_that_turn_cards").complete(apps, None)
    assert Route.objects.get().actions == since


def test_card_of_mail_that_left_after_all_says_so_whatever_was_decided_since(client, connection, discord, reviewer):
    message = make_message(connection)
    approve = decide(message, reviewer).decision
    Decision.objects.update(state="withdrawn", attempt=1, may_have_left=True)
    Verdict.objects.update(live=False)
    decide(message, reviewer, "reject")
    make_destination(discord)
    reason = f"[countersign:{approve.reference}]"
    post_event(client, connection, event_body("oversight.approved", email_id=message.upstream_id, reason=reason))
    deliver_card(delivery_id=Delivery.objects.get().pk)
    assert titles(discord) == ["**Approved.** Left after all, although it was withdrawn."]


@pytest.mark.django_db(transaction=True)
def test_act_that_commits_while_its_card_is_taken_is_shown(client, discord):
    connection = make_connection()
    make_destination(discord)
    message = make_message(connection)
    waiting = Delivery.objects.get()
    with transaction.atomic():
        post_event(client, connection, event_body("oversight.rejected", email_id=message.upstream_id, reason="no"))
        worker, results = in_thread(lambda: deliver_card(delivery_id=waiting.pk))
        wait_until_somebody_waits_for_a_lock()
    worker.join(10)
    assert results == ["delivered"]
    assert "Rejected" in titles(discord)[-1]
    assert not Delivery.objects.filter(state="due").exists()


@pytest.mark.django_db(transaction=True)
def test_place_is_in_the_hands_of_one_worker(discord):
    destination = make_destination(discord)
    make_message(make_connection())
    first = Delivery.objects.get()
    second = Delivery.objects.create(
        destination=first.destination, message=first.message, card=first.card, action="message.changed"
    )
    with transaction.atomic():
        Destination.objects.select_for_update(no_key=True).get(pk=destination.pk)
        worker, results = in_thread(lambda: deliver_card(delivery_id=second.pk))
        wait_until_somebody_waits_for_a_lock()
        Delivery.objects.claim(first.pk)
    worker.join(10)
    assert results == ["another one is under way"]
    assert discord.calls == []


def test_two_deliveries_of_dead_workers_do_not_wait_for_each_other(connection, discord):
    make_destination(discord)
    make_message(connection)
    first = Delivery.objects.get()
    second = Delivery.objects.create(
        destination=first.destination, message=first.message, card=first.card, action="message.changed"
    )
    Delivery.objects.update(state="sending", lease_until=Now() - timedelta(seconds=1), attempts=1)
    assert [deliver_card(delivery_id=one.pk) for one in (first, second)] == ["delivered", "delivered"]


def test_wait_holds_for_what_is_planned_while_it_lasts(connection, discord):
    make_destination(discord)
    make_message(connection)
    discord.answers[PATH] = (429, {"retry_after": 30})
    assert deliver_card(delivery_id=Delivery.objects.get().pk) == "asked to wait"
    make_message(connection)
    planned = Delivery.objects.order_by("pk").last()
    assert deliver_card(delivery_id=planned.pk) == "not due"
    assert len(discord.calls) == 1
    discord.answers[PATH] = (200, {"id": "111"})
    Destination.objects.update(waits_until=None)
    Delivery.objects.update(next_attempt_at=Now())
    assert {deliver_card(delivery_id=pk) for pk in Delivery.objects.values_list("pk", flat=True)} == {"delivered"}


@pytest.mark.parametrize("told", [{"retry_after": float("nan")}, {"retry_after": "soon"}, {"retry_after": {}}, {}])
def test_wait_that_cannot_be_read_is_a_short_one(connection, discord, told):
    make_destination(discord)
    make_message(connection)
    discord.answers[PATH] = (429, told)
    assert deliver_card(delivery_id=Delivery.objects.get().pk) == "asked to wait"
    assert Delivery.objects.filter(state="due", next_attempt_at__gt=Now()).count() == 1


@pytest.mark.parametrize("given", ["1" * 100, "../../../users/1", "1?x=", {"a": 1}, None])
def test_answer_with_an_id_that_is_none_is_not_built_into_an_address(connection, discord, given):
    make_destination(discord)
    make_message(connection)
    discord.answers[PATH] = (200, {"id": given})
    assert deliver_card(delivery_id=Delivery.objects.get().pk) == "delivered"
    assert Card.objects.get().discord_message_id == ""


def test_row_over_which_workers_die_is_given_up(connection, discord):
    make_destination(discord)
    make_message(connection)
    Delivery.objects.update(attempts=MAX_ATTEMPTS)
    assert deliver_card(delivery_id=Delivery.objects.get().pk) == "failed"
    assert discord.calls == []


def test_odd_id_of_a_message_cannot_break_out_of_the_link(client, connection, discord):
    make_destination(discord)
    post_event(client, connection, event_body(email_id="x) [free money](https://evil.example"))
    deliver_card(delivery_id=Delivery.objects.get().pk)
    card = discord.calls[0][2]["embeds"][0]
    assert card["url"].endswith("/approvals/x%29%20%5Bfree%20money%5D%28https%3A%2F%2Fevil.example/")
    assert "](https://evil" not in card["description"]


def test_act_that_a_mistake_kept_from_being_planned_is_planned_by_the_sweep(client, connection, discord, monkeypatch):
    make_destination(discord)

    def break_down(entry, **_):
        raise RuntimeError("a bug of ours")

    with monkeypatch.context() as broken:
        broken.setattr("alerts.outbox.Planned", break_down)
        post_event(client, connection, event_body())
    assert Delivery.objects.count() == 0
    monkeypatch.setattr("alerts.missed.PATIENCE", timedelta(0))
    assert [plan_missed(), plan_missed()] == [1, 0]
    assert Delivery.objects.get().action == "message.held"


def test_thread_of_a_channel_stays_named_in_the_address(connection, discord):
    destination = make_destination(discord)
    destination.url += "?thread_id=42"
    destination.save()
    message = make_message(connection)
    delivery = Delivery.objects.get(card__message=message)
    assert deliver_card(delivery_id=delivery.pk) == "delivered"
    assert Card.objects.get().discord_message_id == "111"
