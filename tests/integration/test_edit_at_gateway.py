"""A corrected message at the real gateway: held in the same thread, whatever lists there are, and told to the agent."""

import pytest

from approvals.decisions.execute import run_decision
from approvals.editing.commands import replace_message
from approvals.editing.send import run_replacement
from approvals.models import Decision, Replacement
from approvals.reconcile.reads import read_everything
from common.postgres import clock
from gateway.models import ApprovalRequest
from mirror.models import Connection, Message
from tests.integration.deciding import make_due

pytestmark = pytest.mark.django_db


def test_corrected_message_is_held_in_its_thread_and_the_agent_gets_the_text_as_data(account, reviewer):
    Connection.objects.update(agent_key=account.world.keys["agent"])
    box = account.mailbox
    body = {
        "from": box.address,
        "to": "dana@northwind.example",
        "subject": "Refund",
        "body": "Hello.",
        "cc": "eve@x.org",
    }
    first_id = account.ask("POST", "/v1/send_email", key="agent", json=body).json()["id"]
    read_everything(connection_id=account.connection.pk, now=clock())
    first = Message.objects.get(upstream_id=first_id)
    # A bypass would let the corrected message leave unread.
    listed = {"kind": "bypass", "mode": "enforce", "version": 0, "entries": [{"pattern": "northwind.example"}]}
    account.ask("PUT", f"/v1/mailboxes/{box.upstream_id}/allowlist", json=listed)
    listed["approval_code"] = ApprovalRequest.objects.get().code
    assert account.ask("PUT", f"/v1/mailboxes/{box.upstream_id}/allowlist", json=listed).status_code == 200
    row = replace_message(
        message=first.public_id,
        actor=reviewer.actor(surface="web"),
        fingerprint=first.revision.fingerprint,
        reference="0123456789",
        note="",
        content={"to": ["dana@northwind.example"], "cc": [], "bcc": [], "subject": "Refund", "markdown": "Hello Dana."},
    )
    assert run_replacement(replacement_id=row.pk) == "done"
    make_due()
    assert run_decision(decision_id=Decision.objects.get().pk) == "applied"
    new_id = Replacement.objects.get().upstream_id
    told, new = (account.ask("GET", f"/v1/read_email?id={one}", key="agent").json() for one in (first_id, new_id))
    assert (told["status"], told["replaced_by"], told["suggested_markdown"]) == ("rejected", new_id, "Hello Dana.")
    assert told["changes"] == [{"field": "cc", "before": "eve@x.org", "after": ""}]
    assert (new["status"], new["thread_id"], new["cc"]) == ("pending_send_approval", told["thread_id"], [])
    read_everything(connection_id=account.connection.pk, now=clock())
    assert Message.objects.get(upstream_id=new_id).answers_id == first.pk
    sent = account.ask("POST", "/v1/send_email", key="agent", json=body | {"replaces": "01NOSUCH"})
    assert sent.status_code == 404


def test_feedback_is_taken_with_a_rejection_only(account):
    body = {"from": account.mailbox.address, "to": "dana@northwind.example", "subject": "Refund", "body": "Hello."}
    made = account.ask("POST", "/v1/send_email", key="agent", json=body).json()["id"]
    decision = {"email_id": made, "action": "approve", "suggested_markdown": "Hello Dana."}
    assert account.ask("POST", "/v1/oversight/decide", key="desk", json=decision).status_code == 422
