"""Concurrent calls: one decision, one message per key, and never both a cancellation
and an approval.
"""

from datetime import timedelta
from functools import partial

import pytest
from django.utils import timezone

from gateway.models import (
    Account,
    Email,
    Mailbox,
    UpgradeRequest,
    Webhook,
    WebhookDelivery,
)
from gateway.webhooks import deliveries
from tests.integration.gateway.world import (
    at_once,
    make_inbound,
    make_world,
    status_of,
    times_noted,
)

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def world(transactional_db):
    return make_world()


def statuses(answers):
    return sorted(answer.status_code for answer in answers)


def test_two_decisions_at_once_have_one_winner(world):
    world.listen("oversight.approved", "oversight.rejected")
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
        assert WebhookDelivery.objects.filter(email_id=email_id).count() == 1


def test_approval_against_cancel_or_edit_has_one_winner(world):
    email_id = world.held()
    cancel = partial(world.call, "POST", f"{world.base}/emails/{email_id}/cancel")
    decided, cancelled = (
        answer.status_code
        for answer in at_once(partial(world.decide, email_id), cancel)
    )
    assert (decided, cancelled) in {(200, 409), (409, 200)}
    assert status_of(email_id) == ("cancelled" if cancelled == 200 else "scheduled")
    later = world.held(send_at="2099-01-01T00:00:00Z")
    path = f"{world.base}/emails/{later}/schedule"
    change = partial(world.call, "PATCH", path, json={"to": ["eve@x.example"]})
    decided, edited = (
        answer.status_code for answer in at_once(partial(world.decide, later), change)
    )
    assert decided == 200
    assert edited == 409
    assert Email.objects.get(pk=later).to == ["dana@northwind.example"]


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


def test_workers_claim_an_email_a_delivery_and_a_probe_once(world):
    webhook = world.listen("oversight.pending", "oversight.approved")
    email = world.approved()
    assert (
        len(
            [
                one
                for one in at_once(*[lambda: Email.objects.claim(email.pk)] * 3)
                if one
            ]
        )
        == 1
    )
    # Two deliveries of one message never run at once.
    first, second = WebhookDelivery.objects.order_by("pk").values_list("pk", flat=True)
    claims = [
        lambda: WebhookDelivery.objects.claim(first),
        lambda: WebhookDelivery.objects.claim(second),
    ]
    assert [one.pk for one in at_once(*claims * 2) if one] == [first]
    Webhook.objects.update(
        paused_at=timezone.now(), probe_at=timezone.now() - timedelta(seconds=1)
    )
    assert at_once(*[lambda: deliveries.begin_probe(webhook.pk)] * 2).count(True) == 1


@pytest.mark.slow
def test_tags_added_at_once_are_all_stored(world):
    email_id = world.held()
    names = [f"t{number}" for number in range(3)]
    path = f"{world.base}/emails/{email_id}/tags"
    answers = at_once(
        *(partial(world.call, "PUT", path, json={"tags": [name]}) for name in names)
    )
    assert statuses(answers) == [200] * 3
    assert sorted(Email.objects.get(pk=email_id).tags) == names


def test_two_changes_of_one_version_of_a_list_at_once_have_one_winner(world):
    answers = at_once(
        *(
            partial(world.allow, pattern, version=0)
            for pattern in ("a.example", "b.example")
        )
    )
    assert statuses(answers) == [200, 409]
    won, lost = sorted(answers, key=lambda answer: answer.status_code)
    assert lost.json()["version"] == won.json()["version"] == 1
    allowlist = world.get(f"{world.base}/allowlist?kind=restriction", key="admin")
    assert allowlist["entries"] == won.json()["entries"]


@pytest.mark.slow
def test_two_mailboxes_created_at_once_respect_the_limit_and_unique_addresses(world):
    def create(name):
        return world.post("/v1/mailboxes", key="admin", address=f"{name}@acme.example")

    assert statuses(at_once(partial(create, "a"), partial(create, "a"))) == [201, 409]
    Account.objects.update(max_mailboxes=3)
    assert statuses(at_once(partial(create, "b"), partial(create, "c"))) == [201, 403]
    assert Mailbox.objects.count() == 3


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
