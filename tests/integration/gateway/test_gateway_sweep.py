"""The sweep does each duty by itself, and clears what has served its time."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from courier.models import Delivery
from gateway import sweeping
from gateway.models import Email, WebhookDelivery
from gateway.states import Status
from tests.integration.gateway.world import World, add_sandbox_keys, status_of, sweep_and_catch_nudges


def left_unscanned(world: World) -> str:
    """An email whose request ended right after it was stored."""
    email_id, long_ago = world.held(), timezone.now() - timedelta(minutes=1)
    Email.objects.filter(pk=email_id).update(status=Status.PENDING_SCAN, created_at=long_ago)
    return email_id


def test_email_that_cannot_be_moved_on_keeps_no_other_from_it(world: World, other: World):
    stuck, fine = left_unscanned(world), left_unscanned(other)
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no'; END $$;"
            "CREATE TRIGGER stuck BEFORE UPDATE ON gateway_email FOR EACH ROW"
            f" WHEN (OLD.id = '{stuck}') EXECUTE FUNCTION refuse()"
        )
    sweeping.sweep(now=timezone.now())
    assert (status_of(stuck), status_of(fine)) == (Status.PENDING_SCAN, Status.PENDING_SEND_APPROVAL)


def test_mail_without_a_mail_server_stands_before_nothing(world: World, settings: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sweeping, "BATCH", 1)
    add_sandbox_keys(world)
    world.approved()
    tried = world.held(key="tester")
    world.decide(tried, key="test desk")
    settings.EMAIL_URL = ""
    assert ("gateway.tasks.send_email", tried) in sweep_and_catch_nudges(monkeypatch)


def test_finished_deliveries_are_kept_for_thirty_days(world: World):
    world.listen("oversight.pending")
    kept = {("delivered", 31): False, ("failed", 31): False, ("due", 31): True, ("delivered", 29): True}
    for (state, days), stays in kept.items():
        world.held()
        row = WebhookDelivery.objects.filter(pk=WebhookDelivery.objects.latest("pk").pk)
        row.update(state=Delivery.State(state), created_at=timezone.now() - timedelta(days=days))
        sweeping.sweep(now=timezone.now())
        assert row.exists() == stays, (state, days)
