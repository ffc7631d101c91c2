"""Notices by email: one mail for what comes together, nothing of what is over, and what
the mail server's answers mean. With a real mail server.
"""

import contextlib
import itertools
import re
from datetime import datetime, time, timedelta
from threading import BoundedSemaphore
from types import SimpleNamespace
from zoneinfo import ZoneInfo

import pytest
from django.db.models.functions import Now
from django.urls import reverse

from alerts import tasks
from alerts.channels import email
from alerts.deliveries import drain
from alerts.deliveries.deliver import UNKNOWN, deliver
from alerts.deliveries.personal import QUIET_CHECK_EVERY
from alerts.deliveries.planning import plan_waiting
from alerts.models import Delivery, Destination, UnplannedAct
from approvals.collaboration import snooze_message
from audit.trail.answers import summary_of
from audit.trail.sentences import plain
from common import desk_mail
from common.postgres import clock
from gateway.inbound.receive import take_report
from gateway.inbound.received_mail import RecipientReport, Report
from notices import preferences
from notices.models import Cause, Notice, Preferences
from notices.preferences import after_quiet_time
from people.models import Grant, Person
from people.second_admin.setting import set_mail_subjects
from policy.models import Group
from simple_form.simplify import simplify
from tests.factories import (
    actor_of,
    change_row,
    make_connection,
    make_message,
    put_in_force,
)
from tests.integration.deciding import Killed, decide
from tests.integration.test_notices import comment
from tests.ledger import latest_details

pytestmark = pytest.mark.usefixtures("plans_at_once")


def end_by_deciding(message, person, asked_person):
    decide(message, person)
    plan_waiting()


def end_by_reading(message, person, asked_person):
    Notice.objects.update(read_at=Now())


def end_by_leaving(message, person, asked_person):
    change_row(asked_person, is_active=False)


def end_by_losing_roles(message, person, asked_person):
    asked_person.grants.all().delete()


HOUR = timedelta(hours=1)


@pytest.fixture
def connection(db):
    return make_connection()


@pytest.fixture
def asked(connection, server, reviewer, second_reviewer):
    """Ben is asked about a message by Ana, and it is time to mail it."""
    message = make_message(connection)
    comment(message, reviewer, "@Ben please look")
    plan_waiting()
    return message


def mail_all():
    """Make one attempt at what is due, as if its time had come."""
    Delivery.objects.filter(state="due").update(next_attempt_at=Now())
    Destination.objects.update(waits_until=None)
    return deliver(destination_id=Destination.objects.get().pk)


def test_what_comes_together_is_one_mail_that_says_what_it_is_and_holds_no_secret(
    connection, server, asked, reviewer, second_reviewer
):
    for number in range(3):
        other = make_message(connection, subject=f"Invoice {number}")
        comment(other, reviewer, "@Ben please look")
    plan_waiting()
    assert not Delivery.objects.due().exists()
    assert mail_all() == "delivered"
    assert mail_all() == ""
    [mail] = [server.message()]
    assert server.taken[0].rcpt_tos == [second_reviewer.email]
    assert mail["Subject"] == "You were asked in a comment (4)"
    assert len(mail["References"].split()) == 4
    assert mail["Auto-Submitted"] == "auto-generated"
    html = mail.get_body(["html"]).get_content()
    text = mail.get_body(["plain"]).get_content()
    for body in (html, text):
        assert "Invoice 2" in body
        assert f"/queue/{asked.public_id}/" in body
        # The text of the message and of the comment stays on the desk.
        assert "your refund is on its way" not in body
        assert "please look" not in body
    simple = simplify(html)
    assert not simple.changes, simple


def test_one_notice_is_a_thread_and_without_subjects_if_the_desk_wants_that(
    server, asked, admin
):
    set_mail_subjects(actor=actor_of(admin), on=False)
    assert mail_all() == "delivered"
    mail = server.message()
    assert mail["Subject"] == "[Countersign] A message"
    assert str(asked.public_id) in mail["References"]
    assert mail["List-Id"].startswith("Countersign <notices.")
    # After a restore the numbers of deliveries come again.
    made_at = Delivery.objects.get().created_at
    assert f"-{int(made_at.timestamp())}@" in mail["Message-ID"]
    assert asked.subject not in server.taken[0].content.decode()


def notified(message):
    """What the audit trail of a message says of who was notified."""
    answers = dict(summary_of(message.public_id)["answers"])
    told = answers["Who was notified, and what was answered?"]
    return " ".join(map(plain, told))


def test_what_is_snoozed_is_mailed_when_the_snooze_ends(
    connection, server, asked, reviewer, second_reviewer
):
    until = clock() + timedelta(hours=2)
    snooze_message(
        message=asked.public_id, actor=actor_of(second_reviewer), until=until
    )
    assert mail_all() == ""
    assert Delivery.objects.get().next_attempt_at == until
    # Nor with what is mailed meanwhile.
    comment(make_message(connection), reviewer, "@Ben please look")
    plan_waiting()
    assert mail_all() == "delivered"
    assert str(asked.public_id) not in server.taken[0].content.decode()
    assert Delivery.objects.get(state="due").next_attempt_at == until


@pytest.mark.parametrize(
    ("mood", "refuse", "outcome", "state"),
    [
        *(
            pytest.param(mood, "", "postponed", "due", marks=pytest.mark.slow)
            for mood in ("busy", "stall", "drop")
        ),
        pytest.param("refuse message", "", "refused", "failed", marks=pytest.mark.slow),
        ("ok", "554 5.7.1 no relaying", "refused", "failed"),
        ("ok", "550 5.1.1 unknown", "switched off", "failed"),
    ],
)
def test_an_answer_of_the_server_means_later_never_or_no_such_address(
    server,
    asked,
    reviewer,
    second_reviewer,
    admin,
    signed_in,
    mood,
    refuse,
    outcome,
    state,
):
    server.mood = mood
    if refuse:
        server.refuse[second_reviewer.email] = refuse
    assert mail_all() == outcome
    assert Delivery.objects.get().state == state
    shown = signed_in(second_reviewer).get("/notices/").text
    assert ("Mail to you bounced" in shown) == (outcome == "switched off")
    shown = signed_in(admin).get(f"/people/{second_reviewer.pk}/").text
    assert ("Mail to them bounced" in shown) == (outcome == "switched off")
    page = signed_in(reviewer).get(f"/audit/trace/{asked.public_id}/").text
    assert second_reviewer.email not in page
    log = signed_in(reviewer).get("/alerts/log/").text
    assert second_reviewer.email not in log
    if state == "failed":
        assert "Ben Okafor (mail): not delivered" in notified(asked)
        assert f"answer {refuse[:3]}" in notified(asked)
    if outcome == "postponed":
        # The second attempt is the same mail, also with what came meanwhile.
        server.mood = "ok"
        server.refuse.clear()
        comment(make_message(asked.connection), reviewer, "@Ben and this?")
        plan_waiting()
        assert mail_all() == "delivered"
        mails = map(server.message, range(len(server.taken)))
        assert len({one["Message-ID"] for one in mails}) == 1
        assert "Ben Okafor (mail): delivered" in notified(asked)


@pytest.mark.parametrize("comes_back_later", [False, True])
def test_an_address_that_bounced_gets_nothing_until_its_person_asks_again(
    server, asked, reviewer, second_reviewer, signed_in, settings, monkeypatch, comes_back_later
):  # fmt: skip
    address = second_reviewer.email
    if comes_back_later:
        settings.EMAIL_URL += "?dsn=1"
        mail_all()
        entry = RecipientReport(address, "failed", "5.1.1", "unknown")
        back = server.taken[0].mail_from
        report = desk_mail.report_bounce
        monkeypatch.setitem(vars(report), "delay", report)
        take_report(Report([entry], [], [], ""), None, recipient=back, sender="")
        assert "5.1.1 unknown" in signed_in(second_reviewer).get("/notices/").text
    else:
        server.refuse[address] = "550 5.1.1 unknown"
        mail_all()
        server.refuse.clear()
    comment(asked, reviewer, "@Ben again")
    plan_waiting()
    assert mail_all() == ""
    signed_in(second_reviewer).post("/account/notifications/on/")
    assert "5.1.1" in latest_details("destination.switched_on")["explanation"]
    comment(asked, reviewer, "@Ben and again")
    plan_waiting()
    assert mail_all() == "delivered"


def test_the_link_in_a_mail_ends_that_kind_alone_and_only_when_posted(
    server, asked, reviewer, second_reviewer, client
):
    mail_all()
    comment(asked, reviewer, "@Ben and now?")
    plan_waiting()
    mail = server.message()
    # As mail programs read it, who decode nothing there.
    head = server.taken[0].content.decode()
    path = re.search(r"^List-Unsubscribe: <https?://[^/]+(/\S+)>\r$", head, re.M)[1]
    assert mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    client.handler.enforce_csrf_checks = True
    assert "Stop these emails" in client.get(path).text
    assert not Preferences.objects.exists()
    assert client.post(path, {"List-Unsubscribe": "One-Click"}).status_code == 200
    kept = {Cause.ASSIGNED, Cause.REMINDED, Cause.SUMMARY}
    assert set(Preferences.objects.get().mail) == kept
    # Nor does what waited for its time come.
    assert mail_all() == ""
    assert client.post(f"{path[:-3]}xx/").status_code == 404


def test_account_mail_cannot_be_ended_and_comes_at_once(server, second_reviewer):
    notice = Notice.objects.create(
        person=second_reviewer, cause="account", action="person.factor_removed"
    )
    ways = preferences.ways_of(second_reviewer, notice.cause, clock())
    assert ways["mail"] <= clock()
    assert preferences.comes_in_quiet_time(notice.cause, "mail", is_last=False)
    email.EmailChannel().post_notices(
        Destination(owner=second_reviewer),
        [email.ShownNotice(notice, "A factor was removed", "", "/x/")],
        key="1",
        mark=lambda: None,
    )
    assert server.message()["List-Unsubscribe"] is None


def test_quiet_hours_are_by_the_persons_own_clock(reviewer):
    reviewer.time_zone = "America/Lima"
    wanted = Preferences(person=reviewer, quiet_from=time(21), quiet_until=time(7))
    for hour, expected in (
        ("20T20:59", "20T20:59"), ("20T21:00", "21T07:00"), ("20T06:59", "20T07:00"),
        ("20T07:00", "20T07:00"),
    ):  # fmt: skip
        at, after = (
            datetime.fromisoformat(f"2026-11-{one}-05:00") for one in (hour, expected)
        )
        assert after_quiet_time(at.astimezone(ZoneInfo("UTC")), wanted) == after


def test_a_stand_in_is_told_what_waits_for_whoever_is_away(
    asked, reviewer, second_reviewer, admin, signed_in
):
    hour = timedelta(hours=1)
    change_row(second_reviewer, away_from=Now() - hour, away_until=Now() + hour)
    client = signed_in(second_reviewer)
    page = reverse("notice-preferences")
    fields = {"mail": "mentioned", "mail_after": 0, "stand_in": admin.pk}
    assert "Enter both" in client.post(page, {**fields, "quiet_from": "21:00"}).text
    client.post(page, fields)
    assert f'value="{admin.pk}" selected' in client.get(page).text
    comment(asked, reviewer, "@Ben are you there?")
    plan_waiting()
    assert Notice.objects.open().filter(person=admin, cause="mentioned").exists()
    # Their own mail comes when they are back.
    own = Destination.objects.get(owner=second_reviewer)
    Delivery.objects.update(next_attempt_at=Now())
    assert deliver(destination_id=own.pk) == ""
    change_row(second_reviewer, away_until=Now())
    Delivery.objects.update(next_attempt_at=Now())
    assert deliver(destination_id=own.pk) == "delivered"


def test_quiet_hours_are_asked_when_a_notice_leaves(
    server, asked, reviewer, second_reviewer, settings
):
    # They were set after it was planned.
    now = clock().astimezone(ZoneInfo(second_reviewer.time_zone))
    hours = [(now + timedelta(hours=one)).time() for one in (-1, 1)]
    wanted = Preferences.objects.create(
        person=second_reviewer, quiet_from=hours[0], quiet_until=hours[1]
    )
    assert mail_all() == ""
    # A worker died with it just before they began.
    waiting = Delivery.objects.get()
    change_row(waiting, state="sending", lease_until=Now() - HOUR, attempts=1)
    assert mail_all() == ""
    assert server.taken == []
    # What comes in quiet hours brings nothing with it that does not.
    comment(make_message(asked.connection, subject="Last"), reviewer, "@Ben look")
    plan_waiting()
    last = Delivery.objects.latest("pk")
    change_row(last, in_quiet_time=True)
    settings.PUBLIC_URL = "https://countersign.eu-central-1.acme-holding.example"
    assert mail_all() == "delivered"
    assert str(asked.public_id) not in server.message()["References"]
    # As mail programs read it, who decode nothing there.
    head = server.taken[0].content.decode()
    assert f"References: <message-{last.message.public_id}@countersign.eu" in head
    # They were removed before they were over: it leaves within minutes.
    wanted.delete()
    waiting.refresh_from_db()
    assert waiting.next_attempt_at <= clock() + QUIET_CHECK_EVERY
    assert mail_all() == "delivered"


def test_what_a_killed_worker_had_claimed_is_mailed_once_another_starts(server, asked):
    claimed = Delivery.objects.get()
    in_an_hour = Now() + HOUR
    change_row(claimed, next_attempt_at=Now(), state="sending")
    change_row(claimed, lease_until=in_an_hour, may_have_left=True)
    drain.take_up()
    assert not Delivery.objects.due().exists()
    change_row(claimed, may_have_left=False)
    claimed.refresh_from_db()
    assert drain.take_up() == "1 due"
    assert mail_all() == "delivered"
    # That worker was alive: it does not hand the mail over any more.
    assert not claimed.hand_over()


def test_destination_that_found_no_free_slot_is_next(asked, monkeypatch):
    sent = []
    monkeypatch.setitem(vars(tasks.drain), "delay_on_commit", sent.append)
    slot = BoundedSemaphore(1)
    monkeypatch.setattr(drain, "_slots", slot)
    own = Destination.objects.get().pk
    with slot:
        for _ in range(2):
            assert drain.drain(destination_id=own) == "no room now"
    assert drain.drain(destination_id=own) == "0 tried, then nothing left"
    drain.drain(destination_id=own)
    assert sent == [own]


@pytest.mark.slow
def test_500_people_are_each_mailed_once_though_workers_die_and_no_task_arrives(
    connection, settings, monkeypatch
):
    settings.EMAIL_URL = "smtp://mail.example"
    people = Person.objects.bulk_create(
        Person(email=f"p{n}@yourteam.example", name=f"Person {n}") for n in range(500)
    )
    Grant.objects.bulk_create(Grant(person=one, role="reviewer") for one in people)
    wanted = [Preferences(person=one, mail=["approval"]) for one in people]
    Preferences.objects.bulk_create(wanted)
    group = Group.objects.create(name="All")
    group.members.set(people)
    put_in_force({"approvals": {str(group.pk): 1}})
    # No task is sent while Redis is away, and the sweep finds the act later.
    monkeypatch.setitem(
        vars(tasks.plan), "apply_async_on_commit", lambda *_, **__: None
    )
    make_message(connection)
    drain.sweep()
    assert not Delivery.objects.exists()
    UnplannedAct.objects.update(recorded_at=Now() - timedelta(minutes=1))
    for _ in range(2):
        drain.sweep()
    Delivery.objects.update(next_attempt_at=Now())
    mails = []
    tries = itertools.count()

    def connect(*_, **__):
        number = next(tries)
        if number < 100:
            raise Killed

        def sendmail(_, to, __):
            mails.append(to[0])
            if number < 150:
                raise Killed

        return SimpleNamespace(sendmail=sendmail, quit=lambda: None)

    monkeypatch.setattr(desk_mail, "connect", connect)
    # Nobody claims what a dead worker holds before its lease is over.
    for lease, reached in ((HOUR, 400), (HOUR, 400), (-HOUR, 500)):
        sending = Delivery.objects.filter(state="sending")
        sending.update(lease_until=Now() + lease)
        for key in drain.with_something_due():
            with contextlib.suppress(Killed):
                drain.drain(destination_id=key)
        assert len(mails) == len(set(mails)) == reached
    # Of what a worker was handing over when it died, the log says so.
    unknown = Delivery.objects.exclude(state="delivered")
    assert {one.last_error for one in unknown} == {UNKNOWN}
    assert unknown.count() == 50


@pytest.mark.parametrize(
    "end",
    [
        end_by_deciding,
        end_by_reading,
        pytest.param(end_by_leaving, marks=pytest.mark.slow),
        pytest.param(end_by_losing_roles, marks=pytest.mark.slow),
    ],
)
def test_what_is_over_before_its_time_is_not_mailed(
    server, asked, reviewer, second_reviewer, end
):
    end(asked, reviewer, second_reviewer)
    assert mail_all() == ""
    assert server.taken == []
    assert not Delivery.objects.exists()
