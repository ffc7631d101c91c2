"""Killed at each statement in turn: what is done again afterwards neither loses a message nor makes two of it."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from gateway import outbox
from gateway.models import AuditLogEntry, Email
from gateway.states import Status
from tests.integration.gateway.servers import MailServer
from tests.integration.gateway.world import World, events_of, leave, make_world, move_on_everything

pytestmark = pytest.mark.django_db(transaction=True)


class Killed(BaseException):
    """Nothing in the product catches this, as nothing catches SIGKILL."""


@pytest.fixture
def world(transactional_db: None) -> World:
    world = make_world()
    world.listen("message.sent", "oversight.pending", "oversight.approved")
    return world


@contextmanager
def killed_at(number: int) -> Iterator[list[bool]]:
    """Kill what runs inside before its statement of this number; the list says whether it came so far."""
    numbers, came = itertools.count(1), [False]

    def run(execute: Callable[..., Any], *statement: Any) -> Any:
        if next(numbers) == number:
            came[0] = True
            raise Killed
        return execute(*statement)

    with connection.execute_wrapper(run):
        try:
            yield came
        except Killed:
            pass


def recorded(email_id: str, action: str) -> int:
    return AuditLogEntry.objects.filter(resource_id=email_id, action=action).count()


def test_worker_killed_at_any_statement_sends_once_or_says_that_it_cannot_know(world: World, mail_server: MailServer):
    unknown = 0
    for number in itertools.count(1):
        email, before = world.approved(), len(mail_server.taken)
        with killed_at(number) as came:
            leave(email)
        over = timezone.now() - timedelta(seconds=1)
        Email.objects.filter(pk=email.pk, lease_until__gt=timezone.now()).update(lease_until=over)
        outbox.settle_lost(now=timezone.now())
        leave(email)
        email.refresh_from_db()
        copies, told = len(mail_server.taken) - before, events_of(email.pk).count("message.sent")
        assert (email.status, copies <= 1, told) == (Status.SENT, True, 0 if email.fate_unknown else 1), number
        assert copies == 1 or email.fate_unknown, number
        unknown += email.fate_unknown
        if not came[0]:
            break
    assert number > 5
    # Only once the message was offered; before that every attempt can be repeated.
    assert 1 <= unknown < number - 3


@pytest.mark.slow
def test_send_killed_at_any_statement_and_repeated_makes_one_message(world: World):
    for number in itertools.count(1):
        message = {"subject": f"Message {number} of a client that asks again", "idempotency_key": f"k{number}"}
        with killed_at(number) as came:
            world.send(**message)
        again = world.send(**message)
        move_on_everything()
        (email,) = Email.objects.filter(subject=message["subject"])
        assert (again.json()["id"], email.status) == (email.pk, Status.PENDING_SEND_APPROVAL), number
        assert (events_of(email.pk), recorded(email.pk, "email.submitted")) == (["oversight.pending"], 1), number
        if not came[0]:
            break
    assert number > 5


@pytest.mark.slow
def test_decision_killed_at_any_statement_and_repeated_is_taken_once(world: World):
    for number in itertools.count(1):
        email_id = world.held()
        with killed_at(number) as came:
            world.decide(email_id)
        assert world.decide(email_id).status_code in (200, 409)
        email = Email.objects.get(pk=email_id)
        assert (email.status, email.decision) == (Status.SCHEDULED, "approved"), number
        assert events_of(email_id) == ["oversight.pending", "oversight.approved"], number
        assert recorded(email_id, "email.approved") == 1, number
        if not came[0]:
            break
    assert number > 5
