"""Commands on connections: keys, webhook and its secret, pauses, removal."""

from datetime import timedelta

import pytest
from django.utils import timezone

from approvals.desk_messages import desk_messages
from approvals.held_rows import mirror_row
from approvals.intake import ingest
from approvals.models import Decision
from approvals.reconcile import reads
from audit.models import Entry
from connections.accounts import commands
from connections.accounts.keys import (
    SLOTS,
    check_all,
    check_key,
    scope_error,
    shown_start,
)
from connections.changes import ConnectionNotChanged
from mirror.errors import ActNotAllowed
from mirror.models import Connection, Message
from mirror.states import MessageState
from mirror.sync import health
from policy.kill_switch import pull, release
from tests.account import account
from tests.factories import (
    NOW,
    actor_of,
    event_body,
    make_message,
    pending_row,
    post_event,
)
from tests.integration.deciding import decide
from tests.ledger import all_details

ALL = {
    "oversight": ["oversight"],
    "read": ["read"],
    "admin": ["admin", "read"],
    "agent": ["read", "send"],
}


@pytest.fixture
def there():
    with account(**ALL) as standin:
        yield standin


@pytest.fixture
def ida(admin):
    return actor_of(admin)


def actions():
    return list(Entry.objects.order_by("pk").values_list("action", flat=True))


# --- keys


def test_scopes_of_a_key_decide_which_slot_it_fits():
    for slot, scopes, words in (
        ("oversight", ["oversight"], ""),
        ("oversight", ["oversight", "send"], "may also send"),
        ("oversight", ["admin", "read"], "enter it under Admin"),
        ("oversight", ["oversight_read"], "needs a key with the scope oversight"),
        ("oversight", None, ""),
        ("read", ["admin"], ""),
        ("read", ["oversight"], "an oversight key"),
        ("admin", ["read", "send"], "an agent key"),
        ("agent", ["read", "send"], ""),
        ("agent", ["read"], "scopes read and send"),
    ):
        error = scope_error(SLOTS[slot], scopes)
        assert (words in error, bool(error)) == (True, bool(words)), (slot, scopes)
    # Only the public prefix of a key is shown.
    keys = ("mm_live_abcdef", "mm_test_abcdef", "secret", "")
    assert [shown_start(key) for key in keys] == ["mm_live", "mm_test", "", ""]


def test_check_explains_each_way_a_key_can_fail(there, settings):
    oversight = SLOTS["oversight"]
    key = "mm_live_oversight_key"

    def check(key=key, url=there.url):
        return check_key(api_url=url, key=key, slot=oversight)

    assert check().scopes == ["oversight"]
    unknown = check("mm_live_unknown")
    assert "does not accept this key" in unknown.problem
    assert unknown.is_certain
    for status, words in ((404, "did not come from MultiMail"), (500, "later")):
        there.refuses["account"] = status
        assert words in check().problem
    nowhere = "http://127.0.0.1:1"
    away = check(url=nowhere)
    assert "could not be reached" in away.problem
    assert not away.is_certain
    # The account is read once, not once per key.
    keys = dict.fromkeys(SLOTS, "mm_live_any_key")
    checks = check_all(api_url=nowhere, keys=keys).values()
    assert [check.is_certain for check in checks] == [False] * 4
    assert sum("could not be reached" in check.problem for check in checks) == 1
    # A key without reported scopes is judged by what it can read.
    there.refuses.clear()
    there.tells_scopes = False
    assert check().problem == ""
    assert "may not see held messages" in check("mm_live_admin_key").problem
    settings.OUTGOING_ALLOW = []
    assert "OUTGOING_ALLOW" in check().problem


def add(actor, name="Acme support", keys=None):
    return commands.add_connection(
        actor=actor,
        name=name,
        api_url="",
        keys=keys or {},
        scopes={},
        is_our_gateway=True,
        account="",
    )


def test_connection_is_added_with_a_secret_of_its_own_and_the_ledger_has_no_secret(ida):
    keys = {"oversight": "mm_live_hidden_1", "admin": "mm_live_hidden_2"}
    first = add(ida, keys=keys)
    assert first.slug == "acme-support"
    assert len(first.webhook_secret) > 30
    assert Connection.objects.get().oversight_key == "mm_live_hidden_1"
    with pytest.raises(ConnectionNotChanged, match="already"):
        add(ida, "acme SUPPORT")
    assert actions() == ["connection.added"]
    assert "hidden" not in all_details()
    assert first.webhook_secret not in all_details()


def test_keys_are_added_and_removed_and_the_oversight_key_only_replaced(
    connection, ida
):
    commands.set_key(
        connection=connection,
        slot="read",
        key="mm_live_hidden",
        scopes=["read"],
        actor=ida,
        account="acc_1",
    )
    now = Connection.objects.get()
    assert (now.read_key, now.key_scopes) == ("mm_live_hidden", {"read": ["read"]})
    assert now.account_id == "acc_1"
    commands.remove_key(connection=connection, slot="read", actor=ida)
    now = Connection.objects.get()
    assert (now.read_key, now.key_scopes) == ("", {})
    with pytest.raises(ConnectionNotChanged, match="Nothing works without"):
        commands.remove_key(connection=connection, slot="oversight", actor=ida)
    assert "hidden" not in all_details()


# --- pauses


def test_manual_pause_survives_successful_reads_and_is_not_probed(connection, ida):
    moved = "The account is being moved"
    commands.pause_by_hand(connection=connection, reason=moved, actor=ida)
    health.note_failure(connection, "It was away.")
    health.note_recovery(connection, began=timezone.now() + timedelta(hours=1))
    paused = Connection.objects.get()
    assert paused.paused_by_hand
    assert paused.failing_since is None
    Connection.objects.update(read_at=None)
    assert not Connection.objects.to_probe().exists()
    assert not Connection.objects.to_read().exists()
    commands.resume(connection=connection, actor=ida)
    assert Connection.objects.to_read().get().paused_at is None

    # An automatic pause ends with a successful read, not by hand.
    health.pause(connection, "The key was refused.")
    with pytest.raises(ConnectionNotChanged, match="Nobody paused it by hand"):
        commands.resume(connection=connection, actor=ida)
    assert Connection.objects.to_probe().exists()
    health.note_recovery(connection, began=timezone.now() + timedelta(hours=1))
    assert Connection.objects.get().paused_at is None


# --- removal


def remove(connection, actor, typed_name=None):
    commands.remove_connection(
        connection=connection,
        typed_name=connection.name if typed_name is None else typed_name,
        actor=actor,
    )


def test_removed_connection_has_no_secrets_is_never_called_and_accepts_nothing(
    connection, reviewer, ida, client
):
    message = make_message(connection, subject="Kept in the history")
    # The web process remembers the secret for a moment.
    assert post_event(client, connection, event_body()).status_code == 200
    remove(connection, ida)
    removed = Connection.objects.get()
    for name in ("oversight_key", "admin_key", "webhook_secret"):
        assert getattr(removed, name) == "", name
    assert removed.removed_at
    Connection.objects.update(read_at=None, complete_as_of=None)
    for left in ("to_read", "to_probe", "overdue", "unwell", "at_work"):
        assert not getattr(Connection.objects, left)().exists(), left
    assert post_event(client, connection, event_body()).status_code == 404
    message.refresh_from_db()
    assert message.state == MessageState.GONE
    assert not desk_messages().awaiting_review().exists()
    assert actions()[-2:] == ["message.left_behind", "connection.removed"]


def test_removal_is_refused_during_decisions_and_kill_switches_and_without_the_name(
    connection, reviewer, ida
):
    with pytest.raises(ConnectionNotChanged, match="Type the connection's name"):
        remove(connection, ida, "gateway")
    decide(make_message(connection), reviewer)
    with pytest.raises(ConnectionNotChanged, match="1 decision is still on the way"):
        remove(connection, ida)
    Decision.objects.all().delete()
    switch = pull(actor=ida, reason="Looking into it.", connection=connection)
    with pytest.raises(ConnectionNotChanged, match="Looking into it"):
        remove(connection, ida)
    release(switch_id=switch.pk, actor=ida)
    remove(connection, ida)
    with pytest.raises(ActNotAllowed, match="was removed"):
        commands.rename(connection=connection, name="Again", actor=ida)


@pytest.mark.slow
def test_work_in_progress_while_a_connection_is_removed_restores_nothing(
    connection, ida, client
):
    message = make_message(connection)
    now = timezone.now()
    Connection.objects.update(reading_until=now + timedelta(seconds=30))
    with pytest.raises(ConnectionNotChanged, match="is being read"):
        remove(connection, ida)
    Connection.objects.update(reading_until=None)
    remove(connection, ida)
    # A read of one message, a webhook, and the wake-up for a full read.
    assert mirror_row(connection, pending_row(message.upstream_id), NOW)
    late = ingest.receive_webhook(
        connection=connection, body=event_body(), secret_used="current"
    )
    assert reads.hydrate(message_id=late.fetch.pk, now=now) == "left behind"
    assert reads.read_everything(connection_id=connection.pk, now=now) == "not now"
    assert {one.state for one in Message.objects.all()} == {MessageState.GONE}
    assert Connection.objects.get().failing_since is None
