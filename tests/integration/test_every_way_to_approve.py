"""Every way to approve a message, as every kind of person: only whoever may makes a
decision, whichever way.
"""

import pytest
from django.db.models.functions import Now
from django.test import Client
from django.urls import reverse

from approvals import tasks
from approvals.bulk.sheet import OnSheet, Sheet, sign_sheet
from approvals.models import Decision
from people.models import ChatAccount, Grant, Invitation
from policy.models import Group, KeyOwner, PolicyVersion
from tests.factories import (
    change_row,
    make_connection,
    make_list,
    make_message,
    make_person,
    put_in_force,
    reject_others,
    rolled_back,
)
from tests.integration.deciding import decide
from tests.integration.test_interactions import ANA, application, post_card, press, sent
from tests.signing import resume

pytestmark = pytest.mark.usefixtures("discord_application")
discord_application = application


@pytest.fixture
def message(connection):
    return make_message(connection, sent_by_key="01KEY")


@pytest.fixture
def person(message):
    """A reviewer of the message's mailbox, signed in on Discord too."""
    made = make_person(
        "pat@yourteam.example", "Pat Reyes", "reviewer", mailbox=message.mailbox
    )
    ChatAccount.objects.create(
        person=made, service="discord", account_id=ANA, name="ana.dev"
    )
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


def is_an_account_of_the_author(person, message):
    author = make_person("gus@yourteam.example", "Gus Grau")
    becomes_author_by_key(author, message)
    Invitation.objects.create(
        kind="password",
        person=person,
        known_to=[author.pk],
        accepted_at=Now(),
        expires_at=Now(),
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


def meets_a_recipient_off_the_list(person, message):
    reject_others(make_list())


# What becomes of the reviewer, and whether they may still approve.
KINDS = {
    "a reviewer of the mailbox": (lambda person, message: None, True),
    "a reviewer of another connection": (
        lambda person, message: give_role(person, "reviewer", connection=make_connection("other")), False
    ),
    "an admin": (lambda person, message: give_role(person, "admin"), False),
    "a deactivated person": (is_deactivated, False),
    "the owner of the key": (becomes_author_by_key, False),
    "another account of the owner of the key": (is_an_account_of_the_author, False),
    "a member of a barred group": (joins_barred_group, False),
    "somebody outside the group that is asked": (stays_outside_the_group_that_is_asked, False),
    "the first of two": (has_approved_as_first_of_two, False),
    "a reviewer of mail to somebody off the list": (meets_a_recipient_off_the_list, False),
}  # fmt: skip
# The other kinds are for --all.
ORDINARY = ("a reviewer of the mailbox", "a deactivated person")


def by_page(person, message):
    posted = {"outcome": "approve", "fingerprint": message.revision.fingerprint}
    signed_in(person).post(reverse("verdict", args=[message.public_id]), posted)


def with_care(person, message):
    now = PolicyVersion.objects.active().first()
    put_in_force(
        *({"when": {}, **rule} for rule in (now.rules if now else [])), {"care": True}
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
        "item": [item.pair],
        "outcome": "approve_unread",
        "unread": 1,
    }
    signed_in(person).post(reverse("bulk-decide"), posted)


def on_discord(person, message):
    post_card(message)
    sent(press(message))


def by_tasks(person, message):
    """No task approves without a decision, or a pass that two people signed."""
    for task in (tasks.sweep, tasks.execute_due):
        task()


WAYS = (by_page, with_care, in_bulk, on_discord, by_tasks)


def signed_in(person):
    return resume(Client(), person)


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, marks=[pytest.mark.slow] * (kind not in ORDINARY))
        for kind in KINDS
    ],
)
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


def test_message_that_needs_care_is_approved_with_care_only(message, person):
    put_in_force({"care": True})
    for way in WAYS:
        with rolled_back():
            way(person, message)
            assert Decision.objects.exists() == (way is with_care), way.__name__
