"""Allowlists and authors in the ruling: what they refuse on display, at the verdict and
before the call.
"""

from datetime import timedelta

import pytest
from django.db import connections, transaction
from django.db.models.functions import Now
from django.utils import timezone

from alerts.models import Card, Destination
from approvals.decisions.execute import run_decision
from approvals.decisions.ruling import lock_visible, rulings, stop_of
from approvals.decisions.withdraw import confirm_approval, undo_decision
from approvals.errors import VerdictNotAllowed
from approvals.models import CommandedMail, Decision
from common.postgres import clock
from mirror.models import (
    AttachedFile,
    Connection,
    KnownContact,
    Mailbox,
    Message,
    Revision,
)
from policy.allowlists.judgement import judge_messages
from policy.models import AllowEntry, KeyOwner, KillSwitch
from tests.factories import (
    MAILBOX,
    actor_of,
    make_connection,
    make_list,
    make_message,
    pending_row,
    rolled_back,
    show_row,
)
from tests.integration.deciding import carry_out, decide, in_thread, make_due


def of(message, person):
    message.refresh_from_db()
    return rulings([message], actor_of(person), now=clock())[message.pk]


def outsiders(message, person):
    """The recipients of the message that the lists refuse."""
    message.refresh_from_db()
    return of(message, person).judged.refused


def test_off_list_recipient_cannot_be_approved_and_can_be_rejected(
    connection, reviewer
):
    message = make_message(connection, to_addresses=["dana@northwind.example"])
    make_list("acme.example")
    ruling = of(message, reviewer)
    assert ruling.may_approve is False
    assert ruling.may_reject is True
    assert ruling.rule == "allowlist"
    with pytest.raises(
        VerdictNotAllowed, match=r"dana@northwind\.example is on no allowlist"
    ):
        decide(message, reviewer)
    assert (
        decide(message, reviewer, "reject", "not to them").decision.outcome == "reject"
    )


def test_entries_of_all_applicable_lists_are_combined_and_others_are_ignored(
    connection, reviewer
):
    message = make_message(connection)
    other = make_connection("other")
    second = Mailbox.objects.create(
        connection=connection, upstream_id="01B", address="b@yourteam.example"
    )
    for elsewhere in (
        {"connection": other},
        {"mailbox": other.mailboxes.get()},
        {"mailbox": second},
    ):
        make_list(**elsewhere)
    assert of(message, reviewer).may_approve

    lists = [
        make_list(),
        make_list(connection=connection),
        make_list(mailbox=message.mailbox),
    ]
    assert not of(message, reviewer).may_approve
    entry = AllowEntry.objects.create(allowlist=lists[0], pattern="northwind.example")
    for one in lists:
        AllowEntry.objects.filter(pk=entry.pk).update(allowlist=one)
        assert of(message, reviewer).may_approve, one


def test_strictest_mode_applies_and_a_list_that_is_off_neither_refuses_nor_allows(
    connection, reviewer
):
    message = make_message(connection)
    make_list("northwind.example", mode="off")
    assert of(message, reviewer).reasons == (
        "One approval is needed, and you may give it.",
    )
    with rolled_back():
        make_list(connection=connection)
        assert not of(message, reviewer).may_approve
    AllowEntry.objects.all().delete()
    make_list("acme.example", mode="monitor")
    ruling = of(message, reviewer)
    assert ruling.may_approve is True
    assert ruling.reasons == (
        (
            "One approval is needed, and you may give it.",
            "dana@northwind.example is on no allowlist for support@yourteam.example. "
            "The list is in Monitor, so it blocks nothing.",
        )
    )
    make_list(mailbox=message.mailbox)
    assert not of(message, reviewer).may_approve
    # Recipients in a field that the key does not show are on no list.
    make_list("northwind.example")
    Revision.objects.update(coverage=["to", "cc", "subject", "markdown", "html"])
    assert of(message, reviewer).reasons[0] == (
        "Somebody in Bcc (not visible with this key) is on no allowlist for support@yourteam.example, so this cannot "
        "be approved. With a read key the connection would show who that is."
    )


def test_message_of_an_unknown_mailbox_is_subject_to_every_list_of_its_connection(
    connection, reviewer
):
    message = make_message(connection)
    make_list("northwind.example", mailbox=message.mailbox)
    Message.objects.update(mailbox=None)
    refused = of(message, reviewer)
    assert not refused.may_approve
    assert refused.reasons[0].startswith(
        "dana@northwind.example is on no allowlist for Gateway main, so"
    )
    make_list("northwind.example", connection=connection)
    assert of(message, reviewer).may_approve


def test_received_mail_is_under_no_list_and_sandbox_mail_is(connection, reviewer):
    received = make_message(
        connection,
        direction="inbound",
        status="pending_inbound_approval",
        to_addresses=[MAILBOX["address"]],
    )
    sandbox = make_message(connection, sandbox=True)
    make_list()
    assert [of(one, reviewer).may_approve for one in (received, sandbox)] == [
        True,
        False,
    ]


def test_recipient_that_no_entry_can_name_cannot_be_allowed(connection, reviewer):
    make_list()
    one = "a@acme.com@evil.io"
    two = "bo@acme.com"
    message = make_message(connection, to_addresses=[one])
    assert "No allowlist entry can match it" in of(message, reviewer).reasons[0]
    # The sentence shows a limited part of a very long address.
    show_row(message, to_addresses=[one * 20])
    assert of(message, reviewer).reasons[0].startswith(f"{(one * 20)[:254]} is on")
    show_row(message, to_addresses=[one, two])
    assert of(message, reviewer).reasons[0] == (
        f"{one} and {two} are on no allowlist for support@yourteam.example, so this cannot be approved. "
        "An admin can allow the addresses."
    )


def test_contacts_mode_allows_known_contacts_and_says_when_they_could_not_be_read(
    connection, reviewer
):
    message = make_message(connection)
    make_list(mode="contacts")
    assert (
        "Its contacts could not be read, so no recipient counts as known: the connection needs a read key."
        in of(message, reviewer).reasons[0]
    )
    KnownContact.objects.create(
        connection=make_connection("other"), address="dana@northwind.example"
    )
    Connection.objects.update(contacts_read_at=Now())
    refused = of(message, reviewer)
    assert refused.may_approve is False
    assert "contacts could not" not in refused.reasons[0]
    KnownContact.objects.create(connection=connection, address="dana@northwind.example")
    assert of(message, reviewer).may_approve


def test_entry_and_message_expire_exactly_at_their_time(connection, reviewer):
    message = make_message(connection)
    at = clock()
    make_list("northwind.example")
    actor = actor_of(reviewer)
    before = at - timedelta(microseconds=1)
    for rows, rule in ((AllowEntry.objects, "allowlist"), (Message.objects, "expired")):
        rows.update(expires_at=at)
        message.refresh_from_db()
        assert [
            rulings([message], actor, now=now)[message.pk].rule for now in (before, at)
        ] == ["", rule]
        rows.update(expires_at=None)


def test_every_recipient_is_judged_right_in_to_cc_and_bcc_and_what_the_mailbox_adds(
    connection, reviewer
):
    # Which addresses an entry names is a table of the unit tests.
    make_list("acme.com", "bücher.example")
    message = make_message(connection)
    for field in ("to_addresses", "cc", "bcc"):
        several = [
            "ANA@acme.com.",
            "a@xn--bcher-kva.example",
            "eve@evil.io",
            "a@acme.com@evil.io",
        ]
        show_row(message, **{"to_addresses": ["ana@acme.com"], field: several})
        assert outsiders(message, reviewer) == ("eve@evil.io", "a@acme.com@evil.io"), (
            field
        )
        assert not of(message, reviewer).may_approve
    for name in ("auto_cc", "auto_bcc"):
        show_row(
            message,
            to_addresses=["ana@acme.com"],
            additions={name: "boss@acme.com, eve@evil.io"},
        )
        assert outsiders(message, reviewer) == ("eve@evil.io",), name


@pytest.fixture
def approved(upstream, reviewer):
    """A message to a listed recipient that MultiMail holds and would send."""
    message = make_message(make_connection(api_url=upstream.url))
    upstream.holds(pending_row(message.upstream_id))
    upstream.decides(200, decision="approved")
    make_list("northwind.example")
    AllowEntry.objects.update(expires_at=timezone.now() + timedelta(days=1))
    return message


def test_entry_that_still_lives_lets_the_mail_leave_and_one_that_ends_before_sending_refuses_it(
    approved, reviewer, upstream
):
    decision = decide(approved, reviewer).decision
    make_due()
    with rolled_back():
        assert run_decision(decision_id=decision.pk) == "applied"
        assert len(upstream.decisions) == 1
    upstream.calls.clear()
    AllowEntry.objects.update(expires_at=Now())
    assert run_decision(decision_id=decision.pk) == "refused"
    decision.refresh_from_db()
    assert (
        "dana@northwind.example is on no allowlist for support@yourteam.example"
        in decision.explanation
    )
    assert upstream.decisions == []


@pytest.mark.django_db(transaction=True)
def test_entry_that_ends_while_a_worker_reads_is_met_before_its_call(
    approved, reviewer, upstream
):
    def meanwhile():
        AllowEntry.objects.update(expires_at=Now())
        connections.close_all()

    upstream.meanwhile["GET"] = meanwhile
    assert carry_out(approved, reviewer) == "refused"
    decision = Decision.objects.get()
    assert upstream.decisions == []
    assert decision.may_have_left is False
    assert "is on no allowlist" in decision.explanation


def test_author_of_a_message_by_program_or_command_may_not_approve_it_but_others_may(
    connection, reviewer, second_reviewer
):
    by_program = make_message(connection, sent_by_key="key_7")
    by_command = make_message(connection)
    by_interaction = make_message(connection)
    for message, interaction in ((by_command, "5"), (by_interaction, "1" * 40)):
        Message.objects.filter(pk=message.pk).update(
            trigger={"discord_interaction_id": interaction}
        )
    KeyOwner.objects.create(
        connection=connection, upstream_key_id="key_7", person=reviewer
    )
    author = {"connection": connection, "person": reviewer}
    CommandedMail.objects.create(
        **author, upstream_id=by_command.upstream_id, interaction_id="7"
    )
    CommandedMail.objects.create(**author, interaction_id="1" * 32)
    for message in (by_program, by_command, by_interaction):
        own = of(message, reviewer)
        assert own.may_approve is False
        assert own.may_reject is True
        assert own.rule == "author"
        assert of(message, second_reviewer).may_approve
    assert {
        one.rule
        for one in consistent_rulings(
            [by_program, by_command, by_interaction], reviewer
        )
    } == {"author"}
    with pytest.raises(VerdictNotAllowed, match="You started this message"):
        decide(by_program, reviewer)


def test_key_that_hosted_multimail_names_or_another_connection_uses_proves_nothing(
    connection, reviewer
):
    hosted = make_connection("hosted", is_our_gateway=False)
    messages = [
        make_message(hosted, sent_by_key="key_7"),
        make_message(connection, sent_by_key="key_8"),
    ]
    messages.append(make_message(connection, sent_by_key="key_9"))
    Message.objects.filter(pk=messages[2].pk).update(direction="inbound")
    for where, key in (
        (hosted, "key_7"),
        (hosted, "key_8"),
        (connection, "key_9"),
        (connection, "key_7"),
    ):
        KeyOwner.objects.create(connection=where, upstream_key_id=key, person=reviewer)
    at = clock()
    actor = actor_of(reviewer)
    assert all(of(one, reviewer).may_approve for one in messages)
    assert {one.rule for one in rulings(messages, actor, now=at).values()} == {""}


def consistent_rulings(messages, person):
    """Return the rulings of many messages, and check that each equals the ruling of
    that message alone.
    """
    for one in messages:
        one.refresh_from_db()
    at = clock()
    actor = actor_of(person)
    many = rulings(messages, actor, now=at)
    found = [many[one.pk] for one in messages]
    assert found == [rulings([one], actor, now=at)[one.pk] for one in messages]
    return found


def test_rulings_take_as_many_statements_for_one_as_for_many_and_read_the_lists_alike(
    connection, reviewer, django_assert_num_queries
):
    file = {"filename": "a.pdf", "content_type": "application/pdf", "size": 1}
    known = make_message(connection, attachments=[file])
    unknown = make_message(connection)
    for scope in ({"connection": connection}, {}, {"mailbox": known.mailbox}):
        make_list("northwind.example", "dana@northwind.example", **scope)
    AllowEntry.objects.update(expires_at=clock() + timedelta(days=1))
    Message.objects.filter(pk=unknown.pk).update(mailbox=None)
    messages = Message.objects.with_content().select_related("connection").in_bulk()
    at = clock()
    actor = actor_of(reviewer)
    for chosen in ([messages[known.pk]], list(messages.values())):
        with django_assert_num_queries(9):
            rulings(chosen, actor, now=at)
    for message, label in (
        (known, "support@yourteam.example"),
        (unknown, "Gateway main"),
    ):
        judged = rulings([messages[message.pk]], actor, now=at)[message.pk].judged
        assert judged == judge_messages([messages[message.pk]], now=at)[message.pk]
        assert [one.label for one in judged.passed.values()] == [label]


def test_rulings_of_many_messages_equal_those_of_each_message(
    connection, reviewer, auditor
):
    names = ["a" * 100, "b.pdf", "c.pdf", "d.pdf"]
    files = [
        {"filename": name, "content_type": "application/pdf", "size": 1}
        for name in names
    ]
    messages = {
        "allowlist": make_message(connection, to_addresses=["a@acme.example"]),
        "fine": make_message(connection),
        "expired": make_message(connection),
        "files": make_message(connection, attachments=files),
        "ended": make_message(connection),
    }
    make_list("northwind.example")
    AllowEntry.objects.update(expires_at=timezone.now() + timedelta(days=1))
    Message.objects.filter(pk=messages["expired"].pk).update(expires_at=Now())
    Message.objects.filter(pk=messages["ended"].pk).update(state="rejected")
    AttachedFile.objects.update(state="fetched", sha256="a" * 64, found_sha256="b" * 64)
    rulings = dict(
        zip(
            messages, consistent_rulings(list(messages.values()), reviewer), strict=True
        )
    )
    assert [one.rule for one in rulings.values()] == [
        "allowlist",
        "",
        "expired",
        "files",
        "",
    ]
    assert f"({'a' * 80}, b.pdf, c.pdf)." in rulings["files"].reasons[0]
    assert rulings["ended"].reasons == (
        "This message is no longer held, so there is nothing to decide.",
    )
    [seen] = consistent_rulings([messages["fine"]], auditor)
    assert seen.reasons == (
        "You can read this, but only a reviewer of support@yourteam.example can decide it. Ask whoever runs this desk.",
    )


def test_switch_stops_what_is_in_its_scope_and_nothing_else(
    connection, reviewer, admin
):
    other = make_connection("other")
    second = Mailbox.objects.create(
        connection=connection, upstream_id="01B", address="b@yourteam.example"
    )
    here, there, unknown, elsewhere = messages = [
        make_message(one) for one in (*[connection] * 3, other)
    ]
    Message.objects.filter(pk=there.pk).update(mailbox=second)
    Message.objects.filter(pk=unknown.pk).update(mailbox=None)
    for scope, stopped in (
        ({"mailbox": here.mailbox}, [here, unknown]),
        ({"mailbox": elsewhere.mailbox}, [elsewhere]),
        ({"connection": connection}, [here, there, unknown]),
        ({}, messages),
    ):
        with rolled_back():
            switch = KillSwitch.objects.create(reason="Wait", pulled_by=admin, **scope)
            rulings = consistent_rulings(messages, reviewer)
            assert [one.rule for one in rulings] == [
                "stopped" if one in stopped else "" for one in messages
            ], scope
            assert [stop_of(one) for one in messages] == [
                switch if one in stopped else None for one in messages
            ]
            assert rulings[messages.index(stopped[0])].reasons == (
                "You may decide, but nothing is sent until the kill switch is released. "
                "Pulled by Ida Lindqvist (Wait).",
            )


@pytest.mark.django_db(transaction=True)
def test_message_locked_by_a_verdict_still_accepts_related_rows(connection, reviewer):
    message = make_message(connection)
    destination = Destination.objects.create()
    with transaction.atomic():
        lock_visible(message.public_id, actor=actor_of(reviewer))
        thread, results = in_thread(
            lambda: Card.objects.create(destination=destination, message=message)
        )
        thread.join(60)
        assert [type(one) for one in results] == [Card]


def test_finding_names_recipients_off_the_list_when_the_message_was_read(
    connection, reviewer
):
    make_list("acme.com")
    message = make_message(
        connection, to_addresses=["bo@acme.com"], cc=["Dana <dana@northwind.example>"]
    )
    assert message.review.rules == ["off_allowlist"]
    assert message.review.risk_level == "high"
    [found] = [
        one for one in message.revision.findings if one["rule"] == "off_allowlist"
    ]
    assert (
        found["sentence"]
        == "This recipient was on no allowlist when the message was checked."
    )
    assert found["detail"] == "dana@northwind.example."
    make_list("northwind.example")
    assert of(message, reviewer).may_approve
    assert (
        make_message(
            connection, to_addresses=["bo@acme.com"], subject="fine"
        ).review.rules
        == []
    )


def test_list_does_not_block_undo_and_unconfirmed_approvals_are_not_repeated(
    connection, reviewer
):
    message = make_message(connection)
    actor = actor_of(reviewer)
    decide(message, reviewer)
    make_list()
    with rolled_back():
        assert undo_decision(message=message.public_id, actor=actor).state == "undone"
    Decision.objects.update(state="unknown", attempt=1, may_have_left=True, seen_held=2)
    with pytest.raises(VerdictNotAllowed, match="is on no allowlist"):
        confirm_approval(message=message.public_id, actor=actor)
    make_list("northwind.example")
    assert confirm_approval(message=message.public_id, actor=actor).state == "recorded"
