"""The desk asks a hosted MultiMail what it can do before it relies on it, and remembers
what its calls refuse.
"""

import base64

import pytest
from django.db.models.functions import Now

from approvals.editing.commands import replace_message
from approvals.editing.send import run_replacement
from audit.models import Entry
from connections.accounts.commands import set_key
from connections.errors import ChangeRefused, ConnectionNotChanged
from connections.mailboxes.commands import change_mailbox
from mirror.attachments.fetch import fetch_file
from mirror.models import AttachedFile, Connection, Mailbox, Thread
from mirror.sync.account import learn, read_mailboxes
from mirror.threads import freshen_thread
from policy.allowlists.gates import NO_LISTS, push_list
from policy.models import GateList
from tests.factories import actor_of
from tests.hosted.running import ADMIN, OVERSIGHT, READ, hosted
from tests.integration.hosted_desk import hosted_desk
from upstream.capabilities import WORDS


@pytest.fixture(scope="module")
def host():
    with hosted() as standin:
        yield standin


@pytest.fixture
def desk(host, signed_in, admin, settings):
    """The desk, connected by its pages to a strict host."""
    host.begin("strict")
    with hosted_desk(host) as desk:
        settings.PUBLIC_URL = desk.origin
        desk.connect(signed_in(admin))
        yield desk


def survey(desk):
    Connection.objects.update(surveyed_at=None)
    return learn(connection_id=desk.connection.pk)


def told(action):
    return [
        entry.detail.fields["explanation"]
        for entry in Entry.objects.filter(action=action).order_by("pk")
    ]


def test_what_reads_show_is_learnt_daily_and_a_change_is_told_once(desk):
    desk.host.hold()
    assert survey(desk) == "learnt"
    assert learn(connection_id=desk.connection.pk) == "not due"
    known = desk.connection.capabilities
    there = {name for name, is_there in known.items() if is_there}
    assert there >= {"single_read", "contacts", "allowlists", "webhooks", "audit_log"}
    lacking = {"gateway", "one_pending", "whole_allowlists", "hold_all", "pending_cc"}
    assert not there & (lacking | {"minimum_mode", "thread_bodies"})
    desk.host.set(shows=["cc"])
    assert survey(desk) == "changed"
    assert survey(desk) == "as before"
    [change] = told("connection.capability_changed")
    assert "Cc of held messages: yes" in change
    # What cannot be seen this time proves nothing; a key that lost its scope does.
    desk.host.control(decide={})
    assert survey(desk) == "as before"
    assert desk.connection.capabilities["pending_cc"]
    desk.host.control(scopes={"mm_live_read_key": []})
    assert survey(desk) == "changed"
    assert "contacts: no" in told("connection.capability_changed")[1]


def test_our_own_gateway_can_do_everything(account):
    body = {
        "from": account.mailbox.address,
        "to": "dana@northwind.example",
        "subject": "Refund",
        "body": "Hello.",
    }
    account.ask("POST", "/v1/send_email", key="agent", json=body)
    Connection.objects.update(read_key=account.world.keys["agent"], surveyed_at=None)
    learn(connection_id=account.connection.pk)
    connection = Connection.objects.get()
    assert connection.lacks == []
    assert set(connection.capabilities) == set(WORDS)


def test_fields_that_calls_refuse_are_left_out_from_then_on(desk, reviewer):
    first = desk.decided(desk.held(), reviewer)
    assert desk.host.effects(first.message.upstream_id) == ["left"]
    assert desk.connection.refused_fields == ["only", "decided_by", "reason"]
    before = len(desk.host.calls("/v1/oversight/decide"))
    second = desk.decided(desk.held(subject="Another"), reviewer)
    assert second.state == "applied"
    assert [set(body) for body in desk.host.calls("/v1/oversight/decide")[before:]] == [
        {"email_id", "action"}
    ]
    assert len(told("connection.fields_refused")) == 3


def test_corrected_message_goes_out_without_what_is_refused_only_where_its_mailbox_holds_it(
    desk, reviewer
):
    file = {
        "name": "a.txt",
        "size": 2,
        "content_type": "text/plain",
        "content_base64": base64.b64encode(b"hi").decode(),
    }
    desk.host.set(shows=["attachments"])
    for subject, expected in (("Seen to be held", "done"), ("Not known", "refused")):
        message = desk.held(attachments=[file], subject=subject)
        fetch_file(file_id=AttachedFile.objects.get(revision=message.revision).pk)
        content = {
            "to": message.recipients,
            "cc": [],
            "bcc": [],
            "subject": subject,
            "markdown": "Better.",
        }
        row = replace_message(
            message=message.public_id, actor=actor_of(reviewer), content=content,
            fingerprint=message.revision.fingerprint, reference=subject[:10], note="",
        )  # fmt: skip
        if subject == "Not known":
            desk.host.control(scopes={ADMIN: None})
        run_replacement(replacement_id=row.pk)
        row.refresh_from_db()
        assert row.state == expected
    mails = [one["markdown"] for one in desk.host.shown["mails"]]
    assert mails.count("Better.") == 1
    assert "oversight_mode" in desk.connection.refused_fields


def test_recipients_that_the_list_hides_are_read_with_the_read_key_and_compared_before_the_call(
    desk, reviewer
):
    Connection.objects.update(read_key="")
    message = desk.held(cc=["eve@northwind.example"], bcc=["mallory@evil.example"])
    assert "cc" not in message.revision.coverage
    Connection.objects.update(read_key=READ, surveyed_at=None)
    learn(connection_id=desk.connection.pk)
    desk.read()
    message.refresh_from_db()
    content = message.revision.content
    assert content["cc"] == ["eve@northwind.example"]
    assert content["bcc"] == ["mallory@evil.example"]
    desk.host.before(
        "/v1/oversight/pending",
        edit={"id": message.upstream_id, "bcc": ["other@evil.example"]},
    )
    decision = desk.decided(message, reviewer)
    assert decision.state == "refused"
    assert desk.host.effects(message.upstream_id) == []
    desk.read()
    message.refresh_from_db()
    assert message.revision.content["bcc"] == ["other@evil.example"]
    assert desk.decided(message, reviewer).state == "applied"


def test_thread_and_lists_of_another_form_are_read_without_our_questions(desk):
    message = desk.held()
    message.thread_id = desk.host.shown["mails"][0]["thread_id"]
    message.save()
    freshen_thread(message_id=message.pk)
    assert "bodies" in desk.connection.refused_fields
    assert Thread.objects.get().problem == ""
    gate = GateList.objects.create(mailbox=message.mailbox, kind="restriction")
    push_list(gate_list_id=gate.pk)
    gate.refresh_from_db()
    assert gate.last_error == NO_LISTS


def test_setting_that_a_host_does_not_take_is_named_and_the_rest_saved(desk, admin):
    mailbox = Mailbox.objects.get()
    changes = {"display_name": "Help", "scheduling_enabled": False}
    with pytest.raises(
        ChangeRefused,
        match="The rest is saved: MultiMail cannot set this here: scheduling",
    ):
        change_mailbox(mailbox=mailbox, actor=actor_of(admin), changes=changes)
    mailbox.refresh_from_db()
    assert mailbox.display_name == "Help"
    assert mailbox.scheduling_enabled is True


@pytest.mark.parametrize("who", ["kim@elsewhere.example", "API key key_9"])
def test_burst_that_was_decided_elsewhere_is_named_once(desk, who):
    if who.startswith("API key"):
        # Then only the audit log can say who it was.
        Connection.objects.update(read_key="")
    for number in range(6):
        desk.host.hold(subject=f"Number {number}")
    desk.read()
    desk.host.control(decide={"by": who.removeprefix("API key ")})
    for _ in range(3):
        desk.read()
    assert told("connection.decided_elsewhere") == [
        f"6 messages were decided at MultiMail by {who}, not at this desk."
    ]


def test_mailbox_that_is_made_looser_elsewhere_is_told_once(desk):
    Mailbox.objects.update(oversight_mode="gated_all", mirrored_at=Now())
    for _ in range(2):
        read_mailboxes(connection_id=desk.connection.pk)
    assert Entry.objects.filter(action="mailbox.seen_looser").count() == 1


def test_key_that_decides_cannot_be_the_one_that_writes(desk, admin):
    agent = {"slot": "agent", "key": OVERSIGHT, "scopes": None}
    with pytest.raises(ConnectionNotChanged, match="the oversight key already"):
        set_key(connection=desk.connection, actor=actor_of(admin), **agent)
