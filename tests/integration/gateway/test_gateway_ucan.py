"""What an agent says that it may do (`ucan`): relayed unchanged, shown to whoever
decides, and part of what is sent.
"""

from gateway.models import Email
from tests.integration.gateway.world import bad_field_of, leave, make_inbound

UCAN = "eyJhbGciOiJFZERTQSJ9." + "Ab-_9" * 2196 + "c=d"
assert len(UCAN) < 11_008


def pending(world, email_id):
    [row] = world.pending(email_id=email_id)["pending"]
    return dict(row)


def test_ucan_is_part_of_what_is_decided_and_arrives_unchanged(world, mail_server):
    plain = world.held()
    held = world.held(ucan=UCAN)
    assert "agent_identity" not in pending(world, plain)["additions"]
    row = pending(world, held)
    assert row["additions"]["agent_identity"] == UCAN
    Email.objects.filter(pk=held).update(agent_identity="other")
    assert (
        world.decide(held, expected_fingerprint=row["fingerprint"]).json()["code"]
        == "content_changed"
    )
    Email.objects.filter(pk=held).update(agent_identity=UCAN)
    assert (
        world.decide(held, expected_fingerprint=row["fingerprint"]).status_code == 200
    )
    assert leave(held) == "sent"
    content = mail_server.taken[0].content
    assert max(map(len, content.splitlines())) <= 200
    # Blanks stand only where a line was folded.
    assert "".join(mail_server.message()["X-Agent-Identity"].split()) == UCAN
    world.decide(plain)
    assert leave(plain) == "sent"
    assert mail_server.message(1)["X-Agent-Identity"] is None


def test_ucan_is_taken_on_every_path_that_sends_or_replies(world):
    parent = make_inbound(world)
    body = {"markdown": "Yes", "ucan": "a.b.c"}
    new = body | {
        "to": "dana@northwind.example",
        "subject": "S",
        "from": world.mailbox.address,
    }
    for path, fields in (
        (f"{world.base}/send", new),
        ("/v1/emails/send", new | {"subject": "T"}),
        ("/send_email", new | {"subject": "U"}),
        (f"{world.base}/reply/{parent.pk}", body),
        (f"/v1/emails/{parent.pk}/reply", body | {"markdown": "No"}),
        ("/v1/reply_email", body | {"markdown": "Perhaps", "email_id": parent.pk}),
    ):
        answer = world.post(path, **fields)
        assert answer.status_code == 202, (path, answer.content)
        assert Email.objects.get(pk=answer.json()["id"]).agent_identity == "a.b.c", path
    for wrong in ("x" * 11_009, "a b", "a\r\nBcc: eve@evil.example", "ä", "a+b", 5):
        answer = world.send(ucan=wrong)
        assert bad_field_of(answer) == (422, "ucan"), wrong
    assert world.send(ucan=None).status_code == 202


def test_retry_with_a_new_ucan_is_the_same_message_and_an_edit_keeps_the_first(world):
    world.mailbox.__class__.objects.update(oversight_mode="autonomous")
    body = {"subject": "S", "send_at": "2099-01-01T00:00:00Z", "idempotency_key": "k"}
    first = world.send(ucan="first", **body).json()["id"]
    again = world.send(ucan="second", **body).json()
    assert again["id"] == first
    assert again["idempotent"] is True
    assert again.get("idempotency_mismatch") is None
    edited = world.patch(
        f"{world.base}/emails/{first}/schedule", key="agent", markdown="Other words"
    )
    assert edited.status_code == 200
    assert Email.objects.get(pk=first).agent_identity == "first"
