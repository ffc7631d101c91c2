"""Two at once: one decision, one message a key, and never both a cancel and an approval."""

import threading
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from gateway import endpoints
from gateway.models import Email, Webhook, WebhookDelivery
from tests.integration.gateway.world import World, make_inbound, make_world

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def world(transactional_db: None) -> World:
    return make_world()


def at_once(*calls: Callable[[], Any]) -> list[Any]:
    """Run the calls in threads that start together, and return their answers."""
    barrier, answers = threading.Barrier(len(calls)), [None] * len(calls)

    def run(number: int, call: Callable[[], Any]) -> None:
        try:
            barrier.wait(5)
            answers[number] = call()
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=pair) for pair in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    return answers


@pytest.mark.parametrize("second", ["approve", "reject"])
def test_two_decisions_at_once_have_one_winner(world: World, second: str):
    world.listen("oversight.approved", "oversight.rejected")
    for _ in range(5):
        email_id = world.held()
        answers = at_once(lambda: world.decide(email_id), lambda: world.decide(email_id, second))  # noqa: B023
        assert sorted(answer.status_code for answer in answers) == [200, 409]
        won, lost = sorted(answers, key=lambda answer: answer.status_code)
        assert lost.json()["decision"] == won.json()["decision"] == Email.objects.get(pk=email_id).decision
        assert WebhookDelivery.objects.filter(email_id=email_id).count() == 1


def test_approve_against_cancel_has_one_winner(world: World):
    for _ in range(5):
        email_id = world.held()
        cancel = f"{world.base}/emails/{email_id}/cancel"
        answers = at_once(lambda: world.decide(email_id), lambda: world.call("POST", cancel))  # noqa: B023
        decided, cancelled = (answer.status_code for answer in answers)
        assert (decided, cancelled) in {(200, 409), (409, 200)}
        status = Email.objects.get(pk=email_id).status
        assert status == ("cancelled" if cancelled == 200 else "scheduled")


def test_one_key_from_twenty_threads_makes_one_message(world: World):
    answers = at_once(*[lambda: world.send(subject="Once", idempotency_key="k")] * 20)
    assert {answer.status_code for answer in answers} == {200, 202}
    assert [answer.status_code for answer in answers].count(202) == 1
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert Email.objects.count() == 1


def test_same_content_from_four_threads_makes_one_message(world: World):
    answers = at_once(*[lambda: world.send(subject="Same")] * 4)
    assert sorted(answer.status_code for answer in answers) == [202, 409, 409, 409]


def test_two_workers_claim_an_email_once(world: World):
    email = world.approved()
    claimed = at_once(*[lambda: Email.objects.claim(email.pk)] * 4)
    assert len([one for one in claimed if one]) == 1


def test_tags_added_at_once_are_all_kept(world: World):
    email = Email.objects.get(pk=world.held())
    path = f"{world.base}/emails/{email.pk}/tags"
    names = [f"t{number}" for number in range(6)]
    answers = at_once(*(partial(world.call, "PUT", path, json={"tags": [name]}) for name in names))
    assert [answer.status_code for answer in answers] == [200] * 6
    email.refresh_from_db()
    assert sorted(email.tags) == names


def test_edit_against_approval_never_sends_what_nobody_read(world: World):
    for _ in range(5):
        email_id = world.held(send_at="2099-01-01T00:00:00Z")
        change = partial(
            world.call, "PATCH", f"{world.base}/emails/{email_id}/schedule", json={"to": ["eve@x.example"]}
        )
        decided, edited = at_once(partial(world.decide, email_id), change)
        assert (decided.status_code, edited.status_code) == (200, 409)
        assert Email.objects.get(pk=email_id).to == ["dana@northwind.example"]


def test_replies_at_once_with_one_key_make_one_message(world: World):
    parent = make_inbound(world)
    body = {"markdown": "Yes.", "idempotency_key": "k"}
    answers = at_once(*[partial(world.call, "POST", f"{world.base}/reply/{parent.pk}", json=body)] * 5)
    assert sorted(answer.status_code for answer in answers) == [200] * 4 + [202]
    assert len({answer.json()["id"] for answer in answers}) == 1


def test_two_workers_claim_a_delivery_once_and_never_two_of_a_message(world: World):
    world.listen("oversight.pending", "oversight.approved")
    world.decide(world.held())
    first, second = WebhookDelivery.objects.order_by("pk").values_list("pk", flat=True)
    claims = [lambda: WebhookDelivery.objects.claim(first), lambda: WebhookDelivery.objects.claim(second)]
    claimed = [one.pk for one in at_once(*claims * 3) if one]
    assert claimed == [first]


def test_two_workers_probe_a_paused_endpoint_once(world: World):
    webhook = world.listen("oversight.pending")
    world.held()
    Webhook.objects.update(paused_at=timezone.now(), probe_at=timezone.now() - timedelta(seconds=1))
    assert at_once(*[lambda: endpoints.begin_probe(webhook_id=webhook.pk)] * 4).count(True) == 1
