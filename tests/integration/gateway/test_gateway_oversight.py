"""The pending list as the desk reads it, what a decision has to name and what it
changes, and what can still be cancelled.
"""

from datetime import timedelta

import pytest
from django.utils import timezone

from common.fingerprint import FIELDS, fingerprint
from gateway.messages.content import AI_DISCLOSURE
from gateway.models import ApiKey, Email
from gateway.states import Status
from mirror.store import content_of
from tests.factories import change_row
from tests.integration.gateway.world import make_world, refusal_of, status_of


def test_pending_row_contains_everything_its_fingerprint_covers(db):
    world = make_world(auto_bcc="archive@acme.example", signature_block="Acme Ltd")
    world.held(
        to=["b@x.example", "a@x.example"],
        cc="c@x.example",
        bcc=["d@x.example"],
        reply_to="e@x.example",
        subject="Grüße",
        html="<p>hi</p>",
        send_at="2099-01-01T08:00:00.5Z",
        attachments=[
            {"name": "a b.txt", "content_type": "text/plain", "content_base64": "aGk="}
        ],
    )
    row = world.pending()["pending"][0]
    assert row["fingerprint"] == fingerprint(content_of(row))
    assert content_of(row).coverage == FIELDS
    additions = {
        "auto_bcc": "archive@acme.example",
        "signature": "Acme Ltd",
        "ai_disclosure": AI_DISCLOSURE,
    }
    assert row["additions"] == additions
    assert ApiKey.objects.get(pk=row["sent_by_key"]).name == row["sent_by_key_name"]


def test_approved_mail_can_be_cancelled_only_once_it_is_stuck(world):
    fresh = world.approved()
    leased = world.approved()
    path = f"{world.base}/emails/{{}}/cancel"
    assert Email.objects.claim(leased.pk)
    for email in (fresh, leased):
        answer = world.post(path.format(email.pk))
        assert refusal_of(answer) == (409, "not_cancellable")
    for stuck in ({"due_at": timezone.now() - timedelta(minutes=1)}, {"attempts": 1}):
        email = world.approved()
        change_row(email, **stuck)
        assert world.post(path.format(email.pk)).status_code == 200, stuck
        assert Email.objects.claim(email.pk) is None
        assert status_of(email) == Status.CANCELLED


PATHS = (
    ("POST", "/v1/oversight/decide"),
    ("POST", "/decide_email"),
    ("POST", "/v1/decide_email"),
    ("POST", "/v1/emails/{}/decide"),
    ("PATCH", "/v1/emails/{}/decide"),
)


def asked(world, path, held, method="POST", **fields):
    """Decide by one of the paths; return the status and the code of an error."""
    body = {"action": "approve", **fields}
    if "{}" not in path:
        body = {"email_id": held, **body}
    answer = world.call(method, path.format(held), key="desk", json=body)
    return answer.status_code, answer.json().get("code")


@pytest.mark.parametrize(
    "required_by", ["mailbox", pytest.param("account", marks=pytest.mark.slow)]
)
def test_required_fingerprint_is_asked_for_on_every_path_and_of_both_outcomes(
    world, required_by
):
    path = world.base if required_by == "mailbox" else "/v1/account"
    assert world.patch(path, require_fingerprint=True).json()["require_fingerprint"]
    (mailbox,) = world.get("/v1/mailboxes", key="admin")["mailboxes"]
    assert mailbox["require_fingerprint"] is (required_by == "mailbox")
    assert mailbox["account_requires_fingerprint"] is (required_by == "account")
    for method, decide in PATHS:
        held = world.held()
        for action in ("approve", "reject"):
            refused = asked(world, decide, held, method, action=action)
            assert refused == (422, "fingerprint_required"), (method, decide)
        wrong = asked(world, decide, held, method, expected_fingerprint="0" * 64)
        assert wrong == (409, "content_changed")
        seen = world.pending(email_id=held)["pending"][0]["fingerprint"]
        right = asked(world, decide, held, method, expected_fingerprint=seen)
        assert right[0] == 200


def test_unknown_field_of_a_decision_is_refused_on_every_path(world):
    held = world.held()
    for method, path in PATHS:
        refused = asked(world, path, held, method, fingerprint="0" * 64)
        assert refused == (422, "unknown_field"), path
    body = {"email_id": held, "action": "approve", "resaon": "x"}
    assert world.post(PATHS[0][1], key="desk", **body).json()["field"] == "resaon"
    nested = {"action": "reject", "changes": [{"field": "a", "afer": ""}]}
    assert asked(world, PATHS[0][1], held, **nested)[0] == 422
    assert status_of(held) == Status.PENDING_SEND_APPROVAL
