"""Mail servers that stall, with shorter time limits of the wire: the worker is free again, and nothing is lost."""

import time
from datetime import timedelta

import pytest
from django.utils import timezone

from gateway import mail_server as memory
from gateway import outbox, smtp
from gateway.models import Email
from tests.integration.gateway import servers
from tests.integration.gateway.world import events_of, make_world


@pytest.fixture
def mail_server(settings, monkeypatch):
    settings.ROOT_URLCONF, settings.MIDDLEWARE = "gateway.urls", ["gateway.middleware.JsonOnlyMiddleware"]
    for limit in ("CONNECT_TIMEOUT", "STEP_TIMEOUT", "ANSWER_TIMEOUT"):
        monkeypatch.setattr(smtp, limit, 0.3)
    # The process remembers any mail server that was slow, and lets the next one rest: neither an earlier test's server
    # nor a machine that is slow itself may have said so of this one.
    monkeypatch.setattr(memory.State, "asked_again_at", 0.0)
    monkeypatch.setattr(memory, "SLOW", 60.0)
    with servers.mail_server() as server:
        settings.EMAIL_URL = server.url
        yield server


@pytest.fixture
def world(db):
    world = make_world("stalling")
    world.listen("message.sent", "message.failed", "message.bounced")
    return world


def send(email):
    began = time.monotonic()
    word = outbox.send_due(email_id=email.pk, now=timezone.now())
    assert time.monotonic() - began < 3
    return word


def let_time_pass(email):
    Email.objects.filter(pk=email.pk).update(due_at=timezone.now() - timedelta(seconds=1))


def test_server_that_stalls_before_the_message_gets_it_later(world, mail_server):
    mail_server.mood = "stall early"
    email = world.approved()
    assert send(email) == "put off"
    mail_server.mood = "ok"
    let_time_pass(email)
    assert send(email) == "sent"
    assert (len(mail_server.taken), events_of(email.pk)) == (1, ["message.sent"])


def test_server_that_stalls_with_the_message_is_not_asked_again(world, mail_server):
    mail_server.mood = "stall"
    email = world.approved()
    assert send(email) == "unknown"
    mail_server.mood = "ok"
    let_time_pass(email)
    assert send(email) == "not due"
    email.refresh_from_db()
    assert (email.status, email.fate_unknown, mail_server.seen, events_of(email.pk)) == ("sent", True, 1, [])


def test_server_that_does_not_even_greet_gets_it_later(world, mail_server, settings):
    import socket

    reachable = settings.EMAIL_URL
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings.EMAIL_URL = f"smtp://127.0.0.1:{silent.getsockname()[1]}"
        email = world.approved()
        assert send(email) == "put off"
    settings.EMAIL_URL = reachable
    let_time_pass(email)
    assert send(email) == "sent"
