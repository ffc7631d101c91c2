"""Killed at each statement in turn, or as a process: a retry neither loses nor
duplicates a message.
"""

import itertools
import os
import subprocess
import sys
from contextlib import contextmanager
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from common.identifiers import ulid
from gateway.messages import outbox
from gateway.models import AuditLogEntry, Email
from gateway.states import Status
from tests.integration.gateway.world import (
    events_of,
    leave,
    make_world,
    move_on_everything,
)
from tests.stack import wait_for

pytestmark = pytest.mark.django_db(transaction=True)


class Killed(BaseException):
    """An exception that nothing in the product catches, like SIGKILL."""


@pytest.fixture
def world(transactional_db):
    world = make_world()
    world.listen("message.sent", "oversight.pending", "oversight.approved")
    return world


@contextmanager
def killed_at(number):
    """Kill the code inside before this statement number; the list says whether it got
    that far.
    """
    numbers = itertools.count(1)
    came = [False]

    def run(execute, *statement):
        if next(numbers) == number:
            came[0] = True
            raise Killed
        return execute(*statement)

    with connection.execute_wrapper(run):
        try:
            yield came
        except Killed:
            pass


def end_lease(email):
    Email.objects.filter(pk=email.pk, lease_until__gt=timezone.now()).update(
        lease_until=timezone.now() - timedelta(seconds=1)
    )


def replace_email(email):
    """Replace the outbox with another approved message."""
    values = {
        one.attname: getattr(email, one.attname) for one in Email._meta.concrete_fields
    }
    fresh = {
        "status": Status.SCHEDULED,
        "attempts": 0,
        "sent_at": None,
        "data_attempted_at": None,
        "lease_until": None,
    }
    fresh |= {"due_at": timezone.now(), "fate_unknown": False, "last_error": ""}
    return Email.objects.create(**{**values, **fresh, "id": ulid()})


def recorded(email_id, action):
    return AuditLogEntry.objects.filter(resource_id=email_id, action=action).count()


def test_worker_killed_at_any_statement_sends_once_or_marks_the_outcome_unknown(
    world, mail_server
):
    unknown = 0
    email = world.approved()
    for number in itertools.count(1):
        # Another message with the same content, as it waits in the outbox.
        email = replace_email(email)
        before = len(mail_server.taken)
        with killed_at(number) as came:
            leave(email)
        end_lease(email)
        outbox.settle_lost()
        leave(email)
        email.refresh_from_db()
        copies = len(mail_server.taken) - before
        sent_events = events_of(email.pk).count("message.sent")
        assert email.status == Status.SENT, number
        assert copies <= 1, number
        assert sent_events == (0 if email.fate_unknown else 1), number
        assert copies == 1 or email.fate_unknown, number
        unknown += email.fate_unknown
        if not came[0]:
            break
    assert number > 5
    # Only after DATA was attempted; before that every attempt can be repeated.
    assert 1 <= unknown < number - 3


@pytest.mark.slow
def test_send_killed_at_any_statement_and_repeated_makes_one_message(world):
    for number in itertools.count(1):
        message = {
            "subject": f"Message {number} of a client that asks again",
            "idempotency_key": f"k{number}",
        }
        with killed_at(number) as came:
            world.send(**message)
        again = world.send(**message)
        move_on_everything()
        (email,) = Email.objects.filter(subject=message["subject"])
        assert again.json()["id"] == email.pk, number
        assert email.status == Status.PENDING_SEND_APPROVAL, number
        assert events_of(email.pk) == ["oversight.pending"], number
        assert recorded(email.pk, "email.submitted") == 1, number
        if not came[0]:
            break
    assert number > 5


@pytest.mark.slow
def test_decision_killed_at_any_statement_and_repeated_is_stored_once(world):
    for number in itertools.count(1):
        email_id = world.held()
        with killed_at(number) as came:
            world.decide(email_id)
        assert world.decide(email_id).status_code in (200, 409)
        email = Email.objects.get(pk=email_id)
        assert email.status == Status.SCHEDULED, number
        assert email.decision == "approved", number
        assert events_of(email_id) == ["oversight.pending", "oversight.approved"], (
            number
        )
        assert recorded(email_id, "email.approved") == 1, number
        if not came[0]:
            break
    assert number > 5


_WORKER = """
import django; django.setup()
from gateway.messages import outbox
outbox.send_due(email_id={email_id!r})
"""


@contextmanager
def worker_for(email, mail_server):
    """Run a process that sends one email, and kill it at the end."""
    options = connection.settings_dict
    url = (
        f"postgresql:///{options['NAME']}?host={options['HOST']}&user={options['USER']}"
    )
    environment = os.environ | {
        "DATABASE_URL": url,
        "EMAIL_URL": mail_server.url,
        "SERVE": "gateway",
    }
    code = _WORKER.format(email_id=email.pk)
    process = subprocess.Popen(
        [sys.executable, "-c", code], env=environment, stderr=subprocess.DEVNULL
    )
    try:
        yield
    finally:
        process.kill()
        process.wait()


def test_worker_killed_while_the_server_holds_the_message_is_not_repeated(
    world, mail_server
):
    mail_server.mood = "stall"
    email = world.approved()
    with worker_for(email, mail_server):
        wait_for(lambda: mail_server.seen, 120, "the message at the mail server")
    email.refresh_from_db()
    assert email.status == Status.SCHEDULED
    assert email.data_attempted_at is not None
    mail_server.mood = "ok"
    end_lease(email)
    assert leave(email) == "not due"
    assert outbox.settle_lost() == 1
    email.refresh_from_db()
    assert email.status == Status.SENT
    assert email.fate_unknown is True
    assert mail_server.seen == 1
    assert "message.sent" not in events_of(email.pk)
