"""Mail that the mail server does not take is noted by its cause for the desk, and an
operator can have it tried again at once, which sends nothing twice.
"""

from datetime import timedelta

import pytest
from django.core.cache import cache
from django.core.management import CommandError, call_command
from django.db.models import F
from django.db.models.functions import Now
from django.utils import timezone

from common.waiting_mail import WAITING
from gateway import tasks
from gateway.models import Email
from tests.factories import change_row
from tests.integration.gateway.world import leave, status_of, undone

DANA = "dana@northwind.example"
# What mail servers answer when they do not take our mail, by the cause.
REPLIES = {
    "sign_in": """
        530 5.7.0 Must issue a STARTTLS command first
        535 5.7.8 Error: authentication failed: UGFzc3dvcmQ6
        454 4.7.0 Temporary authentication failure
        554 5.7.1 <dana@northwind.example>: Relay access denied
        550 5.7.1 Client was not signed in
    """,
    "sender": """
        553 5.7.1 <ana@acme.example>: Sender address rejected: not owned by user
        550 5.7.60 SMTP; Client does not have permissions to send as this sender
        550 5.1.8 sender domain not found
        501 5.1.7 Invalid address
    """,
    "blocked": """
        554 5.7.1 Service unavailable; Client host [203.0.113.7] blocked using zen.spamhaus.org
        550 5.7.1 Unauthenticated email from acme.example is not accepted due to domain's DMARC policy
        421 4.7.0 unusual rate of unsolicited mail originating from your IP address
        550 5.7.515 Access denied, acme.example lacks the required authentication level
        554 5.7.1 Your account is suspended
    """,
    "quota": """
        550 5.4.5 Daily user sending limit exceeded
        454 Throttling failure: Maximum sending rate exceeded.
        452 4.5.3 Too many messages in this hour
    """,
    "other": """
        451 4.7.1 Greylisting in action, please come back later
        504 5.5.2 <build7>: Helo command rejected: need fully-qualified hostname
    """,
}


def make_old(**fields):
    """Let all mail have waited for an hour."""
    hour = timedelta(hours=1)
    Email.objects.update(
        created_at=F("created_at") - hour, decided_at=F("decided_at") - hour, **fields
    )


def put_off(world, mail_server, reply="454 4.7.0 Temporary authentication failure"):
    """An approved message that the mail server has refused for now."""
    email = world.approved()
    mail_server.refuse = {DANA: reply}
    assert leave(email) == "put off", reply
    mail_server.refuse = {}
    email.refresh_from_db()
    return email


def test_address_that_the_relay_has_not_verified_waits_for_the_operator(
    world, mail_server
):
    for identity in ("support@acme.example", DANA):
        mail_server.accepts = (
            "554 Message rejected: Email address is not verified. "
            f"The following identities failed the check in region EU-WEST-1: {identity}"
        )
        email = world.approved(subject=identity)
        assert leave(email) == "put off"
        assert (email.cause, email.bounced_at) == ("sender", None)
        assert identity in email.last_error


@pytest.mark.slow
def test_waiting_mail_is_noted_by_its_cause(world, mail_server):
    for cause, replies in REPLIES.items():
        for reply in map(str.strip, replies.strip().splitlines()):
            with undone():
                email = put_off(world, mail_server, reply)
                # Many servers take the second attempt.
                assert tasks.note_waiting() == "0 causes", reply
                make_old()
                tasks.note_waiting()
                [mail] = cache.get(WAITING)
                noted = (mail.cause, mail.number, mail.oldest)
                assert noted == (cause, 1, email.pk), reply
                assert reply in mail.answer == email.last_error
                assert mail.next_try == email.due_at
                assert timezone.now() - mail.since > timedelta(minutes=59)


def test_mail_whose_answer_was_lost_is_noted_for_a_day(world, mail_server):
    email = put_off(world, mail_server)
    lost = {"status": "sent", "fate_unknown": True, "last_error": "no answer"}
    change_row(email, **lost, data_attempted_at=Now() - timedelta(minutes=1))
    tasks.note_waiting()
    [mail] = cache.get(WAITING)
    assert (mail.cause, mail.number, mail.oldest) == ("unknown", 1, email.pk)
    change_row(email, data_attempted_at=Now() - timedelta(hours=25))
    tasks.note_waiting()
    assert cache.get(WAITING) == []


def run(capsys, *arguments):
    call_command("send_again", *arguments)
    return capsys.readouterr().out.strip()


def test_send_again_tries_what_waits_at_once_and_once(world, mail_server, capsys):
    waiting = [put_off(world, mail_server) for _ in range(3)]
    make_old()
    tasks.note_waiting()
    assert run(capsys, waiting[0].pk) == "Messages that are tried again now: 1"
    assert [leave(email) for email in waiting] == ["sent", "not due", "not due"]
    assert run(capsys) == "Messages that are tried again now: 2"
    assert [leave(email) for email in waiting] == ["not due", "sent", "sent"]
    assert len(mail_server.taken) == 3
    assert run(capsys) == "Messages that are tried again now: 0"
    tasks.note_waiting()
    assert cache.get(WAITING) == []


def test_send_again_touches_nothing_that_may_have_been_sent_or_whose_time_is_not_come(
    world, mail_server, capsys
):
    in_future = Now() + timedelta(hours=2)
    untouched = {
        "its fate is not known": {"status": "sent", "fate_unknown": True},
        "a worker offers it": {
            "data_attempted_at": Now(),
            "lease_until": Now() + timedelta(minutes=2),
        },
        "its worker died while it offered it": {
            "data_attempted_at": Now() - timedelta(hours=1),
            "lease_until": Now() - timedelta(minutes=50),
        },
        "a worker has it": {"lease_until": Now() + timedelta(minutes=2)},
        "it was scheduled for later": {"send_at": in_future},
        "it has failed": {"status": "send_failed"},
        "it was cancelled": {"status": "cancelled"},
        "it is for the sandbox": {"sandbox": True},
    }
    emails = {}
    for what, fields in untouched.items():
        email = put_off(world, mail_server)
        change_row(email, **{"due_at": in_future, **fields})
        emails[what] = email
    before = list(Email.objects.order_by("pk").values())
    assert run(capsys) == "Messages that are tried again now: 0"
    for what, email in emails.items():
        with pytest.raises(CommandError, match="does not wait for a next try"):
            call_command("send_again", email.pk)
        assert leave(email) == "not due", what
    assert list(Email.objects.order_by("pk").values()) == before
    assert mail_server.taken == []


def test_send_again_leaves_mail_that_a_person_holds_back(world, mail_server, capsys):
    email = put_off(world, mail_server)
    world.patch("/v1/account", hold_all=True)
    assert run(capsys) == "Messages that are tried again now: 0"
    assert leave(email) == "not due"
    assert status_of(email) == "scheduled"
