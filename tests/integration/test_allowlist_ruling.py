"""Allowlists in the one ruling: what they refuse when a message is shown, decided and carried out, and how."""

from datetime import timedelta

import pytest
from django.db import connections
from django.db.models.functions import Now
from django.utils import timezone

from approvals.decide import undo_decision
from approvals.deciding.withdraw import confirm_approval
from approvals.errors import VerdictNotAllowed
from approvals.execute import run_decision
from approvals.models import Connection, Decision, KeyOwner, KnownContact, Mailbox, Message
from approvals.ruling import ruling_for, rulings_for
from common.postgres import clock
from policy.allowlists import Place
from policy.changes import Change, Wanted, allow_for_days, apply_change
from policy.models import AllowEntry, Allowlist
from tests.factories import MAILBOX, NOW, make_connection, make_message, make_person, pending_row
from tests.integration.deciding import carry_out, decide, make_due

pytestmark = pytest.mark.django_db


@pytest.fixture
def root(db):
    return make_person("root@yourteam.example", "Ruth", "admin").actor(surface="web")


def enforce(root, *patterns, place=None, mode="enforce", **wanted):
    """Let a list of this mode hold these entries alone."""
    there = Allowlist.objects.filter(
        connection=place.connection if place else None, mailbox=place.mailbox if place else None, kind="restriction"
    ).first()
    change = Change(mode=mode, put=tuple(Wanted(one, **wanted) for one in patterns))
    version = there.version if there else 0
    return apply_change(place=place or Place(), kind="restriction", change=change, version=version, actor=root, now=NOW)


def of(message, person):
    message.refresh_from_db()
    return ruling_for(message, actor=person.actor(surface="web"), now=clock())


def test_off_list_recipient_cannot_be_approved_and_can_be_rejected(connection, reviewer, root):
    message = make_message(connection, to_addresses=["dana@northwind.example"])
    enforce(root, "acme.example")
    ruling = of(message, reviewer)
    assert (ruling.may_approve, ruling.may_reject, ruling.rule) == (False, True, "allowlist")
    assert ruling.reasons[0] == (
        "dana@northwind.example is on no allowlist for support@yourteam.example, so this cannot be approved. "
        "An admin can allow the address."
    )
    with pytest.raises(VerdictNotAllowed, match=r"dana@northwind\.example is on no allowlist"):
        decide(message, reviewer)
    assert decide(message, reviewer, "reject", "not to them").decision.outcome == "reject"


def test_list_of_another_connection_or_mailbox_says_nothing_here(connection, reviewer, root):
    message = make_message(connection)
    other = make_connection("other")
    enforce(root, place=Place(connection=other.pk))
    enforce(root, place=Place(mailbox=other.mailboxes.get().pk))
    beside = Mailbox.objects.create(connection=connection, upstream_id="01B", address="b@yourteam.example")
    enforce(root, place=Place(mailbox=beside.pk))
    assert of(message, reviewer).may_approve


@pytest.mark.parametrize("scope", ["all", "connection", "mailbox"])
def test_entries_of_all_lists_that_apply_count_together(connection, reviewer, root, scope):
    message = make_message(connection)
    mailbox = connection.mailboxes.get()
    places = {"all": Place(), "connection": Place(connection=connection.pk), "mailbox": Place(mailbox=mailbox.pk)}
    for name, place in places.items():
        enforce(root, *(["northwind.example"] if name == scope else []), place=place)
    assert of(message, reviewer).may_approve


def test_strictest_of_the_modes_holds(connection, reviewer, root):
    message = make_message(connection)
    enforce(root, "acme.example", mode="monitor")
    ruling = of(message, reviewer)
    assert ruling.may_approve
    assert ruling.reasons[1] == (
        "dana@northwind.example is on no allowlist for support@yourteam.example. "
        "The list only watches so far, so this refuses nothing."
    )
    enforce(root, place=Place(mailbox=message.mailbox_id))
    assert not of(message, reviewer).may_approve


def test_message_of_unknown_mailbox_is_under_the_mode_of_each_list_of_its_connection(connection, reviewer, root):
    message = make_message(connection)
    enforce(root, "northwind.example", place=Place(mailbox=message.mailbox_id))
    Message.objects.update(mailbox=None)
    assert not of(message, reviewer).may_approve
    enforce(root, "northwind.example", place=Place(connection=connection.pk))
    assert of(message, reviewer).may_approve


def test_list_that_is_off_neither_refuses_nor_allows(connection, reviewer, root):
    message = make_message(connection)
    enforce(root, "northwind.example", mode="off")
    assert of(message, reviewer).may_approve
    enforce(root, place=Place(connection=connection.pk))
    assert not of(message, reviewer).may_approve


def test_received_mail_is_under_no_list_and_sandbox_mail_is(connection, reviewer, root):
    received = make_message(
        connection, direction="inbound", status="pending_inbound_approval", to_addresses=[MAILBOX["address"]]
    )
    tried = make_message(connection, sandbox=True)
    enforce(root)
    assert of(received, reviewer).may_approve
    assert not of(tried, reviewer).may_approve


def test_recipients_that_the_key_does_not_show_are_refused(connection, reviewer, root):
    message = make_message(connection)
    Message.objects.get().revision.__class__.objects.update(coverage=["to", "cc", "subject", "markdown", "html"])
    enforce(root, "northwind.example")
    ruling = of(message, reviewer)
    assert ruling.reasons[0] == (
        "Somebody in Bcc (not visible with this key) is on no allowlist for support@yourteam.example, so this cannot "
        "be approved. With a read key the connection would show who that is."
    )


def test_mode_contacts_lets_known_contacts_through_and_says_when_nobody_could_read_them(connection, reviewer, root):
    message = make_message(connection)
    enforce(root, mode="contacts")
    assert "Its contacts could not be read" in of(message, reviewer).reasons[0]
    KnownContact.objects.create(connection=make_connection("other"), address="dana@northwind.example")
    Connection.objects.update(contacts_read_at=Now())
    refused = of(message, reviewer)
    assert (refused.may_approve, "contacts could not" in refused.reasons[0]) == (False, False)
    KnownContact.objects.create(connection=connection, address="dana@northwind.example")
    assert of(message, reviewer).may_approve


def test_entry_that_ends_lets_nobody_through_from_that_instant_on(connection, reviewer, root):
    message = make_message(connection)
    enforce(root, "northwind.example")
    at = clock()
    AllowEntry.objects.update(expires_at=at)
    actor = reviewer.actor(surface="web")
    message.refresh_from_db()
    assert ruling_for(message, actor=actor, now=at - timedelta(microseconds=1)).may_approve
    assert not ruling_for(message, actor=actor, now=at).may_approve


def test_rulings_of_many_are_those_of_each(connection, reviewer, root):
    enforce(root, "northwind.example")
    messages = [
        make_message(connection, to_addresses=[f"{name}@{domain}"], subject=f"{name} {domain}")
        for name in ("a", "b")
        for domain in ("northwind.example", "acme.example")
    ]
    for one in messages:
        one.refresh_from_db()
    at, actor = clock(), reviewer.actor(surface="web")
    together = rulings_for(messages, actor=actor, now=at)
    assert [together[one.pk] for one in messages] == [ruling_for(one, actor=actor, now=at) for one in messages]
    assert [together[one.pk].may_approve for one in messages] == [True, False, True, False]


@pytest.mark.proves("case 21")
@pytest.mark.parametrize("field", ["to_addresses", "cc", "bcc"])
@pytest.mark.parametrize(
    ("recipient", "is_allowed"),
    [
        ("ana@acme.com", True),
        ("ANA@ACME.COM", True),
        ("ana@acme.com.", True),
        ("ana+sales@acme.com", True),
        ("ana@evilacme.com", False),
        ("ana@sub.acme.com", False),
        ("ana@acme.com.evil.io", False),
        ("a@acme.com@evil.io", False),
        ("ana@аcme.com", False),
        ("ana@xn--cme-7cd.com", False),
    ],
)
def test_every_recipient_is_judged_right_in_to_cc_and_bcc(connection, reviewer, root, field, recipient, is_allowed):
    enforce(root, "acme.com")
    fields = {"to_addresses": ["ana@acme.com"], field: ["first@acme.com", recipient]}
    message = make_message(connection, **fields)
    assert of(message, reviewer).may_approve is is_allowed


@pytest.mark.proves("case 21")
def test_idn_twin_of_an_allowed_domain_is_the_same_domain_and_no_other(connection, reviewer, root):
    enforce(root, "bücher.example")
    assert of(make_message(connection, to_addresses=["a@xn--bcher-kva.example"]), reviewer).may_approve
    assert of(make_message(connection, to_addresses=["a@BÜCHER.example"], subject="2"), reviewer).may_approve
    assert not of(make_message(connection, to_addresses=["a@bucher.example"], subject="3"), reviewer).may_approve


@pytest.mark.proves("case 21")
@pytest.mark.parametrize("name", ["auto_cc", "auto_bcc"])
def test_whom_the_mailbox_adds_by_itself_must_be_on_the_list_too(connection, reviewer, root, name):
    message = make_message(connection, additions={name: "boss@northwind.example, eve@evil.io"})
    enforce(root, "northwind.example")
    assert of(message, reviewer).reasons[0].startswith("eve@evil.io is on no allowlist")


@pytest.mark.proves("case 22", "promise 9")
def test_entry_that_ends_between_approval_and_sending_refuses_with_that_reason(upstream, reviewer, root):
    connection = make_connection(api_url=upstream.url)
    message = make_message(connection)
    upstream.holds(pending_row(message.upstream_id))
    upstream.decides(200, decision="approved")
    enforce(root, "northwind.example", expires_at=timezone.now() + timedelta(days=1))
    given = decide(message, reviewer)
    AllowEntry.objects.update(expires_at=Now())
    make_due()
    assert run_decision(decision_id=given.decision.pk, now=NOW) == "refused"
    given.decision.refresh_from_db()
    assert "dana@northwind.example is on no allowlist for support@yourteam.example" in given.decision.explanation
    assert upstream.decisions == []


@pytest.mark.proves("case 22")
def test_entry_that_still_lives_lets_the_mail_leave(upstream, reviewer, root):
    message = make_message(make_connection(api_url=upstream.url))
    upstream.holds(pending_row(message.upstream_id))
    upstream.decides(200, decision="approved")
    enforce(root, "northwind.example", expires_at=timezone.now() + timedelta(days=1))
    assert carry_out(message, reviewer) == "applied"


def test_whose_program_wrote_it_may_not_approve_it_and_everybody_else_may(connection, reviewer, second_reviewer):
    message = make_message(connection, sent_by_key="key_7")
    KeyOwner.objects.create(connection=connection, upstream_key_id="key_7", person=reviewer)
    own = of(message, reviewer)
    assert (own.may_approve, own.may_reject, own.rule) == (False, True, "author")
    assert of(message, second_reviewer).may_approve
    actor = reviewer.actor(surface="web")
    assert rulings_for([message], actor=actor, now=clock())[message.pk] == own
    with pytest.raises(VerdictNotAllowed, match="You started this message"):
        decide(message, reviewer)


def test_key_that_hosted_multimail_names_proves_nothing(reviewer):
    connection = make_connection(is_our_gateway=False)
    message = make_message(connection, sent_by_key="key_7")
    KeyOwner.objects.create(connection=connection, upstream_key_id="key_7", person=reviewer)
    KeyOwner.objects.create(connection=make_connection("other"), upstream_key_id="key_8", person=reviewer)
    assert of(message, reviewer).may_approve


def test_address_that_is_allowed_for_days_can_be_approved_then(connection, reviewer, root):
    message = make_message(connection)
    enforce(root, place=Place(connection=connection.pk))
    allow_for_days(address="Dana@Northwind.example", mailbox=message.mailbox_id, actor=root, now=NOW)
    entry = AllowEntry.objects.get()
    assert (entry.pattern, entry.allowlist.mode) == ("dana@northwind.example", "monitor")
    assert timedelta(days=6, hours=23) < entry.expires_at - timezone.now() <= timedelta(days=7)
    assert of(message, reviewer).may_approve


def test_finding_tells_who_was_off_the_list_when_the_letter_was_read(connection, reviewer, root):
    enforce(root, "acme.com")
    message = make_message(connection, to_addresses=["bo@acme.com"], cc=["Dana <dana@northwind.example>"])
    assert (message.rules, message.risk_level) == (["off_allowlist"], "high")
    [found] = [one for one in message.revision.findings if one["rule"] == "off_allowlist"]
    assert (found["sentence"], found["detail"]) == (
        "This recipient was on no allowlist when the letter was read.", "dana@northwind.example."
    )  # fmt: skip
    enforce(root, "northwind.example")
    assert of(message, reviewer).may_approve
    assert make_message(connection, to_addresses=["bo@acme.com"], subject="fine").rules == []


def test_approval_of_unknown_outcome_goes_out_again_to_nobody_who_is_off_the_list_by_now(connection, reviewer, root):
    message = make_message(connection)
    made = decide(message, reviewer).decision
    doubt = {"state": "unknown", "attempt": 1, "may_have_left": True, "seen_held": 2}
    Decision.objects.filter(pk=made.pk).update(**doubt)
    enforce(root)
    actor = reviewer.actor(surface="web")
    with pytest.raises(VerdictNotAllowed, match="is on no allowlist"):
        confirm_approval(message=message.public_id, actor=actor, now=NOW)
    enforce(root, "northwind.example")
    assert confirm_approval(message=message.public_id, actor=actor, now=NOW).state == "recorded"


def test_list_keeps_nobody_from_undoing(connection, reviewer, root):
    message = make_message(connection)
    decide(message, reviewer)
    enforce(root)
    undone = undo_decision(message=message.public_id, actor=reviewer.actor(surface="web"), now=NOW)
    assert undone.state == "undone"


def test_high_risk_page_approves_nothing_that_is_off_the_list(client, signed_in, connection, reviewer, root):
    message = make_message(
        connection, markdown="The password: hunter2secret, key sk_live_" + "4eC39HqLyjWDarjtT1zdp7dc"
    )
    enforce(root)
    assert message.risk_level == "high"
    signed_in(reviewer)
    page = client.get(f"/queue/{message.public_id}/approve/").content.decode()
    assert "is on no allowlist" in page
    assert "Off the allowlist" in page
    sent = {
        "fingerprint": message.revision.fingerprint, "typed": "northwind.example", "outcome": "approve",
        "risk_read": [one["rule"] for one in message.revision.findings], "thread_read": "0",
    }  # fmt: skip
    answer = client.post(f"/queue/{message.public_id}/approve/", sent)
    assert answer.status_code == 403, answer.content.decode()
    assert not Decision.objects.exists()


@pytest.mark.proves("case 22")
@pytest.mark.django_db(transaction=True)
def test_entry_that_ends_while_a_worker_reads_is_met_before_its_call(upstream):
    ana = make_person("ana@yourteam.example", "Ana Ferreira", "reviewer")
    root = make_person("root@yourteam.example", "Ruth", "admin").actor(surface="web")
    message = make_message(make_connection(api_url=upstream.url))
    upstream.holds(pending_row(message.upstream_id))
    upstream.decides(200, decision="approved")
    enforce(root, "northwind.example")

    def meanwhile():
        AllowEntry.objects.update(expires_at=Now())
        connections.close_all()

    upstream.meanwhile["GET"] = meanwhile
    assert carry_out(message, ana) == "refused"
    decision = Decision.objects.get()
    assert (upstream.decisions, decision.may_have_left) == ([], False)
    assert "is on no allowlist" in decision.explanation
