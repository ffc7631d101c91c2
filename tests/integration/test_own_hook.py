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
from tests.factories import actor_of, event_body, make_connection
from upstream.signatures import HEADER, sign


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
    return actor_of(admin)


def recorded_text():
    return " ".join(
        str(fields) for fields in EntryDetail.objects.values_list("fields", flat=True)
    )


def test_webhook_is_registered_once_with_our_secret_and_found_again(there, ours, ida):
    there.hooks.clear()

    def register():
        Connection.objects.update(upstream_webhook_id="")
        own_webhook.register(connection=Connection.objects.get(), actor=ida)
        return Connection.objects.get()

    # Again, as after a crash of the desk before it recorded the registration.
    for _ in range(2):
        assert register().upstream_webhook_id == "hook1"
        (hook,) = there.hooks.values()
        assert hook["secret"] == ours.webhook_secret
        assert "message.cancelled" in hook["events"]
    # Another signing secret is accepted, and the old one stays valid for a while.
    hook["secret"] = "whsec_of_its_own"
    now = register()
    assert now.webhook_secret == "whsec_of_its_own"
    assert now.previous_webhook_secret == ours.webhook_secret


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
    assert stored.event_id == "evt_test"
    assert stored.result == "applied"
    assert not Entry.objects.filter(action__startswith="webhook.").exists()
    assert Connection.objects.get().webhook_tested_at


def test_test_event_that_does_not_arrive_says_why(
    monkeypatch, settings, there, ours, ida
):
    monkeypatch.setattr(own_webhook, "TEST_SECONDS", 0.05)
    no_answer = {"last_error": "No answer: ConnectTimeout."}
    for words, delivery in {
        "signature": {"response_status": 401},
        "Register the webhook again": {"response_status": 404},
        "answered 502": {"response_status": 502},
        "could not deliver it: No answer": no_answer,
        "did not arrive within": {},
    }.items():
        sent = {"event_id": "evt_test", **delivery}
        there.deliveries = [{"event_id": "another"}, sent]
        with pytest.raises(ConnectionNotChanged, match=words):
            own_webhook.test(connection=ours, actor=ida)
    assert Connection.objects.get().webhook_tested_at is None
    # A local desk is unreachable from outside; MultiMail is elsewhere, unlike the
    # stand-in.
    settings.PUBLIC_URL = "http://127.0.0.1:8000"
    monkeypatch.setattr(
        own_webhook, "_is_of_this_machine", lambda url: url == settings.PUBLIC_URL
    )
    with pytest.raises(ConnectionNotChanged, match="PUBLIC_URL"):
        own_webhook.test(connection=ours, actor=ida)


# --- its secret


def signed_with(connection):
    """Return which of the two secrets the desk accepts now."""
    found = sender(connection.webhook_id)
    return {secret for secret in secrets_of(found).values() if secret}


HOUR = timedelta(hours=1)
AT_ONCE = timedelta(0)


def test_new_secret_is_saved_here_first_and_both_secrets_are_accepted(there, ours, ida):
    changed = own_webhook.rotate(connection=ours, overlap=HOUR, actor=ida)
    new = changed.webhook_secret
    old = ours.webhook_secret
    assert there.hooks["hook1"]["secret"] == new != old
    left = changed.previous_secret_until - timezone.now()
    assert HOUR < left < HOUR + timedelta(minutes=10)
    assert signed_with(ours) == {new, old}
    assert new not in recorded_text()
    with pytest.raises(ConnectionNotChanged, match="still valid"):
        own_webhook.rotate(connection=changed, overlap=HOUR, actor=ida)
    own_webhook.end_overlap(connection=changed, actor=ida)
    assert signed_with(ours) == {new}


def test_secret_that_leaked_is_accepted_no_moment_longer_also_while_another_one_ends(
    there, ours, ida
):
    leaked = own_webhook.rotate(connection=ours, overlap=HOUR, actor=ida)
    changed = own_webhook.rotate(connection=leaked, overlap=AT_ONCE, actor=ida)
    assert signed_with(ours) == {there.hooks["hook1"]["secret"]}
    assert changed.previous_secret_until is None
    by_hand = own_webhook.take_secret(
        connection=changed, secret="whsec_new", overlap=AT_ONCE, actor=ida
    )
    assert signed_with(by_hand) == {"whsec_new"}


@pytest.mark.parametrize("moment", ["before", "after"])
def test_change_of_the_secret_that_breaks_off_takes_both_without_end_and_is_finished_later(
    there, ours, ida, moment
):
    there.breaks["rotate"] = moment
    with pytest.raises(ChangeUnknown):
        own_webhook.rotate(connection=ours, overlap=AT_ONCE, actor=ida)
    held = Connection.objects.get()
    assert own_webhook.is_open(held)
    assert signed_with(held) == {held.webhook_secret, ours.webhook_secret}
    assert there.hooks["hook1"]["secret"] in signed_with(held)
    there.breaks.clear()
    finished = own_webhook.rotate(connection=held, overlap=AT_ONCE, actor=ida)
    assert signed_with(finished) == {held.webhook_secret}
    assert there.hooks["hook1"]["secret"] == held.webhook_secret


def test_change_that_multimail_refuses_leaves_the_old_secret_alone(there, ours, ida):
    answer = there.answer
    refusal = (422, {"error": "No."})
    there.answer = lambda method, path, *more: (
        refusal if path.endswith("/rotate") else answer(method, path, *more)
    )
    with pytest.raises(ChangeRefused):
        own_webhook.rotate(connection=ours, overlap=AT_ONCE, actor=ida)
    assert signed_with(ours) == {ours.webhook_secret}


def test_unfinished_change_is_never_outlived(there, ours, ida, client):
    """The old secret stays valid while MultiMail may sign with it, whatever the date."""
    own_webhook.begin_rotation(connection=ours, overlap=HOUR, actor=ida)
    held = Connection.objects.get()
    path = f"/webhooks/multimail/{held.webhook_id}/"
    body = event_body()
    for secret in (ours.webhook_secret, held.webhook_secret):
        signed = {HEADER: sign(body, secret)}
        answer = client.post(
            path, body, content_type="application/json", headers=signed
        )
        assert answer.status_code == 200
