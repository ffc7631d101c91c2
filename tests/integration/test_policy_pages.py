"""The pages of the policy: the draft and its forms, activating, Try, groups and hours,
and two admins at one moment.
"""

import pytest
from django.urls import reverse
from django.utils import timezone

from approvals.decisions.ruling import rulings
from audit.models import Entry
from mirror.models import Mailbox, Message
from policy.models import Group, LadderStep, PolicyVersion, ReviewPlan, WorkCalendar
from policy.rules.changes import (
    activate_draft,
    begin_draft,
    policies,
    save_rule,
)
from policy.rules.names import names_for
from policy.rules.rules import PolicyRule
from tests.factories import actor_of, make_connection, make_message, make_person
from tests.markup import words_of

POLICY = "/policy/"
ADD = "draft/rules/add"
TWO = {
    "name": "Large amounts",
    "amount": "1000",
    "currency": "eur",
    "approvals_0": "2",
    "edits": "0",
}


def rule(rule_id="first", name="Four eyes", **fields):
    return PolicyRule.from_json(
        {"id": rule_id, "name": name, "then": {"approvals": {"0": 2}}, **fields}
    )


def begun(admin, *rules):
    return begin_draft(actor=actor_of(admin), rules=rules or (rule(),), based_on=0)


def activated(admin, *rules):
    draft = begun(admin, *rules)
    actor = actor_of(admin)
    return activate_draft(
        actor=actor, edits=draft.edits, active=policies().active_number
    )


def typed_in(form):
    """What a browser would send of a form that was shown."""
    values = {one.name: one.value() for one in form}
    return {name: value for name, value in values.items() if value or value == 0}


def post(client, path, status=302, **form):
    answer = client.post(f"/policy/{path}/", form)
    assert answer.status_code == status, words_of(answer)
    return answer


def last(action):
    return Entry.objects.filter(action=action).latest("pk").detail.fields


def test_rule_goes_from_the_form_into_the_draft_and_becomes_active(admin, signed_in):
    client = signed_in(admin)
    post(client, "draft/begin", **{"from": "active"})
    post(client, ADD, 422, **{**TWO, "amount": "1.000"})
    saved = client.post(f"/policy/{ADD}/", TWO, follow=True)
    sentence = "When a message names an amount of at least 1000 EUR, then 2 approvals of any reviewer are needed."
    assert f"“Large amounts” is in the draft: {sentence}" in words_of(saved)
    assert sentence in last("policy.draft_changed")["after"]

    shown = client.get("/policy/draft/activate/").context["now"]
    form = {"edits": shown.draft.edits, "active": shown.active_number}
    post(client, "draft/activate", **form, note="After the audit")
    now = policies()
    assert (now.active.number, now.active.activated_by, now.draft) == (1, admin, None)
    assert sentence in last("policy.activated")["after"]
    assert "After the audit" in words_of(client.get("/policy/versions/1/"))


def test_form_of_a_rule_gives_back_every_field_that_a_rule_can_have(
    admin, signed_in, connection
):
    calendar = WorkCalendar.objects.create(
        name="Office", zone="UTC", weekly=[[[540, 1020]]] * 7
    )
    box = Mailbox.objects.get()
    group = Group.objects.create(name="Finance")
    when = {
        "mailboxes": [box.pk], "keys": [f"{connection.pk}:k9"], "lists": [77],
        "only_these": True,
        "recipients": ["*.gov", "acme.com"], "recipients_except": ["ana@acme.com"], "first_contact": True,
        "high_risk": True, "findings": ["payment_details"], "words": ["inv-####", "project tulip"],
        "amount": "49.90", "currency": "EUR",
        "attachments": ["pdf", "archive"], "recipients_from": 3, "tries_from": 2,
        "metadata": "tier=a=b c", "connections": [connection.pk], "has_link": True, "links_except": ["acme.com"],
        "lists_except": [78], "contacts_count": True,
        "known": [f"{connection.pk}/{box.pk}", f"{connection.pk}:k9"],
    }  # fmt: skip
    then = {
        "approvals": {"0": 3, str(group.pk): 2, "99": 1}, "barred_groups": [group.pk],
        "bar_editor": True, "reject": "No.",
        "care": True, "expire_minutes": 90,
        "office_hours": [calendar.pk, 78],
    }  # fmt: skip
    whole = rule("whole", "Whole", when=when, then=then)
    begun(admin, whole)
    client = signed_in(admin)
    form = client.get("/policy/draft/rules/whole/").context["form"]
    drawn = {one.name for section in form.sections() for one in section.fields}
    assert drawn == {one.name for one in form.visible_fields()}
    post(client, "draft/rules/whole", **{**typed_in(form), "name": "Renamed"})
    assert policies().draft_rules[0].as_json() == {**whole.as_json(), "name": "Renamed"}


@pytest.mark.slow
def test_wrong_entry_has_a_sentence_beside_it_and_nothing_typed_is_lost(
    admin, signed_in
):
    begun(admin)
    client = signed_in(admin)
    for fields, wrong, words in (
        ({"approvals_0": ""}, "approvals_0", "asks for nothing"),
        ({"amount": ""}, "amount", "Write the amount that is in this currency"),
        ({"recipients": "acme.com\nnot an address"}, "recipients", "not an address"),
        ({"words": "rose, red\n*"}, "words", "“*”: That would match nearly every"),
        ({"mailboxes": ["99"]}, "mailboxes", "Choose from the list."),
        ({"expire_minutes": "9999 h"}, "expire_minutes", "a year at most"),
    ):
        kept = {"recipients_except": "kept.example"}
        answer = post(client, ADD, 422, **{**TWO, **kept, **fields})
        assert words in answer.context["form"].errors[wrong][0], fields
    assert "kept.example" in answer.text
    assert Entry.objects.filter(action="policy.draft_changed").count() == 0


@pytest.mark.slow
def test_second_of_two_admins_is_told_and_keeps_what_was_typed(admin, signed_in):
    draft = begun(admin)
    other = make_person("second@yourteam.example", "Sam", "admin")
    client = signed_in(admin)
    actor = actor_of(other)
    save_rule(actor=actor, edits=draft.edits, rule=rule(name="Renamed by Sam"))
    typed = {"name": "Mine", "approvals_0": "3"}
    path = "draft/rules/first"
    answer = post(client, path, 409, **typed, edits=draft.edits)
    assert "Somebody changed the draft meanwhile" in words_of(answer)
    assert 'value="Mine"' in answer.text
    assert policies().draft_rules[0].name == "Renamed by Sam"
    # Saved again on top of what was shown.
    again = answer.context["form"]["edits"].value()
    post(client, path, **typed, edits=again)
    assert policies().draft_rules[0].name == "Mine"

    post(client, "draft/discard", 409, edits=0)
    post(client, "draft/activate", 409, edits=0, active=0)
    post(client, "draft/activate", 409, edits=2, active=7)
    post(client, "draft/begin", 409, **{"from": "active"})
    post(client, "draft/discard", edits=2)
    answer = post(client, path, 409, **typed, edits=2)
    assert 'value="Mine"' in answer.text


@pytest.mark.slow
def test_what_nobody_can_satisfy_is_told_when_it_is_saved_and_before_activating(
    admin, signed_in, connection, reviewer
):
    make_message(connection)
    Message.objects.update(held_at=timezone.now())
    group = Group.objects.create(name="Finance")
    begun(admin, rule(then={"care": True}))
    client = signed_in(admin)
    typed = {"name": "Money", f"approvals_{group.pk}": "1", "edits": 0}
    saved = client.post(f"/policy/{ADD}/", typed, follow=True)
    activate = "/policy/draft/activate/"
    for page in (saved, client.get(activate)):
        assert "Nobody can meet" in words_of(page)
    tries = (activate, "/policy/try/?days=yes")
    assert all("No message could leave." in words_of(client.get(one)) for one in tries)
    group.members.add(reviewer)
    for page in map(client.get, (POLICY, *tries)):
        assert "Nobody can meet" not in words_of(page)
        assert "No message could leave." not in words_of(page)


@pytest.mark.slow
def test_draft_of_an_old_version_says_what_it_changes_and_loses_a_rule(
    admin, signed_in
):
    activated(admin, rule("a", "A"))
    activated(admin, rule("a", "A"), rule("b", "B"))
    client = signed_in(admin)
    post(client, "draft/begin", **{"from": "version-1"})
    changed = client.get(POLICY).context["changed"]
    assert [(one.before[:2], one.after) for one in changed] == [("B:", "")]
    post(client, "draft/delete/a", edits=0)
    assert policies().draft_rules == ()
    post(client, "draft/delete/a", 409, edits=0)


def test_group_is_added_changed_and_deleted_unless_a_rule_names_it(
    admin, signed_in, reviewer
):
    client = signed_in(admin)
    post(client, "groups/add", name="Legal", members=[reviewer.pk])
    group = Group.objects.get()
    assert list(group.members.all()) == [reviewer]
    post(client, "groups/add", 422, name="LEGAL")

    path = f"groups/{group.pk}"
    seen = client.get(f"/policy/{path}/").context["form"]["seen"].value()
    post(client, path, name="Lawyers", members=[admin.pk], seen=seen)
    post(client, path, 409, name="Mine", members=[reviewer.pk], seen=seen)
    assert Group.objects.get().name == "Lawyers"

    begun(admin, rule(then={"approvals": {str(group.pk): 1}}))
    post(client, f"{path}/delete", 422)
    post(client, "draft/discard", edits=0)
    # A step of a review plan would vanish with its group.
    plan = ReviewPlan.objects.create(targets={"": [60, 120]})
    LadderStep.objects.create(
        plan=plan, basis="decision", act="remind", minutes=0, whom="group", group=group
    )
    post(client, f"{path}/delete", 422)
    plan.delete()
    post(client, f"{path}/delete")
    assert not Group.objects.exists()


def test_calendar_is_added_changed_and_deleted_unless_a_rule_names_it(
    admin, auditor, signed_in
):
    client = signed_in(admin)
    typed = {"name": "Office", "zone": "europe/lisbon", "day-0": "9:00-17:00"}
    for wrong, field, words in (
        ({"zone": "Mars"}, "zone", "There is no such time zone."),
        ({"day-0": ""}, "day-0", "working hours on at least one day"),
        ({"day-1": "9-5"}, "day-1", "Write hours as 09:00-12:00"),
        ({"holidays": "Christmas"}, "holidays", "does not begin with a date"),
    ):
        answer = post(client, "hours/add", 422, **{**typed, **wrong})
        assert words in answer.context["form"].errors[field][0]
    post(client, "hours/add", **typed, holidays="2026-12-25 Christmas Day")
    post(client, "hours/add", 422, **typed)
    calendar = WorkCalendar.objects.get()
    assert (calendar.zone, calendar.weekly[0]) == ("Europe/Lisbon", [[540, 1020]])
    path = f"hours/{calendar.pk}"
    form = client.get(f"/policy/{path}/").context["form"]
    post(client, path, **{**typed_in(form), "name": "Day"})
    answer = post(client, path, 409, **{**typed_in(form), "name": "Night"})
    assert "Somebody else changed this meanwhile" in words_of(answer)
    assert WorkCalendar.objects.get().holidays == {"2026-12-25": "Christmas Day"}
    begun(admin, rule(then={"office_hours": [calendar.pk]}))
    page = words_of(signed_in(auditor).get("/policy/groups/"))
    assert "Named by the rule Four eyes ." in page
    client = signed_in(admin)
    post(client, f"{path}/delete", 422)
    post(client, "draft/discard", edits=0)
    post(client, f"{path}/delete")
    assert not WorkCalendar.objects.exists()


def test_try_says_which_rule_applies_to_a_message_that_one_may_see(
    admin, signed_in, connection
):
    money = rule("a", "Money", when={"amount": "1000"})
    far = rule("b", "Far", when={"recipients": ["*.gov"]})
    begun(admin, money, far)
    message = make_message(connection, markdown="We refund 1,250.00 EUR today.")
    client = signed_in(admin)
    named = f"https://desk.example/queue/{message.public_id}/?view=text"
    answer = client.get("/policy/try/", {"message": named, "draft": "yes"})
    spoken, silent = (
        [one["part"].name for one in answer.context[name]]
        for name in ("spoken", "silent")
    )
    assert (spoken, silent) == (["Money"], ["Far"])
    assert answer.context["needed"] == "2 approvals of any reviewer are needed"
    answer = client.get("/policy/try/", {"message": message.upstream_id})
    assert answer.context["spoken"] == []
    other = make_person("far@yourteam.example", "Far", "reviewer", mailbox=Mailbox.objects.create(
        connection=connection, upstream_id="01FAR", address="far@yourteam.example"
    ))  # fmt: skip
    client = signed_in(other)
    for named in (str(message.public_id), message.upstream_id, ""):
        answer = client.get("/policy/try/", {"message": named})
        assert (answer.status_code, "needed" in answer.context) == (422, False)


def test_rules_name_no_mailbox_to_whom_it_is_hidden(admin, signed_in, connection):
    far = Mailbox.objects.create(
        connection=connection, upstream_id="01FAR", address="far@yourteam.example"
    )
    activated(admin, rule(when={"mailboxes": [far.pk]}))
    near = make_person(
        "near@yourteam.example",
        "Near",
        "reviewer",
        mailbox=connection.mailboxes.exclude(pk=far.pk).get(),
    )
    page = words_of(signed_in(near).get(POLICY))
    assert "in another mailbox" in page
    assert far.address not in page
    assert far.address in words_of(signed_in(admin).get(POLICY))


@pytest.mark.parametrize("named", ["mailboxes", "keys"])
def test_rule_on_a_mailbox_or_key_takes_in_new_ones_until_it_says_only_these(
    admin, reviewer, signed_in, upstream, named
):
    connection = make_connection(api_url=upstream.url)

    def needed(address, key):
        """How many approvals a message from there needs."""
        row = {"mailbox_id": address, "mailbox": address, "sent_by_key": key}
        message = make_message(connection, **row)
        message.refresh_from_db()
        return rulings([message], actor_of(reviewer))[message.pk].demand.effects.total

    assert needed("one@yourteam.example", "k1") == 1
    assert needed("two@yourteam.example", "k2") == 1
    box = Mailbox.objects.get(address="one@yourteam.example")
    names = {"mailboxes": [box.pk], "keys": [f"{connection.pk}:k1"]}
    activated(admin, rule(when={named: names[named]}))
    places = [("one@yourteam.example", "k1"), ("two@yourteam.example", "k2")]
    places.append(("new@yourteam.example", "k3"))
    assert [needed(*one) for one in places] == [2, 1, 2]
    # What is new stays new when the rule is changed and signed again.
    client = signed_in(admin)
    client.post("/policy/draft/begin/", {"from": "active"})
    form = client.get("/policy/draft/rules/first/").context["form"]
    typed = typed_in(form)
    for changed, wanted, words in (
        ({"note": "Why."}, [2, 1, 2], "or one added to its connection later"),
        ({"only_these": "1"}, [2, 1, 1], ", then"),
    ):
        post(client, "draft/rules/first", **{**typed, **changed})
        draft = policies().draft
        active = policies().active_number
        actor = actor_of(admin)
        activate_draft(actor=actor, edits=draft.edits, active=active)
        assert [needed(*one) for one in places] == wanted
        [sentence] = [one.sentence(names_for()) for one in policies().active_rules]
        assert words in sentence
        client.post("/policy/draft/begin/", {"from": "active"})


@pytest.mark.slow
def test_active_version_that_cannot_be_read_is_told_and_can_be_replaced(
    admin, signed_in
):
    PolicyVersion.objects.create(
        number=1,
        state="active",
        rules=[{"id": "x", "odd": 1}],
        activated_at=timezone.now(),
        author=admin,
    )
    client = signed_in(admin)
    assert "The rules of version 1 cannot be read" in words_of(client.get(POLICY))
    client.post("/policy/draft/begin/", {"from": "small-team"})
    form = {"edits": 0, "active": 1}
    assert client.post(reverse("activate-draft"), form).status_code == 302
    assert policies().active_number == 2
