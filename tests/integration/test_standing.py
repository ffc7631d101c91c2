"""Standing approvals: what they approve, what they leave to people, and what ends them."""

from dataclasses import replace
from datetime import timedelta

import pytest
from django.db import DatabaseError, transaction
from django.db.models.functions import Now
from django.urls import reverse
from django.utils import timezone

from alerts.deliveries.event_bodies import _decision_data
from alerts.models import Destination
from approvals.decisions import execute
from approvals.decisions.by_rule import approve_due, give_to_people, to_stop
from approvals.decisions.execute import run_decision
from approvals.decisions.withdraw import confirm_approval
from approvals.desk_messages import desk_messages
from approvals.intake import ingest
from approvals.models import Decision, Replacement, Review
from approvals.standing import commands, record
from approvals.standing.record import lines_of
from approvals.sweeping import DUTIES
from audit.models import Entry
from audit.recording import record as append
from common.postgres import clock
from connections.keys.commands import set_owner
from mirror.errors import ActNotAllowed
from mirror.models import Message, Thread
from people.models import Grant, OrganisationSettings, PendingChange
from people.second_admin.changes import accept
from people.second_admin.registry import SecondAdminNeeded
from policy.kill_switch import pull
from policy.models import KeyOwner, StandingApproval, StandingUse
from tests.cards import embed_of
from tests.factories import (
    actor_of,
    change_row,
    event_body,
    make_list,
    make_message,
    pending_row,
    rolled_back,
    show_row,
)
from tests.integration.deciding import at_once, decide, make_due
from tests.integration.standing import (
    KEY,
    make_record,
    make_refund,
    sign,
    terms,
)
from tests.integration.test_several_approvals import put_in_force
from tests.markup import words_of
from tests.signing import resume


def the_use():
    return StandingUse.objects.latest("pk")


def end(standing, admin):
    return commands.end_standing(
        standing_id=standing.pk, actor=actor_of(admin), because="No longer wanted"
    )


def give_back(decision):
    """Give to people what is over or stopped, as the sweep does; return the decision."""
    for key in to_stop().values_list("pk", flat=True):
        give_to_people(decision_id=key)
    decision.refresh_from_db()
    return decision


def what_stops(standing, admin, message):
    """What keeps it from approving, by a word."""
    owner = {"connection": message.connection, "upstream_key_id": "01KEY"}
    return {
        "switch": lambda: pull(actor=actor_of(admin), reason="Stop"),
        "rule": lambda: put_in_force({"approvals": {"0": 2}}),
        "sign-in": lambda: put_in_force({"reauthenticate": True}),
        "allowlist": lambda: make_list("acme.example"),
        "owner": lambda: KeyOwner.objects.create(**owner, person=admin),
        "off": lambda: commands.switch_standing(actor=actor_of(admin), on=False),
        "ended": lambda: end(standing, admin),
        "date": lambda: end_date(StandingApproval.objects.get(pk=standing.pk)),
        "thread": lambda: Message.objects.update(thread_id="01THREAD"),
    }


def test_record_proposes_a_class_with_its_evidence_and_a_rehearsal(
    past, admin, reviewer, monkeypatch
):
    [found] = record.proposals(actor_of(admin))
    assert (found.evidence.approved, found.evidence.median) == (3, 9.0)
    assert found.scope.recipients == ("dana@northwind.example",)
    assert [(currency, str(value)) for currency, value in found.scope.sums] == [
        ("EUR", "40.23")
    ]
    rehearsed = record.rehearse(
        replace(found.scope, recipients=("acme.example",)), cap_an_hour=50
    )
    assert (rehearsed.approved, rehearsed.left_to_people) == (0, 3)
    assert rehearsed.left == {"It goes to somebody else.": 3}
    monkeypatch.setattr(record, "SAMPLE_OF", 3)
    rehearsed = record.rehearse(found.scope, cap_an_hour=50)
    assert (rehearsed.samples, rehearsed.approved, rehearsed.over_cap) == (1, 2, 0)
    assert record.rehearse(found.scope, cap_an_hour=0).over_cap == 3
    # Reviewers and admins of other places are proposed nothing; nor is a short record.
    assert record.proposals(actor_of(reviewer)) == []
    monkeypatch.setattr(record, "LEAST", 4)
    assert record.proposals(actor_of(admin)) == []


@pytest.mark.slow
def test_rejection_is_named_in_the_evidence_and_a_late_one_keeps_it_from_being_proposed(
    past, admin, connection, reviewer, monkeypatch
):
    [bad] = make_record(connection, reviewer, number=1, outcome="reject")
    assert record.proposals(actor_of(admin)) == []
    found = record.proposal_for(mailbox=bad.mailbox_id, key="01KEY", shape=bad.shape)
    assert found.evidence.against == (str(bad.public_id),)
    like = {"mailbox": bad.mailbox_id, "key": "01KEY", "shape": bad.shape}
    for least_share, why in ((95, "only 75 %"), (50, "less than 14 days ago")):
        monkeypatch.setattr(record, "LEAST_SHARE", least_share)
        with pytest.raises(commands.StandingRefused, match=why):
            commands.sign_standing(actor=actor_of(admin), **like, terms=terms())
    # It counts, however many messages came since.
    oldest = Message.objects.earliest("pk")
    Decision.objects.filter(message=oldest).update(outcome="reject")
    monkeypatch.setattr(record, "MOST_READ", 2)
    assert str(oldest.public_id) in record.proposal_for(**like).evidence.against


def test_one_admin_alone_signs_nothing_whatever_the_organisation_has_set(
    past, admin, reviewer
):
    like = {
        "mailbox": past[0].mailbox_id,
        "key": "01KEY",
        "shape": past[0].shape,
        "terms": terms(),
    }
    with pytest.raises(SecondAdminNeeded):
        commands.sign_standing(actor=actor_of(admin), **like)
    with pytest.raises(ActNotAllowed):
        commands.sign_standing(actor=actor_of(reviewer), **like)
    OrganisationSettings.objects.update(standing_since=None)
    with pytest.raises(commands.StandingRefused, match="switched off"):
        commands.sign_standing(actor=actor_of(admin), **like)
    with pytest.raises(SecondAdminNeeded):
        commands.switch_standing(actor=actor_of(admin), on=True)
    assert not StandingApproval.objects.exists()


def test_terms_that_nobody_can_sign_are_refused():
    for changed in (
        {"ends_at": clock() + timedelta(days=200)},
        {"delay_minutes": 0},
        {"cap_an_hour": 0},
    ):
        with pytest.raises(commands.StandingRefused):
            commands.check_terms(terms(**changed))


def test_it_approves_after_its_delay_and_the_decision_names_rule_version_and_signatories(
    standing, connection, upstream
):
    message = make_refund(connection, 3999)
    assert approve_due() == 1
    decision = Decision.objects.get(message=message)
    assert decision.outcome == "approve"
    assert decision.rule == "standing 1 version 1"
    assert decision.given_by is None
    assert decision.standing == standing
    assert decision.due_at - decision.recorded_at == timedelta(minutes=10)
    said = Entry.objects.filter(action="decision.recorded").latest("pk").detail.fields
    assert said["rule"] == "standing 1 version 1"
    assert said["signed_by"] == f"{standing.asked_by} and Sam Second"
    assert message not in desk_messages().waiting_for(
        standing.asked_by.actor(surface="web")
    )
    make_due()
    serve(upstream, connection, message)
    assert run_decision(decision_id=decision.pk) == "applied"
    [sent] = upstream.decisions
    assert sent["action"] == "approve"
    assert sent["expected_fingerprint"] == message.revision.fingerprint
    assert "standing approval 1" in sent["decided_by"]
    assert approve_due() == 0


def serve(upstream, connection, message):
    """Let MultiMail hold the message as it was read, and take a decision."""
    change_row(connection, api_url=upstream.url)
    content = message.revision.content
    upstream.holds(
        pending_row(
            message.upstream_id,
            subject=content["subject"],
            markdown=content["markdown"],
            **KEY,
        )
    )
    upstream.decides(200, status="approved", id=message.upstream_id)


REFUND = "Hello Dana,\n\nyour refund of {} for order 3999 is on its way."
OUTSIDE = {
    "another key's name": ({"sent_by_key_name": "Other bot"}, "name or owner has changed"),
    "another text": ({"markdown": "Hello Dana,\n\nplease pay 10.00 EUR to us at once, for order 3999."}, ""),
    "a hidden copy": ({"bcc": ["eve@evil.example"]}, "goes to somebody else"),
    "a larger sum": ({"number": 4471}, "larger sum"),
    "a Discord command": ({"metadata": {"discord_user": "ana#1"}}, "not come from an agent"),
    "another name": ({"from_name": "The bank"}, "sender's name"),
    "replies elsewhere": ({"reply_to": "x@yourteam.example"}, "Replies would go"),
    "at a time": ({"send_at": "2027-01-01T10:00:00Z"}, "at a certain time"),
}  # fmt: skip


def test_what_its_sentence_does_not_say_is_left_to_people(standing, connection):
    for what, (fields, why) in OUTSIDE.items():
        with rolled_back():
            message = make_refund(connection, **{"number": 3999, **fields})
            assert approve_due() == bool(why), what
            assert not Decision.objects.filter(message=message).exists(), what
            if why:
                assert (the_use().kind, why in the_use().why) == ("left", True), what


def end_date(standing):
    """Put one in its place whose date has come: a trigger keeps what was signed."""
    StandingApproval.objects.update(state="ended")
    standing.pk = None
    standing.number = standing.number + 1
    standing.ends_at = Now()
    standing.save(force_insert=True)
    standing.refresh_from_db()


def test_whatever_keeps_a_person_from_approving_keeps_it_too_and_is_asked_again_before_the_call(
    standing, connection, admin, reviewer, upstream
):
    message = make_refund(connection, 3999)
    stops = what_stops(standing, admin, message)

    def give_one_of_two():
        put_in_force({"approvals": {"0": 2}})
        decide(message, reviewer)

    for what, happens in {**stops, "verdict": give_one_of_two}.items():
        with rolled_back():
            happens()
            approve_due()
            approved = Decision.objects.filter(message=message, outcome="approve")
            assert not approved.exists(), what
    assert approve_due() == 1
    decision = Decision.objects.get(message=message)
    serve(upstream, connection, message)
    make_due()

    def change_content():
        show_row(message, subject="Your refund for order 1", **KEY)

    for what, happens in {**stops, "content": change_content}.items():
        with rolled_back():
            happens()
            run_decision(decision_id=decision.pk)
            assert give_back(decision).state in ("refused", "undone"), what
            assert upstream.decisions == [], what
            assert message in desk_messages().in_queue(), what
            assert approve_due() == 0, "what it gave to people stays with them"


@pytest.mark.slow
def test_it_ends_during_the_last_read_and_no_call_leaves(
    standing, connection, admin, upstream, monkeypatch
):
    message = make_refund(connection, 3999)
    approve_due()
    decision = Decision.objects.get(message=message)
    serve(upstream, connection, message)
    make_due()

    real = execute.upstream_reason

    def read_then_end(*asked):
        result = real(*asked)
        end(standing, admin)
        return result

    monkeypatch.setattr(execute, "upstream_reason", read_then_end)
    run_decision(decision_id=decision.pk)
    assert upstream.decisions == []
    monkeypatch.undo()
    assert give_back(decision).state in ("refused", "undone")


@pytest.mark.slow
def test_every_tenth_goes_to_a_person_who_is_not_told_and_the_cap_leaves_the_rest(
    standing, admin, second, connection, reviewer
):
    end(standing, admin)
    sign(Message.objects.latest("pk"), admin, second, cap_an_hour=10)
    messages = [make_refund(connection, 3900 + number) for number in range(13)]
    assert approve_due() == 13
    kinds = [one.kind for one in StandingUse.objects.order_by("pk")]
    assert kinds[:10].count("sampled") == 1
    assert kinds.count("approved") == 10
    assert kinds.count("over_cap") == 3 - kinds.count("sampled")
    sample = Message.objects.get(standing_use__kind="sampled", pk__lte=messages[9].pk)
    decision = decide(sample, reviewer).decision
    change_row(decision, state="applied")
    DUTIES["samples"]()
    use = StandingUse.objects.get(message=sample)
    assert (use.outcome, use.person) == ("agreed", reviewer)
    assert StandingApproval.objects.active().exists()


def test_it_ends_by_itself(standing, connection, reviewer, admin, second):
    message = make_refund(connection, 3999)
    key = {
        "connection": connection,
        "key_id": "01KEY",
        "name": "Refund bot",
        "person": reviewer,
    }

    def finding():
        StandingUse.objects.create(standing=standing, message=message, kind="sampled")
        Review.objects.filter(pk=message.pk).update(rules=["looks_different"])

    for what, happens in {
        "reject": lambda: decide(message, reviewer, "reject", "No"),
        "edit": lambda: edit(message, reviewer),
        "complaint": lambda: report(standing, connection, "message.complained"),
        "bounces": lambda: report(standing, connection, "message.bounced"),
        "finding": finding,
        "key": lambda: append(
            "api_key.changed",
            actor=actor_of(admin),
            connection=connection.pk,
            details={"key": "01KEY"},
        ),
        "key here": lambda: set_owner(**key, actor=actor_of(admin)),
        "date": lambda: end_date(StandingApproval.objects.get(pk=standing.pk)),
        "signatory": lambda: Grant.objects.filter(person=second).delete(),
        "hand": lambda: end(standing, admin),
    }.items():
        with rolled_back():
            happens()
            DUTIES["standing approvals over"]()
            ended = StandingApproval.objects.latest("pk")
            assert (ended.state, bool(ended.ended_because)) == ("ended", True), what
            assert Entry.objects.filter(action="standing.ended").exists(), what
            another = make_refund(connection, 3998)
            approve_due()
            assert not Decision.objects.filter(message=another).exists(), what


def test_next_version_counts_what_this_one_approved(standing, connection):
    before = make_refund(connection, 3999)
    StandingUse.objects.create(standing=standing, message=before, kind="approved")
    StandingApproval.objects.update(state="ended")
    standing.pk = None
    standing.version = 2
    standing.cap_an_hour = 1
    standing.save(force_insert=True)
    make_refund(connection, 3998)
    approve_due()
    assert the_use().kind == "over_cap"


def corrected(message, person):
    return Replacement.objects.create(
        message=message,
        root=message,
        revision=message.revision,
        connection=message.connection,
        person=person,
        to=["dana@northwind.example"],
        markdown="Hello",
        reference="EDIT",
    )


def edit(message, person):
    """Ask for a corrected copy of the message, as its page does."""
    row = corrected(message, person)
    append(
        "message.edit_asked",
        actor=actor_of(person),
        message=message.public_id,
        about=row,
    )


def report(standing, connection, event):
    """Let MultiMail report what became of messages that it approved: two bounce, or one
    is complained of.
    """
    for number in range(2 if event == "message.bounced" else 1):
        message = make_refund(connection, 3990 + number)
        StandingUse.objects.create(standing=standing, message=message, kind="approved")
        change_row(
            message, state="delivered" if event == "message.complained" else "sent"
        )
        body = event_body(event, email_id=message.upstream_id)
        ingest.receive_webhook(connection=connection, body=body, secret_used="current")


@pytest.mark.slow
def test_a_reviewer_and_one_rejection_elsewhere_end_nothing(
    standing, connection, reviewer
):
    with pytest.raises(ActNotAllowed):
        end(standing, reviewer)
    decide(
        make_message(
            connection, subject="Something else", markdown="Quite another text", **KEY
        ),
        reviewer,
        "reject",
        "No",
    )
    assert StandingApproval.objects.active().count() == 1


def test_what_two_admins_signed_stays_as_it_is_and_both_differ(standing, admin):
    for change in (
        {"cap_an_hour": 1000},
        {"scope": {}},
        {"ends_at": Now()},
        {"accepted_by": admin},
    ):
        with pytest.raises(DatabaseError), transaction.atomic():
            StandingApproval.objects.update(**change)
    with pytest.raises(DatabaseError), transaction.atomic():
        StandingApproval.objects.all().delete()
    with pytest.raises(DatabaseError), transaction.atomic():
        Decision.objects.update(given_by=None)


def test_a_new_version_ends_the_one_that_it_replaces(standing, admin, second):
    actor = replace(actor_of(admin), second=str(second.pk))
    like = {
        "mailbox": standing.mailbox_id,
        "key": "01KEY",
        "shape": standing.shape,
        "terms": terms(cap_an_hour=5),
    }
    with pytest.raises(commands.StandingRefused, match="already: change that"):
        commands.sign_standing(actor=actor, **like)
    with pytest.raises(SecondAdminNeeded) as needed:
        commands.sign_standing(actor=actor_of(admin), replaces=standing.pk, **like)
    assert f"At most {standing.cap_an_hour} an hour" in needed.value.asked.before
    made = commands.sign_standing(actor=actor, replaces=standing.pk, **like)
    standing.refresh_from_db()
    assert (made.number, made.version, standing.state) == (1, 2, "ended")
    # A complaint about what the first version approved ends the second.
    report(standing, standing.mailbox.connection, "message.complained")
    made.refresh_from_db()
    assert made.state == "ended"


def test_two_sweeps_at_one_moment_meet_a_message_once(
    transactional_db, standing, connection
):
    make_refund(connection, 3999)
    assert sorted(at_once(approve_due, approve_due)) in ([0, 1], [1, 1], [0, 0])
    assert Decision.objects.filter(standing=standing).count() == 1


LIST = "/policy/standing/"


def page_of(client, person, path=LIST, **query):
    resume(client, person)
    answer = client.get(path, query)
    assert answer.status_code == 200
    return words_of(answer)


def about(message, **fields):
    message = Message.objects.get(pk=message.pk)
    return {
        "mailbox": message.mailbox_id,
        "key": message.sent_by_key,
        "shape": message.shape,
        **fields,
    }


def typed(message, **fields):
    end = f"{timezone.now() + timedelta(days=30):%Y-%m-%d}"
    terms = {
        "ends_on": end,
        "cap_an_hour": "20",
        "delay_minutes": "15",
        "bounce_percent": "5",
        "sum_EUR": "40.23",
    }
    return about(
        message,
        **{**terms, "recipients": "dana@northwind.example", "replaces": "", **fields},
    )


def ask(client, message, reason, **fields):
    """Ask a second admin to sign it; return the change that waits."""
    asked = client.post("/policy/standing/ask/", typed(message, **fields)).text
    packed = asked.partition('name="change" value="')[2].partition('"')[0]
    client.post(reverse("ask-second-admin"), {"change": packed, "reason": reason})
    return PendingChange.objects.get()


@pytest.mark.slow
def test_admin_asks_a_second_accepts_and_the_list_shows_both_names(
    client, past, admin, second, auditor
):
    assert "3 such messages in 60 days" in page_of(client, auditor)
    page = page_of(client, admin, "/policy/standing/propose/", **about(past[-1]))
    assert "Nothing that people did not approve would have been let through" in page
    change = ask(client, past[-1], "They are always right.")
    assert "Waiting for a second admin" in page_of(client, admin)
    resume(client, second)
    link = f"/policy/standing/propose/?change={change.pk}"
    assert link in client.get(reverse("pending-changes")).text
    page = page_of(client, second, "/policy/standing/propose/", change=change.pk)
    assert "They are always right." in page
    assert "Ask a second admin" not in page
    accept(change_id=change.pk, actor=actor_of(second))
    made = StandingApproval.objects.get()
    assert (made.delay, made.cap_an_hour) == (timedelta(minutes=15), 20)
    assert dict(made.scope["sums"])["EUR"] == "40.23"
    assert f"{admin} and Sam Second" in page_of(client, admin)


@pytest.mark.slow
def test_chosen_bounds_are_rehearsed_and_only_narrower_than_the_record(
    client, past, admin
):
    resume(client, admin)
    for fields, said in (
        ({"sum_EUR": "40.22"}, "It names a larger sum, or one in another currency."),
        ({"sum_EUR": "41"}, "Enter at most 40.23, or nothing."),
        ({"recipients": "gmail.com"}, "not among the recipients of the record"),
        ({"recipients": "northwind.example"}, "not among the recipients"),
        ({"recipients": "Dana@northwind.example"}, "would have been let through"),
    ):
        answer = client.post("/policy/standing/propose/", typed(past[-1], **fields))
        assert said in answer.text
    assert not PendingChange.objects.exists()


@pytest.mark.slow
def test_its_decision_names_rule_version_and_signatories_wherever_it_shows(
    client, standing, connection, auditor, admin
):
    message = make_refund(connection, 3999)
    approve_due()
    message = Message.objects.get(pk=message.pk)
    named = f"standing approval 1, version 1 (signed by {admin} and Sam Second)"
    card = embed_of(message, Destination(privacy="headers"))["description"]
    # Near midnight it names the date too.
    assert f"by {named}. Leaves " in card.replace("\\", "")
    assert "Read it, or stop it" in card
    assert f"Approved by {named}." in page_of(
        client, auditor, f"/queue/{message.public_id}/"
    )
    Decision.objects.filter(message=message).update(state="applied")
    message = Message.objects.get(pk=message.pk)
    assert _decision_data("message.approved", message, "headers")["decided_by"] == named
    # A minimal destination learns no names.
    assert (
        _decision_data("message.approved", message, "minimal")["decided_by"]
        == "standing approval 1, version 1"
    )


@pytest.mark.slow
def test_auditor_stops_it_by_the_form_of_its_page(
    client, standing, connection, auditor
):
    message = make_refund(connection, 3999)
    approve_due()
    resume(client, auditor)
    page = words_of(client.post(f"/queue/{message.public_id}/undo/", follow=True))
    assert f"Undone by {auditor}." in page
    assert Decision.objects.get(message=message).state == "undone"
    assert approve_due() == 0
    assert message in desk_messages().in_queue()


@pytest.mark.slow
def test_thread_is_read_before_a_message_is_looked_at(
    standing, connection, monkeypatch
):
    asked = []
    monkeypatch.setattr("approvals.decisions.by_rule.enqueue_freshen", asked.append)
    message = make_refund(connection, 3999)
    change_row(message, thread_id="01THREAD")
    assert approve_due() == 0
    assert asked == [message]
    thread = Thread.objects.create(mailbox=message.mailbox, upstream_id="01THREAD")
    assert approve_due() == 0
    change_row(thread, read_at=timezone.now(), wanted=False)
    assert approve_due() == 1
    assert Decision.objects.get(message=message).standing == standing


@pytest.mark.slow
def test_nothing_tells_of_a_blind_sample_until_it_is_decided(
    client, standing, connection, reviewer, admin
):
    plain = make_refund(connection, 3998)
    sample = make_refund(connection, 3999)
    StandingUse.objects.create(
        standing=standing, message=plain, kind="left", why="It has a finding. And more."
    )
    StandingUse.objects.create(standing=standing, message=sample, kind="sampled")
    resume(client, reviewer)
    for path in (
        "/queue/?format=json",
        f"/queue/{sample.public_id}/",
        f"/audit/trace/{sample.public_id}/",
    ):
        text = client.get(path).text.casefold()
        assert "sampl" not in text.replace("example", "")
        assert "standing_use" not in text
    [line] = lines_of([standing], actor_of(admin))
    assert (line.samples, line.left_to_people) == (0, 1)
    assert line.reasons == [("It has a finding.", 1)]


def test_message_that_somebody_edits_is_left_to_people(standing, connection, reviewer):
    message = make_refund(connection, 3999)
    # Before the standing approval was signed: a later edit would end it.
    corrected(message, reviewer)
    approve_due()
    assert not Decision.objects.filter(message=message).exists()
    Replacement.objects.update(state="refused")
    approve_due()
    assert Decision.objects.filter(message=message).exists()


def test_its_approval_that_may_have_been_lost_can_be_sent_again_under_a_policy(
    standing, connection, reviewer
):
    put_in_force({"when": {"risk": "high"}, "then": {"approvals": {"0": 2}}})
    message = make_refund(connection, 3999)
    approve_due()
    Decision.objects.filter(message=message).update(
        state="unknown", attempt=1, may_have_left=True, seen_held=2
    )
    confirmed = confirm_approval(message=message.public_id, actor=actor_of(reviewer))
    assert confirmed.state == "recorded"
