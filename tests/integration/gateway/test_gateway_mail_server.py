"""A mail server that keeps attempts waiting is left alone for a while, so that the worker has time for all else."""

import time

import pytest
from django.utils import timezone

from gateway import mail_server as memory
from gateway import outbox
from gateway.models import Email
from gateway.states import Status
from tests.integration.gateway.servers import MailServer
from tests.integration.gateway.world import World, add_key


def send(email: Email) -> str:
    return outbox.send_due(email_id=email.pk, now=timezone.now())


@pytest.fixture
def stalling(mail_server: MailServer, monkeypatch: pytest.MonkeyPatch) -> MailServer:
    # Attempts of these tests give up after half a second.
    monkeypatch.setattr(memory, "SLOW", 0.2)
    mail_server.mood = "stall early"
    return mail_server


def test_second_mail_to_a_stalling_server_is_put_off_without_an_attempt(world: World, stalling: MailServer):
    first, second = world.approved(), world.approved()
    assert send(first) == "put off"
    began = time.monotonic()
    assert send(second) == "mail server rests"
    assert time.monotonic() - began < 0.4
    assert stalling.mails == 1
    second.refresh_from_db()
    assert (second.status, second.attempts) == (Status.SCHEDULED, 0)
    assert second.due_at is not None
    assert 0 < (second.due_at - timezone.now()).total_seconds() <= memory.REST
    assert not Email.objects.in_outbox().filter(pk=second.pk).exists()


def test_sandbox_mail_does_not_wait_for_a_resting_server(world: World, stalling: MailServer):
    add_key(world, "tester", ["read", "send"], prefix="mm_test_")
    add_key(world, "testdesk", ["oversight"], prefix="mm_test_")
    assert send(world.approved()) == "put off"
    tried = world.held(key="tester")
    assert world.decide(tried, key="testdesk").status_code == 200
    assert send(Email.objects.get(pk=tried)) == "pretended"


def test_server_that_is_asked_again_and_answers_gets_the_mail(world: World, stalling: MailServer):
    first, second = world.approved(), world.approved()
    send(first)
    send(second)
    stalling.mood = "ok"
    memory.State.asked_again_at = 0.0
    Email.objects.filter(pk=second.pk).update(due_at=timezone.now())
    assert send(second) == "sent"
    assert len(stalling.taken) == 1


def test_server_that_fails_at_once_is_asked_for_each_mail(world: World, stalling: MailServer):
    stalling.mood = "busy"
    for email in (world.approved(), world.approved()):
        assert send(email) == "put off"
    assert stalling.mails == 2
