"""The pages of the policy: the draft with its forms, activating, Try and its rehearsal,
groups and hours, names that look alike, and two admins at one moment.
"""

import json
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta

import pytest
from django.db.models.functions import Now

from approvals.errors import VerdictNotAllowed
from audit.models import Entry
from common.postgres import clock
from mirror.models import Message
from policy.errors import PolicyRefused
from policy.models import Group, PolicyVersion, WorkCalendar
from policy.rules.changes import begin_draft, policies
from policy.rules.conditions import from_json
from policy.rules.rules import PolicyRule
from simple_form.data import rows
from tests.factories import (
    actor_of,
    change_row,
    make_list,
    make_message,
    make_person,
    put_in_force,
)
from tests.integration.deciding import decide
from tests.integration.passing import make_pass
from tests.markup import says, words_of

TWO = {"approvals": {"0": 2}}
# A rule with a value in each of its fields; no test makes so many mailboxes.
WHOLE = """{"id": "whole", "name": "Whole",
"when": {
    "connections": [74], "mailboxes": [900001, 900002], "keys": ["1:k9"], "only_these": true, "known": ["1:k8", "1:k9"],
    "lists": [77], "lists_except": [78], "contacts_count": true,
    "recipients": ["*.gov", "acme.com"], "recipients_except": ["ana@acme.com"], "recipients_from": 3,
    "first_contact": true, "high_risk": true, "findings": ["payment_details"], "words": ["inv-####", "project tulip"],
    "amount": "49.90", "currency": "EUR", "attachments": ["archive", "pdf"], "tries_from": 2,
    "metadata": "tier=a=b c", "has_link": true, "links_except": ["acme.com"]
},
"then": {
    "approvals": {"0": 3, "98": 2, "99": 1}, "barred_groups": [98], "bar_editor": true, "care": true,
    "reject": "No.", "sentences": ["Call first."], "expire_minutes": 90, "office_hours": [77, 78]
}}"""


def rule(rule_id="first", name="Four eyes", **fields):
    stored = {"id": rule_id, "name": name, "then": TWO, **fields}
    return from_json(PolicyRule, stored)


def begun(admin, *parts):
    return begin_draft(actor=actor_of(admin), rules=parts or (rule(),), based_on=0)


def typed_in(form):
    """What a browser would send of a form that was shown."""
    values = {one.name: one.value() for one in form}
    return {name: value for name, value in values.items() if value or value == 0}


def post(client, path, status=302, **form):
    if path.startswith("draft/") and (draft := policies().draft):
        form = {"seen": draft.seen, **form}
    answer = client.post(f"/policy/{path}/", form)
    assert answer.status_code == status, words_of(answer)
    return answer


@pytest.fixture
def client(signed_in, admin):
    """A signed-in client of an admin."""
    return signed_in(admin)


@pytest.mark.slow
def test_rules_are_500_at_most_and_name_a_thousand_words_together(admin):
    words = [[f"w{n}of{word}" for word in range(100)] for n in range(11)]
    rules = [rule(f"r{n}", when={"words": these}) for n, these in enumerate(words)]
    for too_many in (rules, [rule(f"r{n}") for n in range(501)]):
        with pytest.raises(PolicyRefused):
            begun(admin, *too_many)
    assert len(begun(admin, *rules[1:]).rules) == 10


def test_form_keeps_every_field_of_a_rule_or_pass_and_the_draft_becomes_active(
    client, admin, second, mailbox
):
    whole = from_json(PolicyRule, json.loads(WHOLE))
    ends = datetime.combine(clock() + timedelta(days=9), time(23, 59), UTC)
    one = make_pass(mailbox, ends_at=ends, link_domains=frozenset({"shop.example"}))
    begun(admin, whole, one)
    for path, part in (("draft/rules/whole", whole), ("draft/passes/refunds", one)):
        form = client.get(f"/policy/{path}/").context["form"]
        drawn = {each.name for section in form.sections() for each in section.fields}
        assert drawn == {each.name for each in form.visible_fields()}
        post(client, path, **{**typed_in(form), "name": "Renamed"})
        assert replace(part, name="Renamed") in policies().drafted.parts
    post(client, "draft/delete/refunds")
    post(client, "draft/activate", note="After the audit")
    now = policies()
    assert (now.active.number, now.active.activated_by, now.draft) == (1, admin, None)
    entry = Entry.objects.get(action="policy.activated").detail.fields
    assert "project tulip" in entry["after"]
    assert "After the audit" in words_of(client.get("/policy/versions/1/"))


def test_sum_may_be_typed_with_its_currency_and_is_shown_as_it_is_printed(
    client, admin
):
    begun(admin)
    typed = {"name": "Sums", "approvals_0": "2", "amount": "EUR 1.225,00"}
    post(client, "draft/rules/add", **typed)
    made = policies().drafted.rules[1]
    assert (made.when.amount, made.when.currency) == (1225, "EUR")
    assert "at least EUR 1,225.00" in words_of(client.get("/policy/"))
    shown = client.get(f"/policy/draft/rules/{made.id}/").context["form"]
    assert shown["amount"].value() == "EUR 1,225.00"


def test_tick_that_belongs_to_a_choice_is_refused_without_it(client, admin):
    begun(admin)
    rule = {"name": "Half", "approvals_0": "2"}
    for tick in ("contacts_count", "only_these"):
        post(client, "draft/rules/add", 422, **rule, **{tick: "on"})
    assert len(policies().drafted.rules) == 1


def test_group_is_made_with_the_rule_that_asks_for_its_approvals(
    client, admin, reviewer
):
    before = begun(admin).seen
    add = "draft/rules/add"
    typed = {"name": "Money", "group_members": [reviewer.pk], "approvals_-1": "2"}
    post(client, add, 422, **typed)
    typed["group_name"] = "Finance"
    post(client, "draft/rules/first", name="Other", approvals_0="2")
    # Neither is stored without the other.
    post(client, add, 409, **typed, seen=before)
    assert not Group.objects.exists()
    post(client, add, **typed)
    made = Group.objects.get()
    assert (made.name, *made.members.all()) == ("Finance", reviewer)
    assert policies().drafted.rules[1].then.approvals == {made.pk: 2}
    post(client, add, 422, **typed)
    assert len(policies().drafted.rules) == 2


# What two admins post: the page, its status, what is typed, the draft that was seen (that
# of now, the first one, or that of the last answer), and the name of the rule afterwards.
TWO_ADMINS = """
rules/first    302    {"name": "Of Sam", "approvals_0": "2"}    now      Of Sam
rules/first    409    {"name": "Mine", "approvals_0": "3"}      first    Of Sam
rules/first    302    {"name": "Mine", "approvals_0": "3"}      shown    Mine
discard        409    {}                                        first    Mine
activate       409    {}                                        first    Mine
delete/first   409    {}                                        first    Mine
begin          409    {"from": "active"}                        first    Mine
discard        302    {}                                        now      none
rules/add      409    {"name": "Mine", "approvals_0": "3"}      first    none
"""


def test_second_of_two_admins_is_told_and_keeps_what_was_typed(client, admin):
    seen = {"first": begun(admin).seen}
    for path, status, typed, which, name in rows(TWO_ADMINS):
        form = json.loads(typed) | ({"seen": seen[which]} if which in seen else {})
        answer = post(client, f"draft/{path}", int(status), **form)
        drafted = "".join(one.name for one in policies().drafted.rules)
        assert (drafted or "none") == name, path
        if path.startswith("rules") and status == "409":
            assert 'value="Mine"' in answer.text
            seen["shown"] = answer.context["form"]["seen"].value()


def test_group_or_calendar_is_added_changed_and_deleted_unless_a_rule_names_it(
    client, admin
):
    hours = {"zone": "europe/lisbon", "day-0": "9:00-17:00"}
    for kind, model, typed, effect in (
        ("groups", Group, {}, "barred_groups"),
        ("hours", WorkCalendar, hours, "office_hours"),
    ):
        post(client, f"{kind}/add", name="Office", **typed)
        row = model.objects.get()
        path = f"{kind}/{row.pk}"
        form = typed_in(client.get(f"/policy/{path}/").context["form"])
        for name, status in (("Day", 302), ("Night", 409)):
            post(client, path, status, **{**form, "name": name})
        row.refresh_from_db()
        assert row.name == "Day"
        begun(admin, rule(then={effect: [row.pk]}))
        post(client, f"{path}/delete", 422)
        post(client, "draft/discard")
        post(client, f"{path}/delete")
        assert not model.objects.exists()


# Where a name is typed, what the page answers, a name that is taken, and what looks like
# it. The sentences of rules join names by commas and "or".
ALIKE = """
policy/groups/add  looks like it  Finance  finance  Fin\u0430nce  Finan\u200bce  Fi\u043fance  Fin ance.
  Sales or finance  Finance, Sales
policy/hours/add   looks like it        Office        \u041effice
allowlists/add     looks like it        Customers     Cust\u043emers
people/me          tells you two apart  Ana Ferreira  ANA FERREIRA  \u0410na Ferreira
"""


def test_groups_calendars_lists_and_people_do_not_look_alike(client, reviewer):
    Group.objects.create(name="Finance")
    WorkCalendar.objects.create(name="Office", zone="UTC", weekly=[[]] * 7)
    make_list(name="Customers")
    for path, why, *names in rows(ALIKE):
        for name in names:
            typed = {"name": name, "zone": "UTC", "day-0": "9:00-17:00", "place": "all"}
            says(client.post(f"/{path}/", typed), 422, why)


def test_try_says_which_rule_applies_to_a_message_that_one_may_see(
    client, admin, signed_in, connection, stranger
):
    money = rule("a", "Money", when={"amount": "1000"})
    begun(admin, money, rule("b", "Far", when={"recipients": ["*.gov"]}))
    message = make_message(connection, markdown="We refund 1,250.00 EUR today.")
    named = f"https://desk.example/queue/{message.public_id}/?view=text"

    draft = client.get("/policy/try/", {"message": named, "draft": "yes"}).context
    for lines, name in (("spoken", "Money"), ("silent", "Far")):
        assert [one["part"].name for one in draft[lines]] == [name]
    now = client.get("/policy/try/", {"message": message.upstream_id}).context
    assert now["spoken"] == []
    signed_in(stranger)
    for one in (named, message.upstream_id, ""):
        assert client.get("/policy/try/", {"message": one}).status_code == 422


def test_rules_name_no_mailbox_to_whom_it_is_hidden(client, signed_in, mailbox):
    far = mailbox.connection.mailboxes.create(upstream_id="01FAR", address="far@x.example")  # fmt: skip
    put_in_force({"when": {"mailboxes": [far.pk]}, "then": TWO})
    assert far.address in words_of(client.get("/policy/"))
    near = make_person("near@x.example", "Near", "reviewer", mailbox=mailbox)
    assert far.address not in words_of(signed_in(near).get("/policy/"))


def test_version_that_cannot_be_read_holds_everything_and_can_be_replaced(
    client, message, reviewer
):
    put_in_force({"odd": 1, "then": TWO})
    with pytest.raises(VerdictNotAllowed):
        decide(message, reviewer)
    assert policies().unreadable in words_of(client.get("/policy/"))
    post(client, "draft/begin", 404, **{"from": "99"})
    post(client, "draft/begin", **{"from": "active"})
    post(client, "draft/activate")
    assert policies().in_force.number == 2


# --- rehearsing -----------------------------------------------------------------------

# The rules before and after, for which messages something else is asked, and what. In the
# last case the same approvals are asked in another way, and a rule is said twice.
CHANGES = """
[]
  [{"when": {"amount": "1000"}, "then": {"approvals": {"0": 2}}}]
  2 0    {"more": 2}
[{"when": {"recipients": ["*.gov"]}, "then": {"reject": "No."}}]
  [{"when": {"amount": "1000"}, "then": {"reject": "No."}}]
  1 0    {"rejected": 1, "not_rejected": 1}
[{"when": {"recipients": ["*.gov"]}, "then": {"approvals": {"0": 2}, "care": true}}]
  [{"when": {"amount": "1000"}, "then": {"approvals": {"0": 3}, "expire_minutes": 60}}]
  2 1 0  {"more": 2, "less": 2}
[{"then": {"approvals": {"0": 2}}}]
  [{"when": {"recipients": ["*.gov"]}, "then": {"approvals": {"0": 2}}}, {"then": {"approvals": {"0": 2}}}]
  none   {}
"""


@pytest.fixture
def mail(connection):
    """Three messages: of a large sum, to a public office, and of which nothing is
    known.
    """
    made = [
        make_message(connection, markdown="We refund 1,250.00 EUR."),
        make_message(connection, to_addresses=["lee@x.gov"]),
        make_message(connection),
    ]
    Message.objects.update(held_at=Now() - timedelta(hours=1))
    change_row(made[2], written_to=None)
    change_row(made[2].review, policy_facts=None)
    return made


def drafted(admin, before, after):
    """Put these rules in force, and begin a draft of those."""
    put_in_force(*before)
    PolicyVersion.objects.filter(state="draft").delete()
    begun(admin, *(rule(f"r{at}", **one) for at, one in enumerate(after)))


def tried(client, path="try/?days=yes"):
    """What a page says of how the draft would have decided past mail."""
    return client.get(f"/policy/{path}").context["tried"]


def test_rehearsal_says_of_how_many_messages_something_else_is_asked(
    client, admin, mail
):
    for before, after, changed, counts in rows(CHANGES):
        drafted(admin, json.loads(before), json.loads(after))
        found = tried(client)
        of = [mail[int(one)] for one in changed.split() if one != "none"]
        assert [one for one, _, _ in found.rows] == of, after
        assert found.counts == json.loads(counts), after


def test_rehearsal_looks_at_mail_of_thirty_days_that_one_may_see(
    client, signed_in, admin, mail, stranger, monkeypatch
):
    change_row(mail[0], sandbox=True)
    change_row(mail[1], held_at=Now() - timedelta(days=31))
    drafted(admin, [], [{"when": {"words": ["rose"]}}])
    for person, number in ((stranger, 0), (admin, 1)):
        assert tried(signed_in(person)).looked_at == number
    # Words are looked for in so many of the newest, and no others are counted.
    monkeypatch.setattr("approvals.policy_rules.rehearsal.READ", 0)
    Message.objects.update(held_at=Now(), sandbox=False)
    assert tried(client).looked_at == 1


def test_what_nobody_can_satisfy_is_told_before_it_is_activated(
    client, admin, message, reviewer
):
    change_row(message, held_at=Now())
    group = Group.objects.create(name="Finance")
    approve = {"then": {"approvals": {str(group.pk): 1}}}
    for members, parts, stops_all, is_unmet in (
        ([], [approve], True, True),
        ([reviewer], [approve], False, False),
        ([reviewer], [approve, {"then": {"reject": "No."}}], True, False),
    ):
        group.members.set(members)
        drafted(admin, [], parts)
        assert tried(client, "draft/activate/").stops_all is stops_all
        [wrong, *_] = client.get("/policy/").context["draft"]
        assert bool(wrong["problems"]) is is_unmet
    # Nor could any on a desk that held none lately.
    change_row(message, held_at=Now() - timedelta(days=99))
    assert tried(client, "draft/activate/").stops_all
