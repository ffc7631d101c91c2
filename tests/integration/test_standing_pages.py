"""The pages of standing approvals, and where their decisions show."""

from datetime import timedelta

from django.urls import reverse
from django.utils import timezone

from alerts.deliveries.event_bodies import _decision_data
from alerts.models import Destination
from approvals.decisions.by_rule import approve_due
from approvals.decisions.status import shown_status
from approvals.desk_messages import desk_messages
from approvals.models import Decision
from approvals.standing.record import lines_of
from mirror.models import Message, Thread
from people.models import OrganisationSettings, PendingChange
from people.second_admin.changes import accept
from policy.models import StandingApproval, StandingUse
from tests.cards import embed_of
from tests.factories import actor_of
from tests.integration.deciding import decide
from tests.integration.standing import make_record, make_refund, switch_on
from tests.markup import says, words_of
from tests.signing import resume

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
        "sum_EUR": "41",
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


def test_admin_asks_a_second_accepts_and_the_list_shows_both_names(
    client, past, admin, second, auditor, reviewer
):
    for reader in (admin, auditor):
        text = page_of(client, reader)
        assert (
            "24 such messages in 60 days, 24 approved unchanged in a median of 9 s, none rejected"
            in text
        )
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
    assert made.delay == timedelta(minutes=15)
    assert made.cap_an_hour == 20
    assert dict(made.scope["sums"])["EUR"] == "41"
    text = page_of(client, admin)
    assert f"{admin} and Sam Second" in text
    assert "15 min" in text
    resume(client, reviewer)
    assert client.get(LIST).status_code == 403


def test_other_terms_are_a_new_version_that_begins_with_those_of_the_one_in_force(
    client, standing, past, admin, second, connection, reviewer
):
    # Long ago, so that the record alone would not do.
    Decision.objects.filter(message__in=past[3:]).delete()
    which = about(past[-1], replaces=standing.pk)
    page = page_of(client, admin, "/policy/standing/propose/", **which)
    assert "Standing approval 1: version 2" in page
    assert "This cannot be signed" not in page
    change = ask(client, past[-1], "Fewer.", replaces=standing.pk, cap_an_hour="7")
    accept(change_id=change.pk, actor=actor_of(second))
    text = page_of(client, admin)
    assert "Version 2" in text
    assert "7 an hour" in text
    assert f"by {admin}: Replaced by version 2." in text


def test_wrong_terms_are_named_and_nothing_typed_is_lost(client, past, admin):
    resume(client, admin)
    for fields, sentence in (
        ({"ends_on": "soon"}, "Choose a day in the next 180 days."),
        ({"delay_minutes": "0"}, "Enter 1 to 1,440 minutes."),
        ({"recipients": "gmail.com"}, "Anybody can have an address at gmail.com"),
        ({"recipients": "nobody at all"}, "nobody"),
        ({"sum_EUR": "many"}, "Enter a sum such as 250.00"),
    ):
        answer = client.post(
            "/policy/standing/ask/", typed(past[-1], cap_an_hour="37", **fields)
        )
        says(answer, 422, sentence)
        for kept in ('value="37"', *fields.values()):
            assert kept in answer.text, fields
    assert not PendingChange.objects.exists()


def test_rehearsal_shows_in_red_what_people_did_not_approve(
    client, past, admin, connection, reviewer
):
    [bad] = make_record(connection, reviewer, number=1, outcome="reject")
    resume(client, admin)
    answer = client.post("/policy/standing/propose/", typed(past[-1]))
    assert "It would have let through 1" in words_of(answer)
    assert answer.text.count(f"/queue/{bad.public_id}/") >= 2
    assert "This cannot be signed." in answer.text
    text = page_of(client, admin)
    assert "Nothing is proposed" in text


def test_switch_waits_for_a_second_admin_on_and_is_off_at_once(client, admin, second):
    resume(client, admin)
    on = OrganisationSettings.objects.filter(standing_since__isnull=False)
    assert "Ask a second admin" in client.post("/policy/standing/on/").text
    assert not on.exists()
    switch_on()
    client.post("/policy/standing/off/")
    assert not on.exists()
    assert f"Switched off by {admin}" in page_of(client, admin)


def test_ending_asks_for_a_reason_and_the_ended_one_says_why_and_by_whom(
    client, standing, admin, auditor
):
    path = f"/policy/standing/{standing.pk}/end/"
    resume(client, auditor)
    assert client.post(path, {"reason": "No"}).status_code == 403
    resume(client, admin)
    answer = client.post(path, {"reason": " "})
    says(answer, 422, "Give a reason")
    client.post(path, {"reason": "The text changes."})
    text = page_of(client, admin)
    assert f"by {admin}: The text changes." in text
    assert "None: people decide every message." in text


def test_its_decision_names_rule_version_and_signatories_wherever_it_shows(
    client, standing, connection, reviewer, auditor, admin
):
    message = make_refund(connection, 3999)
    approve_due()
    message = Message.objects.get(pk=message.pk)
    named = f"standing approval 1, version 1 (signed by {admin} and Sam Second)"
    due = Decision.objects.get(message=message).due_at
    leaves = f"Approved by {named}. Leaves at {due:%H:%M} UTC unless somebody stops it"
    assert shown_status(message).detail == leaves
    card = embed_of(message, Destination(privacy="headers"))["description"]
    assert f"by {named}. Leaves at" in card.replace("\\", "")
    assert "Read it, or stop it" in card
    assert "1 message leaves by standing approvals: see them" in page_of(
        client, reviewer, "/queue/"
    )
    assert leaves in page_of(client, reviewer, "/queue/", tab="leaving", standing="yes")
    assert f"Approved by {named}." in page_of(
        client, auditor, f"/queue/{message.public_id}/"
    )
    assert (
        f"standing approval 1, version 1 , signed by {admin} and Sam Second"
        in page_of(client, auditor, f"/audit/trace/{message.public_id}/")
    )
    month = f"{timezone.now():%Y-%m}"
    assert "Standing approval 1, version 1" in page_of(
        client, auditor, "/audit/reports/decisions/", month=month
    )
    rows = {"month": month, "who": "rule-standing 1 version 1"}
    assert named.capitalize()[:20] in page_of(
        client, auditor, "/audit/reports/decisions/rows/", **rows
    )
    Decision.objects.filter(message=message).update(state="applied")
    message = Message.objects.get(pk=message.pk)
    assert _decision_data("message.approved", message, "headers")["decided_by"] == named
    # A minimal destination learns no names.
    assert (
        _decision_data("message.approved", message, "minimal")["decided_by"]
        == "standing approval 1, version 1"
    )


def test_auditor_stops_it_by_the_form_of_its_page(
    client, standing, connection, auditor
):
    message = make_refund(connection, 3999)
    approve_due()
    resume(client, auditor)
    page = words_of(client.post(f"/queue/{message.public_id}/undo/", follow=True))
    assert "Stopped." in page
    assert f"Undone by {auditor}." in page
    assert Decision.objects.get(message=message).state == "undone"
    assert approve_due() == 0
    assert message in desk_messages().in_queue()


def test_thread_is_read_before_a_message_is_looked_at(
    standing, connection, monkeypatch
):
    asked = []
    monkeypatch.setattr("approvals.decisions.by_rule.enqueue_freshen", asked.append)
    message = make_refund(connection, 3999)
    Message.objects.filter(pk=message.pk).update(thread_id="01THREAD")
    assert approve_due() == 0
    assert asked == [message]
    thread = Thread.objects.create(mailbox=message.mailbox, upstream_id="01THREAD")
    assert approve_due() == 0
    Thread.objects.filter(pk=thread.pk).update(read_at=timezone.now(), wanted=False)
    assert approve_due() == 1
    assert Decision.objects.get(message=message).standing == standing


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
    actor = actor_of(admin)
    [line] = lines_of([standing], actor)
    assert line.samples == 0
    assert line.left_to_people == 1
    assert line.reasons == [("It has a finding.", 1)]
    assert "1 left to people" in page_of(client, admin)
    decide(sample, reviewer)
    StandingUse.objects.filter(message=sample).update(outcome="agreed")
    assert lines_of([standing], actor)[0].agreed == 1
