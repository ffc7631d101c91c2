"""Our gateway learns the expiry of a message, and refuses a late approval by anybody's
program.
"""

from datetime import UTC, timedelta

import pytest
from django.db.models.functions import Now

from approvals.decisions import execute
from approvals.decisions.by_rule import tell_expiry
from approvals.escalation.handling import extend_deadline
from approvals.models import Decision
from common.postgres import clock
from gateway.models import AuditLogEntry, Email
from mirror.models import Message
from tests.factories import actor_of
from tests.integration.deciding import carry_out, expires, read_all


@pytest.fixture
def message(account):
    body = {
        "from": account.mailbox.address,
        "to": "dana@northwind.example",
        "subject": "Refund",
        "body": "Hello.",
    }
    made = account.ask("POST", "/v1/send_email", key="agent", json=body).json()["id"]
    read_all(account.connection)
    return Message.objects.get(upstream_id=made)


def answer_to(account, message, action="approve"):
    body = {"email_id": message.upstream_id, "action": action}
    return account.ask("POST", "/v1/oversight/decide", key="desk", json=body)


def test_gateway_refuses_an_approval_after_the_expiry_that_the_desk_told_it(
    account, message, reviewer
):
    expires(hours=1)
    assert list(Message.objects.expiry_to_tell()) == [message]
    assert tell_expiry(message_id=message.pk) == "told"
    assert tell_expiry(message_id=message.pk) == "nothing to tell"
    # An hour later.
    Email.objects.update(expires_at=Now() - timedelta(seconds=1))
    refused = answer_to(account, message)
    assert refused.status_code == 409
    assert refused.json()["code"] == "approval_expired"
    assert Email.objects.get().decision == ""
    assert answer_to(account, message, "reject").json()["decision"] == "rejected"
    assert AuditLogEntry.objects.filter(action="email.expiry_set").count() == 1


def test_approval_waits_until_the_gateway_knows_of_an_extension(
    account, message, reviewer
):
    expires(seconds=30)
    tell_expiry(message_id=message.pk)
    extend_deadline(
        message=message.public_id,
        actor=actor_of(reviewer),
        until=clock() + timedelta(hours=1),
        reason="Dana calls back.",
    )
    assert carry_out(message, reviewer) == "recorded"
    assert tell_expiry(message_id=message.pk) == "told"
    Decision.objects.update(due_at=Now())
    assert execute.run_decision(decision_id=Decision.objects.get().pk) == "applied"


@pytest.mark.parametrize(
    "restored", [None, timedelta(days=2)], ids=["none", "an older one"]
)
def test_gateway_that_was_restored_is_told_the_expiry_again(account, message, restored):
    def read():
        return read_all(account.connection)

    expires(hours=1)
    tell_expiry(message_id=message.pk)
    known = Email.objects.get().expires_at
    assert read() == "1 held"
    assert not Message.objects.expiry_to_tell().exists()
    Email.objects.update(expires_at=restored and known - restored)
    assert read() == "1 held"
    assert list(Message.objects.expiry_to_tell()) == [message]
    assert tell_expiry(message_id=message.pk) == "told"
    assert Email.objects.get().expires_at == known


def test_expiry_call_needs_an_oversight_key_and_a_held_message_and_is_refused_once(
    account, message
):
    moment = (
        (clock() + timedelta(hours=1)).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    )
    body = {"email_id": message.upstream_id, "expires_at": moment}
    assert (
        account.ask("POST", "/v1/oversight/expiry", key="agent", json=body).status_code
        == 403
    )
    assert (
        account.ask("POST", "/v1/oversight/expiry", key="desk", json=body).json()[
            "expires_at"
        ][:19]
        == moment[:19]
    )
    rows = account.ask("GET", "/v1/oversight/pending", key="desk").json()["pending"]
    assert rows[0]["expires_at"][:19] == moment[:19]
    cleared = account.ask(
        "POST", "/v1/oversight/expiry", key="desk", json=body | {"expires_at": None}
    )
    assert cleared.json()["expires_at"] is None
    answer_to(account, message, "reject")
    assert (
        account.ask("POST", "/v1/oversight/expiry", key="desk", json=body).status_code
        == 409
    )
    # What it will never take is not told again and again.
    expires(hours=1)
    assert tell_expiry(message_id=message.pk) == "refused"
    assert not Message.objects.expiry_to_tell().exists()
