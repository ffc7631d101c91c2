"""Concurrent calls, and workers and requests that are killed: one decision, one
message per key, and nothing lost or sent twice.
"""

import itertools
from contextlib import contextmanager
from datetime import timedelta
from functools import partial

import pytest
from django.db import connection
from django.utils import timezone

from gateway.messages import outbox
from gateway.models import (
    Account,
    AuditLogEntry,
    Email,
    UpgradeRequest,
    Webhook,
    WebhookDelivery,
)
from gateway.states import Status
from gateway.webhooks import deliveries
from tests.integration.deciding import Killed, at_once
from tests.integration.gateway.world import (
    end_lease,
    events_of,
    leave,
    make_inbound,
    make_world,
    status_of,
    times_noted,
)

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def world(transactional_db):
    world = make_world()
    world.listen(
        "message.sent", "oversight.pending", "oversight.approved", "oversight.rejected"
    )
    return world


def statuses(answers):
    return sorted(answer.status_code for answer in answers)


def test_two_decisions_at_once_have_one_winner(world):
    for second in ("approve", "reject"):
        email_id = world.held()
        answers = at_once(
            partial(world.decide, email_id), partial(world.decide, email_id, second)
        )
        assert statuses(answers) == [200, 409]
        won, lost = sorted(answers, key=lambda answer: answer.status_code)
        assert (
            lost.json()["decision"]
            == won.json()["decision"]
            == Email.objects.get(pk=email_id).decision
        )
        assert len(events_of(email_id)) == 2


def test_approval_against_cancel_has_one_winner(world):
    email_id = world.held()
    cancel = partial(world.call, "POST", f"{world.base}/emails/{email_id}/cancel")
    decided, cancelled = (
        answer.status_code
        for answer in at_once(partial(world.decide, email_id), cancel)
    )
    assert (decided, cancelled) in {(200, 409), (409, 200)}
    assert status_of(email_id) == ("cancelled" if cancelled == 200 else "scheduled")


def test_one_key_from_twenty_threads_makes_one_message(world):
    answers = at_once(*[lambda: world.send(subject="Once", idempotency_key="k")] * 20)
    assert statuses(answers) == [200] * 19 + [202]
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert Email.objects.count() == 1
    parent = make_inbound(world)
    body = {"markdown": "Yes.", "idempotency_key": "k"}
    answers = at_once(
        *[partial(world.call, "POST", f"{world.base}/reply/{parent.pk}", json=body)] * 3
    )
    assert statuses(answers) == [200] * 2 + [202]
    assert len({answer.json()["id"] for answer in answers}) == 1


def test_workers_claim_an_email_a_delivery_and_a_probe_once(world):
    email = world.approved()
    claimed = at_once(*[lambda: Email.objects.claim(email.pk)] * 3)
    assert claimed.count(None) == 2
    # Two deliveries of one message never run at once.
    first, second = WebhookDelivery.objects.order_by("pk").values_list("pk", flat=True)
    claims = [
        lambda: WebhookDelivery.objects.claim(first),
        lambda: WebhookDelivery.objects.claim(second),
    ]
    assert [one.pk for one in at_once(*claims * 2) if one] == [first]
    webhook = Webhook.objects.get()
    Webhook.objects.update(
        paused_at=timezone.now(), probe_at=timezone.now() - timedelta(seconds=1)
    )
    assert at_once(*[lambda: deliveries.begin_probe(webhook.pk)] * 2).count(True) == 1


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


def recorded(email_id, action):
    return AuditLogEntry.objects.filter(resource_id=email_id, action=action).count()


def test_worker_killed_at_any_statement_sends_once_or_marks_the_outcome_unknown(
    world, mail_server
):
    unknown = 0
    for number in itertools.count(1):
        email = world.approved()
        before = len(mail_server.taken)
        with killed_at(number) as came:
            leave(email)
        end_lease(email)
        outbox.settle_lost()
        leave(email)
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
        (email,) = Email.objects.filter(subject=message["subject"])
        assert again.json()["id"] == email.pk, number
        assert email.status == Status.PENDING_SEND_APPROVAL, number
        assert events_of(email.pk) == ["oversight.pending"], number
        assert recorded(email.pk, "email.submitted") == 1, number
        if not came[0]:
            break
    assert number > 5


@pytest.mark.slow
def test_same_content_at_once_makes_one_message_and_the_last_of_a_quota_is_used_once(
    world,
):
    assert statuses(at_once(*[lambda: world.send(subject="Same")] * 3)) == [
        202,
        409,
        409,
    ]
    Account.objects.update(monthly_email_quota=3)
    assert statuses(at_once(*[world.send] * 4)) == [202] * 2 + [429] * 2
    assert Email.objects.count() == 3


@pytest.mark.slow
def test_two_changes_of_one_version_of_a_list_at_once_have_one_winner(world):
    answers = at_once(
        *(
            partial(world.allow, pattern, version=0)
            for pattern in ("a.example", "b.example")
        )
    )
    assert statuses(answers) == [200, 409]
    won = min(answers, key=lambda answer: answer.status_code).json()
    allowlist = world.get(f"{world.base}/allowlist?kind=restriction", key="admin")
    assert allowlist["version"] == won["version"] == 1
    assert allowlist["entries"] == won["entries"]


@pytest.mark.slow
def test_upgrade_is_requested_three_times_at_most_and_its_code_used_once(world):
    wish = {"target_mode": "autonomous"}
    asks = [partial(world.call, "POST", f"{world.base}/request-upgrade", json=wish)] * 4
    assert statuses(at_once(*asks)) == [200, 200, 200, 429]
    code = UpgradeRequest.objects.waiting().get().code
    uses = [
        partial(world.call, "POST", f"{world.base}/upgrade", json={"code": code})
    ] * 2
    assert statuses(at_once(*uses)) == [200, 404]
    assert times_noted("mailbox.upgraded") == 1


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
