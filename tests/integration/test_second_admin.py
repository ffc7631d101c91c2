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

from approvals.brake.commands import caps_of, set_caps
from approvals.models import OwnWord, RuleWeight
from approvals.risk_rules.weighing import WantedWord, remove_word, save_word, weigh
from approvals.usual_texts import set_texts
from audit.models import Entry
from common.actors import Role, operator
from common.postgres.retry import atomic_with_retry
from connections.accounts.fingerprints import require_fingerprint
from connections.errors import CodeWanted
from connections.keys.commands import change_key, create_key, read_keys, set_owner
from connections.kill_switch import hold_all
from connections.mailboxes.commands import change_mailbox, loosen, set_desk_settings
from connections.mailboxes.minimum import set_minimum
from connections.webhooks.commands import register_webhook
from gateway.models import Account, ApprovalRequest, Webhook
from mirror.models import Connection, Mailbox
from people.errors import NotYours
from people.invitations.links import invite, make_password_link, set_password, withdraw
from people.models import (
    Grant,
    Invitation,
    OrganisationSettings,
    PendingChange,
    Person,
    RoleRule,
)
from people.roles import GrantTarget, deactivate, give_role, reactivate, take_role
from people.second_admin import registry
from people.second_admin.changes import (
    ChangeNotWaiting,
    accept,
    ask_second_admin,
    decline,
    reveal_secret,
    withdraw_change,
)
from people.second_admin.registry import SecondAdminNeeded, wants_second_admin
from people.second_admin.setting import (
    set_person_figures,
    set_second_admin,
    shows_people,
    switch_off_by_operator,
)
from people.sign_in.factors import remove_factors_of, set_role_rule
from policy.allowlists.changes import Change, WantedEntry, allow_for_days, apply_change
from policy.allowlists.judgement import ListScope
from policy.errors import PlanRefused
from policy.kill_switch import pull, release
from policy.models import Allowlist, Group, KeyOwner, KillSwitch, WorkCalendar
from policy.plans.commands import (
    remove_calendar,
    save_calendar,
    seen_calendar,
)
from policy.rules.changes import (
    activate_draft,
    add_group,
    begin_draft,
    change_group,
    discard_draft,
    policies,
    seen_state,
)
from policy.rules.conditions import Conditions, Hours
from policy.rules.rules import Effects, PolicyRule
from risk.own_words import read_phrase
from tests.factories import actor_of, make_list, make_person
from tests.integration.deciding import at_once

DESK = {
    "undo_window": timedelta(seconds=5),
    "expire_after": None,
    "editor_may_approve": False,
    "loads_pictures": False,
}


def switch_on():
    OrganisationSettings.objects.update_or_create(
        pk=1, defaults={"second_admin_since": Now()}
    )


def ask(work, actor, reason="Support writes to it."):
    """Do what waits, and ask for it."""
    with pytest.raises(SecondAdminNeeded) as needed:
        work()
    return ask_second_admin(asked=needed.value.asked, reason=reason, actor=actor)


def put(
    by, mailbox, *patterns, kind="restriction", version=None, how="changed", **change
):
    row = Allowlist.objects.filter(mailbox=mailbox, kind=kind).first()
    wanted = Change(put=tuple(WantedEntry(one) for one in patterns), **change)
    version = (row.version if row else 0) if version is None else version
    return apply_change(
        scope=ListScope(mailbox=mailbox.pk),
        kind=kind,
        change=wanted,
        version=version,
        actor=actor_of(by),
        how=how,
    )


def patterns(mailbox, kind="restriction"):
    found = Allowlist.objects.filter(mailbox=mailbox, kind=kind).first()
    return (
        sorted(found.entries.not_removed().values_list("pattern", flat=True))
        if found
        else []
    )


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

    def roles(self):
        return sorted(
            Grant.objects.filter(person=self.otto).values_list("role", flat=True)
        )

    def invited(self):
        return (
            Invitation.objects.good()
            .filter(kind="join", email="new@yourteam.example")
            .count()
        )


def by(world):
    return actor_of(world.admin)


def stop(world):
    pull(actor=by(world), reason="Wait")


def bypass(world, mode):
    Allowlist.objects.create(mailbox=world.mailbox, kind="bypass", mode=mode, version=1)


def invite_new(world):
    roles = [(Role.REVIEWER, GrantTarget())]
    return invite(
        actor=by(world),
        email="new@yourteam.example",
        name="",
        roles=roles,
        lasts=timedelta(days=1),
    )


def activate(world, *rules):
    begin_draft(actor=by(world), rules=rules, based_on=policies().active_number)
    now = policies()
    activate_draft(actor=by(world), edits=now.draft.edits, active=now.active_number)


def rule(**effects):
    return PolicyRule(
        "first", "First", None, "", True, Conditions(), Effects(**effects)
    )


def group_that_approves(world):
    group = add_group(actor=by(world), name="Finance", members=[world.admin.pk])
    activate(world, rule(approvals={group.pk: 1}))


def have_members(world, *members):
    group = Group.objects.get()
    change_group(
        actor=by(world),
        group_id=group.pk,
        seen=seen_state(group),
        name="Finance",
        members=members,
    )


def rule_with_calendar(world):
    calendar = WorkCalendar.objects.create(
        name="Office", zone="UTC", weekly=[[[540, 1020]]] * 7
    )
    hours = Hours(calendar=calendar.pk)
    activate(world, replace(rule(approvals={0: 2}), when=Conditions(outside=hours)))


def open_until(world, hour):
    calendar = WorkCalendar.objects.get()
    save_calendar(
        name="Office",
        zone="UTC",
        weekly=[[[540, hour * 60]]] * 7,
        holidays={},
        actor=by(world),
        calendar=calendar,
        seen=seen_calendar(calendar),
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


def word(world, points):
    wanted = WantedWord(read_phrase("invoice"), world.box(), ["text"], points)
    return save_word(wanted=wanted, actor=by(world), word=OwnWord.objects.first())


def drop_word(world):
    remove_word(word=OwnWord.objects.get(), actor=by(world))


def weigh_rule(world, points):
    weigh(rule="first_contact", points=points, actor=by(world))


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


def fingerprints(world, *, on):
    confirmed(
        partial(
            require_fingerprint,
            connection=world.box().connection,
            on=on,
            actor=by(world),
        )
    )


def setting_of_mailbox(world, **wanted):
    confirmed(
        partial(change_mailbox, mailbox=world.box(), actor=by(world), changes=wanted)
    )


def add_factor(world):
    Authenticator.objects.create(user=world.otto, type="totp", data={"secret": "x"})


# The command, what is there before, what loosens, its tightening twin, and the state
# that tells them apart.
LOOSENING = {
    "entry of a restriction": (
        "apply_change",
        lambda w: make_list("x.example", mailbox=w.mailbox),
        lambda w: put(w.admin, w.mailbox, "y.example"),
        lambda w: put(w.admin, w.mailbox, remove=("y.example",)),
        lambda w: patterns(w.mailbox),
    ),
    "entry of a bypass": (
        "apply_change",
        lambda w: bypass(w, "enforce"),
        lambda w: put(w.admin, w.mailbox, "y.example", kind="bypass"),
        lambda w: put(w.admin, w.mailbox, kind="bypass", remove=("y.example",)),
        lambda w: patterns(w.mailbox, "bypass"),
    ),
    "address for seven days": (
        "allow_for_days",
        lambda w: make_list("x.example", mailbox=w.mailbox),
        lambda w: allow_for_days(
            address="ann@y.example", mailbox=w.mailbox.pk, actor=by(w)
        ),
        lambda w: put(w.admin, w.mailbox, remove=("ann@y.example",)),
        lambda w: patterns(w.mailbox),
    ),
    "editor may approve": (
        "set_desk_settings",
        lambda w: None,
        lambda w: w.desk(editor_may_approve=True),
        lambda w: w.desk(),
        lambda w: w.box().editor_may_approve,
    ),
    "role": (
        "give_role",
        lambda w: None,
        lambda w: give_role(
            actor=by(w), person_id=w.otto.pk, role=Role.ADMIN, target=GrantTarget()
        ),
        lambda w: take_role(
            actor=by(w),
            person_id=w.otto.pk,
            grant_id=w.otto.grants.get(role="admin").pk,
        ),
        World.roles,
    ),
    "reactivation": (
        "reactivate",
        lambda w: Person.objects.filter(pk=w.otto.pk).update(is_active=False),
        lambda w: reactivate(actor=by(w), person_id=w.otto.pk),
        lambda w: deactivate(actor=by(w), person_id=w.otto.pk),
        lambda w: Person.objects.get(pk=w.otto.pk).is_active,
    ),
    "invitation": (
        "invite",
        lambda w: None,
        invite_new,
        lambda w: withdraw(
            actor=by(w), invitation_id=Invitation.objects.good().get(kind="join").pk
        ),
        World.invited,
    ),
    "second factor of a role": (
        "set_role_rule",
        lambda w: RoleRule.objects.create(role="reviewer", needs_second_factor=True),
        lambda w: set_role_rule(actor=by(w), role=Role.REVIEWER, needed=False),
        lambda w: set_role_rule(actor=by(w), role=Role.REVIEWER, needed=True),
        lambda w: RoleRule.objects.get(role="reviewer").needs_second_factor,
    ),
    "kill switch": (
        "release",
        stop,
        lambda w: release(switch_id=KillSwitch.objects.pulled().get().pk, actor=by(w)),
        stop,
        lambda w: KillSwitch.objects.pulled().count(),
    ),
    "rules": (
        "activate_draft",
        lambda w: activate(w, rule(approvals={0: 2})),
        activate,
        lambda w: activate(w, rule(approvals={0: 2})),
        lambda w: policies().active_rules,
    ),
    "members of a group": (
        "change_group",
        group_that_approves,
        lambda w: have_members(w, w.admin.pk, w.otto.pk),
        lambda w: have_members(w, w.admin.pk),
        lambda w: sorted(Group.objects.get().members.values_list("pk", flat=True)),
    ),
    "hours of a calendar that a rule names": (
        "save_calendar",
        rule_with_calendar,
        lambda w: open_until(w, 19),
        lambda w: open_until(w, 17),
        lambda w: WorkCalendar.objects.get().weekly,
    ),
    "higher cap": (
        "set_caps",
        lambda w: None,
        lambda w: set_caps(
            mailbox=w.box(), caps={**caps_of(w.box()), "key": (0, 2000)}, actor=by(w)
        ),
        lambda w: set_caps(mailbox=w.box(), caps=None, actor=by(w)),
        lambda w: caps_of(w.box()),
    ),
    "end of holding all": (
        "hold_all",
        lambda w: holds_all(w, on=True),
        lambda w: holds_all(w, on=False),
        lambda w: holds_all(w, on=True),
        lambda w: Account.objects.filter(hold_all_at__isnull=False).count(),
    ),
    "owner of a key": (
        "set_owner",
        lambda w: own_key(w, w.otto),
        lambda w: own_key(w, None),
        lambda w: own_key(w, w.otto),
        lambda w: list(KeyOwner.objects.values_list("person_id", flat=True)),
    ),
    "second factor of a person": (
        "remove_factors_of",
        add_factor,
        lambda w: remove_factors_of(actor=by(w), person=w.otto),
        add_factor,
        lambda w: Authenticator.objects.filter(user=w.otto).count(),
    ),
    "minimum oversight": (
        "set_minimum",
        lambda w: set_minimum(actor=by(w), mode="gated_all"),
        lambda w: set_minimum(actor=by(w), mode="gated_send"),
        lambda w: set_minimum(actor=by(w), mode="gated_all"),
        lambda w: OrganisationSettings.objects.get().minimum_oversight,
    ),
    "scopes of a key": (
        "change_key",
        watcher,
        lambda w: set_scopes(w, "oversight"),
        lambda w: set_scopes(w, "oversight_read"),
        scopes_of_watcher,
    ),
    "fingerprint of an account": (
        "require_fingerprint",
        lambda w: fingerprints(w, on=True),
        lambda w: fingerprints(w, on=False),
        lambda w: fingerprints(w, on=True),
        lambda w: Connection.objects.get(pk=w.box().connection_id).require_fingerprint,
    ),
    "fingerprint of a mailbox": (
        "change_mailbox",
        lambda w: setting_of_mailbox(w, require_fingerprint=True),
        lambda w: setting_of_mailbox(w, require_fingerprint=False),
        lambda w: setting_of_mailbox(w, require_fingerprint=True),
        lambda w: w.box().require_fingerprint,
    ),
    "HTML as it is written": (
        "change_mailbox",
        lambda w: None,
        lambda w: setting_of_mailbox(w, simplify_html=False),
        lambda w: setting_of_mailbox(w, simplify_html=True),
        lambda w: w.box().simplify_html,
    ),
    "fewer points": (
        "weigh",
        lambda w: weigh_rule(w, 30),
        lambda w: weigh_rule(w, 29),
        lambda w: weigh_rule(w, 30),
        lambda w: RuleWeight.objects.points_by_rule()["first_contact"],
    ),
    "own word of fewer points": (
        "save_word",
        lambda w: word(w, 30),
        lambda w: word(w, 29),
        lambda w: word(w, 30),
        lambda w: OwnWord.objects.get().points,
    ),
    "own word that is removed": (
        "remove_word",
        lambda w: word(w, 30),
        drop_word,
        lambda w: word(w, 30),
        lambda w: OwnWord.objects.count(),
    ),
    "figures of single people": (
        "set_person_figures",
        lambda w: None,
        lambda w: set_person_figures(actor=by(w), on=True, because="Works agreement"),
        lambda w: set_person_figures(actor=by(w), on=False),
        lambda w: shows_people(),
    ),
    "oversight mode": (
        "loosen",
        lambda w: None,
        lambda w: loosen(mailbox=w.box(), actor=by(w), target="monitored"),
        lambda w: change_mailbox(
            mailbox=w.box(), actor=by(w), changes={"oversight_mode": "gated_send"}
        ),
        lambda w: w.box().oversight_mode,
    ),
    "a call may loosen": (
        "change_mailbox",
        lambda w: None,
        lambda w: change_mailbox(
            mailbox=w.box(), actor=by(w), changes={"allow_looser_per_call": True}
        ),
        lambda w: change_mailbox(
            mailbox=w.box(), actor=by(w), changes={"allow_looser_per_call": False}
        ),
        lambda w: w.box().allow_looser_per_call,
    ),
}


AT_MULTIMAIL = {
    "oversight mode",
    "a call may loosen",
    "end of holding all",
    "scopes of a key",
    "fingerprint of an account",
    "fingerprint of a mailbox",
    "HTML as it is written",
}


@pytest.mark.parametrize("name", LOOSENING)
def test_every_loosening_waits_where_it_is_on_and_its_tightening_twin_never_does(
    name, request, admin, second
):
    made = request.getfixturevalue
    box = made("account").mailbox if name in AT_MULTIMAIL else made("mailbox")
    world = World(admin, box, make_person("otto@yourteam.example", "Otto", "reviewer"))
    command, prepare, loosening, tighten, state = LOOSENING[name]
    prepare(world)
    strict = state(world)
    loosening(world)
    loose = state(world)
    assert loose != strict, "switched off, it works at once"
    tighten(world)
    assert state(world) == strict
    switch_on()
    change = ask(lambda: loosening(world), by(world))
    assert change.command == command
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


def test_setting_needs_another_admin_and_switching_it_off_waits_for_one(admin):
    actor = actor_of(admin)
    with pytest.raises(NotYours):
        set_second_admin(actor=actor, on=True)
    second = make_person("sam@yourteam.example", "Sam Second", "admin")
    assert set_second_admin(actor=actor, on=True)
    change = ask(lambda: set_second_admin(actor=actor, on=False), actor)
    assert wants_second_admin(actor)
    accepted(change, second)
    assert not wants_second_admin(actor)
    set_second_admin(actor=actor, on=True)
    assert switch_off_by_operator(actor=operator("second_admin"))
    assert not wants_second_admin(actor)
    assert Entry.objects.filter(action="second_admin.set").count() == 4


def test_command_that_does_not_say_what_it_would_change_fails_and_changes_nothing(
    admin, monkeypatch
):
    monkeypatch.setattr(registry, "COMMANDS", {})

    @atomic_with_retry
    @registry.second_admin("Name")
    def rename_somebody(*, actor):
        Person.objects.update(name="Changed")
        if not actor:
            yield

    with pytest.raises(TypeError):
        rename_somebody(actor=actor_of(admin))
    assert not Person.objects.filter(name="Changed").exists()


def test_second_admin_reads_that_no_usual_comment_would_be_left(admin, mailbox):
    switch_on()
    with pytest.raises(SecondAdminNeeded) as needed:
        set_texts(
            mailbox=mailbox,
            kind="comment",
            texts=[],
            actor=actor_of(admin),
            now=timezone.now(),
        )
    assert needed.value.asked.after == "none"


# --- who may accept -------------------------------------------------------------------


@pytest.fixture
def waiting(admin, second, mailbox):
    """A change of the mailbox's list that waits."""
    make_list("x.example", mailbox=mailbox)
    switch_on()
    return ask(lambda: put(admin, mailbox, "y.example"), actor_of(admin))


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
    assert patterns(mailbox) == ["x.example", "y.example"]


def test_nobody_accepts_their_own_role_or_what_the_maker_of_their_password_asked(
    admin, second
):
    otto = make_person("otto@yourteam.example", "Otto", "admin")
    link = make_password_link(actor=actor_of(admin), person_id=second.pk)
    switch_on()
    own = ask(
        lambda: give_role(
            actor=actor_of(admin),
            person_id=otto.pk,
            role=Role.AUDITOR,
            target=GrantTarget(),
        ),
        actor_of(admin),
    )
    assert "your own roles" in refuses(accept, own, otto)
    set_password(
        token=link.url.rstrip("/").rpartition("/")[2],
        password="a gannet counts wagons",
        actor=actor_of(admin),
    )
    assert "may know it" in refuses(accept, own, second)
    Invitation.objects.update(accepted_at=Now() - timedelta(days=8))
    assert accepted(own, second).state == "accepted"


# --- what does not fit any more -------------------------------------------------------


def test_calendar_that_rules_name_stays_and_what_became_of_it_is_compared(
    admin, second, mailbox
):
    world = World(admin, mailbox, None)
    rule_with_calendar(world)
    with pytest.raises(PlanRefused, match="rules of the policy name it"):
        remove_calendar(calendar=WorkCalendar.objects.get(), actor=by(world))
    switch_on()
    change = ask(lambda: open_until(world, 19), by(world))
    open_until(world, 16)
    assert "Somebody else changed this calendar meanwhile" in outdated(change, second)


def test_caps_owner_and_factors_that_changed_meanwhile_are_compared(
    admin, second, mailbox
):
    world = World(
        admin, mailbox, make_person("otto@yourteam.example", "Otto", "reviewer")
    )
    own_key(world, world.otto)
    add_factor(world)
    switch_on()
    waiting = [
        ask(lambda name=name: LOOSENING[name][2](world), by(world))
        for name in MEANWHILE
    ]
    set_caps(
        mailbox=world.box(), caps={**caps_of(None), "key": (1, 1)}, actor=by(world)
    )
    KeyOwner.objects.update(person=admin)
    Authenticator.objects.create(user=world.otto, type="webauthn", data={"name": "Key"})
    assert all(
        "has changed since it was asked" in outdated(change, second)
        for change in waiting
    )
    # Whom a change is about does not accept it: they would let themselves approve.
    about = ask(lambda: own_key(world, None), by(world))
    assert about.about == admin


MEANWHILE = ("higher cap", "owner of a key", "second factor of a person")


def test_entry_of_a_list_that_a_rule_names_is_not_removed_by_one_admin(
    admin, second, mailbox
):
    world = World(admin, mailbox, None)
    make_list("x.example", mailbox=mailbox)
    named = Conditions(lists=frozenset({Allowlist.objects.get(mailbox=mailbox).pk}))
    activate(world, replace(rule(approvals={0: 2}), when=named))
    switch_on()
    change = ask(lambda: put(admin, mailbox, remove=("x.example",)), actor_of(admin))
    assert patterns(mailbox) == ["x.example"]
    assert accepted(change, second).state == "accepted"


def test_nobody_without_a_role_or_a_factor_keeps_an_admin_waiting(admin, second):
    switch_on()
    otto = make_person("otto@yourteam.example", "Otto", "reviewer")
    assert remove_factors_of(actor=actor_of(admin), person=otto) == 0
    Grant.objects.filter(person=otto).delete()
    Authenticator.objects.create(user=otto, type="totp", data={"secret": "x"})
    assert remove_factors_of(actor=actor_of(admin), person=otto) == 1


def accepted(change, person, **code):
    """Accept a change, and return it as it is then."""
    return accept(change_id=change.pk, actor=actor_of(person), **code).change


def outdated(change, second):
    ended = accepted(change, second)
    assert ended.state == "refused"
    return ended.outcome


def test_change_of_a_list_that_moved_on_is_refused_and_can_be_asked_again(
    waiting, admin, second, mailbox
):
    put(admin, mailbox, remove=("x.example",))
    assert "Somebody changed this list" in outdated(waiting, second)
    assert patterns(mailbox) == []
    again = ask(lambda: put(admin, mailbox, "y.example"), actor_of(admin))
    assert accepted(again, second).state == "accepted"


@pytest.mark.parametrize("what", ["deactivated", "no admin"])
def test_change_of_somebody_who_is_no_admin_any_more_is_refused(
    what, waiting, admin, second, mailbox
):
    if what == "deactivated":
        deactivate(actor=actor_of(second), person_id=admin.pk)
    else:
        admin.grants.all().delete()
    assert "Only an admin" in outdated(waiting, second)
    assert patterns(mailbox) == ["x.example"]


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
    other = ask(lambda: put(admin, mailbox, "z.example"), actor_of(admin))
    withdraw_change(change_id=other.pk, actor=actor_of(admin))
    assert "withdrawn" in refuses(accept, other, second)
    assert patterns(mailbox) == ["x.example"]


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
    assert (state == "accepted") == (patterns(mailbox) == ["x.example", "y.example"])
    ended = Entry.objects.get(action__in=("change.accepted", "change.withdrawn"))
    assert ended.action == f"change.{state}"


# --- where MultiMail has to be called -------------------------------------------------


def test_unfinished_change_at_multimail_waits_again_and_is_carried_out_once(
    admin, second, account, monkeypatch
):
    switch_on()
    world = World(admin, account.mailbox, None)
    change = ask(lambda: LOOSENING["oversight mode"][2](world), by(world))
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
    begin_draft(actor=actor_of(admin), rules=[rule(never_in_bulk=True)], based_on=1)
    assert "has changed" in outdated(change, second)
    assert policies().active_rules == (rule(approvals={0: 2}),)


def test_draft_is_not_activated_after_what_it_names_has_changed(admin, second):
    world = World(admin, None, None)
    group = add_group(actor=actor_of(admin), name="Finance", members=[second.pk])
    activate(world, rule(approvals={0: 2}))
    switch_on()
    change = ask(
        partial(activate, world, rule(approvals={group.pk: 1})), actor_of(admin)
    )
    otto = make_person("otto@yourteam.example", "Otto", "reviewer")
    change_group(
        actor=actor_of(admin),
        group_id=group.pk,
        seen=seen_state(group),
        name="Finance",
        members=[otto.pk],
    )
    assert "has changed" in outdated(change, second)


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
    admin, second, account
):
    world = World(admin, account.mailbox, None)
    switch_on()
    wanted = {"name": "Decider", "scopes": ["oversight"]}
    connection = world.box().connection
    change = ask(
        lambda: create_key(connection=connection, actor=by(world), wanted=wanted),
        by(world),
    )
    assert accepted(change, second).state == "waiting"
    ended = accept(change_id=change.pk, actor=actor_of(second), code=newest_code())
    assert ended.change.state == "accepted"
    assert ended.change.outcome == ""
    text = ended.result.text
    assert text not in str(PendingChange.objects.values())
    assert "Only the admin who asked" in refuses(reveal_secret, change, second)
    assert reveal_secret(change_id=change.pk, actor=by(world))[1] == text
    assert "shown before" in refuses(reveal_secret, change, admin)
    assert Entry.objects.filter(action="change.secret_shown").count() == 1


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
            connection=connection, actor=actor_of(admin), name="Orders", wanted=wanted
        ),
        actor_of(admin),
    )
    asked = Entry.objects.get(action="change.asked").detail.fields
    assert "elsewhere.example.org" in asked["after"]
    assert secret not in f"{asked} {PendingChange.objects.values()}"
    ended = accept(change_id=change.pk, actor=actor_of(second))
    if ended.change.state == "waiting":
        ended = accept(change_id=change.pk, actor=actor_of(second), code=newest_code())
    assert Webhook.objects.get().secret == secret


def test_link_for_a_password_waits_and_is_not_shown_to_whoever_accepts(
    admin, second, signed_in
):
    otto = make_person("otto@yourteam.example", "Otto", "admin")
    switch_on()
    change = ask(
        lambda: make_password_link(actor=actor_of(admin), person_id=otto.pk),
        actor_of(admin),
    )
    assert not Invitation.objects.exists()
    assert "your own roles" in refuses(accept, change, otto)
    answer = signed_in(second).post(f"/changes/{change.pk}/accept/")
    assert answer.status_code == 302
    assert Invitation.objects.count() == 1
    shown = signed_in(admin).post(f"/changes/{change.pk}/secret/")
    assert "/join/" in shown.text
