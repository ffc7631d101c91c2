"""The ruling: who may decide what, with the reason that applies first; in doubt nobody."""

import itertools

import pytest

from policy.ruling import Facts, rule

WELL = Facts(is_held=True, is_fetched=True, is_reviewer=True)


def test_reviewer_may_decide_what_is_held_and_read():
    ruling = rule(WELL)
    assert (ruling.may_approve, ruling.may_reject, ruling.approvals_needed) == (True, True, 1)


@pytest.mark.parametrize("facts", list(itertools.product([True, False], repeat=3)))
def test_one_missing_condition_refuses_both(facts):
    ruling = rule(Facts(*facts))
    assert ruling.may_approve == ruling.may_reject == all(facts)


def test_author_may_take_back_but_not_approve():
    ruling = rule(Facts(is_held=True, is_fetched=True, is_reviewer=True, is_author=True))
    assert (ruling.may_approve, ruling.may_reject) == (False, True)


def test_expired_message_can_only_be_rejected():
    ruling = rule(Facts(is_held=True, is_fetched=True, is_reviewer=True, is_expired=True))
    assert (ruling.may_approve, ruling.may_reject) == (False, True)


def test_pulled_kill_switch_lets_people_decide_and_says_that_nothing_leaves():
    ruling = rule(Facts(is_held=True, is_fetched=True, is_reviewer=True, stopped_by="Ida (wrong price)"))
    assert (ruling.may_approve, ruling.may_reject) == (True, True)
    assert ruling.reasons == (
        "You may decide, but nothing leaves until the kill switch is released. Pulled by Ida (wrong price).",
    )


def test_kill_switch_opens_nothing_that_was_refused():
    ruling = rule(Facts(is_held=True, is_fetched=True, is_reviewer=True, is_expired=True, stopped_by="Ida (x)"))
    assert not ruling.may_approve


@pytest.mark.parametrize("facts", list(itertools.product([True, False], repeat=5)))
def test_every_ruling_gives_a_reason_in_a_sentence(facts):
    assert all(reason.endswith(".") for reason in rule(Facts(*facts)).reasons)
    assert rule(Facts(*facts)).reasons
