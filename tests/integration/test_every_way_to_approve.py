"""Every way to approve a message, as every kind of person: only whoever may makes a
decision, whichever way.
"""

import contextlib

import pytest
from django.test import Client
from django.urls import reverse

from approvals import tasks
from approvals.bulk.sheet import OnSheet, Sheet, sign_sheet
from approvals.decisions.decide import give_verdict
from approvals.errors import DeskError
from approvals.models import CommandedMail, Decision, Replacement
from approvals.models.replacements import EDIT
from people.models import DiscordAccount, Grant, Person
from policy.models import Group, KeyOwner, PolicyVersion
from tests.factories import (
    change_row,
    make_connection,
    make_message,
    make_person,
    rolled_back,
)
from tests.integration.deciding import decide
from tests.integration.test_interactions import ANA, application, post_card, press, sent
from tests.integration.test_several_approvals import put_in_force
from tests.signing import resume

pytestmark = pytest.mark.usefixtures("discord_application")
discord_application = application


@pytest.fixture
def message(connection):
    return make_message(connection, sent_by_key="01KEY", metadata={EDIT: "EDIT"})


@pytest.fixture
def person(message):
    """A reviewer of the message's mailbox, signed in on Discord too."""
    made = make_person(
        "pat@yourteam.example", "Pat Reyes", "reviewer", mailbox=message.mailbox
    )
    DiscordAccount.objects.create(person=made, discord_id=ANA, name="ana.dev")
    return made


def give_role(person, role, **scope):
    Grant.objects.filter(person=person).delete()
    Grant.objects.create(person=person, role=role, **scope)


def is_deactivated(person, message):
    change_row(person, is_active=False)


def becomes_author_by_key(person, message):
    KeyOwner.objects.create(
        connection=message.connection, upstream_key_id="01KEY", person=person
    )


def becomes_author_by_command(person, message):
    CommandedMail.objects.create(
        connection=message.connection,
        person=person,
        interaction_id="1",
        command="send",
        discord_user_id=ANA,
        upstream_id=message.upstream_id,
    )


def becomes_editor(person, message):
    Replacement.objects.create(
        message=make_message(message.connection),
        revision=message.revision,
        connection=message.connection,
        person=person,
        editors=[person.pk],
        to=["dana@northwind.example"],
        markdown="Hello",
        reference="EDIT",
        upstream_id=message.upstream_id,
    )


def joins_barred_group(person, message):
    group = Group.objects.create(name="Sales")
    group.members.add(person)
    put_in_force({"barred_groups": [group.pk]})


def stays_outside_the_group_that_is_asked(person, message):
    put_in_force({"approvals": {Group.objects.create(name="Finance").pk: 1}})


def has_approved_as_first_of_two(person, message):
    put_in_force({"approvals": {"0": 2}})
    assert decide(message, person).decision is None


# What becomes of the reviewer, and whether they may still approve.
KINDS = {
    "a reviewer of the mailbox": (lambda person, message: None, True),
    "a reviewer of another connection": (
        lambda person, message: give_role(person, "reviewer", connection=make_connection("other")), False
    ),
    "an admin": (lambda person, message: give_role(person, "admin"), False),
    "an auditor": (lambda person, message: give_role(person, "auditor"), False),
    "nobody's role": (lambda person, message: Grant.objects.filter(person=person).delete(), False),
    "a deactivated person": (is_deactivated, False),
    "the owner of the key": (becomes_author_by_key, False),
    "whoever gave the command": (becomes_author_by_command, False),
    "whoever edited it": (becomes_editor, False),
    "a member of a barred group": (joins_barred_group, False),
    "somebody outside the group that is asked": (stays_outside_the_group_that_is_asked, False),
    "the first of two": (has_approved_as_first_of_two, False),
}  # fmt: skip


def by_page(person, message):
    posted = {"outcome": "approve", "fingerprint": message.revision.fingerprint}
    signed_in(person).post(reverse("verdict", args=[message.public_id]), posted)


def by_script(person, message):
    posted = {"outcome": "approve", "fingerprint": message.revision.fingerprint}
    signed_in(person).post(
        reverse("verdict", args=[message.public_id]),
        posted,
        headers={"Accept": "application/json"},
    )


def by_high_risk_page(person, message):
    now = PolicyVersion.objects.active().first()
    put_in_force(
        *({"when": {}, **rule} for rule in (now.rules if now else [])),
        {"high_risk_page": True},
    )
    posted = {
        "fingerprint": message.revision.fingerprint,
        "risk_read": ["policy"],
        "typed": "northwind.example",
    }
    signed_in(person).post(reverse("approve", args=[message.public_id]), posted)


def in_bulk(person, message):
    item = OnSheet(message.public_id, message.revision.fingerprint)
    sheet = sign_sheet(Sheet([item]), person=str(person.pk))
    posted = {
        "sheet": sheet,
        "item": [f"{item.message}.{item.fingerprint}"],
        "outcome": "approve_unread",
        "unread": 1,
    }
    signed_in(person).post(reverse("bulk-decide"), posted)


def on_discord(person, message):
    post_card(message)
    sent(press(message))


def by_command(person, message):
    asker = Person.objects.get(pk=person.pk).actor(surface="web")
    fingerprint = message.revision.fingerprint
    with contextlib.suppress(DeskError):
        give_verdict(
            message=message.public_id,
            actor=asker,
            outcome="approve",
            fingerprint=fingerprint,
            reason="",
        )


def by_tasks(person, message):
    """No task approves without a decision, or a standing approval that two people
    signed.
    """
    for task in (tasks.sweep, tasks.execute_due):
        task()


WAYS = (
    by_page,
    by_script,
    by_high_risk_page,
    in_bulk,
    on_discord,
    by_command,
    by_tasks,
)


def signed_in(person):
    return resume(Client(), person)


@pytest.mark.parametrize("kind", KINDS)
def test_only_whoever_may_makes_a_decision_whichever_way(message, person, kind):
    change, may = KINDS[kind]
    change(person, message)
    for way in WAYS:
        with rolled_back():
            way(person, message)
            is_approved = Decision.objects.filter(
                message=message, outcome="approve"
            ).exists()
            assert is_approved == (may and way is not by_tasks), way.__name__
