"""The pages of the policy: the draft with its forms, activating, Try and its rehearsal,
groups and hours, and two admins at one moment.
"""

from dataclasses import replace
from datetime import UTC, datetime, time, timedelta

import pytest
from django.utils import timezone

from approvals.errors import VerdictNotAllowed
from audit.models import Entry
from common.postgres import clock
from mirror.models import Mailbox, Message
from policy.errors import PolicyRefused
from policy.models import Group, PolicyVersion, WorkCalendar
from policy.rules.changes import activate_draft, begin_draft, policies
from policy.rules.conditions import from_json
from policy.rules.facts import names_for
from policy.rules.rules import PolicyRule, differences
from tests.factories import (
    actor_of,
    change_row,
    make_connection,
    make_message,
    make_person,
    put_in_force,
)
from tests.integration.deciding import decide, needed
from tests.integration.passing import make_pass
from tests.markup import words_of

TYPED = {"name": "Large amounts", "approvals_0": "2"}


ADD = "draft/rules/add"
TWO = {"approvals": {"0": 2}}


def rule(rule_id="first", name="Four eyes", **fields):
    stored = {"id": rule_id, "name": name, "then": TWO, **fields}
    return from_json(PolicyRule, stored)


def begun(admin, *parts):
    return begin_draft(actor=actor_of(admin), rules=parts or (rule(),), based_on=0)


def activated(admin, *parts):
    draft = begun(admin, *parts) if parts else policies().draft
    return activate_draft(actor=actor_of(admin), seen=draft.seen)


def test_rules_name_at_most_a_thousand_words_together(admin):
    rules = [
        rule(f"r{n}", when={"words": [f"w{n}of{word}" for word in range(100)]})
        for n in range(11)
    ]
    with pytest.raises(PolicyRefused):
        begun(admin, *rules)
    assert len(begun(admin, *rules[1:]).rules) == 10


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


def save_again(client, path, **changed):
    """Open a form, change this, and save it."""
    form = client.get(f"/policy/{path}/").context["form"]
    drawn = {one.name for section in form.sections() for one in section.fields}
    assert drawn == {one.name for one in form.visible_fields()}
    return post(client, path, **{**typed_in(form), **changed})


@pytest.fixture
def client(signed_in, admin):
    """A signed-in client of an admin."""
    return signed_in(admin)


def test_form_keeps_every_field_of_a_rule_or_pass_and_the_draft_becomes_active(
    client, admin, second, mailbox
):
    calendar = WorkCalendar.objects.create(
        name="Office", zone="UTC", weekly=[[[540, 1020]]] * 7
    )
    group = Group.objects.create(name="Finance")
    connection = mailbox.connection_id
    when = {
        "mailboxes": [mailbox.pk], "keys": [f"{connection}:k9"], "lists": [77],
        "only_these": True,
        "recipients": ["*.gov", "acme.com"], "recipients_except": ["ana@acme.com"], "first_contact": True,
        "high_risk": True, "findings": ["payment_details"], "words": ["inv-####", "project tulip"],
        "amount": "49.90", "currency": "EUR",
        "attachments": ["pdf", "archive"], "recipients_from": 3, "tries_from": 2,
        "metadata": "tier=a=b c", "connections": [connection], "has_link": True, "links_except": ["acme.com"],
        "lists_except": [78], "contacts_count": True,
        "known": [f"{connection}/{mailbox.pk}", f"{connection}:k9"],
    }  # fmt: skip
    then = {
        "approvals": {"0": 3, str(group.pk): 2, "99": 1}, "barred_groups": [group.pk],
        "bar_editor": True, "reject": "No.", "sentences": ["Call first."],
        "care": True, "expire_minutes": 90,
        "office_hours": [calendar.pk, 78],
    }  # fmt: skip
    whole = rule("whole", when=when, then=then)
    ends = datetime.combine(clock() + timedelta(days=9), time(23, 59), UTC)
    one = make_pass(mailbox, ends_at=ends, link_domains=frozenset({"shop.example"}))
    begun(admin, whole, one)
    for path, part in (("rules/whole", whole), ("passes/refunds", one)):
        save_again(client, f"draft/{path}", name="Renamed")
        renamed = replace(part, name="Renamed")
        assert renamed.as_json() in [
            each.as_json() for each in policies().drafted.parts
        ]
    post(client, "draft/delete/refunds")
    post(client, "draft/activate", note="After the audit")
    now = policies()
    assert (now.active.number, now.active.activated_by, now.draft) == (1, admin, None)
    entry = Entry.objects.get(action="policy.activated").detail.fields
    [changed] = differences((), now.in_force.rules, names_for())
    assert changed[1] == entry["after"]
    assert "After the audit" in words_of(client.get("/policy/versions/1/"))


def test_second_of_two_admins_is_told_and_keeps_what_was_typed(client, admin):
    before = begun(admin).seen
    path = "draft/rules/first"
    post(client, path, name="Of Sam", approvals_0="2")
    typed = {"name": "Mine", "approvals_0": "3"}
    answer = post(client, path, 409, **typed, seen=before)
    assert 'value="Mine"' in answer.text
    assert policies().drafted.rules[0].name == "Of Sam"
    # Saved again on top of what was shown.
    post(client, path, **typed, seen=answer.context["form"]["seen"].value())
    assert policies().drafted.rules[0].name == "Mine"
    for path, form in (
        ("discard", {"seen": before}),
        ("activate", {"seen": before}),
        ("delete/first", {"seen": ""}),
        ("begin", {"from": "active"}),
    ):
        post(client, f"draft/{path}", 409, **form)
    post(client, "draft/discard")
    assert 'value="Mine"' in post(client, ADD, 409, **typed, seen=before).text


@pytest.mark.parametrize(
    ("kind", "typed", "names"),
    [
        ("groups", {}, lambda key: {"approvals": {str(key): 1}}),
        ("hours", {"zone": "europe/lisbon", "day-0": "9:00-17:00"}, lambda key: {"office_hours": [key]}),
    ],
)  # fmt: skip
def test_group_or_calendar_is_added_changed_and_deleted_unless_a_rule_names_it(
    client, admin, kind, typed, names
):
    model = {"groups": Group, "hours": WorkCalendar}[kind]
    post(client, f"{kind}/add", name="Office", **typed)
    post(client, f"{kind}/add", 422, name="0FFICE", **typed)
    path = f"{kind}/{model.objects.get().pk}"
    form = typed_in(client.get(f"/policy/{path}/").context["form"])
    post(client, path, **{**form, "name": "Day"})
    post(client, path, 409, **{**form, "name": "Night"})
    assert model.objects.get().name == "Day"
    begun(admin, rule(then=names(model.objects.get().pk)))
    post(client, f"{path}/delete", 422)
    post(client, "draft/discard")
    post(client, f"{path}/delete")
    assert not model.objects.exists()


def test_try_says_which_rule_applies_to_a_message_that_one_may_see(
    client, admin, signed_in, connection, stranger
):
    money = rule("a", "Money", when={"amount": "1000"})
    far = rule("b", "Far", when={"recipients": ["*.gov"]})
    begun(admin, money, far)
    message = make_message(connection, markdown="We refund 1,250.00 EUR today.")
    named = f"https://desk.example/queue/{message.public_id}/?view=text"

    def tried(**asked):
        answer = client.get("/policy/try/", {"message": named, **asked})
        return [
            [line["part"].name for line in answer.context.get(one, ())]
            for one in ("spoken", "silent")
        ]

    assert tried(draft="yes") == [["Money"], ["Far"]]
    assert tried(message=message.upstream_id)[0] == []
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

MONEY = {"when": {"amount": "1000"}}
ROSE = {"when": {"words": ["rose"]}, "then": TWO}
FAR = {"when": {"recipients": ["*.gov"]}}
NO = {"reject": "No."}
THREE = {"approvals": {"0": 3}, "expire_minutes": 60}


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
    Message.objects.update(held_at=timezone.now() - timedelta(hours=1))
    change_row(made[2], written_to=None)
    change_row(made[2].review, policy_facts=None)
    return made


def rehearsed(client, admin, before, after):
    """The rehearsal of a draft of these rules on its page."""
    put_in_force(*before)
    PolicyVersion.objects.filter(state="draft").delete()
    begun(admin, *(rule(f"r{at}", **one) for at, one in enumerate(after)))
    return client.get("/policy/try/?days=yes").context["tried"]


@pytest.mark.parametrize(
    ("before", "after", "changed", "counts"),
    [
        ([], [{**MONEY, "then": TWO}], (2, 0), {"more": 2}),
        ([{**FAR, "then": NO}], [{**MONEY, "then": NO}], (1, 0), {"rejected": 1, "not_rejected": 1}),
        ([{**FAR, "then": {**TWO, "care": True}}], [{**MONEY, "then": THREE}], (2, 1, 0), {"more": 2, "less": 2}),
        # The same approvals in another way, and a rule that is said twice.
        ([TWO], [{**FAR, "then": TWO}, {"then": TWO}], (), {}),
    ],
)  # fmt: skip
def test_rehearsal_says_of_how_many_messages_something_else_is_asked(
    client, admin, mail, before, after, changed, counts
):
    tried = rehearsed(client, admin, before, after)
    assert [one for one, _, _ in tried.rows] == [mail[n] for n in changed]
    assert tried.counts == counts


def test_rehearsal_looks_at_mail_of_thirty_days_that_one_may_see(
    client, signed_in, admin, mail, stranger, monkeypatch
):
    change_row(mail[0], sandbox=True)
    change_row(mail[1], held_at=timezone.now() - timedelta(days=31))

    def seen(person):
        signed_in(person)
        return rehearsed(client, admin, [], [ROSE]).looked_at

    assert (seen(admin), seen(stranger)) == (1, 0)
    # Words are looked for in so many of the newest, and no others are counted.
    monkeypatch.setattr("approvals.policy_rules.rehearsal.READ", 0)
    Message.objects.update(held_at=timezone.now(), sandbox=False)
    assert seen(admin) == 1


def test_what_nobody_can_satisfy_is_told_before_it_is_activated(
    client, admin, message, reviewer
):
    Message.objects.update(held_at=timezone.now())
    group = Group.objects.create(name="Finance")
    begun(admin)
    post(client, ADD, name="Money", **{f"approvals_{group.pk}": "1"})

    def told():
        pages = [client.get(f"/policy/{one}") for one in ("draft/activate/", "try/?days=yes")]  # fmt: skip
        stops_all = {one.context["tried"].stops_all for one in pages}
        return stops_all, bool(pages[0].context["draft"][1]["problems"])

    assert told() == ({True}, True)
    group.members.add(reviewer)
    make_person("ben@yourteam.example", "Ben", "reviewer")
    assert told() == ({False}, False)
    post(client, ADD, name="No", reject="No.")
    assert told() == ({True}, False)


@pytest.mark.slow
@pytest.mark.parametrize("named", ["mailboxes", "keys"])
def test_rule_on_a_mailbox_or_key_takes_in_new_ones_until_it_says_only_these(
    client, admin, reviewer, upstream, named
):
    connection = make_connection(api_url=upstream.url)

    def asked(number):
        address = f"{number}@yourteam.example"
        row = {"mailbox_id": address, "mailbox": address, "sent_by_key": number}
        return needed(make_message(connection, **row), reviewer)

    assert (asked("k1"), asked("k2")) == (1, 1)
    box = Mailbox.objects.get(address="k1@yourteam.example")
    values = {"mailboxes": [box.pk], "keys": [f"{connection.pk}:k1"]}
    begun(admin)
    post(client, "draft/delete/first")
    post(client, ADD, **{**TYPED, named: values[named]})
    activated(admin)
    assert [asked(one) for one in ("k1", "k2", "k3")] == [2, 1, 2]
    # What is new stays new when the rule is changed and signed again.
    path = f"draft/rules/{policies().in_force.rules[0].id}"
    for changed, wanted in (({"name": "Renamed"}, 2), ({"only_these": "1"}, 1)):
        post(client, "draft/begin", **{"from": "active"})
        save_again(client, path, **changed)
        activated(admin)
        assert [asked(one) for one in ("k1", "k3")] == [2, wanted]
