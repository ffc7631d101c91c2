"""Changes that loosen policy wait for a second admin where the organisation wants that;
tightening never waits.
"""

from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from django.db.models.functions import Now
from django.utils import timezone

from alerts.cards.markup import Markup
from alerts.cards.notice import notice_card
from alerts.deliveries.planning import plan_waiting
from alerts.models import Delivery, Destination
from approvals.brake.commands import set_caps
from approvals.caps import DEFAULTS, caps_now
from audit.models import Entry
from common.actors import Role, operator
from connections.errors import CodeWanted
from connections.keys.commands import change_key, create_key, read_keys, set_owner
from connections.kill_switch import hold_all
from connections.mailboxes.commands import change_mailbox, loosen, set_desk_settings
from connections.webhooks.commands import register_webhook
from gateway.models import Account, ApiKey, ApprovalRequest, Webhook, hash_key
from mirror.models import Mailbox
from people.directory.safeguard_views import ENDED
from people.errors import NotYours
from people.invitations.links import invite, make_password_link, set_password
from people.models import (
    Grant,
    Invitation,
    OrganisationSettings,
    PendingChange,
    Person,
    RoleRule,
)
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
from people.second_admin.registry import (
    SecondAdminNeeded,
    listed,
    wants_second_admin,
)
from people.second_admin.setting import (
    set_person_figures,
    set_second_admin,
    shows_people,
    switch_off_by_operator,
)
from people.sign_in.factors import remove_factors_of, set_role_rule
from policy.errors import PolicyRefused, seen_state
from policy.models import Allowlist, Group, KeyOwner, PolicyVersion, WorkCalendar
from policy.review_plans import (
    add_duty,
)
from policy.rules.changes import (
    activate_draft,
    begin_draft,
    discard_draft,
    policies,
)
from policy.rules.conditions import Conditions
from policy.rules.groups import delete_named, in_words, save_calendar, save_group
from policy.rules.rules import Effects, PolicyRule
from tests.factories import (
    actor_of,
    change_list,
    listed_patterns,
    make_list,
    make_person,
)
from tests.integration.deciding import at_once
from tests.markup import says
from tests.signing import give_app

DESK = {"undo_window": timedelta(seconds=5), "loads_pictures": False}


def switch_on():
    OrganisationSettings.objects.update_or_create(
        pk=1, defaults={"second_admin_since": Now()}
    )


def ask(work, actor, reason="Support writes to it."):
    """Do what waits, and ask for it."""
    with pytest.raises(SecondAdminNeeded) as needed:
        work()
    return ask_second_admin(asked=needed.value.asked, reason=reason, actor=actor)


# --- every command that loosens -------------------------------------------------------


@dataclass
class World:
    """What the commands of the table work on."""

    admin: Any
    mailbox: Any
    otto: Any

    def box(self):
        return Mailbox.objects.select_related("connection").get(pk=self.mailbox.pk)

    def desk(self, **changed):
        return set_desk_settings(
            mailbox=self.box(), actor=actor_of(self.admin), **{**DESK, **changed}
        )


def by(world):
    return actor_of(world.admin)


def activate(world, *rules):
    begin_draft(actor=by(world), rules=rules, based_on=policies().active_number)
    now = policies()
    activate_draft(actor=by(world), edits=now.draft.edits, active=now.active_number)


def rule(**effects):
    return PolicyRule("first", "First", Conditions(), Effects(**effects))


def group_that_approves(world):
    group = save_group(actor=by(world), name="Finance", members=[world.admin.pk])
    activate(world, rule(approvals={group.pk: 1}))


def have_members(world, *members):
    group = Group.objects.get()
    save_group(
        actor=by(world),
        group=group,
        seen=seen_state(in_words(group)),
        name="Finance",
        members=members,
    )


def rule_with_calendar(world):
    calendar = WorkCalendar.objects.create(
        name="Office", zone="UTC", weekly=[[[540, 1020]]] * 7
    )
    activate(world, rule(office_hours=frozenset({calendar.pk})))


def open_until(world, hour):
    calendar = WorkCalendar.objects.get()
    save_calendar(
        name="Office",
        zone="UTC",
        weekly=[[[540, hour * 60]]] * 7,
        holidays={},
        actor=by(world),
        calendar=calendar,
        seen=seen_state(in_words(calendar)),
    )


def holds_all(world, *, on):
    hold_all(connection=world.box().connection, on=on, actor=by(world))


def own_key(world, person):
    set_owner(
        connection=world.box().connection,
        key_id="k1",
        name="k1",
        person=person,
        actor=by(world),
    )


def design(world, *, on):
    changes = {"send_as_designed": on}
    change_mailbox(mailbox=world.box(), actor=by(world), changes=changes)


def set_scopes(world, *scopes):
    connection = world.box().connection
    key = next(
        one for one in read_keys(connection, actor=by(world)) if one.name == "Watcher"
    )
    wanted = {"scopes": list(scopes)}
    confirmed(
        partial(
            change_key, connection=connection, key=key, actor=by(world), changes=wanted
        )
    )


def newest_code():
    return ApprovalRequest.objects.latest("pk").code


def confirmed(change):
    """Make a change with the operator's code where the gateway wants one."""
    try:
        return change(code="")
    except CodeWanted:
        return change(code=newest_code())


def watcher(world):
    wanted = {"name": "Watcher", "scopes": ["oversight_read"]}
    create_key(connection=world.box().connection, actor=by(world), wanted=wanted)


def scopes_of_watcher(world):
    return [
        one.scopes
        for one in read_keys(world.box().connection, actor=by(world))
        if one.name == "Watcher"
    ]


# What loosens, its tightening twin, the state that tells them apart, and what has to be
# there before the twin can make it strict.
LOOSENING = {
    "entry of a restriction": (
        lambda w: change_list(w.admin, "y.example"),
        lambda w: change_list(w.admin, remove=["y.example"]),
        lambda w: listed_patterns(allowlist__mailbox=w.mailbox),
        lambda w: make_list("x.example", mailbox=w.mailbox),
    ),
    "remote pictures": (
        lambda w: w.desk(loads_pictures=True),
        lambda w: w.desk(),
        lambda w: w.box().loads_pictures,
    ),
    "less time to undo": (
        lambda w: w.desk(undo_window=timedelta(0)),
        lambda w: w.desk(undo_window=timedelta(seconds=9)),
        lambda w: w.box().undo_window,
    ),
    "second factor of a role": (
        lambda w: set_role_rule(actor=by(w), role=Role.REVIEWER, needed=False),
        lambda w: set_role_rule(actor=by(w), role=Role.REVIEWER, needed=True),
        lambda w: RoleRule.objects.get(role="reviewer").needs_second_factor,
    ),
    "rules": (
        activate,
        lambda w: activate(w, rule(approvals={0: 2})),
        lambda w: policies().active_rules,
    ),
    "members of a group": (
        lambda w: have_members(w, w.admin.pk, w.otto.pk),
        lambda w: have_members(w, w.admin.pk),
        lambda w: sorted(Group.objects.get().members.values_list("pk", flat=True)),
        group_that_approves,
    ),
    "higher cap": (
        lambda w: set_caps(caps={**DEFAULTS, "key": (0, 2000)}, actor=by(w)),
        lambda w: set_caps(caps=DEFAULTS, actor=by(w)),
        lambda w: caps_now(),
    ),
    "end of holding all": (
        lambda w: holds_all(w, on=False),
        lambda w: holds_all(w, on=True),
        lambda w: Account.objects.filter(hold_all_at__isnull=False).count(),
    ),
    "owner of a key": (
        lambda w: own_key(w, None),
        lambda w: own_key(w, w.otto),
        lambda w: list(KeyOwner.objects.values_list("person_id", flat=True)),
    ),
    "minimum oversight": (
        lambda w: activate(w, rule(least_mode="gated_send")),
        lambda w: activate(w, rule(least_mode="gated_all")),
        lambda w: policies().active_rules,
    ),
    "scopes of a key": (
        lambda w: set_scopes(w, "oversight"),
        lambda w: set_scopes(w, "oversight_read"),
        scopes_of_watcher,
        watcher,
    ),
    "figures of single people": (
        lambda w: set_person_figures(actor=by(w), on=True, because="Works agreement"),
        lambda w: set_person_figures(actor=by(w), on=False),
        lambda w: shows_people(),
    ),
    "oversight mode": (
        lambda w: loosen(mailbox=w.box(), actor=by(w), target="monitored"),
        lambda w: change_mailbox(
            mailbox=w.box(), actor=by(w), changes={"oversight_mode": "gated_send"}
        ),
        lambda w: w.box().oversight_mode,
    ),
    "a call may loosen": (
        lambda w: change_mailbox(
            mailbox=w.box(), actor=by(w), changes={"allow_looser_per_call": True}
        ),
        lambda w: change_mailbox(
            mailbox=w.box(), actor=by(w), changes={"allow_looser_per_call": False}
        ),
        lambda w: w.box().allow_looser_per_call,
    ),
    "designed mail": (
        lambda w: design(w, on=True),
        lambda w: design(w, on=False),
        lambda w: w.box().send_as_designed,
    ),
}


AT_MULTIMAIL = {
    "oversight mode",
    "a call may loosen",
    "designed mail",
    "end of holding all",
    "scopes of a key",
}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(
            name,
            marks=[pytest.mark.slow]
            * (name in AT_MULTIMAIL and name != "end of holding all"),
        )
        for name in LOOSENING
    ],
)
def test_every_loosening_waits_where_it_is_on_and_its_tightening_twin_never_does(
    name, request, admin, second
):
    made = request.getfixturevalue
    box = made("account").mailbox if name in AT_MULTIMAIL else made("mailbox")
    world = World(admin, box, make_person("otto@yourteam.example", "Otto", "reviewer"))
    loosening, tighten, state, *prepare = LOOSENING[name]
    for begin in prepare or (tighten,):
        begin(world)
    strict = state(world)
    loosening(world)
    loose = state(world)
    assert loose != strict, "switched off, it works at once"
    tighten(world)
    assert state(world) == strict
    switch_on()
    change = ask(lambda: loosening(world), by(world))
    assert state(world) == strict, "nothing happens while it waits"
    ended = accepted(change, second)
    if ended.state == "waiting":
        assert "somebody must confirm this with a code" in ended.outcome
        assert state(world) == strict
        ended = accepted(change, second, code=newest_code())
    assert ended.state == "accepted"
    assert ended.outcome == ""
    assert state(world) == loose
    done = Entry.objects.exclude(action__startswith="change.").newest_first()[0]
    assert done.actor_id == str(admin.pk)
    assert done.detail.fields["accepted_by"] == "Sam Second"
    told = Entry.objects.get(action="change.accepted")
    assert told.actor_id == str(second.pk)
    assert told.detail.fields["asked_by"] == str(admin)
    tighten(world)
    assert state(world) == strict


def test_longer_and_shorter_hours_wait_for_a_second_admin(admin, second, mailbox):
    world = World(admin, mailbox, None)
    rule_with_calendar(world)
    switch_on()
    for hour in (19, 16):
        change = ask(partial(open_until, world, hour), by(world))
        assert accepted(change, second).state == "accepted"


def test_setting_needs_another_admin_and_switching_it_off_waits_for_one(admin):
    actor = actor_of(admin)
    with pytest.raises(NotYours):
        set_second_admin(actor=actor, on=True)
    second = make_person("sam@yourteam.example", "Sam Second", "admin")
    set_second_admin(actor=actor, on=True)
    change = ask(lambda: set_second_admin(actor=actor, on=False), actor)
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
    return ask(lambda: change_list(admin, "y.example"), actor_of(admin))


def test_second_admin_reads_every_entry_of_a_list_and_its_end(waiting, admin, mailbox):
    many = [f"p{number}@x.example" for number in range(60)]
    ends = timezone.now() + timedelta(days=2)
    change = ask(
        lambda: change_list(admin, *many, expires_at=ends),
        actor_of(admin),
    )
    assert change.after.count("p59@x.example until ") == 1


def refuses(work, change, person):
    with pytest.raises(ChangeNotWaiting) as refused:
        work(change_id=change.pk, actor=actor_of(person))
    return refused.value.sentence


def test_only_another_admin_of_the_whole_target_can_accept(
    waiting, admin, reviewer, mailbox, keeper
):
    other = Mailbox.objects.create(
        connection=mailbox.connection, upstream_id="02", address="b@yourteam.example"
    )
    eve = make_person("eve@yourteam.example", "Eve", "admin", mailbox=other)
    assert "Another admin" in refuses(accept, waiting, admin)
    assert "Only an admin" in refuses(accept, waiting, reviewer)
    assert "Only an admin" in refuses(accept, waiting, eve)
    assert accepted(waiting, keeper).state == "accepted"
    assert listed_patterns() == ["x.example", "y.example"]


def role_of_otto(world, actor=None):
    give_role(
        actor=actor or by(world),
        person_id=world.otto.pk,
        role=Role.AUDITOR,
        target=GrantTarget(),
    )


def test_nobody_accepts_what_an_account_asked_that_counts_as_them(admin, second):
    world = World(admin, None, make_person("otto@yourteam.example", "Otto", "admin"))
    link = make_password_link(actor=actor_of(admin), person_id=second.pk)
    switch_on()
    asked = ask(lambda: role_of_otto(world), by(world))
    set_password(
        token=link.url.rstrip("/").rpartition("/")[2],
        password="a gannet counts wagons",
        actor=actor_of(admin),
    )
    # It does not end by time.
    month_ago = Now() - timedelta(days=31)
    Invitation.objects.update(accepted_at=month_ago)
    assert "asked for this, and you two count" in refuses(accept, asked, second)
    # It is so in both directions.
    theirs = ask(lambda: role_of_otto(world, actor_of(second)), actor_of(second))
    assert "asked for this, and you two count" in refuses(accept, theirs, admin)
    # What was asked before the second factor may have been asked by either.
    app = give_app(second)
    assert "asked for this, and you two count" in refuses(accept, theirs, admin)
    # Whoever made the first link of a chain may know all passwords.
    kim = make_person("kim@yourteam.example", "Kim", "admin")
    assert other_admins(theirs, asker=second.pk) == [admin, kim]
    app.delete()
    assert other_admins(theirs, asker=second.pk) == [kim]
    used = {"accepted_at": month_ago, "expires_at": Now(), "kind": "password"}
    Invitation.objects.create(person=kim, known_to=[second.pk], token_hash="1", **used)
    assert other_admins(theirs, asker=second.pk) == []
    assert "asked for this, and you two count" in refuses(accept, asked, kim)


def group_of(world, *members):
    return save_group(
        actor=by(world), name="Finance", members=[one.pk for one in members]
    )


def in_force(world, *, when=None, **effects):
    """Make a rule the active one, as while changes wait for nobody."""
    OrganisationSettings.objects.update(second_admin_since=None)
    activate(world, replace(rule(**effects), when=when or Conditions()))
    switch_on()


def let_in_as_one_of_two(world, second):
    group = group_of(world)
    in_force(world, approvals={group.pk: 1})
    return lambda: have_members(world, second.pk, world.otto.pk)


def leaves_a_barring_group(world, second):
    group = group_of(world, second, world.otto)
    in_force(world, barred_groups=frozenset({group.pk}))
    return lambda: have_members(world, world.otto.pk)


def rule_that_asks_their_group(world, second):
    group = group_of(world, second)
    in_force(world, approvals={0: 2})
    return lambda: activate(world, rule(approvals={group.pk: 1}))


def rule_that_bars_their_group_no_more(world, second):
    group = group_of(world, second)
    in_force(world, barred_groups=frozenset({group.pk}))
    return lambda: activate(world, rule(approvals={0: 2}))


def rule_that_bars_their_group_applies_to_less(world, second):
    group = group_of(world, second)
    barred = rule(barred_groups=frozenset({group.pk}))
    in_force(world, barred_groups=frozenset({group.pk}))
    when = Conditions(mailboxes=frozenset({world.mailbox.pk}))
    return lambda: activate(world, replace(barred, when=when))


def account_by_invitation(world, second):
    return lambda: invite(
        actor=by(world),
        email=second.email,
        name="",
        roles=[(Role.REVIEWER, GrantTarget())],
        lasts=timedelta(days=7),
    )


def key_that_is_theirs_no_more(world, second):
    own_key(world, second)
    return lambda: own_key(world, world.otto)


def key_that_becomes_theirs(world, second):
    own_key(world, world.otto)
    return lambda: own_key(world, second)


def duty_of_theirs(world, second):
    return lambda: add_duty(
        person=second, mailbox=world.box(), calendar=None, actor=by(world)
    )


def role_of_who_made_their_account(world, second):
    Invitation.objects.create(
        kind="password",
        person=second,
        known_to=[world.otto.pk],
        accepted_at=Now(),
        expires_at=Now(),
    )
    return lambda: role_of_otto(world)


@pytest.mark.parametrize(
    "concerning",
    [
        let_in_as_one_of_two,
        leaves_a_barring_group,
        rule_that_asks_their_group,
        rule_that_bars_their_group_no_more,
        rule_that_bars_their_group_applies_to_less,
        account_by_invitation,
        key_that_is_theirs_no_more,
        key_that_becomes_theirs,
        duty_of_theirs,
        role_of_who_made_their_account,
    ],
)
def test_nobody_whom_a_change_concerns_accepts_it(
    concerning, admin, second, mailbox, signed_in
):
    world = World(
        admin, mailbox, make_person("otto@yourteam.example", "Otto", "reviewer")
    )
    switch_on()
    change = ask(concerning(world, second), by(world))
    assert "concern" in refuses(accept, change, second)
    says(signed_in(admin).get("/changes/"), 200, "Nobody can accept this")
    kim = make_person("kim@yourteam.example", "Kim", "admin")
    assert other_admins(change, asker=admin.pk) == [kim]
    assert accepted(change, kim).state == "accepted"


def test_role_for_one_mailbox_does_not_let_an_admin_give_it_for_all(
    admin, second, mailbox
):
    otto = make_person("otto@yourteam.example", "Otto", "reviewer", mailbox=mailbox)
    switch_on()
    give = partial(
        give_role, actor=actor_of(admin), person_id=otto.pk, role=Role.REVIEWER
    )
    change = ask(lambda: give(target=GrantTarget()), actor_of(admin))
    assert otto.grants.count() == 1
    assert accepted(change, second).state == "accepted"
    assert otto.grants.count() == 2


def test_rules_that_cannot_be_read_are_replaced_by_two(admin, second, mailbox):
    world = World(admin, mailbox, None)
    PolicyVersion.objects.create(
        number=1, state="active", rules=[{"id": "first"}], activated_at=Now()
    )
    switch_on()
    change = ask(lambda: activate(world, rule(approvals={0: 3})), by(world))
    assert policies().unreadable
    assert accepted(change, second).state == "accepted"
    assert not policies().unreadable


# --- what does not fit any more -------------------------------------------------------


@pytest.mark.slow
def test_calendar_that_rules_name_stays(admin, mailbox):
    world = World(admin, mailbox, None)
    rule_with_calendar(world)
    with pytest.raises(PolicyRefused, match="of the policy names it"):
        delete_named(row=WorkCalendar.objects.get(), actor=by(world))


@pytest.mark.slow
def test_caps_owner_and_factors_that_changed_meanwhile_are_compared(
    admin, second, mailbox
):
    world = World(
        admin, mailbox, make_person("otto@yourteam.example", "Otto", "reviewer")
    )
    own_key(world, world.otto)
    Authenticator.objects.create(user=world.otto, type="totp", data={"secret": "x"})
    switch_on()
    waiting = [
        ask(partial(work, world), by(world))
        for work in (
            LOOSENING["higher cap"][0],
            LOOSENING["owner of a key"][0],
            lambda world: remove_factors_of(actor=by(world), person=world.otto),
        )
    ]
    set_caps(caps={**DEFAULTS, "key": (1, 1)}, actor=by(world))
    KeyOwner.objects.update(person=admin)
    Authenticator.objects.create(user=world.otto, type="webauthn", data={"name": "Key"})
    assert all(
        "has changed since it was asked" in outdated(change, second)
        for change in waiting
    )
    # Whom a change is about does not accept it: they would let themselves approve.
    about = ask(lambda: own_key(world, None), by(world))
    assert about.subjects == [admin.pk]


def test_entry_of_a_list_that_a_rule_names_is_not_removed_by_one_admin(
    admin, second, mailbox
):
    world = World(admin, mailbox, None)
    make_list("x.example", mailbox=mailbox)
    named = Conditions(lists=frozenset({Allowlist.objects.get(mailbox=mailbox).pk}))
    activate(world, replace(rule(approvals={0: 2}), when=named))
    switch_on()
    change = ask(
        lambda: change_list(admin, remove=["x.example"]),
        actor_of(admin),
    )
    assert listed_patterns() == ["x.example"]
    assert accepted(change, second).state == "accepted"


@pytest.mark.slow
def test_only_removing_factors_that_somebody_has_keeps_an_admin_waiting(admin, second):
    switch_on()
    otto = make_person("otto@yourteam.example", "Otto", "reviewer")
    assert remove_factors_of(actor=actor_of(admin), person=otto) == 0
    # Somebody deactivated may be reactivated with their role.
    gone = make_person("gone@yourteam.example", "Gone", "admin")
    Person.objects.filter(pk=gone.pk).update(is_active=False)
    gone.refresh_from_db()
    Authenticator.objects.create(user=gone, type="totp", data={"secret": "x"})
    with pytest.raises(SecondAdminNeeded):
        remove_factors_of(actor=actor_of(admin), person=gone)
    # Somebody without a role may get one again.
    Grant.objects.filter(person=otto).delete()
    Authenticator.objects.create(user=otto, type="totp", data={"secret": "x"})
    with pytest.raises(SecondAdminNeeded):
        remove_factors_of(actor=actor_of(admin), person=otto)


def accepted(change, person, **code):
    """Accept a change, and return it as it is then."""
    return accept(change_id=change.pk, actor=actor_of(person), **code)


def outdated(change, second):
    ended = accepted(change, second)
    assert ended.state == "refused"
    return ended.outcome


def test_change_of_a_list_that_moved_on_is_refused_and_can_be_asked_again(
    waiting, admin, second, mailbox
):
    change_list(admin, remove=["x.example"])
    assert "Ida Lindqvist changed this meanwhile" in outdated(waiting, second)
    assert listed_patterns() == []
    again = ask(lambda: change_list(admin, "y.example"), actor_of(admin))
    assert accepted(again, second).state == "accepted"


def test_change_of_somebody_who_is_no_admin_any_more_is_refused(
    waiting, admin, second, mailbox
):
    deactivate(actor=actor_of(second), person_id=admin.pk)
    assert "Only an admin" in outdated(waiting, second)
    assert listed_patterns() == ["x.example"]


@pytest.mark.slow
def test_change_of_a_mailbox_that_changed_or_is_gone_is_refused(admin, second, mailbox):
    switch_on()
    actor = actor_of(admin)
    box = Mailbox.objects.filter(pk=mailbox.pk)
    wanted = {**DESK, "loads_pictures": True}
    work = partial(set_desk_settings, mailbox=mailbox, actor=actor, **wanted)
    first = ask(work, actor)
    assert ask(work, actor, "again").pk == first.pk, "asked twice, it waits once"
    box.update(undo_window=timedelta(seconds=9))
    assert "has changed" in outdated(first, second)
    box.update(undo_window=timedelta(seconds=5), is_active=False)
    assert "no longer there" in outdated(ask(work, actor), second)


def test_expired_declined_and_withdrawn_changes_cannot_be_accepted(
    waiting, admin, second, mailbox
):
    PendingChange.objects.update(expires_at=Now() - timedelta(seconds=1))
    assert "expired" in refuses(accept, waiting, second)
    PendingChange.objects.update(expires_at=Now() + timedelta(days=1))
    assert "Withdraw it" in refuses(decline, waiting, admin)
    assert "Only the person who asked" in refuses(withdraw_change, waiting, second)
    decline(change_id=waiting.pk, actor=actor_of(second), reason="No such customer")
    for end in (accept, decline):
        assert "declined" in refuses(end, waiting, second)
    other = ask(lambda: change_list(admin, "z.example"), actor_of(admin))
    withdraw_change(change_id=other.pk, actor=actor_of(admin))
    assert "withdrawn" in refuses(accept, other, second)
    assert listed_patterns() == ["x.example"]


# --- two at one moment ----------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_two_accept_at_once_and_it_is_carried_out_once(waiting, mailbox, second):
    third = make_person("tom@yourteam.example", "Tom", "admin")
    ends = at_once(
        partial(accept, change_id=waiting.pk, actor=actor_of(second)),
        partial(accept, change_id=waiting.pk, actor=actor_of(third)),
    )
    assert [isinstance(end, ChangeNotWaiting) for end in ends].count(True) == 1
    assert Allowlist.objects.get(mailbox=mailbox).version == 2
    assert Entry.objects.filter(action="allowlist.changed").count() == 1


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_accepted_while_withdrawn_is_one_of_both_and_the_ledger_says_which(
    waiting, admin, mailbox, second
):
    ends = at_once(
        partial(accept, change_id=waiting.pk, actor=actor_of(second)),
        partial(withdraw_change, change_id=waiting.pk, actor=actor_of(admin)),
    )
    assert [isinstance(end, ChangeNotWaiting) for end in ends].count(True) == 1
    state = PendingChange.objects.get().state
    assert (state == "accepted") == (listed_patterns() == ["x.example", "y.example"])
    ended = Entry.objects.get(action__in=("change.accepted", "change.withdrawn"))
    assert ended.action == f"change.{state}"


# --- where MultiMail has to be called -------------------------------------------------


def test_unfinished_change_at_multimail_waits_again_and_is_carried_out_once(
    admin, second, account, monkeypatch
):
    switch_on()
    world = World(admin, account.mailbox, None)
    change = ask(lambda: LOOSENING["oversight mode"][0](world), by(world))
    monkeypatch.setattr(
        "connections.mailboxes.commands._waiting", lambda mailbox, target: None
    )
    ended = accepted(change, second)
    assert ended.state == "waiting"
    assert "code" in ended.outcome
    PendingChange.objects.update(lease_until=Now() + timedelta(minutes=1))
    assert "being carried out" in refuses(accept, change, second)
    PendingChange.objects.update(lease_until=Now() - timedelta(seconds=1))
    monkeypatch.undo()
    assert accepted(change, second).state == "accepted"
    assert world.box().oversight_mode == "monitored"


def test_draft_that_was_begun_anew_is_not_activated_by_what_was_asked_of_another(
    admin, second
):
    world = World(admin, None, None)
    activate(world, rule(approvals={0: 2}))
    switch_on()
    change = ask(partial(activate, world), actor_of(admin))
    discard_draft(actor=actor_of(admin), edits=policies().draft.edits)
    begin_draft(actor=actor_of(admin), rules=[rule(care=True)], based_on=1)
    assert "has changed" in outdated(change, second)
    assert policies().active_rules == (rule(approvals={0: 2}),)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "others"), [("Finance", True), ("Legal", False)])
def test_draft_is_not_activated_after_what_it_names_has_changed(
    name, others, admin, second
):
    world = World(admin, None, None)
    group = save_group(actor=actor_of(admin), name="Finance", members=[admin.pk])
    activate(world, rule(approvals={0: 2}))
    switch_on()
    change = ask(
        partial(activate, world, rule(approvals={group.pk: 1})), actor_of(admin)
    )
    otto = make_person("otto@yourteam.example", "Otto", "reviewer")
    save_group(
        actor=actor_of(admin),
        group=group,
        seen=seen_state(in_words(group)),
        name=name,
        members=[otto.pk if others else admin.pk],
    )
    assert "has changed" in outdated(change, second)


def test_value_is_one_line_and_a_change_is_shown_whole(waiting, second, signed_in):
    assert listed({"name": "Ops\nconnections: one"}) == "name: Ops connections: one"
    PendingChange.objects.filter(pk=waiting.pk).update(after="x" * 40_000 + "end")
    assert "xend" in signed_in(second).get("/changes/").text


def test_removed_rule_stands_in_one_line_beside_those_that_stay(admin, second):
    world = World(admin, None, None)
    money = replace(rule(approvals={0: 3}), id="money", name="Money")
    activate(world, replace(rule(approvals={0: 4}), name="ok\nMoney: none"), money)
    switch_on()
    change = ask(partial(activate, world, money), actor_of(admin))
    assert "\n" not in change.before
    assert change.after == "none of these rules"


@pytest.mark.slow
@pytest.mark.parametrize(
    "stored", [{"command": "gone"}, {"change": {"arguments": {"gone": 1}, "seen": ""}}]
)
def test_change_that_another_version_stored_ends_with_a_sentence(
    stored, waiting, second, signed_in
):
    PendingChange.objects.filter(pk=waiting.pk).update(**stored)
    assert signed_in(second).get("/changes/").status_code == 200
    assert "Another version of the desk" in outdated(waiting, second)


# --- secrets --------------------------------------------------------------------------


def test_secret_of_an_accepted_change_is_shown_once_to_whoever_asked_and_is_not_stored(
    admin, second, account, signed_in
):
    world = World(admin, account.mailbox, None)
    switch_on()
    wanted = {"name": "Decider", "scopes": ["oversight"]}
    connection = world.box().connection
    change = ask(
        lambda: create_key(connection=connection, actor=by(world), wanted=wanted),
        by(world),
    )
    assert change.after.startswith("mailboxes: all; name: Decider")
    assert accepted(change, second).state == "waiting"
    ended = accept(change_id=change.pk, actor=actor_of(second), code=newest_code())
    assert ended.state == "accepted"
    stored = str(PendingChange.objects.values())
    assert "no secret for you" in refuses(reveal_secret, change, second)
    # It is offered however many changes have ended since.
    for _ in range(ENDED):
        ended.pk = None
        ended.state = "withdrawn"
        ended.save()
    assert "Show its secret once" in signed_in(admin).get("/changes/").text
    text = reveal_secret(change_id=change.pk, actor=by(world))[1]
    assert ApiKey.objects.filter(sha256=hash_key(text)).exists()
    assert text not in stored
    assert "shown before" in refuses(reveal_secret, change, admin)


def test_secret_of_a_webhook_that_waits_is_read_by_nobody(admin, second, account):
    connection = World(admin, account.mailbox, None).box().connection
    switch_on()
    secret = "my own good secret"
    wanted = {
        "url": "https://elsewhere.example.org/hook",
        "events": ["message.sent"],
        "mailbox_id": "",
        "secret": secret,
        "include_sandbox": True,
    }
    change = ask(
        lambda: register_webhook(
            connection=connection, actor=actor_of(admin), wanted=wanted
        ),
        actor_of(admin),
    )
    assert "mailbox id: all mailboxes" in change.after
    asked = Entry.objects.get(action="change.asked").detail.fields
    assert secret not in f"{asked} {PendingChange.objects.values()}"
    ended = accept(change_id=change.pk, actor=actor_of(second))
    if ended.state == "waiting":
        accept(change_id=change.pk, actor=actor_of(second), code=newest_code())
    assert Webhook.objects.get().secret == secret


# --- the pages ------------------------------------------------------------------------


def form_of(answer):
    """The hidden text of the page that asks for the reason."""
    page = answer.text
    assert "Ask a second admin?" in page, page[:500]
    return page.partition('name="change" value="')[2].partition('"')[0]


def test_admin_asks_with_a_reason_and_another_accepts_on_the_page(
    signed_in, admin, second
):
    otto = make_person("otto@yourteam.example", "Otto", "reviewer")
    switch_on()
    first = signed_in(admin)
    asking = first.post(
        f"/people/{otto.pk}/roles/add/", {"role": "auditor", "place": "all"}
    )
    packed = form_of(asking)
    assert (
        first.post("/changes/ask/", {"change": packed, "reason": " "}).status_code
        == 422
    )
    sent = first.post(
        "/changes/ask/", {"change": packed, "reason": "She checks the month"}
    )
    assert sent["Location"] == f"/people/{otto.pk}/"
    assert "Waiting for a second admin" in first.get(sent["Location"]).text
    change = PendingChange.objects.get()
    assert first.post(f"/changes/{change.pk}/accept/").status_code == 409
    assert not otto.grants.filter(role="auditor").exists()
    other = signed_in(second)
    assert "She checks the month" in other.get("/changes/").text
    # Somebody else's form is not taken.
    assert (
        other.post("/changes/ask/", {"change": packed, "reason": "x"}).status_code
        == 403
    )
    assert other.post(f"/changes/{change.pk}/accept/")["Location"] == "/changes/"
    says(other.post(f"/changes/{change.pk}/accept/"), 409, "is not waiting any more")
    assert otto.grants.filter(role="auditor").exists()


@pytest.mark.slow
def test_link_of_an_accepted_invitation_is_shown_by_halves_to_both_admins(
    signed_in, admin, second
):
    switch_on()
    fields = {
        "email": "new@yourteam.example",
        "roles": "reviewer",
        "place": "all",
        "days": 7,
    }
    first = signed_in(admin)
    first.post(
        "/changes/ask/",
        {
            "change": form_of(first.post("/people/invite/", fields)),
            "reason": "New colleague",
        },
    )
    assert not Invitation.objects.exists()
    change = f"/changes/{PendingChange.objects.get().pk}"
    assert "/join/" not in signed_in(second).post(f"{change}/accept/").text
    says(signed_in(admin).post(f"{change}/secret/"), 200, "/join/", "first half")
    says(signed_in(second).post(f"{change}/secret/"), 200, "second half")
    made = Invitation.objects.get()
    assert made.invited_by_id == admin.pk


@pytest.mark.slow
def test_destinations_are_notified_once_and_named_people_only_above_the_minimal_level(
    admin, second
):
    otto = make_person("otto@yourteam.example", "Otto", "reviewer")
    ago = Now() - timedelta(days=1)
    place = Destination.objects.create(
        url="https://discord.com/api/webhooks/1/abc", told_since=ago
    )
    place.routes.create(actions=["change.asked"], since=ago)
    switch_on()
    give = partial(give_role, person_id=otto.pk, role=Role.ADMIN, target=GrantTarget())
    ask(lambda: give(actor=actor_of(admin)), actor_of(admin))
    plan_waiting()
    assert Delivery.objects.count() == 1
    entry = Entry.objects.with_details().get(action="change.asked")
    for place.privacy, is_named in (("minimal", False), ("headers", True)):
        shown = str(notice_card(f"change/{entry.pk}", entry, place, Markup()))
        assert ("Otto" in shown) == is_named
