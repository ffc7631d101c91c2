"""The desk's main journeys against a hosted MultiMail that shares no code with us, in
both of its tempers, what goes wrong there, and what the desk learns of it.

What left is read from the stand-in's own ledger. The ordinary run has the strict host;
`--all` has both.
"""

import base64
import functools

import pytest
from django.db.models import F
from django.db.models.functions import Now

from approvals.decisions.by_rule import expire_due
from approvals.editing.commands import replace_message
from approvals.editing.send import run_replacement
from approvals.models import Decision
from approvals.reconcile import reads
from approvals.reconcile.closing import SETTLE_TIME
from audit.models import Entry
from common.postgres import clock
from connections.accounts.commands import set_key
from connections.changes import ConnectionNotChanged
from mirror.attachments.fetch import fetch_file
from mirror.models import AttachedFile, Connection, Mailbox, Message
from mirror.sync.account import learn, read_mailboxes, store_mailboxes
from tests.factories import actor_of
from tests.hosted.host import ADMIN, OVERSIGHT, READ
from tests.hosted.running import hosted
from tests.integration.deciding import decide, expires
from tests.integration.hosted_desk import hosted_desk
from upstream.capabilities import WORDS

LENIENT = pytest.param("lenient", marks=pytest.mark.slow)
tempers = pytest.mark.parametrize("temper", ["strict", LENIENT])
DECIDE = "/v1/oversight/decide"


@pytest.fixture(scope="module")
def host():
    with hosted() as standin:
        yield standin


@pytest.fixture
def temper():
    """The temper of a host where the test is not run with each."""
    return "strict"


@pytest.fixture
def desk(host, temper, request, signed_in, admin, settings):
    """The desk, connected by its pages to a host of this temper, with the switches that
    the test names.
    """
    host.begin(temper, **getattr(request, "param", {}))
    with hosted_desk(host) as desk:
        settings.PUBLIC_URL = desk.origin
        desk.connect(signed_in(admin))
        yield desk


def state_of(message):
    message.refresh_from_db()
    return message.state


@tempers
def test_held_message_is_seen_and_approved_leaves_once_and_is_shown_as_delivered(
    desk, client, reviewer, signed_in
):
    host = desk.host
    [hook] = host.webhooks.values()
    assert hook.secret == desk.connection.webhook_secret
    assert desk.connection.is_our_gateway is False
    upstream_id = host.hold(cc=["eve@northwind.example"])
    assert desk.take_in(client) == [200]
    message = Message.objects.get(upstream_id=upstream_id)
    assert message.hydrated_at is None
    assert desk.read() == "1 held"
    page = desk.page(signed_in(reviewer), message)
    assert "Hello Dana" in page
    # The strict host's list has no Cc; the read key shows it.
    assert "eve@northwind.example" in page
    # Looking decided nothing.
    assert host.bodies(DECIDE) == []
    assert desk.decided(message, reviewer).state == "applied"
    assert set(desk.take_in(client)) == {200}
    desk.read()
    assert state_of(message) == "delivered"
    assert "Delivered. Approved by Ana Ferreira" in desk.page(client, message)
    assert host.effects(upstream_id) == ["left"]


@tempers
def test_content_that_changed_after_it_was_read_does_not_leave(
    desk, reviewer, signed_in
):
    message = desk.held()
    decision = decide(message, reviewer).decision
    desk.host.mails[message.upstream_id].markdown = "Please pay somebody else."
    assert desk.carried_out(decision).state == "refused"
    assert "no longer the one that was read" in decision.explanation
    assert desk.host.bodies(DECIDE) == []
    desk.read()
    assert "Please pay somebody else" in desk.page(signed_in(reviewer), message)
    assert desk.decided(message, reviewer).state == "applied"
    assert desk.host.effects(message.upstream_id) == ["left"]


@pytest.mark.slow
@tempers
def test_burst_of_decisions_elsewhere_is_mirrored_and_named_and_ours_among_them_is_not_sent(
    desk, client, reviewer, signed_in
):
    for number in range(12):
        desk.host.hold(subject=f"Letter {number}", markdown=f"Letter {number}")
    assert desk.read() == "12 held"
    first = Message.objects.get(subject="Letter 0")
    decision = decide(first, reviewer).decision
    desk.host.decide_elsewhere()
    assert desk.carried_out(decision).state == "superseded"
    desk.take_in(client)
    for _ in range(2):
        desk.read()
    # The sweep asks about what only absence had closed.
    reads.ask_about(message_id=first.pk, now=clock())
    assert {one.state for one in Message.objects.all()} == {"delivered"}
    assert desk.host.bodies(DECIDE) == []
    page = desk.page(signed_in(reviewer), Message.objects.get(subject="Letter 1"))
    assert "outside this desk by kim@elsewhere.example" in page
    assert "decided elsewhere; this desk had sent nothing" in desk.page(client, first)


@tempers
def test_outcome_that_was_not_told_is_found_by_reading_and_nothing_leaves_twice(
    desk, temper, reviewer, signed_in
):
    # A host that would send again what is approved again.
    message = desk.held()
    # It teaches the desk which fields are taken.
    desk.decided(desk.held(subject="Another"), reviewer)
    desk.host.set(breaks_after=1, repeats=True, loses_events=100)
    decision = desk.decided(message, reviewer)
    assert decision.state == "unknown"
    state = desk.resolved(decision).state
    assert desk.host.effects(message.upstream_id) == ["left"]
    assert state_of(message) == "delivered"
    # The strict host refuses the reason, and with it our reference.
    page = desk.page(signed_in(reviewer), message)
    if temper == "strict":
        assert state == "unattributed"
        assert "whether it was by this decision is not known" in page
    else:
        assert state == "applied"


@pytest.mark.slow
@tempers
def test_answer_of_success_that_did_nothing_is_found_by_reading_and_told(
    desk, reviewer, signed_in
):
    message = desk.held()
    desk.host.set(does_nothing=1)
    desk.decided(message, reviewer)
    for model in (Decision, Message):
        model.objects.update(changed_at=F("changed_at") - SETTLE_TIME * 2)
    desk.read()
    page = desk.page(signed_in(reviewer), message)
    assert state_of(message) == "held"
    assert desk.host.effects(message.upstream_id) == []
    assert "Held again, although it was approved by Ana Ferreira" in page


# --- what the desk learns of a host ---


def survey(desk):
    Connection.objects.update(surveyed_at=None)
    return learn(connection_id=desk.connection.pk)


def told(action):
    return [
        entry.detail.fields["explanation"]
        for entry in Entry.objects.filter(action=action).order_by("pk")
    ]


@pytest.mark.slow
def test_what_reads_show_is_learnt_daily_and_a_change_is_told_once(desk):
    desk.host.hold()
    assert survey(desk) == "learnt"
    assert learn(connection_id=desk.connection.pk) == "not due"
    known = desk.connection.capabilities
    there = {name for name, is_there in known.items() if is_there}
    assert there >= {"single_read", "contacts", "audit_log"}
    lacking = {"gateway", "one_pending", "whole_allowlists", "hold_all", "pending_cc"}
    assert not there & (lacking | {"minimum_mode", "thread_bodies"})
    desk.host.set(shows=["cc"])
    assert survey(desk) == "changed"
    assert survey(desk) == "as before"
    [change] = told("connection.capability_changed")
    assert "Cc of held messages: yes" in change
    # What cannot be seen this time proves nothing; a key that lost its scope does.
    desk.host.decide_elsewhere()
    assert survey(desk) == "as before"
    assert desk.connection.capabilities["pending_cc"]
    desk.host.keys[READ].scopes = []
    assert survey(desk) == "changed"
    assert "contacts: no" in told("connection.capability_changed")[1]


def test_our_own_gateway_can_do_everything(account):
    account.send()
    Connection.objects.update(read_key=account.world.keys["agent"], surveyed_at=None)
    learn(connection_id=account.connection.pk)
    connection = Connection.objects.get()
    assert connection.lacks == []
    assert set(connection.capabilities) == set(WORDS)


@tempers
@pytest.mark.slow
def test_corrected_message_goes_out_without_what_is_refused_only_where_its_mailbox_holds_it(
    desk, reviewer, temper
):
    file = {
        "name": "a.txt",
        "size": 2,
        "content_type": "text/plain",
        "content_base64": base64.b64encode(b"hi").decode(),
    }
    desk.host.set(shows=["attachments"])
    for subject, expected in (("Seen to be held", "done"), ("Not known", "sending")):
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
            fingerprint=message.revision.fingerprint, reference=subject[:10], links=(), note="",
        )  # fmt: skip
        if subject == "Not known":
            desk.host.keys[ADMIN].is_active = False
        run_replacement(replacement_id=row.pk)
        row.refresh_from_db()
        assert row.state == expected
    mails = [one.markdown for one in desk.host.mails.values()]
    assert mails.count("Better.") == 1
    # The lenient host ignores it.
    is_strict = temper == "strict"
    assert ("oversight_mode" in desk.connection.refused_fields) == is_strict


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
    kept = desk.host.mails[message.upstream_id]
    change = functools.partial(setattr, kept, "bcc", ["other@evil.example"])
    desk.host.before.append(("/v1/oversight/pending", change))
    decision = desk.decided(message, reviewer)
    assert decision.state == "refused"
    assert desk.host.effects(message.upstream_id) == []
    desk.read()
    message.refresh_from_db()
    assert message.revision.content["bcc"] == ["other@evil.example"]
    assert desk.decided(message, reviewer).state == "applied"


def test_mailbox_that_is_made_looser_elsewhere_is_told_once(desk):
    Mailbox.objects.update(oversight_mode="gated_all", mirrored_at=Now())
    for _ in range(2):
        read_mailboxes(connection_id=desk.connection.pk)
    # Or every call may ask for a looser mode, or HTML is not simplified any more.
    for name in ("allow_looser_per_call", "send_as_designed"):
        row = {"id": Mailbox.objects.get().upstream_id, name: True}
        store_mailboxes(desk.connection, [row], is_whole=False)
    assert Entry.objects.filter(action="mailbox.seen_looser").count() == 3


def test_key_that_decides_cannot_be_the_one_that_writes(desk, admin):
    agent = {"slot": "agent", "key": OVERSIGHT, "scopes": None}
    with pytest.raises(ConnectionNotChanged, match="the oversight key already"):
        set_key(connection=desk.connection, actor=actor_of(admin), **agent)


@pytest.mark.parametrize("desk", [{"takes_reason": True}], indirect=True)
def test_message_expires_also_where_the_host_does_not_take_how_it_ended(
    desk, reviewer, signed_in
):
    message = desk.held()
    expires(minutes=-1)
    expire_due()
    decision = desk.carried_out(Decision.objects.get())
    assert (decision.state, decision.ended_by) == ("applied", "expiry")
    *_, sent = desk.host.bodies(DECIDE)
    assert sent["reason"].startswith("Expired: it was not approved before")
    assert "(Nobody via Countersign, reference" in sent["reason"]
    assert desk.connection.refused_fields[-2:] == ["decided_by", "ended_by"]
    desk.read()
    page = desk.page(signed_in(reviewer), message)
    assert "Expired, nobody decided" in page
    assert "Rejected by" not in page
