"""What the gateway mails to an account's oversight address: copies of received mail."""

from email import message_from_bytes
from email.policy import default as modern

import pytest

from gateway import notices
from gateway.messages.outbox import hold_back
from gateway.models import (
    Account,
    Email,
    Mailbox,
    Notice,
)
from gateway.states import Mode, Status
from tests.integration.gateway.servers import SENDER, deliver, mail
from tests.integration.gateway.world import (
    bad_field_of,
    sweep_and_catch_wake_ups,
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


def forwarded(world, client):
    """Receive a message, and return the notice of it."""
    forwarding(world)
    deliver(client, mail(Subject="First"))
    return Notice.objects.get()


def test_setting_says_who_is_asked_for_a_code(world, other, settings):
    Account.objects.filter(pk=other.account.pk).update(oversight_email=BOSS)
    for codes, statuses in (
        ("0", [201, 201]),
        ("1", [202, 202]),
        ("address", [201, 202]),
    ):
        settings.GATEWAY_APPROVAL_CODES = codes
        assert [
            create_key(one, name=codes).status_code for one in (world, other)
        ] == statuses, codes
    assert other.allow("northwind.example").status_code == 200


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


def test_held_mail_is_forwarded_when_it_is_let_in(overseen, client):
    forwarding(overseen)
    Mailbox.objects.update(oversight_mode=Mode.GATED_ALL)
    for subject, action in (("Good", "approve"), ("Bad", "reject")):
        deliver(client, mail(Subject=subject))
        email = Email.objects.get(subject=subject)
        assert email.status == Status.PENDING_INBOUND_APPROVAL
        assert not Notice.objects.filter(received=email).exists()
        overseen.decide(email.pk, action)
    assert [notice.received.subject for notice in Notice.objects.all()] == ["Good"]


def test_forwarding_needs_an_oversight_address_that_is_no_mailbox(world):
    for address in ("", world.mailbox.address):
        Account.objects.update(oversight_email=address)
        made = {"address_local": "new", "forward_inbound": True}
        for refused in (
            forwarding(world),
            world.post("/v1/mailboxes", key="admin", **made),
        ):
            assert bad_field_of(refused) == (422, "forward_inbound")


def test_notice_is_tried_again_until_the_server_may_have_it(
    overseen, client, mail_server, monkeypatch
):
    notice = forwarded(overseen, client)
    assert ("gateway.tasks.send_notice", notice.pk) in sweep_and_catch_wake_ups(
        monkeypatch
    )
    mail_server.refuse[BOSS] = "450 later"
    assert [send_all(), send_all()] == [["put off"], ["not due"]]
    Notice.objects.update(due_at=notice.created_at)
    mail_server.refuse.clear()
    mail_server.mood = "drop"
    assert [send_all(), send_all()] == [["unknown"], ["not due"]]
    assert mail_server.seen == 1


def test_notice_is_not_sent_again_by_a_late_worker_or_after_a_restore(
    overseen, client, mail_server, monkeypatch
):
    notice = forwarded(overseen, client)
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
    deliver(client, mail(Subject="Other"))
    hold_back(notice.created_at)
    assert send_all() == ["not due", "not due"]
    assert len(mails_to_boss(mail_server)) == 1


def test_hold_all_holds_copies(overseen, client, mail_server):
    forwarded(overseen, client)
    overseen.patch("/v1/account", hold_all=True)
    assert send_all() == ["not due"]
    overseen.patch("/v1/account", hold_all=False)
    assert send_all() == ["sent"]
