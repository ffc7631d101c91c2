"""Rules of the policy on messages as they come: to which they apply, what the page says
of it, words that were not looked for yet, what is new to a rule, and rulings. Rules on
recipients who are on no list: what they reject by themselves, which contacts count, and
what an entry that ends does before the call.
"""

import json
from dataclasses import replace
from datetime import timedelta
from itertools import product

import pytest
from django.db.models.functions import Now

from approvals import examination
from approvals.decisions.by_rule import apply_policy
from approvals.decisions.execute import run_decision
from approvals.decisions.ruling import rulings
from approvals.decisions.withdraw import confirm_approval
from approvals.errors import VerdictNotAllowed
from approvals.models import CommandedMail, Decision
from common.postgres import clock
from mirror.models import AttachedFile, Connection, KnownContact, Mailbox, Message
from people.models import ChatAccount
from policy.models import AllowEntry, KeyOwner, PolicyVersion
from policy.rules.conditions import MessageFacts, from_json
from policy.rules.facts import (
    api_keys,
    names_for,
    needs_of_new_mailbox,
    with_known,
)
from policy.rules.rules import PolicyRule
from simple_form.data import rows
from tests import factories
from tests.allow_cases import CASES
from tests.factories import (
    actor_of,
    change_row,
    make_connection,
    make_list,
    make_message,
    pending_row,
    put_in_force,
    reject_others,
    rolled_back,
)
from tests.integration.deciding import decide, make_due, needed, ruling_of
from tests.ledger import latest_details
from tests.markup import words_of
from tests.variants import variants

TWO = {"approvals": {"0": 2}}
WORDS = {"words": ["project tulip"]}
EUR = {"amount": "1000", "currency": "EUR"}
ABOUT = {
    "words": WORDS,
    "sum": EUR,
    "new": {"first_contact": True},
    "tier": {"metadata": "tier=gold"},
    "program": {"attachments": ["program"]},
    "code": {"findings": ["attachment_runs_code"]},
}
# What a rule is about, a message, whether the rule applies to it, and because of what. The
# provider of a mailbox is nobody's own domain. Sums are read as they are shown, however
# markup divides them, and as unknown where they may read otherwise. Received mail goes to
# nobody, and sandbox mail does.
WRITTEN = """
words     {"markdown": "The strictly secret Project Tu1ip begins."}           yes
words     {"markdown": "About \u202epilut tcejorp\u202c today"}               doubt
words     {"subject": "project_tulip"}                                        yes
words     {"markdown": "About project\u3164tulip today"}                      yes
words     {"markdown": "About project\u2800tulip today"}                      yes
words     {"attachments": [{"name": "Project_Tulip.pdf", "size": 1}]}         yes
words     {"markdown": "A tulip project"}                                     no
words     {"markdown": "About project tu~~x~~lip today"}                      yes
words     {"html_body": "<p>About project <del>new</del> tulip</p>"}          yes
sum       {"markdown": "We will pay 5000EUR"}                                 yes
sum       {"markdown": "We will pay EUR 241.00."}                             no
sum       {"markdown": "We will pay 5000 Danish crowns"}                      doubt
sum       {"subject": "In EUR", "markdown": "Please transfer 5000 today."}    yes
sum       {"subject": "Pay 5000", "markdown": "Please pay in EUR today."}     yes
sum       {"attachments": [{"name": "5000 EUR.pdf", "size": 1}]}              yes
new       {"to_addresses": ["dana@northwind.example"]}                        no
new       {"to_addresses": ["eve.evil@gmail.com"]}                            yes
program   {"html_body": "<p>begin 755 run.sh<br>M(R$O8FEN"}                   yes
program   {"markdown": "See:\\nbegin 644 a.txt\\nJ35IA86%A86%A86%A86%A86%A86%A86%A86%A86%A86%A86%A86%A86%A\\n`\\nend"}
  yes
code      {"markdown": "See:\\nbegin 644 a.txt\\nJ35IA86%A86%A86%A86%A86%A86%A86%A86%A86%A86%A86%A86%A86%A\\n`\\nend"}
  yes
sum       {"html_body": "<p>We pay 50<b>00</b>&nbsp;<i>EU</i><wbr>R.</p>", "markdown": "Hello"}  yes
sum       {"html_body": "<table><tr><td>5000</td><td>EUR</td></tr></table>", "markdown": "Hello"}  yes
sum       {"html_body": "<img alt='5000 EUR'>", "markdown": "Hello"}          yes
sum       {"subject": "5000 EUR", "html_body": "<p>Hello</p>"}                yes  5000 EUR
sum       {"html_body": "<p>Hello</p>", "markdown": "5000 EUR"}               yes  5000 EUR
sum       {"html_body": "<table><td>Order 4471<td>EUR 20</table>"}            no
sum       {"to_addresses": ["Send 5000 EUR <dana@northwind.example>"]}        yes
sum       {"bcc": ["5000 EUR <dana@northwind.example>"]}                      yes
sum       {"reply_to": "5000 EUR <dana@northwind.example>"}                   yes
sum       {"from_name": "5000 EUR"}                                           yes  5000 EUR
sum       {"html_body": "<p>EUR 10<sup>6</sup> now</p>"}                      doubt
sum       {"html_body": "<ol start=5000><li>Pay EUR now</ol>"}                doubt
sum       {"html_body": "<ol><li value=5000>Pay EUR now</ol>"}                doubt
sum       {"html_body": "<table><tr><td>5<td>500<td>EUR</table>"}             doubt
sum       {"html_body": "<p>5<span style='display:none'> and </span>500 EUR</p>"}  doubt
sum       {"html_body": "<p>5<b style='float:left'>000</b> EUR</p><p style='position:absolute;top:0'>1</p>"}
  doubt
unlisted  {"to_addresses": ["ANA@acme.com.", "a@xn--bcher-kva.example", "eve@evil.io"]}  yes  eve@evil.io
unlisted  {"to_addresses": ["ana@acme.com"], "cc": ["ANA@acme.com.", "a@xn--bcher-kva.example", "eve@evil.io"]}
  yes  eve@evil.io
unlisted  {"to_addresses": ["ana@acme.com"], "bcc": ["ANA@acme.com.", "a@xn--bcher-kva.example", "eve@evil.io"]}
  yes  eve@evil.io
unlisted  {"to_addresses": ["ana@acme.com"], "additions": {"auto_cc": "boss@acme.com, eve@evil.io"}}  yes  eve@evil.io
unlisted  {"to_addresses": ["ana@acme.com"], "additions": {"auto_bcc": "boss@acme.com, eve@evil.io"}}
  yes  eve@evil.io
unlisted  {"direction": "inbound", "status": "pending_inbound_approval"}      no
unlisted  {"sandbox": true}                                                   yes  dana@northwind.example
"""
HEADS = "<tr><th>Item<th>Amount (EUR)<th>Due<th>Contact<th>Note<th>Ref<th>Paid by"
CELLS = "<tr><td>License for the year<td>5000<td>soon<td>Dana<td>-<td>7<td>Ana"
# Files that are written out in the text; a sum far below its currency; a text that is
# nested too deep to be read; and metadata of which not all is looked at.
LONG = [
    ("program", {"markdown": "TVpNWk1a" * 13 + "TVo="}, "yes"),
    ("program", {"markdown": "JVBERi0xLjcg" * 9}, "no"),
    ("program", {"markdown": "4d 5a " * 99}, "yes"),
    ("program", {"markdown": "4d5a" * 32}, "no"),
    ("sum", {"html_body": f"<table>{HEADS}{CELLS * 9}</table>"}, "yes"),
    ("sum", {"html_body": "<p>5 EUR</p>" + "<b>" * 300}, "doubt"),
    ("tier", {"metadata": dict.fromkeys(map(str, range(50)), "x") | {"tier": "tin"}}, "yes"),
]  # fmt: skip
FOUND = {"yes": [True], "doubt": [False], "no": []}


# The ordinary run tries every fourth of them.
@pytest.mark.parametrize("every", variants([4, 1], 1))
def test_rule_applies_however_it_is_written(message, connection, reviewer, every):
    change_row(message, state="delivered")
    Mailbox.objects.update(address="acme.support@gmail.com")
    lists = make_list("acme.com"), make_list("bücher.example", name="Other")
    about = {**ABOUT, "unlisted": {"lists_except": [one.pk for one in lists]}}
    written = [(name, json.loads(text), *more) for name, text, *more in rows(WRITTEN)]
    wrong = []
    for name, fields, applies, *because in (written + LONG)[::every]:
        with rolled_back():
            put_in_force({"when": about[name], "then": TWO})
            demand = ruling_of(make_message(connection, **fields), reviewer).demand
            found = [one.when.certainly_apply_to(demand.facts) for one in demand.spoke]
            # The page says because of which sum, or which text was not read.
            said = demand.passages or demand.facts.unread_sums
            is_said = said or name != "sum" or applies == "no"
            shown = demand.passages[: len(because)]
            if (found, shown, bool(is_said)) != (FOUND[applies], because, True):
                wrong.append((fields, found, demand.passages))
    assert wrong == []


def test_rule_applies_where_the_key_does_not_show_to_whom_else_it_goes(
    connection, reviewer, monkeypatch
):
    change_row(make_message(connection), state="delivered")
    whole = factories.pending_row

    def in_part(*args, **named):
        return {key: one for key, one in whole(*args, **named).items() if key != "bcc"}

    whens = ABOUT["new"], ABOUT["code"], {"high_risk": True}
    for when, row in product(whens, (whole, in_part)):
        monkeypatch.setattr(factories, "pending_row", row)
        with rolled_back():
            put_in_force({"when": when, "then": TWO})
            new = make_message(connection)
            assert needed(new, reviewer) == 1 + (row is in_part), when
            # The page says what is not known.
            asked = ruling_of(new, reviewer).demand.sentences
            words = "because it is not known whether the message "
            assert [words in one for one in asked] == [True] * (row is in_part)
            # Whoever adds a mailbox reads what may be asked there.
            told = needs_of_new_mailbox(actor_of(reviewer), connection.pk)
            assert "2 approvals" in told


def test_page_says_and_marks_what_a_rule_applies_for(connection, desk, second_reviewer):
    told = {**TWO, "sentences": ["Confirm the IBAN by phone."]}
    put_in_force({"when": EUR, "then": told}, {"when": WORDS, "then": TWO})
    text = "We pay **1,225.00 EUR** for Project Tulip today."
    message = make_message(connection, markdown=text)
    path = f"/queue/{message.public_id}/"
    page, body = (desk.get(one) for one in (path, f"{path}body/"))
    marks = {"1,225.00 EUR": "rule-1", "project tulip": "rule-2"}
    assert page.context["marked"] == marks
    for one in ("Confirm the IBAN by phone.", *marks):
        assert f"“{one}" in words_of(page)
    for one in ("1,225.00 EUR", "Project Tulip"):
        assert f'class="because">{one}</span>' in body.text
    # The button promises to send only what nobody else has to approve.
    assert "Approve (1 of 2)" in words_of(page)
    decide(message, second_reviewer)
    assert "send to 1 person" in words_of(desk.get(path))
    # It can be read whatever becomes of the policy.
    put_in_force({"bad": 1, "then": TWO})
    body = desk.get(f"{path}body/")
    assert "because" not in body.text.partition("<body")[2]


def test_word_is_unknown_until_it_was_looked_for_and_nothing_is_rejected_before(
    connection, reviewer, monkeypatch
):
    of_draft = {"id": "a", "name": "A", "when": {"words": ["rose"]}, "then": TWO}
    draft = PolicyVersion.objects.create(number=1, rules=[of_draft], state="draft")
    named, other = messages = [
        make_message(connection, markdown=f"A {one}") for one in ("rose", "lily")
    ]

    def asked():
        return [needed(one, reviewer) for one in messages]

    # The words of the draft are known of what comes before it is activated.
    with monkeypatch.context() as patch:
        patch.setattr(examination, "rendered_content", None)
        change_row(draft, state="active", activated_at=clock())
        assert asked() == [2, 1]
        assert apply_policy() == 2
    put_in_force({"when": {"words": ["lily"]}, "then": TWO})
    assert asked() == [2, 2]
    assert apply_policy() == 2
    assert asked() == [1, 2]
    # Nor is a word known in a field that the key does not show.
    change_row(named.revision, coverage=["to", "subject"])
    put_in_force({"when": {"words": ["lily"]}, "then": {"reject": "No."}})
    assert apply_policy() == 2
    assert Decision.objects.get().message == other


def test_rule_takes_in_what_is_added_to_its_connection_unless_its_sentence_says_not(
    connection,
):
    box = connection.mailboxes.get()
    make_message(connection, sent_by_key="k1")
    key = f"{connection.pk}:k"
    new = {"mailboxes": "news@x.example", "keys": "[k2]"}
    rules = {
        name: from_json(
            PolicyRule, {"id": "a", "name": "A", "when": {name: [of]}, "then": TWO}
        )
        for name, of in (("mailboxes", box.pk), ("keys", f"{key}1"))
    }
    first = {name: with_known(one) for name, one in rules.items()}
    news = connection.mailboxes.create(upstream_id="n", address="news@x.example")
    make_message(connection, sent_by_key="k2")
    facts = MessageFacts(connection.pk, mailbox=news.pk, key=f"{key}2")
    for name, rule in first.items():
        # Whoever ticks "Only these", saves, and unticks it leaves out no more than before.
        only = with_known(replace(rule, when=replace(rule.when, only_these=True)))
        again = with_known(replace(only, when=replace(only.when, only_these=False)))
        assert again == rule
        assert again.when.apply_to(facts)
        assert not only.when.apply_to(facts)
        # Whoever makes it anew does, and its sentence says so.
        anew = with_known(rules[name])
        assert not anew.when.apply_to(facts)
        assert f"later (not {new[name]})" in anew.sentence(names_for())


# Names that agents' owners gave to keys.
ALIKE = """
01A    Demo agent
01B    Dem\u043e agent
01C    Demo agent.
01D    Demo agent [01A]
"""


def test_keys_that_look_alike_are_told_apart(connection, admin):
    for key, name in rows(ALIKE):
        make_message(connection, sent_by_key=key, sent_by_key_name=name)
        names = api_keys(actor_of(admin))
        assert names[f"{connection.pk}:{key}"] == f"{name} [{key}]"


# The id of a message by a command is not known while MultiMail has not answered.
def test_whoever_started_a_message_by_a_command_or_a_chat_may_not_approve_it(
    mailbox, reviewer, second_reviewer
):
    ChatAccount.objects.create(service="discord", account_id="42", person=reviewer)
    CommandedMail.objects.create(person=reviewer, mailbox=mailbox, interaction_id="1")
    for started in ({"discord_user_id": "42"}, {"discord_interaction_id": "1"}):
        message = make_message(mailbox.connection, metadata=started)
        assert ruling_of(message, reviewer).rule == "author"
        assert ruling_of(message, second_reviewer).may_approve


# Messages, and the first reason why one may not be approved. Of another connection's key,
# and of one that hosted MultiMail names, the owner is not known.
MANY = """
main     {"to_addresses": ["a@acme.example"]}     policy
main     {}                                       -
main     {"attachments": [{"filename": "b.pdf", "content_type": "application/pdf", "size": 1}]}    files
hosted   {"sent_by_key": "key_7"}                 -
main     {"sent_by_key": "key_7"}                 -
main     {"subject": "Too late"}                  expired
"""


def test_rulings_of_many_messages_equal_those_of_each_message(connection, reviewer):
    hosted = make_connection("hosted", is_our_gateway=False)
    KeyOwner.objects.create(connection=hosted, upstream_key_id="key_7", person=reviewer)
    reject_others(make_list("northwind.example"))
    for of, fields, _ in rows(MANY):
        make_message({"main": connection, "hosted": hosted}[of], **json.loads(fields))
    Message.objects.filter(subject="Too late").update(expires_at=Now())
    AttachedFile.objects.update(state="fetched", sha256="a" * 64, found_sha256="b" * 64)
    asked = {"actor": actor_of(reviewer), "now": clock()}
    messages = list(Message.objects.order_by("pk"))
    of_all = rulings(messages, **asked)
    for one, (*_, rule) in zip(messages, rows(MANY), strict=True):
        assert of_all[one.pk] == rulings([one], **asked)[one.pk]
        assert of_all[one.pk].rule == rule.strip("-")


# --- recipients who are on no list ----------------------------------------------------

DANA = "dana@northwind.example"


def may(message, person, now=None):
    return ruling_of(message, person, now).may_approve


def test_message_to_somebody_on_no_list_cannot_be_approved_and_is_rejected(
    message, reviewer
):
    reject_others(make_list("acme.example"), make_list("x.example", name="Other"))
    ruling = ruling_of(message, reviewer)
    assert (ruling.may_reject, ruling.rule) == (True, "policy")
    with pytest.raises(VerdictNotAllowed):
        decide(message, reviewer)
    assert apply_policy() == 1
    decision = Decision.objects.get()
    assert (decision.outcome, decision.rule) == ("reject", "policy 1: r0")
    assert decision.reason == "Nobody else may be written to."
    assert latest_details("decision.recorded")["policy"] == "version 1"
    assert apply_policy() == 0


@pytest.mark.slow
def test_rule_allows_whom_the_table_of_cases_allows(connection, reviewer):
    Connection.objects.update(contacts_read_at=Now())
    for name, case in CASES.items():
        if case.mode not in ("enforce", "contacts"):
            continue
        with rolled_back():
            at = make_list(*case.entries)
            at.entries.filter(pattern__in=case.ends).update(expires_at=Now())
            for address in case.contacts:
                KnownContact.objects.create(connection=connection, address=address)
            reject_others(at, contacts_count=case.mode == "contacts")
            message = make_message(connection, to_addresses=list(case.recipients))
            assert may(message, reviewer) == (not case.refused), name


def test_contacts_count_if_the_rule_says_so_and_in_doubt_nothing_is_rejected(
    message, reviewer
):
    reject_others(make_list(), contacts_count=True)
    with rolled_back():
        # Where all are on the list, it does not matter who is a contact.
        make_list("northwind.example")
        assert may(message, reviewer)
        # Whom the key does not show may be anybody.
        Message.objects.update(written_to=[DANA, "Bcc (not visible with this key)"])
        assert not may(message, reviewer)
    assert not may(message, reviewer)
    apply_policy()
    assert not Decision.objects.exists()
    Connection.objects.update(contacts_read_at=Now())
    for whose, is_theirs in ((make_connection("b"), False), (message.connection, True)):
        KnownContact.objects.create(connection=whose, address=DANA)
        assert may(message, reviewer) is is_theirs


def test_entry_that_still_lives_lets_the_mail_leave_and_one_that_ends_before_sending_refuses_it(
    message, reviewer, upstream
):
    change_row(message.connection, api_url=upstream.url)
    upstream.holds(pending_row(message.upstream_id))
    upstream.decides(200, decision="approved")
    reject_others(make_list("northwind.example"))
    ends = clock() + timedelta(days=1)
    AllowEntry.objects.update(expires_at=ends)
    before = ends - timedelta(microseconds=1)
    assert [may(message, reviewer, now) for now in (before, ends)] == [True, False]
    decision = decide(message, reviewer).decision
    make_due()
    with rolled_back():
        assert run_decision(decision_id=decision.pk) == "applied"
    upstream.calls.clear()
    AllowEntry.objects.update(expires_at=Now())
    assert run_decision(decision_id=decision.pk) == "refused"
    assert upstream.decisions == []
    # Nor is one sent again whose answer was lost.
    change_row(decision, state="unknown", attempt=1, may_have_left=True, seen_held=2)
    with pytest.raises(VerdictNotAllowed):
        confirm_approval(message=message.public_id, actor=actor_of(reviewer))
