"""No sequence of acts by one admin, with second admin on, and with all accounts that
count as theirs, lowers what any held message needs.

Ida asks and accepts whatever she can, with two accounts: her own, and that of Nora, whose
password a link of hers set. Sam, the other admin, does nothing.
"""

from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from functools import partial

import pytest
from django.core.exceptions import ValidationError
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from approvals.brake.commands import set_caps
from approvals.caps import caps_now
from approvals.decisions.ruling import rulings
from common.actors import Role
from common.errors import SentenceError
from common.postgres import clock
from connections.keys.commands import set_owner
from connections.mailboxes.commands import set_desk_settings
from mirror.models import Connection, Mailbox, Message
from people.identities import Identities
from people.invitations.links import invite, join, make_password_link, set_password
from people.models import Grant, PendingChange, Person
from people.roles import GrantTarget, deactivate, give_role, reactivate, take_role
from people.second_admin.changes import (
    accept,
    ask_second_admin,
    decline,
    reveal_secret,
    withdraw_change,
)
from people.second_admin.registry import SecondAdminNeeded, is_second_admin_on
from people.second_admin.setting import set_second_admin
from people.sign_in.factors import remove_factors_of, set_role_rule
from policy import kill_switch
from policy.errors import seen_state
from policy.models import AllowEntry, Group, KeyOwner, KillSwitch, WorkCalendar
from policy.rules.changes import (
    activate_draft,
    begin_draft,
    change_draft,
    delete_named,
    discard_draft,
    in_words,
    policies,
    save_calendar,
    save_group,
)
from policy.rules.conditions import Conditions
from policy.rules.rules import Effects, PolicyRule
from tests.factories import (
    actor_of,
    change_list,
    make_list,
    make_message,
    make_person,
    put_in_force,
    rolled_back,
)
from tests.integration.deciding import decide
from tests.integration.test_identities import both, brings_in
from tests.integration.test_invitations import ANYBODY, PASSWORD, token_in
from tests.integration.test_second_admin import switch_on
from tests.unit.test_policy_laws import lowered

DANA = "dana@northwind.example"
# What a demand asks of a message; the rest depends on who approved it.
ASKED = {
    *("approvals", "of groups", "barred groups", "bar_editor", "care", "reject"),
    *("expiry", "hours"),
}


@pytest.fixture
def desk(connection):
    """People, groups, a calendar, an allowlist, rules on all of them, and messages."""
    ida = both("ida@yourteam.example", "Ida Lindqvist")
    brings_in(ida, "nora@yourteam.example")
    both("sam@yourteam.example", "Sam Second")
    ana = make_person("ana@yourteam.example", "Ana Ferreira", "reviewer")
    finance = Group.objects.create(name="Finance")
    finance.members.add(ana)
    interns = Group.objects.create(name="Interns")
    interns.members.add(*Person.objects.filter(name__startswith="I"))
    office = WorkCalendar.objects.create(
        name="Office", zone="UTC", weekly=[[[540, 1020]]] * 7
    )
    KeyOwner.objects.create(person=ida, connection=connection, upstream_key_id="k1")
    customers = make_list(DANA)
    put_in_force(
        {"when": {"amount": "1000"}, "then": {"approvals": {str(finance.pk): 1, "0": 2}}},
        {"when": {"lists_except": [customers.pk]}, "then": {"care": True}},
        {"when": {"lists": [customers.pk]}, "then": {"bar_editor": True}},
        {"when": {"recipients_from": 2}, "then": {"barred_groups": [interns.pk]}},
        {"when": {"words": ["tulip"]}, "then": {"reject": "No tulips."}},
        {"then": {"expire_minutes": 6000, "office_hours": [office.pk]}},
    )  # fmt: skip
    for fields in (
        {"markdown": "We refund EUR 5000."},
        {"to_addresses": ["eve@evil.example"], "sent_by_key": "k1"},
        {"markdown": "One tulip", "sent_by_key": "k2"},
    ):
        make_message(connection, **fields)
    switch_on()


def one_of(rows, number):
    """The row of this number; NoRow if there is none."""
    found = list(rows.order_by("pk"))
    if not found:
        raise NoRow
    return found[number % len(found)]


class NoRow(SentenceError):
    """There is nothing to do this with."""

    def __init__(self):
        super().__init__("There is nothing to do this with.")


# --- what an admin can do, by name; each gets who does it, and a number to choose by ---


def begin(by, n):
    based_on = policies().in_force.number
    begin_draft(actor=by, rules=policies().in_force.rules, based_on=based_on)


def change_one_rule(by, n):
    draft = policies().draft
    rule = (policies().drafted.rules or [None])[
        n % max(1, len(policies().drafted.rules))
    ]
    if draft is None or rule is None:
        raise NoRow
    then = (
        Effects(),
        replace(rule.then, approvals={0: 1}, reject="", care=False),
        replace(rule.then, care=True, expire_minutes=5),
    )
    changed = [
        *(replace(rule, then=one) for one in then),
        replace(rule, when=Conditions(recipients_from=9)),
        replace(rule, when=replace(rule.when, words=frozenset({"rose"}))),
        PolicyRule("new", "New", then=Effects(approvals={0: 1 + n % 3})),
    ]
    which = n // 7 % 8
    new = changed[which] if which < len(changed) else None
    change_draft(actor=by, seen=draft.seen, rule_id=(new or rule).id, rule=new)


def with_draft(command):
    def act(by, n):
        now = policies()
        if now.draft is None:
            raise NoRow
        command(actor=by, seen=now.draft.seen)

    return act


def activate_changed(by, n):
    with suppress(SentenceError):
        ACTS["discard the draft"](by, n)
    begin(by, n)
    change_one_rule(by, n)
    ACTS["activate the draft"](by, n)


def new_group(by, n):
    save_group(actor=by, name=f"Group {n}", members=[int(by.id)])


def regroup(by, n):
    group = one_of(Group.objects.all(), n)
    everybody = Person.objects.order_by("pk").values_list("pk", flat=True)
    members = [pk for at, pk in enumerate(everybody) if n >> (at + 2) & 1]
    name = group.name if n % 3 else f"{group.name}!"
    seen = seen_state(in_words(group))
    save_group(actor=by, group=group, seen=seen, name=name, members=members)


def relist(by, n):
    acts = (
        partial(change_list, by, "eve@evil.example"),
        partial(change_list, by, "new.example"),
        partial(
            change_list,
            by,
            remove=list(AllowEntry.objects.values_list("pattern", flat=True)),
        ),
    )
    acts[n // 3 % 3]()


def change_hours(by, n):
    calendar = one_of(WorkCalendar.objects.all(), n)
    spans = ([[0, 1440]], [[600, 900]], [], [[540, 1020]])[n % 4]
    save_calendar(
        name=calendar.name,
        zone=("UTC", "Asia/Tokyo")[n // 4 % 2],
        weekly=[spans] * 7,
        holidays={},
        actor=by,
        calendar=calendar,
        seen=seen_state(in_words(calendar)),
    )


def own(by, n):
    person = None if n % 2 else one_of(Person.objects.all(), n // 2)
    key = ("k1", "k2")[n % 3 % 2]
    connection = Connection.objects.get()
    set_owner(connection=connection, key_id=key, name=key, person=person, actor=by)


def set_mailbox(by, n):
    set_desk_settings(
        mailbox=Mailbox.objects.select_related("connection").first(),
        actor=by,
        undo_window=timedelta(seconds=n % 10),
        loads_pictures=bool(n % 2),
    )


def grant(by, n):
    person = one_of(Person.objects.all(), n)
    role = (Role.REVIEWER, Role.ADMIN)[n // 8 % 2]
    give_role(actor=by, person_id=person.pk, role=role, target=GrantTarget())


def revoke(by, n):
    found = one_of(Grant.objects.all(), n)
    take_role(actor=by, person_id=found.person_id, grant_id=found.pk)


def of_person(command):
    def act(by, n):
        command(actor=by, person_id=one_of(Person.objects.all(), n).pk)

    return act


def bring_in(by, n):
    email = f"new{n % 3}@yourteam.example"
    roles = [(Role.ADMIN, GrantTarget()), (Role.REVIEWER, GrantTarget())]
    link = invite(actor=by, email=email, name="", roles=roles, lasts=timedelta(days=7))
    join(token=token_in(link), name=email, password=PASSWORD, actor=ANYBODY)


def reset(by, n):
    link = make_password_link(actor=by, person_id=one_of(Person.objects.all(), n).pk)
    set_password(token=token_in(link), password=PASSWORD, actor=ANYBODY)


def unfactor(by, n):
    remove_factors_of(actor=by, person=one_of(Person.objects.all(), n))


def cap(by, n):
    caps = dict.fromkeys(caps_now(), (n % 5 or None, None))
    set_caps(caps=caps, actor=by)


def release(by, n):
    switch = one_of(KillSwitch.objects.pulled(), n)
    kill_switch.release(switch_id=switch.pk, actor=by)


def of_change(command):
    def act(by, n):
        command(change_id=one_of(PendingChange.objects.all(), n).pk, actor=by)

    return act


ACTS = {
    "begin a draft": begin,
    "change the draft": change_one_rule,
    "activate a changed draft": activate_changed,
    "activate the draft": with_draft(activate_draft),
    "discard the draft": with_draft(discard_draft),
    "add a group": new_group,
    "change a group": regroup,
    "delete a group": lambda by, n: delete_named(
        actor=by, row=one_of(Group.objects.all(), n)
    ),
    "change a list": relist,
    "change a calendar": change_hours,
    "remove a calendar": lambda by, n: delete_named(
        actor=by, row=one_of(WorkCalendar.objects.all(), n)
    ),
    "set an owner": own,
    "set a mailbox": set_mailbox,
    "give a role": grant,
    "take a role": revoke,
    "deactivate": of_person(deactivate),
    "reactivate": of_person(reactivate),
    "invite": bring_in,
    "reset a password": reset,
    "remove factors": unfactor,
    "ask for factors": lambda by, n: set_role_rule(
        actor=by, role=Role.REVIEWER, needed=bool(n % 2)
    ),
    "set caps": cap,
    "pull": lambda by, n: kill_switch.pull(actor=by, reason="Stop."),
    "release": release,
    "switch off": lambda by, n: set_second_admin(actor=by, on=bool(n % 2)),
    "accept": of_change(accept),
    "accept another": of_change(accept),
    "decline": of_change(decline),
    "withdraw": of_change(withdraw_change),
    "see a secret": of_change(reveal_secret),
}  # fmt: skip


def do(act, is_nora, number):
    """Let one of the two accounts do this, and ask for it where it has to wait. Return
    whether it was done.
    """
    name = "nora" if is_nora else "ida"
    by = actor_of(Person.objects.get(email=f"{name}@yourteam.example"))
    try:
        ACTS[act](by, number)
    except SecondAdminNeeded as needed:
        with suppress(SentenceError):
            ask_second_admin(asked=needed.asked, reason="Because", actor=by)
    except (SentenceError, ValidationError):
        pass
    else:
        return True
    return False


def demands():
    """What each held message needs."""
    messages = list(Message.objects.with_content().with_connection().order_by("pk"))
    sam = actor_of(Person.objects.get(email="sam@yourteam.example"))
    return rulings(messages, sam)


def open_hours(demand):
    """The hours of a day at which a message may leave."""
    at = clock().replace(minute=0)
    hours = [at + timedelta(hours=hour) for hour in range(24)]
    return {one.hour for one in hours if not replace(demand, leaves_at=one).closed()}


def givers(demand):
    """By named group, who may give its approval."""
    people = demand.people
    may = people.reviewers - demand.barred
    return {
        group: may & {*people.groups.get(group, ())}
        for group in demand.effects.named_groups
    }


def what_is_lower(before, after):
    old, new = before.demand, after.demand
    yield from set(lowered(old, new)) & ASKED
    if not open_hours(new) <= open_hours(old):
        yield "open hours"
    if not old.barred & new.people.reviewers <= new.barred:
        yield "barred people"
    if not new.people.reviewers <= old.people.reviewers:
        yield "reviewers"
    for group, people in givers(old).items():
        if not givers(new).get(group, set()) <= people:
            yield f"members of group {group}"


def hold(acts):
    """Do all of this; after each act, no message may need less than before all."""
    before = demands()
    for act, is_nora, number in acts:
        if do(act, is_nora, number):
            assert is_second_admin_on(), act
            for key, facts in demands().items():
                assert list(what_is_lower(before[key], facts)) == [], act
    ida = Person.objects.get(email="ida@yourteam.example")
    hers = [ida.pk, *Identities().same_as([ida.pk])]
    for message in Message.objects.with_connection():
        for person in Person.objects.filter(pk__in=hers):
            with suppress(SentenceError):
                decide(message, person, risk_read=["first_contact"])
    for facts in demands().values():
        assert facts.demand.progress.given <= 1


STEP = st.tuples(st.sampled_from(list(ACTS)), st.booleans(), st.integers(0, 2**12))
QUIET = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
# No shrinking: with a database it takes minutes.
PHASES = [Phase.explicit, Phase.generate]
run = partial(
    settings, deadline=None, database=None, suppress_health_check=QUIET, phases=PHASES
)


@run(max_examples=1, derandomize=True)
@given(st.lists(STEP, min_size=15, max_size=25))
def test_no_acts_of_one_admin_lower_what_a_message_needs(desk, acts):
    with rolled_back():
        hold(acts)


@pytest.mark.slow
@run(max_examples=25, print_blob=True)
@given(st.lists(STEP, min_size=20, max_size=60))
def test_no_acts_of_one_admin_lower_what_a_message_needs_in_many_histories(desk, acts):
    with rolled_back():
        hold(acts)
