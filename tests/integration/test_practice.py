"""Practice messages: planted as copies with one fault, decided like others, and never
carried out by anything.
"""

import json
import random
from datetime import timedelta

import pytest
from django.core.management import call_command
from django.db import IntegrityError, OperationalError, transaction
from django.db import connection as database
from django.db.models.functions import Now
from django.urls import reverse
from django.utils import timezone

from alerts.cards.message import card_of_message
from alerts.channels import channel_of
from alerts.models import Card, Delivery, Destination, Route
from approvals import tasks
from approvals.decisions import by_rule, execute
from approvals.desk_messages import desk_messages, shown_message
from approvals.models import Arrival, Decision, Replacement, Verdict
from approvals.reconcile import reads
from audit.models import Entry
from common.actors import Role, operator
from connections.accounts.commands import remove_connection
from mirror.errors import ActNotAllowed
from mirror.models import Connection, Mailbox, Message
from people.models import PendingChange
from people.second_admin.changes import accept
from people.second_admin.registry import SecondAdminNeeded
from policy.kill_switch import pull
from policy.models import PolicyVersion
from practice import ending, planting
from practice.models import PracticeMessage, PracticeNotice, PracticeSetting
from practice.setting import switch_practice_off, switch_practice_on
from tests.factories import make_message, make_person
from tests.integration.deciding import decide, in_thread
from tests.integration.practising import make_approved, make_planted
from tests.integration.test_bulk import decide as decide_sheet
from tests.integration.test_bulk import open_sheet
from tests.ledger import seal_here


@pytest.fixture
def mailbox(connection):
    return connection.mailboxes.get()


@pytest.fixture
def approved(connection, reviewer):
    """A message that Ana approved, and that was sent."""
    return make_approved(connection, reviewer)


@pytest.fixture
def planted(approved, connection):
    return make_planted(connection)


def actor_of(person):
    return person.actor(surface="web")


def test_planted_message_is_a_copy_with_one_fault_that_no_trail_gives_away(
    planted, approved, reviewer, auditor
):
    message = Message.objects.get(pk=planted.message_id)
    assert message.state == "held"
    assert message.is_local is True
    assert message.mailbox_id == approved.mailbox_id
    assert len(message.upstream_id) == 26 != approved.upstream_id
    assert message.revision.fingerprint != approved.revision.fingerprint
    about = list(
        Entry.objects.of_message(message.public_id)
        .order_by("id")
        .values_list("action", "actor_kind")
    )
    real = list(
        Entry.objects.of_message(approved.public_id)
        .order_by("id")
        .values_list("action", "actor_kind")
    )
    assert (
        about
        == real[:2]
        == [("message.held", "webhook"), ("message.fetched", "worker")]
    )
    marked = Entry.objects.of_action("practice.planted")
    fields = marked.get().detail.fields
    assert fields["practice"] == str(message.public_id)
    assert fields["signed_by"] == "Ida Lindqvist and Sam Okoro"
    assert list(marked.readable_by(actor_of(reviewer))) == []
    assert list(marked.readable_by(actor_of(auditor))) == list(marked)


@pytest.mark.parametrize(
    "url",
    [
        "message",
        "message-body",
        "message-view",
        "beside",
        "trace",
        "approve",
        "edit-message",
    ],
)
def test_nothing_of_it_tells_a_reviewer_before_it_is_decided(
    url, signed_in, planted, reviewer
):
    client = signed_in(reviewer)
    public_id = planted.message.public_id
    answers = [
        client.get(reverse(url, args=[public_id]), follow=True),
        client.get("/queue/"),
    ]
    texts = [one.text + json.dumps(dict(one.headers)) for one in answers]
    assert answers[0].status_code == 200
    assert [
        one for one in texts if "practice" in one.lower() or planted.explanation in one
    ] == []


def test_card_and_event_of_it_are_those_of_a_held_message(approved, mailbox):
    actions = ["message.held", "message.cancelled"]
    destination = Destination.objects.create(
        name="#approvals", url="https://discord.com/api/webhooks/1/token"
    )
    program = Destination.objects.create(
        name="Program", kind="signed_webhook", url="https://program.example/"
    )
    for one in (destination, program):
        Route.objects.create(destination=one, actions=actions)
    with transaction.atomic():
        planted = planting.plant_in(mailbox, rng=random.Random(5), signed_by="")
    assert Card.objects.filter(
        message=planted.message, destination=destination
    ).exists()
    card = card_of_message(planted.message, destination, channel_of("discord").markup)
    held = card_of_message(
        make_message(planted.message.connection),
        destination,
        channel_of("discord").markup,
    )
    assert "practice" not in str(card).lower()
    assert card.word == held.word
    told = Delivery.objects.filter(message=planted.message, kind="event")
    assert list(told.values_list("action", flat=True)) == ["message.held"]
    ending.end_quietly(key=planted.pk)
    assert (
        card_of_message(
            shown_message(operator("test", Role.AUDITOR), planted.message.public_id),
            destination,
            channel_of("discord").markup,
        ).word
        == "Practice message"
    )
    assert told.filter(action="message.cancelled").exists()


def test_who_lets_it_pass_learns_it_at_once_and_nothing_is_carried_out(
    signed_in, planted, reviewer, settings
):
    message = planted.message
    client = signed_in(reviewer)
    posted = {
        "outcome": "approve",
        "fingerprint": message.revision.fingerprint,
        "reason": "",
    }
    page = client.post(
        reverse("verdict", args=[message.public_id]), posted, follow=True
    ).text
    assert "This was a practice message" in page
    assert "Nothing was sent" in page
    assert "easily missed" in page
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
    assert decided.detail.fields["signed_by"] == "Ida Lindqvist and Sam Okoro"
    assert (
        Entry.objects.of_message(message.public_id)
        .of_action("message.cancelled")
        .get()
        .actor_kind
        == "worker"
    )
    history = client.get("/history/").text
    assert "Practice message" in history


def test_who_stops_it_learns_that_and_the_second_person_learns_that_it_is_over(
    signed_in, planted, reviewer, second_reviewer
):
    message = planted.message
    assert (
        "well spotted"
        in decide(message, reviewer, "reject", "The wrong recipient.").told
    )
    page = signed_in(reviewer).get(reverse("message", args=[message.public_id])).text
    assert "well spotted" in page
    page = (
        signed_in(second_reviewer)
        .get(reverse("message", args=[message.public_id]))
        .text
    )
    assert "well spotted" not in page
    assert "it is over" in page
    posted = {
        "outcome": "reject",
        "fingerprint": message.revision.fingerprint,
        "reason": "Wrong",
    }
    answer = signed_in(second_reviewer).post(
        reverse("verdict", args=[message.public_id]), posted
    )
    assert answer.status_code == 409
    assert "practice message, and it is over" in answer.text


@pytest.mark.parametrize(
    ("outcome", "said"), [("approve", "easily missed"), ("reject", "well spotted")]
)
def test_sheet_of_many_says_what_it_was_and_decides_the_others(
    outcome, said, signed_in, planted, connection, reviewer
):
    client = signed_in(reviewer)
    other = make_message(connection)
    both = [planted.message, other]
    page = open_sheet(client, *both)
    assert "practice" not in page.text.lower()
    answer = decide_sheet(client, page, both, outcome, reject_reason="Wrong")
    done = client.get(answer.url).text
    assert "Practice messages" in done
    assert said in done
    assert "Not decided" not in done
    assert [
        one.message
        for one in Decision.objects.filter(given_by=reviewer).exclude(
            reference="APPROVED"
        )
    ] == [other]


def test_correcting_it_ends_it_and_sends_nothing(signed_in, planted, reviewer):
    message = planted.message
    Connection.objects.update(
        agent_key="mm_live_agent", key_scopes={"agent": ["send", "read"]}
    )
    url = reverse("edit-message", args=[message.public_id])
    client = signed_in(reviewer)
    typed = {
        "to": "dana@northwind.example",
        "cc": "",
        "bcc": "",
        "subject": "Refund",
        "markdown": "Hello.",
        "do": "send",
    }
    typed |= {
        "fingerprint": message.revision.fingerprint,
        "reference": "EDIT000001",
        "note": "",
    }
    answer = client.post(url, typed, follow=True)
    page = answer.text
    planted.refresh_from_db()
    assert planted.outcome == "caught"
    assert "well spotted" in page
    assert not Replacement.objects.exists()


# --- It never leaves: each layer without the ones before it.


def force_decision(planted, person, state="recorded"):
    """Store a decision on it although the database refuses that."""
    with database.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute(
            "ALTER TABLE approvals_decision DISABLE TRIGGER approvals_decision_local"
        )
    fields = {
        "outcome": "approve",
        "reference": "FORCED",
        "due_at": timezone.now() - timedelta(minutes=1),
    }
    return Decision.objects.create(
        message=planted.message,
        revision=planted.message.revision,
        given_by=person,
        state=state,
        **fields,
    )


def test_database_refuses_a_decision_a_replacement_and_another_state(planted, reviewer):
    message = planted.message
    fields = {"message": message, "revision": message.revision}
    with (
        pytest.raises(IntegrityError, match="exists at this desk alone"),
        transaction.atomic(),
    ):
        Decision.objects.create(**fields, outcome="reject", reference="R", due_at=Now())
    with (
        pytest.raises(IntegrityError, match="exists at this desk alone"),
        transaction.atomic(),
    ):
        Replacement.objects.create(
            **fields,
            connection=message.connection,
            person=reviewer,
            to=["a@b.example"],
            markdown="x",
            reference="R",
        )
    for change in ({"state": "approved"}, {"state": "sent"}, {"is_local": False}):
        with pytest.raises(IntegrityError), transaction.atomic():
            Message.objects.filter(pk=message.pk).update(**change)


def test_executor_never_claims_a_decision_on_it(planted, reviewer):
    forced = force_decision(planted, reviewer)
    assert not Decision.objects.due().exists()
    assert execute.run_decision(decision_id=forced.pk) == "not due"


def test_database_keeps_a_decision_on_it_from_being_called(planted, reviewer):
    forced = force_decision(planted, reviewer)
    with (
        pytest.raises(IntegrityError, match="exists at this desk alone"),
        transaction.atomic(),
    ):
        Decision.objects.filter(pk=forced.pk).update(state="calling")


@pytest.mark.parametrize("outcome", ["approve", "reject"])
def test_mark_before_the_call_excludes_it(planted, reviewer, outcome):
    forced = force_decision(planted, reviewer, state="calling")
    soon = timezone.now() + timedelta(minutes=1)
    Decision.objects.filter(pk=forced.pk).update(
        outcome=outcome, attempt=1, lease_until=soon
    )
    forced.refresh_from_db()
    with pytest.raises(Exception, match="abandoned before its call"):
        execute._mark(forced)
    forced.refresh_from_db()
    assert not forced.may_have_left


def test_sweeps_expiry_policy_reads_caps_and_lists_pass_it_by(
    planted, mailbox, upstream, connection
):
    message = planted.message
    Message.objects.filter(pk=message.pk).update(
        expires_at=timezone.now() - timedelta(hours=1), gate_expires_at=None
    )
    upstream.holds()
    type(connection).objects.update(api_url=upstream.url)
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
    ):
        assert message not in found
    for found in (
        by_rule.not_asked(),
        now.to_hydrate(),
        now.to_count(),
        now.to_ask_about(),
        now.held_since(planted.planted_at),
    ):
        assert message not in found
    assert not Arrival.objects.filter(upstream_id=message.upstream_id).exists()
    assert reads.ask_about(message_id=message.pk, now=timezone.now()) == "local"
    assert (
        reads.read_everything(connection_id=connection.pk, now=timezone.now())
        != "unreachable"
    )
    message.refresh_from_db()
    assert message.state == "held"


# --- Planting.


def on(mailbox, admin, one_in=3, **fields):
    second = make_person("second@yourteam.example", "Second Admin", "admin")
    setting = PracticeSetting(
        mailbox=mailbox, one_in=one_in, asked_by=admin, accepted_by=second, **fields
    )
    setting.save()
    PracticeSetting.objects.update(since=timezone.now() - timedelta(days=30))
    return setting


def test_one_in_so_many_held_messages_is_planted(approved, connection, mailbox, admin):
    setting = on(mailbox, admin, one_in=3, place=2, counted_to=approved.pk)
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


def test_each_round_has_exactly_one_at_a_place_of_its_own(
    approved, connection, mailbox, admin
):
    setting = on(mailbox, admin, one_in=4)
    rng = random.Random(2)
    make_message(connection)
    places = []
    for number in range(400):
        setting.counted_to = approved.pk
        places += [number % 4] if planting.count_on(setting, rng) is not None else []
    assert len(places) == 100
    assert set(places) == {0, 1, 2, 3}


@pytest.mark.parametrize("stop", ["kill switch", "paused", "inactive", "waiting"])
def test_nothing_is_planted_where_something_stops_it(
    stop, approved, connection, mailbox, admin
):
    setting = on(mailbox, admin, one_in=2, place=1, counted_to=approved.pk)
    if stop == "kill switch":
        pull(actor=actor_of(admin), reason="Stop", mailbox=mailbox)
    elif stop == "paused":
        type(connection).objects.update(paused_at=Now())
    elif stop == "inactive":
        type(mailbox).objects.update(is_active=False)
    else:
        with transaction.atomic():
            planting.plant_in(mailbox, rng=random.Random(1), signed_by="")
    before = PracticeMessage.objects.count()
    make_message(connection)
    assert planting.plant_due([setting.pk]) == 0
    assert PracticeMessage.objects.count() == before


@pytest.mark.parametrize(
    "error", [RuntimeError("killed"), OperationalError("PostgreSQL is away")]
)
def test_worker_that_dies_while_planting_leaves_nothing(
    error, approved, connection, mailbox, admin, monkeypatch
):
    setting = on(mailbox, admin, one_in=2, place=1, counted_to=approved.pk)
    make_message(connection)

    def die(*args, **kwargs):
        raise error

    with monkeypatch.context() as broken:
        broken.setattr(planting, "record", die)
        assert planting.plant_due([setting.pk]) == 0
    assert not Message.objects.filter(is_local=True).exists()
    assert not Entry.objects.of_action("practice.planted").exists()
    assert planting.plant_due([setting.pk]) == 1


@pytest.mark.django_db(transaction=True)
def test_two_sweeps_at_once_plant_one(approved, connection, mailbox, admin):
    setting = on(mailbox, admin, one_in=2, place=1, counted_to=approved.pk)
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


@pytest.mark.parametrize("is_ours", [True, False])
def test_hosted_connections_have_them_too_and_their_whole_reads_close_none(
    is_ours, approved, mailbox, upstream
):
    Connection.objects.update(is_our_gateway=is_ours, api_url=upstream.url)
    upstream.holds()
    with transaction.atomic():
        planted = planting.plant_in(
            Mailbox.objects.select_related("connection").get(),
            rng=random.Random(4),
            signed_by="",
        )
    for _ in range(2):
        Connection.objects.update(reading_until=None, read_at=None)
        assert (
            reads.read_everything(
                connection_id=mailbox.connection_id, now=timezone.now()
            )
            != "unreachable"
        )
    planted.message.refresh_from_db()
    assert planted.message.state == "held"
    # MultiMail is never asked about it, so that it does not learn that there is
    # something.
    assert planted.message.upstream_id not in str(upstream.calls)


@pytest.mark.parametrize("end", ["time", "mailbox", "deleted mailbox"])
def test_it_ends_quietly_by_itself(end, planted, mailbox):
    if end == "time":
        PracticeMessage.objects.update(ends_at=timezone.now() - timedelta(seconds=1))
    elif end == "mailbox":
        type(mailbox).objects.update(is_active=False)
    else:
        mailbox.delete()
    assert tasks.sweep() == "swept"
    planted.refresh_from_db()
    planted.message.refresh_from_db()
    assert planted.outcome == "unanswered"
    assert planted.message.state == "cancelled"


def test_removing_the_connection_ends_it(planted, connection, admin):
    remove_connection(
        connection=connection,
        typed_name=connection.name,
        actor=actor_of(admin),
        now=timezone.now(),
    )
    assert tasks.sweep() == "swept"
    planted.refresh_from_db()
    assert planted.outcome == "unanswered"


def test_erasing_the_copied_message_erases_the_copy(planted, approved):
    seal_here()
    call_command(
        "audit_erase", message=str(approved.public_id), because="A request", verbosity=0
    )
    planted.refresh_from_db()
    details = (
        Entry.objects.of_message(planted.message.public_id)
        .of_action("message.fetched")
        .with_details()
        .get()
    )
    assert planted.outcome == "unanswered"
    assert details.details == {}


# --- Who switches it on, and who is told.


def test_switching_on_always_takes_two_admins_and_off_takes_one(
    mailbox, admin, reviewer, planted
):
    with pytest.raises(ActNotAllowed):
        switch_practice_on(actor=actor_of(reviewer), mailbox=mailbox, one_in=10)
    with pytest.raises(SecondAdminNeeded) as needed:
        switch_practice_on(actor=actor_of(admin), mailbox=None, one_in=10)
    second = make_person("second@yourteam.example", "Second Admin", "admin")
    from people.second_admin.changes import ask_second_admin

    change = ask_second_admin(
        asked=needed.value.asked, reason="To learn", actor=actor_of(admin)
    )
    with pytest.raises(Exception, match="asked for this change yourself"):
        accept(change_id=change.pk, actor=actor_of(admin))
    accept(change_id=change.pk, actor=actor_of(second))
    setting = PracticeSetting.objects.get()
    assert setting.mailbox is None
    assert setting.one_in == 10
    assert setting.asked_by == admin
    assert setting.accepted_by == second
    entry = Entry.objects.of_action("practice.switched_on").get()
    assert entry.detail.fields["accepted_by"] == "Second Admin"
    assert entry.actor_id == str(admin.pk)
    assert PendingChange.objects.get().state == "accepted"
    assert switch_practice_off(actor=actor_of(second), mailbox=None)
    off = Entry.objects.of_action("practice.switched_off").get()
    assert off.actor_id == str(second.pk)
    assert off.detail.fields["signed_by"] == "Ida Lindqvist and Second Admin"
    planted.refresh_from_db()
    assert planted.outcome == "unanswered"
    assert not PracticeSetting.objects.exists()


def test_reviewers_are_told_until_they_confirm(signed_in, mailbox, admin, reviewer):
    client = signed_in(reviewer)
    assert "practice" not in client.get("/queue/").text
    on(mailbox, admin)
    assert "I know" in client.get("/queue/").text
    assert "I know" not in signed_in(admin).get("/queue/").text
    client = signed_in(reviewer)
    client.post(reverse("confirm-practice"))
    assert "practice" not in client.get("/queue/").text
    assert "Practice messages" in client.get(reverse("practice")).text
    PracticeNotice.objects.update(confirmed_at=timezone.now() - timedelta(days=90))
    assert "I know" in client.get("/queue/").text
