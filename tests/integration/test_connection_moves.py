"""Moving a connection: the new address must answer with the same account and keys."""

import pytest
from django.db.models.functions import Now

from approvals.decisions import execute
from approvals.models import Decision
from approvals.reconcile.reads import read_everything
from audit.models import Entry
from mirror.models import Connection, Message
from tests.factories import NOW, make_message, pending_row
from tests.integration.deciding import carry_out, decide, make_due
from tests.integration.gateway_served import served_gateway
from tests.markup import leads_to, says


def move(client, connection, address):
    return client.post(f"/connections/{connection.pk}/address/", {"address": address})


@pytest.fixture
def moved_to(account):
    """The same gateway at another address; the account's id is already known."""
    Connection.objects.update(account_id=account.world.account.pk)
    with served_gateway() as elsewhere:
        yield elsewhere


def test_moved_gateway_is_read_and_decided_at_its_new_address(
    signed_in, admin, reviewer, account, moved_to
):
    connection = account.connection
    old = account.gateway
    body = {"to": ["dana@x.example"], "subject": "First", "markdown": "Hello"}
    account.ask("POST", f"{account.world.base}/send", key="agent", json=body)
    read_everything(connection_id=connection.pk, now=NOW)
    old.calls.clear()
    leads_to(move(signed_in(admin), connection, f"{moved_to.url}/"))
    connection.refresh_from_db()
    assert connection.api_url == moved_to.url
    entry = Entry.objects.get(action="connection.moved")
    assert entry.detail.fields["before"] == f"at: {old.url}"
    assert read_everything(connection_id=connection.pk, now=NOW) == "1 held"
    assert carry_out(Message.objects.get(), reviewer) == "applied"
    assert old.calls == [], "nothing is asked at the old one"
    assert ("POST", "/v1/oversight/decide") in moved_to.calls


def test_no_decision_is_carried_out_at_an_address_that_changed_under_it(
    signed_in, admin, reviewer, account, moved_to, upstream, monkeypatch
):
    client = signed_in(admin)
    message = make_message(account.connection)
    made = decide(message, reviewer).decision
    Decision.objects.update(state="calling", lease_until=Now() + execute.LEASE)
    says(
        move(client, account.connection, moved_to.url),
        422,
        "being carried out at the old address",
    )
    # Claimed just before the change: the last statement before the call checks the
    # address.
    Decision.objects.update(state="recorded", lease_until=None)
    Connection.objects.update(api_url=upstream.url, checked_key="")
    upstream.holds(pending_row(message.upstream_id))
    upstream.decides(200, status="approved_and_sent", decision="approved")
    make_due()
    monkeypatch.setattr(
        execute,
        "upstream_reason",
        lambda _: str(Connection.objects.update(api_url=moved_to.url)),
    )
    assert execute.run_decision(decision_id=made.pk) == "recorded"
    assert upstream.decisions == []
    assert Decision.objects.get().may_have_left is False


def test_whoever_may_not_move_it_is_neither_asked_for_a_password_nor_told_why(
    signed_in, reviewer, connection
):
    for minutes in (0, 60):
        answer = move(signed_in(reviewer, minutes=minutes), connection, "https://10.1")
        says(answer, 403, "Only an admin of")
        assert "10.1" not in answer.text
