"""The sweep does each duty by itself, and clears what has served its time."""

from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from courier.models import Delivery
from gateway import sweeping
from gateway.models import Email, WebhookDelivery
from gateway.states import Status
from tests.integration.gateway.world import World, add_key, sweep_and_catch_nudges


def left_unscanned(world: World) -> Email:
    """An email whose request ended right after it was stored."""
    email = Email.objects.get(pk=world.held())
    long_ago = timezone.now() - timedelta(minutes=1)
    Email.objects.filter(pk=email.pk).update(status=Status.PENDING_SCAN, created_at=long_ago)
    return email


def status_of(email: Email) -> str:
    return Email.objects.values_list("status", flat=True).get(pk=email.pk)


def test_email_that_cannot_be_moved_on_keeps_no_other_from_it(world: World, other: World):
    stuck, fine = left_unscanned(world), left_unscanned(other)
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no'; END $$;"
            "CREATE TRIGGER stuck BEFORE UPDATE ON gateway_email FOR EACH ROW"
            f" WHEN (OLD.id = '{stuck.pk}') EXECUTE FUNCTION refuse()"
        )
    sweeping.sweep(now=timezone.now())
    assert (status_of(stuck), status_of(fine)) == (Status.PENDING_SCAN, Status.PENDING_SEND_APPROVAL)


def test_mail_without_a_mail_server_stands_before_nothing(world: World, settings, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sweeping, "BATCH", 1)
    add_key(world, "tester", ["read", "send"], prefix="mm_test_")
    add_key(world, "testdesk", ["oversight"], prefix="mm_test_")
    world.approved()
    tried = world.held(key="tester")
    world.decide(tried, key="testdesk")
    settings.EMAIL_URL = ""
    assert ("gateway.tasks.send_email", tried) in sweep_and_catch_nudges(monkeypatch)


@pytest.mark.parametrize(
    ("state", "days", "stays"),
    [
        (Delivery.State.DELIVERED, 31, False),
        (Delivery.State.FAILED, 31, False),
        (Delivery.State.DUE, 31, True),
        (Delivery.State.DELIVERED, 29, True),
    ],
)
def test_finished_deliveries_are_kept_for_thirty_days(world: World, state: str, days: int, stays: bool):
    webhook = world.listen("oversight.pending")
    world.held()
    rows = WebhookDelivery.objects.filter(webhook=webhook)
    rows.update(state=state, created_at=timezone.now() - timedelta(days=days))
    sweeping.sweep(now=timezone.now())
    assert rows.exists() == stays
