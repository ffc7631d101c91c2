"""What the gateway mails to an account's oversight address: approval codes, and copies
of received mail.
"""

from email import message_from_bytes
from email.policy import default as modern

import pytest

from gateway import notices
from gateway.messages.outbox import hold_back
from gateway.models import (
    Account,
    ApprovalRequest,
    Email,
    Notice,
)
from tests.integration.gateway.servers import SENDER, deliver, mail
from tests.integration.gateway.world import (
    refusal_of,
    times_noted,
)

BOSS = "boss@overseer.example"
KEY = {"name": "Bot", "scopes": ["read", "send"]}


@pytest.fixture
def overseen(world):
    """An account with an oversight address, as the operator makes one who sets no
    variable.
    """
    Account.objects.update(oversight_email=BOSS)
    world.account.refresh_from_db()
    return world


def create_key(world, **fields):
    return world.post("/v1/api-keys", key="admin", **(KEY | fields))


def send_all():
    """Make one attempt at each notice, as workers do."""
    return [notices.send_due(pk) for pk in Notice.objects.values_list("pk", flat=True)]


def mails_to_boss(server):
    mine = [one for one in server.taken if one.rcpt_tos == [BOSS]]
    return [message_from_bytes(one.content, policy=modern) for one in mine]


def forwarding(world, *, on=1):
    return world.patch(world.base, forward_inbound=on)


def test_account_with_an_oversight_address_gets_the_code_by_mail(overseen, mail_server):
    assert "oversight address" in create_key(overseen).json()["message"]
    # Asked again, it is the same request.
    create_key(overseen)
    assert [send_all(), send_all()] == [["sent"], ["not due"]]
    [mail] = mails_to_boss(mail_server)
    code = ApprovalRequest.objects.get().code
    assert mail["From"].addresses[0].addr_spec == "approval-codes@acme.example"
    assert mail["Reply-To"] == BOSS
    assert mail["Auto-Submitted"] == "auto-generated"
    assert "X-AI-Generated" not in mail
    text = mail.get_content()
    wanted = "Create the API key Bot with read, send for all mailboxes"
    for part in (code, wanted, "Key admin"):
        assert part in text
    assert code not in mail["Subject"]
    assert create_key(overseen, approval_code=code).status_code == 201
    # No key can read it: it is no message of a mailbox.
    assert not Email.objects.exists()


def test_secret_path_of_a_webhook_is_not_mailed(overseen, mail_server):
    url = "https://discord.com/api/webhooks/1/geheim?token=geheim"
    overseen.post("/v1/webhooks", key="admin", url=url, events=["message.sent"])
    send_all()
    [mail] = mails_to_boss(mail_server)
    assert "    Send events to https://discord.com" in mail.get_content().splitlines()
    assert "geheim" not in mail.get_content()


def test_mailbox_of_an_agent_gets_no_codes(world):
    Account.objects.update(oversight_email="support+codes@acme.example")
    assert create_key(world).status_code == 202
    assert not Notice.objects.exists()
    Account.objects.update(oversight_email="")
    taken = world.post("/v1/mailboxes", key="admin", address_local="approval-codes")
    assert refusal_of(taken) == (409, "address_taken")


def test_received_mail_is_forwarded_once_from_the_mailbox(
    overseen, client, mail_server
):
    assert forwarding(overseen).json()["forward_inbound"] == 1
    content = mail(Subject="Wo? Ä", file="a.png", Reply_To="dana@home.example")
    for _ in range(2):
        assert deliver(client, content) == 250
    assert [send_all(), send_all()] == [["sent"], ["not due"]]
    [copy] = mails_to_boss(mail_server)
    assert copy["From"].addresses[0].addr_spec == overseen.mailbox.address
    assert copy["Reply-To"] == "dana@home.example"
    assert copy["Subject"] == "Fwd: Wo? Ä"
    text, file = copy.iter_parts()
    assert f"From: Dana <{SENDER}>" in text.get_content().splitlines()
    assert "Where is it?" in text.get_content()
    assert file.get_filename() == "a.png"
    assert file.get_content() == b"\x00\xffbytes"
    # The agent sees the message alone.
    assert Email.objects.count() == times_noted("email.forwarded") == 1
    forwarding(overseen, on=0)
    deliver(client, mail(Subject="Later"))
    assert Notice.objects.count() == 1


@pytest.mark.slow
def test_mail_that_could_go_round_is_not_forwarded(overseen, client, mail_server):
    forwarding(overseen)
    deliver(client, mail(Subject="First"))
    send_all()
    [copy] = mails_to_boss(mail_server)
    deliver(client, copy.as_bytes(), sender=SENDER)
    deliver(client, mail(Subject="Away", Auto_Submitted="auto-replied"))
    deliver(client, mail(Subject="Bounced"), sender="")
    deliver(client, mail(Subject="From the overseer", From=BOSS))
    deliver(client, mail(Subject="Sent by the overseer"), sender=BOSS.upper())
    assert Email.objects.count() == 6
    assert [notice.received.subject for notice in Notice.objects.all()] == ["First"]


def test_notice_is_not_sent_again_by_a_late_worker_or_after_a_restore(
    overseen, mail_server, monkeypatch
):
    create_key(overseen)
    notice = Notice.objects.get()
    late = Notice.objects.claim(notice.pk)
    Notice.objects.update(due_at=notice.created_at)
    newer = Notice.objects.claim(notice.pk)
    for attempt, word in ((late, "not due"), (newer, "sent"), (late, "not due")):
        with monkeypatch.context() as patched:
            patched.setattr(
                type(Notice.objects), "claim", lambda rows, pk, own=attempt: own
            )
            assert send_all() == [word]
    assert send_all() == ["not due"]
    create_key(overseen, name="Other")
    hold_back(notice.created_at)
    assert send_all() == ["not due", "not due"]
    assert len(mails_to_boss(mail_server)) == 1
