"""Words that rules of the policy name: looked for when a message comes and when a
version with other words is activated, and unknown until then.
"""

import pytest

from approvals import examination
from approvals.decisions.by_rule import apply_policy
from approvals.decisions.execute import run_decision
from approvals.decisions.ruling import rulings
from approvals.models import Decision
from approvals.policy_rules.rehearsal import rehearse
from common.postgres import clock
from mirror.models import Message
from policy.models import PolicyVersion
from policy.rules.changes import EMPTY
from policy.rules.demand import Policy
from policy.rules.rules import PolicyRule
from tests.factories import actor_of, change_row, make_message
from tests.integration.deciding import decide, make_due
from tests.integration.test_several_approvals import put_in_force
from tests.markup import words_of

TULIP = {"markdown": "The strictly secret Project Tu1ip begins."}
TWO = {"when": {"words": ["project tulip", "rose"]}, "then": {"approvals": {"0": 2}}}
NO = {"when": {"words": ["project tulip"]}, "then": {"reject": "It is secret."}}


def needed(message, person):
    """How many approvals the page asks for."""
    found = Message.objects.with_content().with_connection().get(pk=message.pk)
    return rulings([found], actor_of(person))[found.pk].demand.progress.needed


def test_word_of_a_rule_is_found_when_a_message_comes_and_its_page_says_where(
    connection, reviewer, desk
):
    put_in_force(TWO)
    named = make_message(connection, **TULIP)
    other = make_message(connection)
    assert [needed(one, reviewer) for one in (named, other)] == [2, 1]
    page = words_of(desk.get(f"/queue/{named.public_id}/"))
    assert (
        "Rule 0: 2 approvals of any reviewer are needed, because of “project tulip” in the text."
        in page
    )


def test_whoever_reads_it_is_told_the_sentences_of_a_rule(connection, reviewer, desk):
    told = {"sentences": ["Confirm the IBAN by phone."]}
    put_in_force({"when": {"amount": "1000"}, "then": told})
    named = make_message(connection, markdown="We pay 1,225.00 EUR today.")
    other = make_message(connection)
    pages = [words_of(desk.get(f"/queue/{one.public_id}/")) for one in (named, other)]
    assert "told “Confirm the IBAN by phone.”, because of “1,225.00 EUR”" in pages[0]
    assert "IBAN" not in pages[1]
    assert needed(named, reviewer) == 1


def test_what_a_rule_applies_for_is_marked_in_the_message(connection, desk):
    put_in_force({"when": {"amount": "1000"}, "then": {"approvals": {"0": 2}}}, TWO)
    message = make_message(
        connection, markdown="We pay **1,225.00 EUR** for Project Tulip today."
    )
    page = desk.get(f"/queue/{message.public_id}/")
    assert "because of “1,225.00 EUR”" in words_of(page)
    marks = page.context["marked"]
    assert marks == {"1,225.00 EUR": "rule-1", "project tulip": "rule-2"}
    body = desk.get(f"/queue/{message.public_id}/body/").text
    assert 'class="because">1,225.00 EUR</span>' in body
    assert 'class="because">Project Tulip</span>' in body
    # It can be read whatever becomes of the policy.
    change_row(PolicyVersion.objects.active().get(), state="retired")
    PolicyVersion.objects.create(
        number=9, state="active", rules=[{"bad": 1}], activated_at=clock()
    )
    answer = desk.get(f"/queue/{message.public_id}/body/")
    assert "Project Tulip" in answer.text
    assert "because" not in answer.text.partition("<body")[2]


def test_word_is_unknown_until_it_was_looked_for_and_no_rule_rejects_before(
    connection, reviewer
):
    named = make_message(connection, **TULIP)
    other = make_message(connection)
    put_in_force(TWO)
    assert [needed(one, reviewer) for one in (named, other)] == [2, 2]
    assert apply_policy() == 2
    assert [needed(one, reviewer) for one in (named, other)] == [2, 1]
    put_in_force(NO)
    assert apply_policy() == 2
    assert Decision.objects.get().message == named


def test_words_of_the_draft_are_known_of_what_comes_before_it_is_activated(
    connection, reviewer, monkeypatch
):
    rules = [{"id": "a", "name": "A", **TWO}]
    draft = PolicyVersion.objects.create(number=1, rules=rules, state="draft")
    named = make_message(connection, **TULIP)
    other = make_message(connection)
    assert [needed(one, reviewer) for one in (named, other)] == [1, 1]
    monkeypatch.setattr(examination, "rendered_content", None)
    change_row(draft, state="active", activated_at=clock())
    assert [needed(one, reviewer) for one in (named, other)] == [2, 1]
    assert apply_policy() == 2


def test_field_that_the_key_does_not_show_may_have_the_word(connection, reviewer):
    message = make_message(connection)
    put_in_force(TWO)
    coverage = [one for one in message.revision.coverage if one != "attachments"]
    change_row(message.revision, coverage=coverage)
    assert apply_policy() == 1
    assert needed(message, reviewer) == 2


@pytest.mark.slow
def test_approval_on_its_way_is_asked_by_the_words_of_a_new_version(
    connection, reviewer
):
    messages = make_message(connection, **TULIP), make_message(connection)
    decisions = [decide(one, reviewer).decision for one in messages]
    put_in_force(TWO)
    make_due()
    states = [run_decision(one.pk) for one in decisions]
    # Nobody listens at MultiMail's address, so the other one is tried again later.
    assert states == ["refused", "recorded"]


def test_rehearsal_leaves_out_messages_in_which_words_were_not_looked_for(
    connection, admin
):
    make_message(connection, **TULIP)
    rule = {"id": "a", "name": "A", **TWO}
    PolicyVersion.objects.create(number=1, rules=[rule], state="draft")
    for fields in (TULIP, {}):
        make_message(connection, **fields)
    Message.objects.update(held_at=clock())
    rules = Policy(rules=(PolicyRule.from_json(rule),))
    tried = rehearse(before=EMPTY, after=rules, actor=actor_of(admin), now=clock())
    assert (tried.changed, tried.looked_at, tried.is_partial) == (1, 2, True)
