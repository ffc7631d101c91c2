"""People are counted, and not accounts: an account counts as whoever could read the link
that set its password, until it has a second factor.
"""

import re
from datetime import timedelta

import pytest
from allauth.mfa.models import Authenticator
from django.core.management import call_command
from django.db.models import F
from django.db.models.functions import Now
from django.test import Client
from django.urls import reverse

from approvals.decisions.execute import run_decision
from approvals.errors import VerdictNotAllowed
from approvals.models import Verdict
from common.actors import Role
from people.accounts.chat_accounts import link_account, offer_link
from people.errors import LinkedElsewhere, LinkNotGood, NotYours
from people.invitations.links import (
    invite,
    join,
    make_password_link,
    read_link,
    set_password,
)
from people.models import Grant, Invitation, OrganisationSettings, Person
from people.roles import GrantTarget
from people.second_admin.changes import accept, ask_second_admin, reveal_secret
from people.second_admin.registry import SecondAdminNeeded
from people.second_admin.setting import set_second_admin
from people.sign_in.factors import remove_factors_of
from policy.models import Group, KeyOwner
from tests.factories import actor_of, change_row, make_person, put_in_force, rolled_back
from tests.integration.deciding import decide, make_due
from tests.integration.test_invitations import ANYBODY, PASSWORD, token_in
from tests.markup import says
from tests.signing import code_now, give_app, resume
from tests.variants import variants

EVERYTHING = GrantTarget()


def both(email, name):
    """An admin who reviews, too."""
    person = make_person(email, name, "admin")
    Grant.objects.create(person=person, role="reviewer")
    return person


@pytest.fixture
def gus(db):
    return both("gus@yourteam.example", "Gus Grau")


@pytest.fixture
def dan(db):
    return both("dan@yourteam.example", "Dan Dorn")


@pytest.fixture
def eve(db):
    return both("eve@yourteam.example", "Eve Emms")


def uses(token, email=""):
    """Use a link of either kind, and return its person as of an hour ago."""
    if email:
        person = join(token=token, name=email, password=PASSWORD, actor=ANYBODY)
    else:
        person = read_link(token).person
        set_password(token=token, password=PASSWORD, actor=ANYBODY)
    Invitation.objects.update(accepted_at=F("accepted_at") - timedelta(hours=1))
    return Person.objects.get(pk=person.pk)


def brings_in(maker, email):
    """Invite an address as `maker`, and join by that link."""
    link = invite(
        actor=actor_of(maker),
        email=email,
        name="",
        roles=[(Role.ADMIN, EVERYTHING), (Role.REVIEWER, EVERYTHING)],
        lasts=timedelta(days=7),
    )
    return uses(token_in(link), email)


def resets(maker, person):
    """Make a link for a new password as `maker`, and use it."""
    return uses(
        token_in(make_password_link(actor=actor_of(maker), person_id=person.pk))
    )


def asked_for(dan, asker):
    """A link for a new password of Dan's that waits for a second admin."""
    OrganisationSettings.objects.update_or_create(
        pk=1, defaults={"second_admin_since": Now()}
    )
    actor = actor_of(asker)
    with pytest.raises(SecondAdminNeeded) as needed:
        make_password_link(actor=actor, person_id=dan.pk)
    return ask_second_admin(asked=needed.value.asked, reason="Forgot", actor=actor)


def halves(change, asker, second):
    accept(change_id=change.pk, actor=actor_of(second))
    return [
        reveal_secret(change_id=change.pk, actor=actor_of(one))[1]
        for one in (asker, second)
    ]


def resets_with(asker, second, person):
    """Two admins make a link together, and its person uses it."""
    link = "".join(halves(asked_for(person, asker), asker, second))
    return uses(link.rstrip("/").rpartition("/")[2])


def gets_app(person, *, minutes=30):
    app = give_app(person)
    change_row(app, created_at=Now() - timedelta(minutes=minutes))
    return person


def after_a_month(gus, dan):
    resets(gus, dan)
    Invitation.objects.update(accepted_at=Now() - timedelta(days=31))


def in_a_chain(gus, dan):
    nora = brings_in(gus, "nora@yourteam.example")
    return gus, brings_in(nora, "otto@yourteam.example")


def in_a_chain_whose_middle_gets_a_factor(gus, dan):
    pair = in_a_chain(gus, dan)
    gets_app(Person.objects.get(email="nora@yourteam.example"))
    return pair


def as_siblings(gus, dan):
    made = [brings_in(gus, f"{one}@yourteam.example") for one in ("nora", "otto")]
    return tuple(made)


def after_the_factor_is_removed(gus, dan):
    resets(gus, dan)
    gets_app(dan)
    remove_factors_of(actor=actor_of(gus), person=dan)


# What was done by Gus, and the two who are then one person: Gus and Dan, or a pair.
WAYS = {
    "a link for a new password": lambda gus, dan: (gus, resets(gus, dan)),
    "an invitation": lambda gus, dan: (gus, brings_in(gus, "nora@yourteam.example")),
    "a month ago": after_a_month,
    "a chain": in_a_chain,
    "a chain whose middle is proved later": in_a_chain_whose_middle_gets_a_factor,
    "two whom one invited": as_siblings,
    "a link that two made, and who asked": (
        lambda gus, dan: (gus, resets_with(gus, both("ida@x.example", "Ida"), dan))
    ),
    "a link that two made, and who accepted": (
        lambda gus, dan: (gus, resets_with(both("ida@x.example", "Ida"), gus, dan))
    ),
    "a second factor that was removed": after_the_factor_is_removed,
}


@pytest.mark.parametrize("way", variants(WAYS, 2))
def test_two_accounts_of_one_person_are_no_two_approvals(
    way, message, gus, dan, reviewer
):
    pair = WAYS[way](gus, dan) or (gus, dan)
    put_in_force({"approvals": {"0": 2}})
    for one, other in (pair, pair[::-1]):
        with rolled_back():
            assert decide(message, one).decision is None
            with pytest.raises(VerdictNotAllowed, match="you two count as one person"):
                decide(message, other)
            assert decide(message, reviewer).decision is not None


def confirmed(gus, dan):
    resets(gus, dan)
    call_command("confirm_person", dan.email)


def with_a_factor_since(gus, dan):
    gets_app(resets(gus, dan))


def with_a_factor_from_before(gus, dan):
    gets_app(dan, minutes=90)
    resets(gus, dan)


def by_somebody_else(gus, dan):
    resets(both("ida@x.example", "Ida"), dan)


@pytest.mark.parametrize(
    "way",
    variants(
        [confirmed, with_a_factor_since, with_a_factor_from_before, by_somebody_else], 2
    ),
)
def test_proved_account_counts_as_a_person_of_its_own(way, message, gus, dan):
    way(gus, dan)
    put_in_force({"approvals": {"0": 2}})
    decide(message, gus)
    result = decide(message, dan)
    assert result.decision is not None
    make_due()
    run_decision(decision_id=result.decision.pk)
    result.decision.refresh_from_db()
    assert "count" not in result.decision.explanation


def test_what_was_approved_before_the_factor_is_not_counted_as_somebody_elses(
    message, gus, dan, reviewer
):
    resets(gus, dan)
    put_in_force({"approvals": {"0": 2}})
    decide(message, dan)
    Verdict.objects.update(given_at=Now() - timedelta(minutes=40))
    gets_app(dan)
    with pytest.raises(VerdictNotAllowed, match="second factor before that"):
        decide(message, gus)
    # They may be two: with the approval of a third, one of them counts.
    assert decide(message, reviewer).decision is not None


def owns_the_key(gus, message):
    change_row(message, sent_by_key="k")
    KeyOwner.objects.create(
        person=gus, connection=message.connection, upstream_key_id="k"
    )


def is_in_a_barred_group(gus, message):
    group = Group.objects.create(name="Sales")
    group.members.add(gus)
    put_in_force({"barred_groups": [group.pk]})


@pytest.mark.parametrize("bar", variants([owns_the_key, is_in_a_barred_group], 1))
def test_who_may_not_approve_may_not_with_another_account_either(
    bar, message, gus, dan, reviewer
):
    resets(gus, dan)
    for one, other in ((gus, dan), (dan, gus)):
        with rolled_back():
            bar(one, message)
            with pytest.raises(VerdictNotAllowed, match="you two count as one person"):
                decide(message, other)
            assert decide(message, reviewer).decision is not None


def test_neither_of_two_admins_can_open_the_link_that_they_made(
    gus, dan, eve, signed_in
):
    change = asked_for(dan, gus)
    accepting = signed_in(eve).post(f"/changes/{change.pk}/accept/", follow=True)
    says(accepting, 200, "Show your half of the link below", "Show its secret once")
    address = f"/changes/{change.pk}/secret/"
    parts = []
    for person in (gus, eve):
        page = resume(Client(), person).post(address)
        part = re.search(r'class="secret"[^>]*>([^<]+)<', page.text)[1]
        with pytest.raises(LinkNotGood):
            read_link(part.rstrip("/").rpartition("/")[2])
        parts.append(part)
        assert resume(Client(), person).post(address).status_code == 409
    assert read_link("".join(parts).rstrip("/").rpartition("/")[2]).person == dan
    assert parts[0] not in parts[1]


def test_discord_account_and_sessions_of_somebody_else_do_not_outlast_the_proof(
    gus, dan
):
    dan = resets(gus, dan)
    token = offer_link(
        service="discord", account_id="118000000000000042", name="gus"
    ).split("/")[-2]
    with pytest.raises(LinkedElsewhere, match="Set a second factor first"):
        link_account(actor=actor_of(dan), token=token)
    of_gus, of_dan = (resume(Client(), dan) for _ in range(2))
    page = of_dan.get(reverse("factor-app")).text
    secret = re.search(r'class="secret"[^>]*>([^<]+)<', page)[1].replace(" ", "")
    of_dan.post(reverse("factor-app"), {"code": code_now(secret)})
    assert Authenticator.objects.filter(user=dan).exists()
    assert of_gus.get("/queue/").status_code == 302
    assert of_dan.get("/queue/").status_code == 200
    assert link_account(actor=actor_of(dan), token=token).person == dan


def test_second_admin_is_not_switched_on_while_all_admins_are_one_person(gus):
    nora = brings_in(gus, "nora@yourteam.example")
    with pytest.raises(NotYours, match="count as one person"):
        set_second_admin(actor=actor_of(gus), on=True)
    gets_app(nora)
    set_second_admin(actor=actor_of(gus), on=True)
