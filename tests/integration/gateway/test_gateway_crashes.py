"""Workers killed in the middle of sending, as processes: what was committed before is all that the next one has."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from gateway import outbox
from gateway.models import Email
from gateway.states import Status
from tests.integration.gateway.servers import MailServer
from tests.integration.gateway.world import World, events_of, leave, make_world
from tests.stack import wait_for

pytestmark = pytest.mark.django_db(transaction=True)

_WORKER = """
import django; django.setup()
from django.utils import timezone
from gateway import outbox
outbox.send_due(email_id={email_id!r}, now=timezone.now())
"""


@pytest.fixture
def world(transactional_db: None) -> World:
    world = make_world()
    world.listen("message.sent")
    return world


@contextlib.contextmanager
def worker_for(email: Email, mail_server: MailServer) -> Iterator[None]:
    """Run a process that sends one email, and kill it at the end."""
    options = connection.settings_dict
    url = f"postgresql:///{options['NAME']}?host={options['HOST']}&user={options['USER']}"
    environment = os.environ | {"DATABASE_URL": url, "EMAIL_URL": mail_server.url, "SERVE": "gateway"}
    code = _WORKER.format(email_id=email.pk)
    process = subprocess.Popen([sys.executable, "-c", code], env=environment, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.kill()
        process.wait()


def end_lease(email: Email) -> None:
    Email.objects.filter(pk=email.pk).update(lease_until=timezone.now() - timedelta(seconds=1))


def test_worker_killed_while_the_server_holds_the_message_is_not_repeated(world: World, mail_server: MailServer):
    mail_server.mood = "stall"
    email = world.approved()
    with worker_for(email, mail_server):
        wait_for(lambda: mail_server.seen, 120, "the message at the mail server")
    email.refresh_from_db()
    assert (email.status, email.data_attempted_at is not None) == (Status.SCHEDULED, True)
    mail_server.mood = "ok"
    end_lease(email)
    assert leave(email) == "not due"
    assert outbox.settle_lost(now=timezone.now()) == 1
    email.refresh_from_db()
    assert (email.status, email.fate_unknown, mail_server.seen) == (Status.SENT, True, 1)
    assert events_of(email.pk) == []


@pytest.mark.slow
def test_worker_killed_before_the_message_is_repeated_once(world: World, mail_server: MailServer):
    mail_server.mood = "stall early"
    email = world.approved()
    with worker_for(email, mail_server):
        wait_for(lambda: mail_server.mails, 120, "the worker at the mail server")
    mail_server.mood = "ok"
    assert outbox.settle_lost(now=timezone.now()) == 0
    end_lease(email)
    assert leave(email) == "sent"
    assert (len(mail_server.taken), events_of(email.pk)) == (1, ["message.sent"])
