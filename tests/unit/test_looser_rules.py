"""A list of rules that is not called looser asks at least as much of every message."""

from hypothesis import given
from hypothesis import strategies as st

from policy.looser_rules import rules_loosen

WHENS = ({}, {"risk": "high"}, {"mailboxes": [3]}, {"recipients": ["x.example"]})
HOURS = ({"days": [0], "opens": "09:00", "closes": "17:00", "zone": "UTC"}, {"days": [1], "zone": "UTC"})
THENS = st.fixed_dictionaries(
    {},
    optional={
        "approvals": st.dictionaries(st.sampled_from(["0", "1", "2"]), st.integers(1, 3), max_size=2),
        "barred_groups": st.lists(st.integers(1, 3), unique=True),
        "never_in_bulk": st.booleans(),
        "reject": st.sampled_from(["", "Not us"]),
        "expire_minutes": st.integers(1, 3),
        "office_hours": st.lists(st.sampled_from(HOURS), unique_by=str),
    },
)
RULES = st.lists(
    st.fixed_dictionaries({"is_on": st.booleans(), "when": st.sampled_from(WHENS), "then": THENS}), max_size=4
)


def demands(rules, true):
    """What is asked of a message for which these conditions hold, as comparable numbers and sets."""
    asked = {"approvals": {}, "barred": set(), "bulk": 0, "reject": 0, "expire": 99, "hours": set()}
    for rule in rules:
        if not rule["is_on"] or (rule["when"] and rule["when"] not in true):
            continue
        then = rule["then"]
        for group, number in then.get("approvals", {}).items():
            asked["approvals"][group] = max(number, asked["approvals"].get(group, 0))
        asked["barred"] |= set(then.get("barred_groups", ()))
        asked["bulk"] = max(asked["bulk"], bool(then.get("never_in_bulk")))
        asked["reject"] = max(asked["reject"], bool(then.get("reject")))
        asked["expire"] = min(asked["expire"], then.get("expire_minutes", 99))
        asked["hours"] |= set(map(str, then.get("office_hours", ())))
    return asked


@given(before=RULES, after=RULES, true=st.lists(st.sampled_from(WHENS[1:]), unique_by=str))
def test_rules_that_do_not_loosen_ask_at_least_as_much_of_every_message(before, after, true):
    if rules_loosen(before, after):
        return
    was, now = demands(before, true), demands(after, true)
    assert all(now["approvals"].get(group, 0) >= number for group, number in was["approvals"].items())
    assert now["barred"] >= was["barred"]
    assert now["hours"] >= was["hours"]
    assert now["bulk"] >= was["bulk"]
    assert now["reject"] >= was["reject"]
    assert now["expire"] <= was["expire"]


@given(rules=RULES, more=RULES)
def test_same_rules_and_further_ones_do_not_loosen_and_removing_or_switching_off_the_only_one_does(rules, more):
    assert not rules_loosen(rules, [*more, *rules])
    one = {"is_on": True, "when": {"risk": "high"}, "then": {"never_in_bulk": True}}
    assert rules_loosen([one], [])
    assert rules_loosen([one], [{**one, "is_on": False}])
    assert rules_loosen([one], [{**one, "when": {"risk": "high", "mailboxes": [3]}}])
    assert not rules_loosen([one], [{**one, "when": {}}])
