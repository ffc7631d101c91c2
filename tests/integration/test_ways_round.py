"""Ways round the policy that were tried and once let a message out. Each test names the
principle that it holds.
"""

from datetime import timedelta

import pytest
from django.db.models.functions import Now

from approvals.decisions.by_rule import apply_policy
from approvals.decisions.execute import run_decision
from approvals.decisions.ruling import rulings
from approvals.editing.commands import replace_message
from approvals.editing.send import run_replacement
from approvals.errors import VerdictNotAllowed
from approvals.models import Decision, Replacement
from common.postgres import clock
from mirror.models import Mailbox, Message, Thread, ThreadMessage
from people.second_admin.registry import SecondAdminNeeded
from policy.errors import seen_state
from policy.models import Group, KeyOwner
from policy.rules.groups import in_words, save_group
from tests.factories import actor_of, change_row, make_message
from tests.integration.deciding import decide, make_due, post_verdict, read_all
from tests.integration.gateway.world import add_key
from tests.integration.test_authorship import (
    WORDS,
    connection,
    edit,
    suggest,
    why_not,
)
from tests.integration.test_second_admin import switch_on
from tests.integration.test_several_approvals import put_in_force

__all__ = ["connection"]
TWO = {"approvals": {"0": 2}}


def needed(message, person):
    """How many approvals a message needs."""
    found = Message.objects.with_content().with_connection().get(pk=message.pk)
    return rulings([found], actor_of(person))[found.pk].demand.progress.needed


def sent_by_agent(account, **fields):
    """Let an agent send a message; return the desk's row."""
    account.send(**fields)
    read_all(account.connection)
    return Message.objects.latest("pk")


def edited(message, person, number=0):
    """Have an edited version of a message sent for review."""
    row = edit_of_it(message, person, number)
    assert run_replacement(replacement_id=row.pk) == "done"


def edit_of_it(message, person, number):
    """Edit a message; return the row of the edit, which is not sent yet."""
    return replace_message(
        message=message.public_id,
        actor=actor_of(person),
        fingerprint=message.fingerprint,
        reference=f"{number:010}",
        note="",
        links=(),
        content={
            "to": ["dana@northwind.example"],
            "cc": [],
            "bcc": [],
            "subject": "Refund",
            "markdown": f"Hello, and bye {number}.",
        },
    )


# Who edits a message does not lower what it needs.
def test_edited_version_needs_what_its_first_version_needed(
    account, reviewer, second_reviewer, third
):
    account.connection.agent_key = add_key(account.world, "edits", ["send", "read"])
    account.connection.save()
    connection = account.connection.pk
    ids = {name: account.world.key_id(name) for name in account.world.keys}
    KeyOwner.objects.create(
        person=third, connection_id=connection, upstream_key_id=ids["agent"]
    )
    known = [f"{connection}:{one}" for one in ids.values()]
    when = {"keys": [f"{connection}:{ids['agent']}"], "known": known}
    put_in_force({"when": when, "then": TWO})
    message = sent_by_agent(account)
    assert needed(message, reviewer) == 2
    for number in range(2):
        edited(message, reviewer, number)
        read_all(account.connection)
        message = Message.objects.latest("pk")
        assert message.sent_by_key == ids["edits"]
        assert needed(message, second_reviewer) == 2
    assert decide(message, second_reviewer).decision is None


# No other message that is sent back makes a try count less, nor an edit that its sender
# only claims.
@pytest.mark.parametrize(
    "claims", [{"run_id": "decoy"}, {"countersign_edit": "0123456780"}]
)
def test_try_counts_from_the_latest_one_whatever_its_agent_claims(
    account, reviewer, second_reviewer, claims
):
    put_in_force({"when": {"tries_from": 3}, "then": TWO})

    def sent_back(**fields):
        message = sent_by_agent(account, **fields)
        if "countersign_edit" in claims and "metadata" in fields:
            # A refused edit of another message, whose reference is known.
            refused_edit(message, reviewer)
            return
        decide(message, reviewer, "send_back", "Shorter, please")
        make_due()
        run_decision(decision_id=Decision.objects.latest("pk").pk)

    for number in range(2):
        sent_back(body=BILL, idempotency_key=f"first-{number}")
    other = {"subject": "Other", "body": "Other"}
    sent_back(**other, idempotency_key="other", metadata={"run_id": "decoy"})
    third = sent_by_agent(account, body=BILL, idempotency_key="third", metadata=claims)
    assert third.try_number == 3
    assert needed(third, second_reviewer) == 2


def refused_edit(message, person):
    Replacement.objects.create(
        connection=message.connection,
        message=message,
        root=message,
        person=person,
        reference="0123456780",
        state="refused",
        revision=message.revision,
        to=["eve@x.example"],
        cc=[],
        bcc=[],
    )


# An agent cannot choose which rules apply to what it sends again.
BILL = "Please pay the whole bill by Friday."
MORE = "Hello Dana, please pay the whole bill by Friday or on Monday."


def again(account, person, first=BILL, **fields):
    """Have a message sent back, of which the team gets a copy; return what the agent
    sends then.
    """
    add_key(account.world, "another", ["send", "read"])
    put_in_force({"when": {"tries_from": 2}, "then": TWO})
    message = sent_by_agent(account, body=first, cc=["team@acme.example"])
    decide(message, person, "send_back", "Shorter, please")
    make_due()
    run_decision(decision_id=Decision.objects.get().pk)
    fields = {"body": BILL, "idempotency_key": "again", **fields}
    new = sent_by_agent(account, **fields)
    assert new != message
    return new


@pytest.mark.parametrize(
    "fields",
    [
        {"metadata": {"run_id": "another"}},
        {"subject": "Refund."},
        {"to": "dana+1@northwind.example"},
        {"key": "another", "body": "The bill of May."},
        {"key": "another", "subject": "Bill", "body": MORE},
        {"subject": "Bill", "html": f"<p>{MORE.replace('whole', '<b>whole</b>')}</p>"},
        {"to": ["eve@x.example"], "cc": ["Dana@northwind.example"], "subject": "Bill"},
    ],
)
def test_message_that_was_sent_back_is_another_try_whatever_its_agent_adds(
    account, reviewer, second_reviewer, fields
):
    assert needed(again(account, reviewer, **fields), second_reviewer) == 2


@pytest.mark.parametrize(
    ("fields", "tries"),
    [
        # A short text is compared as a whole.
        ({"first": "Pay up!", "body": "Pay up.", "subject": "Bill"}, 2),
        ({"first": "Pay up!", "body": "Pay up now.", "subject": "Bill"}, 1),
        # One template to different people, and another text to the same.
        ({"to": "bo@northwind.example"}, 1),
        ({"to": "bo@northwind.example", "cc": ["team@acme.example"]}, 1),
        ({"subject": "Bill", "body": "The whole bill of May is attached."}, 1),
    ],
)
def test_only_the_same_words_to_the_same_people_are_another_try(
    account, reviewer, fields, tries
):
    assert again(account, reviewer, **fields).try_number == tries


def test_words_that_are_sent_again_a_day_later_are_a_first_try(connection, reviewer):
    message = make_message(connection, markdown=BILL)
    decide(message, reviewer, "send_back", "Shorter, please")
    for hours, tries in ((23, 2), (25, 1)):
        Decision.objects.update(recorded_at=message.held_at - timedelta(hours=hours))
        new = make_message(connection, subject="Bill", markdown=BILL, metadata={})
        assert new.try_number == tries


# Authorship of a passage counts, whoever sends it again: folded addresses.
@pytest.mark.parametrize("to", ["eve+1@evil.example", "EVE@evil.example"])
def test_recipient_whom_somebody_suggested_is_theirs_with_a_tag_too(
    message, reviewer, to
):
    suggest(message, reviewer, to=["eve@evil.example"])
    assert why_not(make_message(message.connection, to_addresses=[to]), reviewer)


# Authorship of a passage counts, whoever sends it again: also with more words.
@pytest.mark.parametrize(
    "fields", [{"markdown": "Hello there."}, {"cc": ["x@evil.example"]}]
)
@pytest.mark.parametrize("by", ["suggestion", "reason"])
def test_recipient_whom_somebody_suggested_is_theirs_whatever_else_changes(
    message, reviewer, fields, by
):
    if by == "reason":
        decide(message, reviewer, "send_back", "Please write to <eve+2@evil.example>.")
    else:
        suggest(message, reviewer, to=["eve@evil.example"])
    new = make_message(message.connection, to_addresses=["eve@evil.example"], **fields)
    assert why_not(new, reviewer) == "editor"


def test_recipient_whom_somebody_suggested_is_nobodys_once_they_were_written_to(
    connection, message, reviewer
):
    def sent_to(*people):
        return make_message(
            connection, to_addresses=list(people), markdown="Hello there."
        )

    customer = sent_to("eve@customer.example")
    change_row(customer, state="delivered")
    suggest(message, reviewer, to=["dana@northwind.example", "eve@customer.example"])
    assert why_not(sent_to("eve@customer.example"), reviewer) == ""
    # Whom the message went to before, and others who are new, are not theirs.
    suggest(sent_to("ben@other.example"), reviewer, cc=["ida@other.example"])
    new = ["dana@northwind.example", "ben@other.example", "new@other.example"]
    assert why_not(sent_to(*new, "eve@customer.example"), reviewer) == ""
    assert why_not(sent_to(*new, "ida@other.example"), reviewer) == "editor"


# Authorship of a passage counts, whoever sends it again: also of where a link leads.
PORTAL = "Please open [our portal]({}) today, it is nice and easy to use."
PAGE = "<p>Welcome to <a href='{}'>our <b>Portal</b></a> of Acme.</p>"


@pytest.mark.parametrize("edits", [suggest, edit])
@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"markdown": None, "html_body": PAGE.format("https://evil.example/a")}, "editor"),
        ({"markdown": "[Our portal][1]\n\n[1]: http://EVIL.example/a/#top"}, "editor"),
        ({"markdown": "[our portal](https://evil.example/a)", "html_body": "<p>Hi</p>"}, "editor"),
        ({"markdown": "[our portal](https://evil%2eexample:443/%61)"}, "editor"),
        # What stood there before, other pages, and other words.
        ({"markdown": "[our portal](https://x.example/)"}, ""),
        ({"markdown": "[our portal](https://evil.example/b)"}, ""),
        ({"markdown": "[the bill](https://evil.example/a)"}, ""),
    ],
)  # fmt: skip
def test_link_that_somebody_added_is_theirs_however_it_is_written(
    connection, reviewer, edits, fields, why
):
    message = make_message(connection, markdown=PORTAL.format("https://x.example/"))
    edits(message, reviewer, markdown=PORTAL.format("https://evil.example/a"))
    assert why_not(make_message(connection, **fields), reviewer) == why


# What was not read may be anybody's.
def test_text_that_is_too_long_to_be_read_whole_may_be_anybodys(message, reviewer):
    suggest(message, reviewer)
    long = "word " * 41_000
    new = make_message(message.connection, markdown=f"{long}{WORDS}")
    assert why_not(new, reviewer) == "editor"


# All words that a person reads: as they read them.
@pytest.mark.parametrize(
    "fields",
    [
        {"markdown": "About \u202epilut tcejorp\u202c today"},
        {"subject": "project_tulip"},
        {"markdown": "About project\u3164tulip today"},
        {"markdown": "About project\u2800tulip today"},
        {
            "attachments": [
                {"name": "Project_Tulip.pdf", "size": 1, "content_type": "x/y"}
            ]
        },
    ],
)
def test_words_are_found_backwards_and_between_signs_and_odd_blanks(
    connection, reviewer, fields
):
    put_in_force({"when": {"words": ["project tulip"]}, "then": TWO})
    assert needed(make_message(connection, **fields), reviewer) == 2
    assert needed(make_message(connection, markdown="A tulip project"), reviewer) == 1


# A sum is what subject and text say together.
@pytest.mark.parametrize(
    ("subject", "text"),
    [
        ("Transfer in EUR", "Please transfer 5000 to the new account today."),
        ("Transfer 5000", "Please make the transfer in EUR today."),
    ],
)
def test_sum_whose_currency_is_in_the_subject_counts(
    connection, reviewer, subject, text
):
    put_in_force({"when": {"amount": "1000", "currency": "EUR"}, "then": TWO})
    assert (
        needed(make_message(connection, subject=subject, markdown=text), reviewer) == 2
    )


# Whom nobody has written to is a first contact, also at the provider of a mailbox.
def test_first_contact_at_the_mail_provider_of_a_mailbox(message, reviewer):
    change_row(message, state="delivered")
    Mailbox.objects.update(address="acme.support@gmail.com")
    put_in_force({"when": {"first_contact": True}, "then": TWO})
    new = make_message(message.connection, to_addresses=["eve.evil@gmail.com"])
    assert needed(new, reviewer) == 2


# With the second admin on, what the second admin reads cannot be changed by one.
def test_group_that_a_rule_names_gets_another_name_by_two_admins(
    admin, reviewer, second
):
    finance = Group.objects.create(name="Finance")
    interns = Group.objects.create(name="Interns")
    put_in_force({"approvals": {str(finance.pk): 1}})
    switch_on()

    def rename(group, name):
        save_group(
            actor=actor_of(admin),
            group=group,
            seen=seen_state(in_words(group)),
            name=name,
            members=[],
        )

    with pytest.raises(SecondAdminNeeded):
        rename(finance, "Old finance")
    rename(interns, "Trainees")


# An edit gives no more time, also under a rule that was activated after it.
def test_edited_version_expires_by_when_the_first_one_was_held(
    account, reviewer, second_reviewer
):
    account.connection.agent_key = add_key(account.world, "edits", ["send", "read"])
    account.connection.save()
    message = sent_by_agent(account)
    change_row(message, held_at=Now() - timedelta(days=3))
    edited(message, reviewer)
    read_all(account.connection)
    copy = Message.objects.latest("pk")
    assert copy != message
    put_in_force({"expire_minutes": 60})
    with pytest.raises(VerdictNotAllowed, match="time to approve this message is over"):
        decide(copy, second_reviewer)
    apply_policy()
    copy.refresh_from_db()
    assert copy.expires_at < clock()


# An approval for later is for what its giver has read, whatever they say.
def test_nobody_has_read_what_comes_into_the_thread_later(message, reviewer, desk):
    change_row(message, thread_id="T1")
    at = (clock() + timedelta(days=2)).strftime("%Y-%m-%dT%H:%M")
    post_verdict(
        desk, message, later="yes", when="time", at=at, zone="UTC", thread_read="9" * 18
    )
    later = Decision.objects.get()
    thread = Thread.objects.create(
        mailbox=message.mailbox, upstream_id="T1", read_at=Now()
    )
    ThreadMessage.objects.create(
        thread=thread, upstream_id="new", direction="inbound", is_fact=True, at=Now()
    )
    change_row(later, due_at=Now(), later_at=Now())
    assert run_decision(decision_id=later.pk) == "refused"
    later.refresh_from_db()
    assert "in this thread" in later.explanation


# Who approved must be told by the names that people read.
def test_nobody_takes_the_name_of_a_colleague(reviewer, second_reviewer, signed_in):
    desk = signed_in(reviewer)
    answer = desk.post("/people/me/name/", {"name": second_reviewer.name.upper()})
    assert answer.status_code == 409
    reviewer.refresh_from_db()
    assert reviewer.name != second_reviewer.name.upper()
