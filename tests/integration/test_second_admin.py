"""Changes that loosen policy wait for a second admin where the organisation wants that;
tightening never waits. That every command of an admin is one of both:
test_second_admin_everywhere.py.
"""

from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from django.db.models.functions import Now
from django.utils import timezone

from approvals.brake.commands import set_caps
from approvals.caps import DEFAULTS, caps_now
from audit.models import Entry
from common.actors import Role, operator
from connections.keys.commands import create_key, set_owner
from connections.kill_switch import hold_all
from connections.mailboxes.commands import change_mailbox, loosen, set_desk_settings
from connections.webhooks.commands import register_webhook
from gateway.models import Account, ApiKey, ApprovalRequest, Webhook, hash_key
from mirror.models import Mailbox
from people.directory.safeguard_views import ENDED
from people.errors import NotYours
from people.invitations.links import invite, make_password_link, set_password
from people.models import Grant, Invitation, OrganisationSettings, PendingChange
from people.roles import GrantTarget, deactivate, give_role
from people.second_admin.changes import (
    ChangeNotWaiting,
    accept,
    ask_second_admin,
    decline,
    other_admins,
    reveal_secret,
    withdraw_change,
)
from people.second_admin.registry import SecondAdminNeeded, listed, wants_second_admin
from people.second_admin.setting import set_second_admin, switch_off_by_operator
from people.sign_in.factors import remove_factors_of
from policy.errors import seen_state
from policy.models import Allowlist, Group
from policy.review_plans import add_duty
from policy.rules.changes import (
    activate_draft,
    begin_draft,
    discard_draft,
    in_words,
    policies,
    save_group,
)
from policy.rules.conditions import Conditions
from policy.rules.rules import Effects, PolicyRule
from tests.factories import (
    actor_of,
    change_list,
    change_row,
    listed_patterns,
    make_list,
    make_person,
    put_in_force,
)
from tests.integration.deciding import at_once
from tests.signing import give_app
from tests.variants import variants

EVERYTHING = GrantTarget()


def switch_on():
    OrganisationSettings.objects.update_or_create(
        pk=1, defaults={"second_admin_since": Now()}
    )


def ask(work, person, reason="Support writes to it."):
    """Do what waits, and ask for it."""
    with pytest.raises(SecondAdminNeeded) as needed:
        work()
    actor = actor_of(person)
    return ask_second_admin(asked=needed.value.asked, reason=reason, actor=actor)


def accepted(change, person, **code):
    """Accept a change, and return how it ended."""
    return accept(change_id=change.pk, actor=actor_of(person), **code).state


def refuses(change, person, work=accept):
    with pytest.raises(ChangeNotWaiting):
        work(change_id=change.pk, actor=actor_of(person))
    return True


def newest_code():
    return ApprovalRequest.objects.latest("pk").code


def rule(**effects):
    return PolicyRule("first", "First", then=Effects(**effects))


@dataclass
class World:
    """What an admin works on, with the commands that the tests give."""

    admin: Any
    mailbox: Any
    otto: Any = None

    @property
    def by(self):
        return actor_of(self.admin)

    def box(self):
        return Mailbox.objects.select_related("connection").get(pk=self.mailbox.pk)

    def activate(self, *rules):
        begin_draft(actor=self.by, rules=rules, based_on=policies().in_force.number)
        activate_draft(actor=self.by, seen=policies().draft.seen)

    def desk(self, pictures=False, seconds=5):
        window = timedelta(seconds=seconds)
        return set_desk_settings(
            mailbox=self.box(),
            actor=self.by,
            loads_pictures=pictures,
            undo_window=window,
        )

    def regroup(self, *people, name="Finance"):
        group = Group.objects.first()
        seen = {"group": group, "seen": seen_state(in_words(group))} if group else {}
        members = [one.pk for one in people]
        return save_group(actor=self.by, name=name, members=members, **seen)

    def own(self, person):
        key = {"key_id": "k1", "name": "k1", "person": person, "actor": self.by}
        set_owner(connection=self.box().connection, **key)

    def cap(self, **caps):
        set_caps(caps={**DEFAULTS, **caps}, actor=self.by)

    def role(self, by=None, role=Role.AUDITOR, target=EVERYTHING):
        give = {"person_id": self.otto.pk, "role": role, "target": target}
        give_role(actor=actor_of(by or self.admin), **give)

    def hold(self, on):
        hold_all(connection=self.box().connection, on=on, actor=self.by)

    def change(self, **changes):
        change_mailbox(mailbox=self.box(), actor=self.by, changes=changes)

    def loosen(self):
        loosen(mailbox=self.box(), actor=self.by, target="monitored")


@pytest.fixture
def world(admin, mailbox):
    otto = make_person("otto@yourteam.example", "Otto", "reviewer")
    return World(admin, mailbox, otto)


# What loosens, its tightening twin, and the state that tells them apart.
LOOSENING = {
    "rules": (
        World.activate, lambda w: w.activate(rule(approvals={0: 2})), lambda w: policies().in_force.rules
    ),
    "higher cap": (lambda w: w.cap(key=(0, 2000)), World.cap, lambda w: caps_now()),
    "end of holding all": (
        lambda w: w.hold(False),
        lambda w: w.hold(True),
        lambda w: Account.objects.filter(hold_all_at=None).count(),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LOOSENING)
def test_every_loosening_waits_where_it_is_on_and_its_tightening_twin_never_does(
    name, request, world, second
):
    if name == "end of holding all":
        world.mailbox = request.getfixturevalue("account").mailbox
    loosening, tighten, state = LOOSENING[name]
    tighten(world)
    strict = state(world)
    loosening(world)
    loose = state(world)
    assert loose != strict, "switched off, it works at once"
    tighten(world)
    switch_on()
    change = ask(lambda: loosening(world), world.admin)
    assert state(world) == strict, "nothing happens while it waits"
    assert accepted(change, second) == "accepted"
    assert state(world) == loose
    done = Entry.objects.exclude(action__startswith="change.").newest_first()[0]
    assert done.actor_id == str(world.admin.pk)
    assert done.detail.fields["accepted_by"] == str(second)
    told = Entry.objects.get(action="change.accepted")
    assert told.actor_id == str(second.pk)
    tighten(world)
    assert state(world) == strict


def test_setting_needs_another_admin_and_switching_it_off_waits_for_one(admin):
    actor = actor_of(admin)
    with pytest.raises(NotYours):
        set_second_admin(actor=actor, on=True)
    second = make_person("sam@yourteam.example", "Sam Second", "admin")
    set_second_admin(actor=actor, on=True)
    change = ask(lambda: set_second_admin(actor=actor, on=False), admin)
    assert wants_second_admin(actor)
    accepted(change, second)
    assert not wants_second_admin(actor)
    set_second_admin(actor=actor, on=True)
    switch_off_by_operator(actor=operator("second_admin"))
    assert not wants_second_admin(actor)
    assert Entry.objects.filter(action="second_admin.set").count() == 4


# --- who may accept -------------------------------------------------------------------


@pytest.fixture
def waiting(admin, second, mailbox):
    """A change of the mailbox's list that waits."""
    make_list("x.example", mailbox=mailbox)
    switch_on()
    return ask(lambda: change_list(admin, "y.example"), admin)


def test_only_another_admin_of_the_whole_target_can_accept(
    waiting, admin, reviewer, mailbox, keeper
):
    box = mailbox.connection.mailboxes.create(upstream_id="02", address="b@x.example")
    eve = make_person("eve@yourteam.example", "Eve", "admin", mailbox=box)
    assert all(refuses(waiting, one) for one in (admin, reviewer, eve))
    assert accepted(waiting, keeper) == "accepted"
    assert listed_patterns() == ["x.example", "y.example"]


def test_nobody_accepts_what_an_account_asked_that_counts_as_them(world, second):
    admin = world.admin
    link = make_password_link(actor=world.by, person_id=second.pk)
    switch_on()
    asked = ask(world.role, admin)
    token = link.url.rstrip("/").rpartition("/")[2]
    set_password(token=token, password="a gannet counts wagons", actor=world.by)
    # It does not end by time.
    month_ago = Now() - timedelta(days=31)
    Invitation.objects.update(accepted_at=month_ago)
    assert refuses(asked, second)
    # It is so in both directions.
    theirs = ask(lambda: world.role(second), second)
    assert refuses(theirs, admin)
    # What was asked before the second factor may have been asked by either.
    app = give_app(second)
    assert refuses(theirs, admin)
    # Whoever made the first link of a chain may know all passwords.
    kim = make_person("kim@yourteam.example", "Kim", "admin")
    assert other_admins(theirs, asker=second.pk) == [admin, kim]
    app.delete()
    assert other_admins(theirs, asker=second.pk) == [kim]
    used = {"accepted_at": month_ago, "expires_at": Now(), "kind": "password"}
    Invitation.objects.create(person=kim, known_to=[second.pk], token_hash="1", **used)
    assert other_admins(theirs, asker=second.pk) == []
    assert refuses(asked, kim)


def barring(change):
    """A change of a rule that keeps their group from approving."""

    def concerns(world, second):
        group = world.regroup(second)
        put_in_force({"barred_groups": [group.pk]})
        bars = rule(barred_groups=frozenset({group.pk}))
        return lambda: world.activate(change(bars, world))

    return concerns


def let_in_as_one_of_two(world, second):
    put_in_force({"approvals": {world.regroup().pk: 1}})
    return lambda: world.regroup(second, world.otto)


def leaves_a_barring_group(world, second):
    put_in_force({"barred_groups": [world.regroup(second, world.otto).pk]})
    return lambda: world.regroup(world.otto)


def rule_that_asks_their_group(world, second):
    group = world.regroup(second)
    put_in_force({"approvals": {"0": 2}})
    return lambda: world.activate(rule(approvals={group.pk: 1}))


def account_by_invitation(world, second):
    roles = [(Role.REVIEWER, EVERYTHING)]
    them = {"email": second.email, "name": "", "roles": roles}
    return lambda: invite(actor=world.by, lasts=timedelta(days=7), **them)


def key_that_is_theirs_no_more(world, second):
    world.own(second)
    return lambda: world.own(world.otto)


def key_that_becomes_theirs(world, second):
    world.own(world.otto)
    return lambda: world.own(second)


def duty_of_theirs(world, second):
    where = {"mailbox": world.box(), "calendar": None}
    return lambda: add_duty(person=second, actor=world.by, **where)


def role_of_who_made_their_account(world, second):
    used = {"accepted_at": Now(), "expires_at": Now(), "kind": "password"}
    Invitation.objects.create(person=second, known_to=[world.otto.pk], **used)
    return world.role


CONCERNING = {
    "no more": barring(lambda bars, world: rule(approvals={0: 2})),
    "applies to less": barring(
        lambda bars, world: replace(
            bars, when=Conditions(mailboxes=frozenset({world.mailbox.pk}))
        )
    ),
    **{
        one.__name__: one
        for one in (
            let_in_as_one_of_two,
            leaves_a_barring_group,
            rule_that_asks_their_group,
            account_by_invitation,
            key_that_is_theirs_no_more,
            key_that_becomes_theirs,
            duty_of_theirs,
            role_of_who_made_their_account,
        )
    },
}


@pytest.mark.parametrize("concerning", variants(CONCERNING.values(), 3), ids=CONCERNING)
def test_nobody_whom_a_change_concerns_accepts_it(concerning, world, second):
    work = concerning(world, second)
    switch_on()
    change = ask(work, world.admin)
    assert refuses(change, second)
    assert other_admins(change, asker=world.admin.pk) == []
    kim = make_person("kim@yourteam.example", "Kim", "admin")
    assert other_admins(change, asker=world.admin.pk) == [kim]
    assert accepted(change, kim) == "accepted"


# --- what waits, too ------------------------------------------------------------------


def test_role_for_one_mailbox_does_not_let_an_admin_give_it_for_all(world, second):
    Grant.objects.filter(person=world.otto).update(mailbox=world.mailbox)
    switch_on()
    change = ask(lambda: world.role(role=Role.REVIEWER), world.admin)
    assert world.otto.grants.count() == 1
    assert accepted(change, second) == "accepted"
    assert world.otto.grants.count() == 2


# --- what does not fit any more -------------------------------------------------------


def list_moves_on(world, second):
    make_list("x.example", mailbox=world.mailbox)
    yield lambda: change_list(world.admin, "y.example")
    change_list(world.admin, remove=["x.example"])


def asker_is_no_admin(world, second):
    yield world.role
    deactivate(actor=actor_of(second), person_id=world.admin.pk)


def factors_change(world, second):
    give_app(world.otto)
    yield lambda: remove_factors_of(actor=world.by, person=world.otto)
    Authenticator.objects.create(user=world.otto, type="webauthn", data={"name": "Key"})


def mailbox_changes(world, second):
    yield lambda: world.desk(True)
    change_row(world.mailbox, undo_window=timedelta(seconds=9))


def draft_is_begun_anew(world, second):
    put_in_force({"approvals": {"0": 2}})
    yield world.activate
    discard_draft(actor=world.by, seen=policies().draft.seen)
    begin_draft(actor=world.by, rules=[rule(care=True)], based_on=1)


def group_of_a_draft(change):
    def changes(world, second):
        group = world.regroup(world.admin)
        put_in_force({"approvals": {"0": 2}})
        yield lambda: world.activate(rule(approvals={group.pk: 1}))
        change(world)

    return changes


def other_version(**stored):
    def changes(world, second):
        yield world.role
        PendingChange.objects.update(**stored)

    return changes


OUTDATED = {
    "members": group_of_a_draft(lambda world: world.regroup(world.otto)),
    "its name": group_of_a_draft(
        lambda world: world.regroup(world.admin, name="Legal")
    ),
    "no command": other_version(command="gone"),
    "no argument": other_version(change={"arguments": {"gone": 1}, "seen": ""}),
    **{
        one.__name__: one
        for one in (
            list_moves_on,
            asker_is_no_admin,
            factors_change,
            mailbox_changes,
            draft_is_begun_anew,
        )
    },
}


@pytest.mark.parametrize("steps", variants(OUTDATED.values(), 2), ids=OUTDATED)
def test_change_that_does_not_fit_any_more_is_refused(steps, world, second, signed_in):
    steps = steps(world, second)
    work = next(steps)
    switch_on()
    change = ask(work, world.admin)
    next(steps, None)
    before = Entry.objects.count()
    assert accepted(change, second) == "refused"
    assert Entry.objects.count() == before + 1, "nothing else happened"
    assert signed_in(second).get("/changes/").status_code == 200


def test_expired_declined_and_withdrawn_changes_cannot_be_accepted(
    waiting, admin, second
):
    again = ask(lambda: change_list(admin, "y.example"), admin)
    assert again.pk == waiting.pk, "asked twice, it waits once"
    PendingChange.objects.update(expires_at=Now() - timedelta(seconds=1))
    assert refuses(waiting, second)
    PendingChange.objects.update(expires_at=Now() + timedelta(days=1))
    assert refuses(waiting, admin, decline)
    assert refuses(waiting, second, withdraw_change)
    decline(change_id=waiting.pk, actor=actor_of(second), reason="No such customer")
    assert all(refuses(waiting, second, end) for end in (accept, decline))
    other = ask(lambda: change_list(admin, "z.example"), admin)
    withdraw_change(change_id=other.pk, actor=actor_of(admin))
    assert refuses(other, second)
    assert listed_patterns() == ["x.example"]


@pytest.mark.django_db(transaction=True)
def test_of_thirty_that_end_a_change_one_does_and_the_ledger_says_which(
    waiting, admin, second
):
    third = make_person("tom@yourteam.example", "Tom", "admin")
    ends = [(accept, second), (accept, third), (withdraw_change, admin)] * 10
    results = at_once(
        *(partial(end, change_id=waiting.pk, actor=actor_of(by)) for end, by in ends)
    )
    assert [isinstance(one, ChangeNotWaiting) for one in results].count(False) == 1
    is_done = PendingChange.objects.get().state == "accepted"
    assert Allowlist.objects.get().version == 1 + is_done
    ended = Entry.objects.get(action__in=("change.accepted", "change.withdrawn"))
    assert ended.action == f"change.{PendingChange.objects.get().state}"


# --- where MultiMail has to be called -------------------------------------------------


def test_unfinished_change_at_multimail_waits_again_and_is_carried_out_once(
    admin, second, account, monkeypatch
):
    switch_on()
    world = World(admin, account.mailbox)
    change = ask(world.loosen, admin)
    with monkeypatch.context() as patch:
        patch.setattr("connections.mailboxes.commands._waiting", lambda *_: None)
        assert accepted(change, second) == "waiting"
    PendingChange.objects.update(lease_until=Now() + timedelta(minutes=1))
    assert refuses(change, second)
    PendingChange.objects.update(lease_until=Now() - timedelta(seconds=1))
    assert accepted(change, second) == "accepted"
    assert world.box().oversight_mode == "monitored"


def test_secret_of_an_accepted_change_is_shown_once_to_whoever_asked_and_is_not_stored(
    admin, second, account, signed_in
):
    world = World(admin, account.mailbox)
    switch_on()
    wanted = {"name": "Decider", "scopes": ["oversight"]}
    key = {"connection": world.box().connection, "wanted": wanted}
    change = ask(lambda: create_key(actor=world.by, **key), admin)
    assert accepted(change, second) == "waiting"
    assert accepted(change, second, code=newest_code()) == "accepted"
    stored = str(PendingChange.objects.values())
    assert refuses(change, second, reveal_secret)
    # It is offered however many changes have ended since.
    ended = PendingChange.objects.get()
    for _ in range(ENDED):
        ended.pk = None
        ended.state = "withdrawn"
        ended.save()
    assert f"/changes/{change.pk}/secret/" in signed_in(admin).get("/changes/").text
    text = reveal_secret(change_id=change.pk, actor=world.by)[1]
    assert ApiKey.objects.filter(sha256=hash_key(text)).exists()
    assert text not in stored
    assert refuses(change, admin, reveal_secret)


def test_secret_of_a_webhook_that_waits_is_read_by_nobody(admin, second, account):
    world = World(admin, account.mailbox)
    switch_on()
    secret = "my own good secret"
    wanted = {
        "url": "https://elsewhere.example.org/hook",
        "events": ["message.sent"],
        "mailbox_id": "",
        "secret": secret,
        "include_sandbox": True,
    }
    hook = {"connection": world.box().connection, "wanted": wanted}
    change = ask(lambda: register_webhook(actor=world.by, **hook), admin)
    asked = Entry.objects.get(action="change.asked").detail.fields
    assert secret not in f"{asked} {PendingChange.objects.values()}"
    if accepted(change, second) == "waiting":
        accepted(change, second, code=newest_code())
    assert Webhook.objects.get().secret == secret


# --- what the second admin reads ------------------------------------------------------


def test_second_admin_reads_the_whole_change_each_part_in_one_line(
    waiting, world, second, signed_in
):
    many = [f"p{number}@x.example" for number in range(60)]
    ends = timezone.now() + timedelta(days=2)
    change = ask(lambda: change_list(world.admin, *many, expires_at=ends), world.admin)
    assert change.after.count("p59@x.example until ") == 1
    assert listed({"name": "Ops\nconnections: one"}) == "name: Ops connections: one"
    change_row(waiting, after="x" * 40_000 + "end")
    assert "xend" in signed_in(second).get("/changes/").text
    # A removed rule stands in one line beside those that stay.
    put_in_force(
        {"name": "ok\nMoney: none", "then": {"approvals": {"0": 4}}},
        {"name": "Money", "then": {"care": True}},
    )
    money = policies().in_force.rules[1]
    change = ask(partial(world.activate, money), world.admin)
    assert "\n" not in change.before


def form_of(answer):
    """The hidden text of the page that asks for the reason."""
    return answer.text.partition('name="change" value="')[2].partition('"')[0]


def test_admin_asks_with_a_reason_and_another_accepts_on_the_page(
    signed_in, world, second
):
    otto = world.otto
    switch_on()
    client = signed_in(world.admin)
    wanted = {"role": "auditor", "place": "all"}
    packed = form_of(client.post(f"/people/{otto.pk}/roles/add/", wanted))

    def ask_with(reason):
        return client.post("/changes/ask/", {"change": packed, "reason": reason})

    assert ask_with(" ").status_code == 422
    assert ask_with("She checks the month")["Location"] == f"/people/{otto.pk}/"
    path = f"/changes/{PendingChange.objects.get().pk}/accept/"
    assert client.post(path).status_code == 409
    signed_in(second)
    assert "She checks the month" in client.get("/changes/").text
    # Somebody else's form is not taken.
    assert ask_with("x").status_code == 403
    assert [client.post(path).status_code for _ in range(2)] == [302, 409]
    assert otto.grants.filter(role="auditor").exists()
