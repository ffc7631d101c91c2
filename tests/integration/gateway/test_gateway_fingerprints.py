"""Decisions that have to name what was read, and fields of a decision that nobody
knows.
"""

import pytest

from gateway.models import Account, ApprovalRequest, Email, Mailbox
from gateway.models.accounts import Scope
from gateway.states import Status
from tests.integration.gateway.world import add_key, status_of

PATHS = (
    ("POST", "/v1/oversight/decide"),
    ("POST", "/decide_email"),
    ("POST", "/v1/decide_email"),
    ("POST", "/v1/emails/{}/decide"),
    ("PATCH", "/v1/emails/{}/decide"),
)


def asked(world, path, held, method="POST", **fields):
    body = {
        "action": "approve",
        **({} if "{}" in path else {"email_id": held}),
        **fields,
    }
    answer = world.call(method, path.format(held), key="desk", json=body)
    return (
        answer.status_code,
        answer.json().get("code", ""),
        answer.json().get("field", ""),
    )


@pytest.mark.parametrize("required_by", ["mailbox", "account"])
def test_required_fingerprint_is_asked_for_on_every_path_and_of_both_outcomes(
    world, required_by
):
    path = world.base if required_by == "mailbox" else "/v1/account"
    answer = world.patch(path, require_fingerprint=True)
    assert answer.status_code == 200
    assert answer.json()["require_fingerprint"] is True
    for method, decide in PATHS:
        email_id = world.held()
        for action in ("approve", "reject"):
            refused = asked(world, decide, email_id, method, action=action)
            assert refused == (422, "fingerprint_required", "expected_fingerprint"), (
                method,
                decide,
            )
        assert asked(world, decide, email_id, method, expected_fingerprint="0" * 64)[
            :2
        ] == (409, "content_changed")
        assert status_of(email_id) == Status.PENDING_SEND_APPROVAL
        seen = world.pending(email_id=email_id)["pending"][0]["fingerprint"]
        assert (
            asked(world, decide, email_id, method, expected_fingerprint=seen)[0] == 200
        )
    mailboxes = world.get("/v1/mailboxes", key="admin")["mailboxes"]
    said = (
        mailboxes[0]["require_fingerprint"],
        mailboxes[0]["account_requires_fingerprint"],
    )
    assert said == (required_by == "mailbox", required_by == "account")


@pytest.mark.parametrize("required_by", ["mailbox", "account"])
def test_requiring_it_works_at_once_and_ending_that_takes_a_code_of_any_key(
    world, required_by
):
    add_key(world, "both", [Scope.ADMIN, Scope.SEND])
    path = world.base if required_by == "mailbox" else "/v1/account"
    for key in ("admin", "both"):
        assert world.patch(path, key=key, require_fingerprint=True).status_code == 200
        off = {"require_fingerprint": False}
        assert world.patch(path, key=key, **off).json()["status"] == "pending_approval"
        assert (
            Mailbox.objects.get().require_fingerprint
            or Account.objects.get().require_fingerprint
        )
        code = ApprovalRequest.objects.latest("id").code
        assert (
            world.patch(
                path, key=key, **(off | {"approval_code": "AAA-AAA"})
            ).status_code
            == 403
        )
        done = world.patch(path, key=key, **(off | {"approval_code": code}))
        assert done.status_code == 200
        assert done.json()["require_fingerprint"] is False
    # Nothing to loosen: no code.
    assert world.patch(path, require_fingerprint=False).status_code == 200


def test_unknown_field_of_a_decision_is_refused_on_every_path_with_what_was_meant(
    world,
):
    email_id = world.held()
    right = "0" * 64
    words = {
        "fingerprint": "expected_fingerprint",
        "expectedFingerprint": "expected_fingerprint",
        "Reason": "reason",
        "resaon": "reason",
        "comment": "reason",
        "outcome": "action",
    }
    for method, path in PATHS:
        for word, meant in words.items():
            body = {"action": "approve", word: right} | (
                {} if "{}" in path else {"email_id": email_id}
            )
            answer = world.call(method, path.format(email_id), key="desk", json=body)
            error = answer.json()
            found = answer.status_code, error["code"], error["field"]
            assert found == (422, "unknown_field", word), (path, word, error)
            assert f"Did you mean {meant}?" in error["error"]
    assert asked(world, PATHS[0][1], email_id, zzz=1) == (422, "unknown_field", "zzz")
    nested = asked(
        world,
        PATHS[0][1],
        email_id,
        action="reject",
        changes=[{"field": "a", "before": "", "afer": ""}],
    )
    assert nested[:2] == (422, "unknown_field")
    assert status_of(email_id) == Status.PENDING_SEND_APPROVAL


def test_decision_that_contradicts_its_address_or_itself_is_refused(world):
    email_id = world.held()
    other = world.held()
    for method, path in PATHS:
        assert asked(
            world, path + f"?expected_fingerprint={'0' * 64}", email_id, method
        )[:2] == (422, "unknown_field")
        assert (
            asked(world, path, email_id, method, email_id=email_id, message_id=other)[0]
            == 422
        )
    assert asked(world, PATHS[3][1], email_id, id=other)[0] == 422
    assert {email.status for email in Email.objects.all()} == {
        Status.PENDING_SEND_APPROVAL
    }
    # What Zapier might add by itself is no contradiction.
    assert asked(world, PATHS[3][1], email_id, id=email_id)[0] == 200
