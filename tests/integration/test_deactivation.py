"""Deactivating a person: at once, with sessions, claims and links, and never the last
admin (line 42).
"""

from datetime import timedelta
from functools import partial

import pytest
from django.test import Client

from approvals.collaboration import take_claim
from approvals.models import Claim
from audit.models import Entry
from common.actors import Role, operator
from people.errors import LastAdmin, NotYours, PeopleError
from people.invitations.links import invite, make_password_link
from people.models import DiscordAccount, Invitation, Person
from people.roles import GrantTarget, deactivate, reactivate
from people.sign_in.sessions import access_changed
from tests.factories import actor_of, make_message, make_person
from tests.integration.deciding import at_once
from tests.ledger import latest_details
from tests.markup import leads_to
from tests.signing import resume, sign_in


@pytest.fixture
def otto(db):
    """A second admin of everything."""
    return make_person("otto@yourteam.example", "Otto", "admin")


def test_deactivated_person_is_out_everywhere_from_the_next_request_on_until_let_in_again(
    signed_in, admin, reviewer
):
    client = signed_in(admin)
    session = resume(Client(), reviewer)
    page = f"/people/{reviewer.pk}/"
    assert leads_to(client.post(f"{page}deactivate/")) == page
    assert session.get("/queue/?format=json").status_code == 302
    assert session.get("/live/reach/").status_code == 401
    assert sign_in(Client(), reviewer).status_code != 302
    fields = latest_details("person.deactivated")
    assert fields["person"] == "Ana Ferreira"
    assert fields["before"] == "active"
    assert fields["after"] == "deactivated"
    # After reactivation the old sessions stay invalid.
    assert client.post(f"{page}reactivate/").status_code == 302
    assert session.get("/queue/").status_code == 302
    assert sign_in(Client(), reviewer).status_code == 302
    assert [one.role for one in reviewer.grants.all()] == ["reviewer"]
    assert latest_details("person.reactivated")["after"] == "active"
    # Doing it twice has no further effect.
    for act in (deactivate, deactivate, reactivate, reactivate):
        act(actor=actor_of(admin), person_id=reviewer.pk)
    for action in ("person.deactivated", "person.reactivated"):
        assert Entry.objects.filter(action=action).count() == 2


def test_open_streams_of_the_deactivated_person_reauthenticate_and_no_others(
    admin, reviewer
):
    heard = []

    def listen(person, **_):
        heard.append(person)

    access_changed.connect(listen)
    try:
        deactivate(actor=actor_of(admin), person_id=reviewer.pk)
    finally:
        access_changed.disconnect(listen)
    assert set(heard) == {reviewer.pk}


def test_claims_are_released_at_once_and_roles_and_history_remain(
    admin, reviewer, second_reviewer, connection
):
    DiscordAccount.objects.create(person=reviewer, discord_id="1", name="ana")
    for person in (reviewer, second_reviewer):
        take_claim(message=make_message(connection).public_id, actor=actor_of(person))
    deactivate(actor=actor_of(admin), person_id=reviewer.pk)
    assert [claim.person for claim in Claim.objects.all()] == [second_reviewer]
    why = latest_details("claim.released")["explanation"]
    assert why == "The claimer was deactivated."
    assert reviewer.grants.count() == 1
    assert reviewer.discord_accounts.count() == 1
    assert Person.objects.get(pk=reviewer.pk).actor(surface="discord").scopes == ()


def test_links_made_by_and_for_a_deactivated_person_are_void(admin, otto):
    roles = [(Role.REVIEWER, GrantTarget())]
    week = timedelta(days=7)
    invite(actor=actor_of(otto), email="a@x.example", name="", roles=roles, lasts=week)
    invite(actor=actor_of(admin), email="b@x.example", name="", roles=roles, lasts=week)
    make_password_link(actor=actor_of(admin), person_id=otto.pk)
    deactivate(actor=actor_of(admin), person_id=otto.pk)
    assert [one.email for one in Invitation.objects.good()] == ["b@x.example"]


def test_nobody_deactivates_themselves_the_last_admin_or_anybody_after_being_deactivated(
    admin, otto
):
    make_person("third@yourteam.example", "Thea", "admin")
    with pytest.raises(NotYours):
        deactivate(actor=actor_of(admin), person_id=admin.pk)
    as_it_was = actor_of(otto)
    deactivate(actor=actor_of(admin), person_id=otto.pk)
    with pytest.raises(NotYours):
        deactivate(actor=as_it_was, person_id=admin.pk)
    # The command line refuses it, too.
    Person.objects.exclude(pk=admin.pk).update(is_active=False)
    with pytest.raises(LastAdmin, match="last admin of everything"):
        deactivate(actor=operator("x", Role.ADMIN), person_id=admin.pk)


def test_admin_of_a_mailbox_deactivates_only_whom_they_cover(
    signed_in, keeper, mailbox, reviewer, admin
):
    nia = make_person("near@yourteam.example", "Nia", "reviewer", mailbox=mailbox)
    for beyond in (reviewer, admin):
        with pytest.raises(NotYours, match="that you do not manage"):
            deactivate(actor=actor_of(keeper), person_id=beyond.pk)
    assert signed_in(keeper).post(f"/people/{nia.pk}/deactivate/").status_code == 302
    assert set(Person.objects.filter(is_active=False)) == {nia}


@pytest.mark.django_db(transaction=True)
def test_two_admins_who_deactivate_each_other_at_once_leave_one(admin, otto):
    found = at_once(
        partial(deactivate, actor=actor_of(admin), person_id=otto.pk),
        partial(deactivate, actor=actor_of(otto), person_id=admin.pk),
    )
    assert Person.objects.admins_of_all().count() == 1
    assert sorted(isinstance(one, PeopleError) for one in found) == [False, True]
