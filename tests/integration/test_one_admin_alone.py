"""No sequence of acts by one admin, with second admin on, and with all accounts that
count as theirs, lowers what any held message needs.

Ida asks and accepts whatever she can, with two accounts: her own, and that of Nora, whose
password a link of hers set. Sam, the other admin, does nothing.
"""

import json
from contextlib import suppress
from dataclasses import fields, replace
from datetime import timedelta
from itertools import product
from string import Template

import pytest
from django.core.exceptions import ValidationError
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from approvals.brake.commands import set_caps
from approvals.caps import caps_now
from approvals.decisions.ruling import policy_in_force, rulings
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
from policy.errors import seen_state
from policy.kill_switch import pull, release
from policy.models import (
    Allowlist,
    Group,
    KeyOwner,
    KillSwitch,
    PolicyVersion,
    WorkCalendar,
)
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
from policy.rules.conditions import Conditions, MessageFacts
from policy.rules.demand import evaluate
from policy.rules.rules import Effects, PolicyRule
from tests.factories import (
    actor_of,
    change_list,
    listed_patterns,
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

# What a demand asks of a message; the rest depends on who approved it.
ASKED = {"of groups", *(one.name for one in fields(Effects))}
# Of two groups, a calendar and a list.
RULES = """[
{"when": {"amount": "1000"}, "then": {"approvals": {"$finance": 1, "0": 2}}},
{"when": {"lists_except": [$customers]}, "then": {"care": true}},
{"when": {"lists": [$customers]}, "then": {"bar_editor": true}},
{"when": {"recipients_from": 2}, "then": {"barred_groups": [$interns]}},
{"when": {"words": ["tulip"]}, "then": {"reject": "No tulips."}},
{"expire_minutes": 6000, "office_hours": [$office]}
]"""


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
    interns.members.add(ida)
    office = WorkCalendar.objects.create(
        name="Office", zone="UTC", weekly=[[[540, 1020]]] * 7
    )
    KeyOwner.objects.create(person=ida, connection=connection, upstream_key_id="k1")
    rules = Template(RULES).substitute(
        finance=finance.pk,
        interns=interns.pk,
        office=office.pk,
        customers=make_list("dana@northwind.example").pk,
    )
    put_in_force(*json.loads(rules))
    make_message(connection, markdown="We refund EUR 5000.")
    make_message(connection, to_addresses=["eve@evil.example"], sent_by_key="k1")
    make_message(connection, markdown="One tulip", sent_by_key="k2")
    switch_on()


def one_of(rows, number):
    """One of these rows or values."""
    found = list(rows)
    if not found:
        raise SentenceError("There is nothing to do this with.")
    return found[number % len(found)]


def row_of(kind, number):
    return one_of(kind.objects.order_by("pk"), number)


# --- what an admin can do, with what: each gets a number to choose by -----------------


def as_in_force(number):
    now = policies().in_force
    return {"rules": now.rules, "based_on": now.number}


def seen_draft(number=0):
    return {"seen": one_of(PolicyVersion.objects.filter(state="draft"), number).seen}


def change_of_a_rule(number):
    rule = one_of(policies().drafted.rules, number)
    thens = (
        Effects(),
        replace(rule.then, approvals={0: 1}, reject="", care=False),
        replace(rule.then, care=True, expire_minutes=5),
    )
    changed = [
        *(replace(rule, then=one) for one in thens),
        replace(rule, when=Conditions(recipients_from=9)),
        replace(rule, when=replace(rule.when, words=frozenset({"rose"}))),
        PolicyRule("new", "New", then=Effects({0: 1 + number % 3})),
        # It is deleted.
        *(None, None),
    ]
    new = one_of(changed, number // 7)
    return {**seen_draft(), "rule_id": (new or rule).id, "rule": new}


def activate_changed(actor, number):
    with suppress(SentenceError):
        discard_draft(actor=actor, **seen_draft())
    begin_draft(actor=actor, **as_in_force(number))
    change_draft(actor=actor, **change_of_a_rule(number))
    activate_draft(actor=actor, **seen_draft())


def regrouped(number):
    group = row_of(Group, number)
    everybody = Person.objects.order_by("pk").values_list("pk", flat=True)
    return {
        "group": group,
        "seen": seen_state(in_words(group)),
        "name": group.name if number % 3 else f"{group.name}!",
        "members": [pk for at, pk in enumerate(everybody) if number >> (at + 2) & 1],
    }


def make_group(actor, number):
    save_group(actor=actor, name=f"Group {number}", members=[int(actor.id)])


def relist(actor, number):
    put = (["eve@evil.example"], ["new.example"], [])[number % 3]
    change_list(actor, *put, remove=[] if put else listed_patterns())


def other_hours(number):
    calendar = row_of(WorkCalendar, number)
    spans = ([[0, 1440]], [[600, 900]], [], [[540, 1020]])[number % 4]
    return {
        "calendar": calendar,
        "seen": seen_state(in_words(calendar)),
        "name": calendar.name,
        "zone": ("UTC", "Asia/Tokyo")[number // 4 % 2],
        "weekly": [spans] * 7,
        "holidays": {},
    }


def owner(number):
    key = ("k1", "k2")[number % 3 % 2]
    person = None if number % 2 else row_of(Person, number // 2)
    connection = Connection.objects.get()
    return {"connection": connection, "key_id": key, "name": key, "person": person}


def mailbox_settings(number):
    return {
        "mailbox": Mailbox.objects.select_related("connection").first(),
        "undo_window": timedelta(seconds=number % 10),
        "loads_pictures": bool(number % 2),
    }


def of_person(number):
    return {"person_id": row_of(Person, number).pk}


def role(number):
    role = (Role.REVIEWER, Role.ADMIN)[number // 8 % 2]
    return {**of_person(number), "role": role, "target": GrantTarget()}


def of_grant(number):
    found = row_of(Grant, number)
    return {"person_id": found.person_id, "grant_id": found.pk}


def bring_in(actor, number):
    email = f"new{number % 3}@yourteam.example"
    roles = [(Role.ADMIN, GrantTarget()), (Role.REVIEWER, GrantTarget())]
    week = timedelta(days=7)
    link = invite(actor=actor, email=email, name="", roles=roles, lasts=week)
    join(token=token_in(link), name=email, password=PASSWORD, actor=ANYBODY)


def reset_password(actor, number):
    link = make_password_link(actor=actor, **of_person(number))
    set_password(token=token_in(link), password=PASSWORD, actor=ANYBODY)


def of_change(number):
    return {"change_id": row_of(PendingChange, number).pk}


def only_number(number):
    return {"number": number}


ACTS = {
    begin_draft: as_in_force,
    change_draft: change_of_a_rule,
    activate_changed: only_number,
    activate_draft: seen_draft,
    discard_draft: seen_draft,
    make_group: only_number,
    save_group: regrouped,
    relist: only_number,
    save_calendar: other_hours,
    delete_named: lambda n: {"row": row_of((Group, WorkCalendar)[n % 2], n // 2)},
    set_owner: owner,
    set_desk_settings: mailbox_settings,
    give_role: role,
    take_role: of_grant,
    deactivate: of_person,
    reactivate: of_person,
    bring_in: only_number,
    reset_password: only_number,
    remove_factors_of: lambda n: {"person": row_of(Person, n)},
    set_role_rule: lambda n: {"role": Role.REVIEWER, "needed": bool(n % 2)},
    set_caps: lambda n: {"caps": dict.fromkeys(caps_now(), (n % 5 or None, None))},
    pull: lambda n: {"reason": "Stop."},
    release: lambda n: {"switch_id": one_of(KillSwitch.objects.pulled(), n).pk},
    set_second_admin: lambda n: {"on": bool(n % 2)},
    accept: of_change,
    decline: of_change,
    withdraw_change: of_change,
    reveal_secret: of_change,
}


def do(act, is_nora, number):
    """Let one of the two accounts do this, and ask for it where it has to wait. Return
    whether it was done.
    """
    name = "nora" if is_nora else "ida"
    by = actor_of(Person.objects.get(email=f"{name}@yourteam.example"))
    try:
        act(actor=by, **ACTS[act](number))
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
    return {key: one.demand for key, one in rulings(messages, sam).items()}


def allowed(demand):
    """Who may approve a message, for which group, and at which hours of a day it may
    leave.
    """
    people = demand.people
    may = people.reviewers - demand.barred
    at = clock().replace(minute=0)
    hours = [at + timedelta(hours=hour) for hour in range(24)]
    return {
        "reviewers": people.reviewers,
        "who may approve": may,
        "hours": {
            one.hour for one in hours if not replace(demand, leaves_at=one).closed()
        },
        **{
            group: may.intersection(people.groups.get(group, ()))
            for group in demand.effects.named_groups
        },
    }


def what_is_lower(before, after):
    now = allowed(after)
    more = [
        name for name, these in allowed(before).items() if now.get(name, set()) - these
    ]
    return [*ASKED.intersection(lowered(before, after)), *more]


AMOUNTS = [
    {},
    None,
    *({one: n} for one, n in (("EUR", "9"), ("EUR", "5000"), ("", "1000"))),
]
# Of each recipient, whether the list of customers has them.
LISTED = [*product((True, False), repeat=1), *product((True, False), repeat=3)]
FINDINGS = [None, *(frozenset(one) for one in ((), ("a",), ("b",), ("a", "b")))]


def asked_of_all_kinds(demand):
    """What 1,000 different messages would need of the people of this demand."""
    policy, connection = policy_in_force(), Connection.objects.get().pk
    customers = frozenset(Allowlist.objects.values_list("pk", flat=True))
    return [
        evaluate(
            policy,
            MessageFacts(
                connection=connection,
                amounts=amounts,
                recipients=tuple(f"{n}@x.example" for n in range(len(listed))),
                lists=customers if any(listed) else frozenset(),
                lists_of=tuple(customers if one else frozenset() for one in listed),
                findings=findings,
                words={"tulip": "text" if has_word else ""},
                is_edited=is_edited,
            ),
            demand.leaves_at,
            demand.people,
            calendars=demand.calendars,
        )
        for amounts, listed, findings, has_word, is_edited in product(
            AMOUNTS, LISTED, FINDINGS, (True, False), (True, False)
        )
    ]


def hold(acts):
    """Do all of this; after each act, no message may need less than before all."""
    before = demands()
    first = min(before)
    kinds = asked_of_all_kinds(before[first])
    assert len(kinds) == 1000
    for act, is_nora, number in acts:
        if do(act, is_nora, number):
            assert is_second_admin_on(), act
            for key, demand in demands().items():
                assert what_is_lower(before[key], demand) == [], act
    for one, now in zip(kinds, asked_of_all_kinds(demands()[first]), strict=True):
        assert ASKED.intersection(lowered(one, now)) == set(), one.facts
    ida = Person.objects.get(email="ida@yourteam.example")
    hers = [ida.pk, *Identities().same_as([ida.pk])]
    for message in Message.objects.with_connection():
        for person in Person.objects.filter(pk__in=hers):
            with suppress(SentenceError):
                decide(message, person, risk_read=["first_contact"])
    for demand in demands().values():
        assert demand.progress.given <= 1


def run(ordinary, most):
    """Settings that try so many histories, in the ordinary run and with --all. No
    shrinking: with a database it takes minutes.
    """
    number = ordinary if settings.default.derandomize else most
    return settings(max_examples=number, phases=[Phase.explicit, Phase.generate])


STEP = st.tuples(st.sampled_from([*ACTS, accept]), st.booleans(), st.integers(0, 2**12))


@run(1, 25)
@given(st.lists(STEP, min_size=15, max_size=60))
def test_no_acts_of_one_admin_lower_what_a_message_needs(desk, acts):
    with rolled_back():
        hold(acts)
