"""A mail server that keeps attempts waiting is left alone for a while, so that the worker has time for all else."""

import pytest
from django.utils import timezone

from gateway import mail_server as memory
from gateway.models import Email
from gateway.states import Status
from tests.integration.gateway.servers import MailServer
from tests.integration.gateway.world import World, add_sandbox_keys, leave


@pytest.fixture
def tiring(mail_server: MailServer, monkeypatch: pytest.MonkeyPatch) -> MailServer:
    """A mail server that takes nothing; however short its attempts, they count as slow ones."""
    monkeypatch.setattr(memory, "SLOW", -1)
    mail_server.mood = "busy"
    return mail_server


def test_second_mail_to_a_slow_server_is_put_off_without_an_attempt(world: World, tiring: MailServer):
    first, second = world.approved(), world.approved()
    assert [leave(first), leave(second)] == ["put off", "mail server rests"]
    assert tiring.mails == 1
    second.refresh_from_db()
    assert (second.status, second.attempts) == (Status.SCHEDULED, 0)
    assert second.due_at is not None
    assert 0 < (second.due_at - timezone.now()).total_seconds() <= memory.REST
    assert not Email.objects.in_outbox().filter(pk=second.pk).exists()
    # It is asked again, and answers.
    tiring.mood = "ok"
    memory.State.asked_again_at = 0.0
    Email.objects.filter(pk=second.pk).update(due_at=timezone.now())
    assert (leave(second), len(tiring.taken)) == ("sent", 1)


def test_sandbox_mail_does_not_wait_for_a_resting_server(world: World, tiring: MailServer):
    add_sandbox_keys(world)
    assert leave(world.approved()) == "put off"
    tried = world.held(key="tester")
    assert world.decide(tried, key="test desk").status_code == 200
    assert leave(tried) == "pretended"


def test_server_that_fails_at_once_is_asked_for_each_mail(world: World, mail_server: MailServer):
    mail_server.mood = "busy"
    assert [leave(world.approved()), leave(world.approved())] == ["put off", "put off"]
    assert mail_server.mails == 2
