"""The desk's own webhook at MultiMail: registered, tested, and its secret changed
without a lost event.
"""

from datetime import timedelta

import pytest
from django.utils import timezone

from approvals.intake.webhooks import secrets_of, sender
from connections.accounts import own_webhook
from connections.changes import ChangeRefused, ChangeUnknown, ConnectionNotChanged
from mirror.models import Connection
from tests.account import account
from tests.factories import actor_of, event_body, make_connection
from tests.ledger import all_details
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
    assert register().previous_webhook_secret == ours.webhook_secret


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
    assert new not in all_details()
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
