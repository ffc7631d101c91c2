"""The desk's own webhook at MultiMail: registered, tested, and its secret changed
without a lost event.
"""

from datetime import timedelta

import pytest
from django.db import connection as database
from django.utils import timezone

from approvals.intake import ingest
from approvals.intake.webhooks import secrets_of, sender
from audit.models import Entry, EntryDetail
from connections.accounts import own_webhook
from connections.errors import ChangeRefused, ChangeUnknown, ConnectionNotChanged
from mirror.models import Connection, WebhookEvent
from tests.account import account
from tests.factories import event_body, make_connection
from upstream.signatures import HEADER, sign

pytestmark = pytest.mark.django_db


@pytest.fixture
def there():
    with account(admin=["admin", "read"]) as standin:
        yield standin


@pytest.fixture
def ours(there):
    """A connection whose webhook is registered at MultiMail."""
    connection = make_connection(
        "ours",
        api_url=there.url,
        admin_key="mm_live_admin_key",
        upstream_webhook_id="hook1",
    )
    there.hooks["hook1"] = {
        "id": "hook1",
        "url": "u",
        "events": [],
        "secret": connection.webhook_secret,
    }
    return connection


@pytest.fixture
def ida(admin):
    return admin.actor(surface="web")


def recorded_text():
    return " ".join(
        str(fields) for fields in EntryDetail.objects.values_list("fields", flat=True)
    )


def test_webhook_is_registered_once_with_our_secret_and_found_again(there, ours, ida):
    there.hooks.clear()
    # Again, as after a crash of the desk before it recorded the registration.
    for _ in range(2):
        Connection.objects.update(upstream_webhook_id="")
        own_webhook.register(connection=Connection.objects.get(), actor=ida)
        assert there.hooks["hook1"]["secret"] == ours.webhook_secret
        assert "message.cancelled" in there.hooks["hook1"]["events"]
        assert (len(there.hooks), Connection.objects.get().upstream_webhook_id) == (
            1,
            "hook1",
        )
    # Another signing secret is accepted, and the old one stays valid for a while.
    there.hooks["hook1"]["secret"] = "whsec_of_its_own"
    Connection.objects.update(upstream_webhook_id="")
    own_webhook.register(connection=Connection.objects.get(), actor=ida)
    now = Connection.objects.get()
    assert (now.webhook_secret, now.previous_webhook_secret) == (
        "whsec_of_its_own",
        ours.webhook_secret,
    )


@pytest.mark.django_db(transaction=True)
def test_arrived_test_event_is_shown_with_its_duration(there, ours, ida):
    def deliver(event_id):
        body = event_body("webhook.test").replace(
            b'"event_id": "evt', b'"event_id": "evt_test", "was": "'
        )
        ingest.receive_webhook(connection=ours, body=body, secret_used="current")
        database.close()

    there.deliver = deliver
    assert own_webhook.test(connection=ours, actor=ida) >= 0
    stored = WebhookEvent.objects.get()
    assert (stored.event_id, stored.result) == ("evt_test", "applied")
    assert not Entry.objects.filter(action__startswith="webhook.").exists()
    assert Connection.objects.get().webhook_tested_at


def test_test_event_that_does_not_arrive_says_why(
    monkeypatch, settings, there, ours, ida
):
    monkeypatch.setattr(own_webhook, "TEST_SECONDS", 0.05)
    for delivery, words in (
        ({"response_status": 401}, "signature"),
        ({"response_status": 404}, "Register the webhook again"),
        ({"response_status": 502}, "answered 502"),
        (
            {"last_error": "No answer: ConnectTimeout."},
            "could not deliver it: No answer",
        ),
        ({}, "did not arrive within"),
    ):
        there.deliveries = [
            {"event_id": "another"},
            {"event_id": "evt_test", **delivery},
        ]
        with pytest.raises(ConnectionNotChanged, match=words):
            own_webhook.test(connection=ours, actor=ida)
    assert Connection.objects.get().webhook_tested_at is None
    # A local desk is unreachable from outside; MultiMail is elsewhere, unlike the
    # stand-in.
    settings.PUBLIC_URL = "http://127.0.0.1:8000"
    monkeypatch.setattr(
        "connections.accounts.own_webhook._is_of_this_machine",
        lambda url: url == settings.PUBLIC_URL,
    )
    with pytest.raises(ConnectionNotChanged, match="PUBLIC_URL"):
        own_webhook.test(connection=ours, actor=ida)


# --- its secret


def signed_with(connection):
    """Return which of the two secrets the desk accepts now."""

    found = sender(connection.webhook_id)
    return (
        {secret for secret in secrets_of(found).values() if secret} if found else set()
    )


def test_new_secret_is_saved_here_first_and_both_secrets_are_accepted(there, ours, ida):
    changed = own_webhook.rotate(connection=ours, overlap=timedelta(hours=1), actor=ida)
    assert (
        there.hooks["hook1"]["secret"] == changed.webhook_secret != ours.webhook_secret
    )
    assert changed.previous_webhook_secret == ours.webhook_secret
    assert (
        timedelta(minutes=60)
        < changed.previous_secret_until - timezone.now()
        < timedelta(minutes=70)
    )
    assert signed_with(ours) == {changed.webhook_secret, ours.webhook_secret}
    assert changed.webhook_secret not in recorded_text()
    with pytest.raises(ConnectionNotChanged, match="still valid"):
        own_webhook.rotate(connection=changed, overlap=timedelta(hours=1), actor=ida)
    own_webhook.end_overlap(connection=changed, actor=ida)
    assert signed_with(ours) == {changed.webhook_secret}


def test_secret_that_leaked_is_accepted_no_moment_longer_also_while_another_one_ends(
    there, ours, ida
):
    leaked = own_webhook.rotate(connection=ours, overlap=timedelta(hours=1), actor=ida)
    changed = own_webhook.rotate(connection=leaked, overlap=timedelta(0), actor=ida)
    assert (
        signed_with(ours)
        == {changed.webhook_secret}
        == {there.hooks["hook1"]["secret"]}
    )
    assert changed.previous_secret_until is None
    by_hand = own_webhook.take_secret(
        connection=changed, secret="whsec_new", overlap=timedelta(0), actor=ida
    )
    assert (signed_with(ours), by_hand.previous_webhook_secret) == ({"whsec_new"}, "")


@pytest.mark.parametrize("moment", ["before", "after"])
def test_change_of_the_secret_that_breaks_off_takes_both_without_end_and_is_finished_later(
    there, ours, ida, moment
):
    there.breaks["rotate"] = moment
    with pytest.raises(ChangeUnknown):
        own_webhook.rotate(connection=ours, overlap=timedelta(0), actor=ida)
    held = Connection.objects.get()
    assert (own_webhook.is_open(held), signed_with(held)) == (
        True,
        {held.webhook_secret, ours.webhook_secret},
    )
    assert there.hooks["hook1"]["secret"] in signed_with(held)
    there.breaks.clear()
    finished = own_webhook.rotate(connection=held, overlap=timedelta(0), actor=ida)
    assert not own_webhook.is_open(finished)
    assert (
        there.hooks["hook1"]["secret"] == finished.webhook_secret == held.webhook_secret
    )


def test_change_that_multimail_refuses_leaves_the_old_secret_alone(there, ours, ida):
    answer = there.answer
    refusal = 422, {"error": "No."}
    there.answer = lambda method, path, *more: (
        refusal if path.endswith("/rotate") else answer(method, path, *more)
    )
    with pytest.raises(ChangeRefused):
        own_webhook.rotate(connection=ours, overlap=timedelta(0), actor=ida)
    now = Connection.objects.get()
    assert (now.webhook_secret, now.previous_webhook_secret) == (
        ours.webhook_secret,
        "",
    )


def test_unfinished_change_is_never_outlived(there, ours, ida, client):
    """The old secret stays valid while MultiMail may sign with it, whatever the date."""
    own_webhook.begin_rotation(connection=ours, overlap=timedelta(hours=1), actor=ida)
    held = Connection.objects.get()
    body = event_body()
    for secret in (ours.webhook_secret, held.webhook_secret):
        headers = {HEADER: sign(body, secret)}
        answer = client.post(
            f"/webhooks/multimail/{held.webhook_id}/",
            body,
            content_type="application/json",
            headers=headers,
        )
        assert answer.status_code == 200
