"""People: granting and revoking roles, deactivating, and the pages of it: within the own
scope, never more for oneself, and never the last admin (line 42).
"""

import re
from datetime import timedelta
from functools import partial

import pytest
from django.test import Client

from audit.models import Entry
from common.actors import Role, operator
from people.errors import LastAdmin, NotYours, PeopleError
from people.invitations.links import invite, make_password_link
from people.models import Grant, Invitation, Person
from people.roles import (
    GrantTarget,
    all_targets,
    deactivate,
    give_role,
    reactivate,
    take_role,
)
from tests.factories import actor_of, change_row, make_connection, make_person
from tests.integration.deciding import at_once
from tests.ledger import latest_details
from tests.markup import leads_to, text_of
from tests.signing import resume, sign_in


def give(by, to, role=Role.REVIEWER, target=None):
    return give_role(
        actor=actor_of(by), person_id=to.pk, role=role, target=target or GrantTarget()
    )


def take_from(by, person, grant=None):
    grant = grant or person.grants.get()
    return take_role(actor=actor_of(by), person_id=person.pk, grant_id=grant.pk)


def test_whoever_is_given_a_role_has_it_at_once_and_whoever_loses_one_is_signed_out(
    signed_in, admin, reviewer, second_reviewer
):
    theirs = resume(Client(), reviewer)
    others = resume(Client(), second_reviewer)
    assert theirs.get("/people/").status_code == 403
    give(admin, reviewer, Role.ADMIN)
    assert theirs.get("/people/").status_code == 200
    take_from(admin, reviewer, reviewer.grants.get(role="reviewer"))
    assert theirs.get("/people/").status_code == 302
    theirs = resume(Client(), reviewer)
    grant = {"grant": reviewer.grants.get().pk}
    leads_to(signed_in(admin).post(f"/people/{reviewer.pk}/roles/remove/", grant))
    assert theirs.get("/queue/?format=json").status_code == 302
    assert others.get("/queue/?format=json").status_code == 200
    fields = latest_details("person.grants_changed")
    assert (fields["before"], fields["after"]) == ("admin of everything", "no role")


def test_own_role_can_be_dropped_if_another_admin_is_left(signed_in, admin, second):
    with pytest.raises(NotYours):
        give(admin, admin)
    client = signed_in(admin)
    remove = f"/people/{admin.pk}/roles/remove/"
    grant = {"grant": admin.grants.get().pk}
    # A deactivated admin does not count.
    change_row(second, is_active=False)
    assert client.post(remove, grant).status_code == 409
    with pytest.raises(LastAdmin):
        take_from(admin, admin)
    change_row(second, is_active=True)
    assert leads_to(client.post(remove, grant)) == "/accounts/login/"
    assert client.get("/queue/").status_code == 302
    assert not admin.grants.exists()


def test_mailbox_admin_grants_only_there_and_not_to_people_with_wider_roles(
    keeper, mailbox, connection, admin
):
    nia = make_person("near@yourteam.example", "Nia Near", "reviewer", mailbox=mailbox)
    cora = make_person("cora@yourteam.example", "Cora", "admin", connection=connection)
    targets = all_targets()
    here = targets[f"mailbox-{mailbox.pk}"]
    assert give(keeper, nia, Role.ADMIN, here)
    with pytest.raises(NotYours):
        give(keeper, nia, Role.REVIEWER, targets[f"connection-{connection.pk}"])
    # An admin of a connection grants and revokes for its mailboxes.
    noa = make_person("noa@yourteam.example", "Noa", "reviewer", connection=connection)
    assert give(cora, noa, Role.REVIEWER, here)
    assert take_from(cora, noa, noa.grants.get(mailbox=None))
    other = make_connection("other")
    far = Grant.objects.create(person=nia, role="reviewer", connection=other)
    with pytest.raises(NotYours):
        take_from(keeper, nia, far)
    for above in (admin, cora):
        extra = Grant.objects.create(person=above, role="reviewer", mailbox=mailbox)
        with pytest.raises(NotYours):
            give(keeper, above, Role.AUDITOR, here)
        with pytest.raises(NotYours):
            take_from(keeper, above, extra)


def test_deactivated_person_is_out_everywhere_from_the_next_request_on_until_let_in_again(
    signed_in, admin, reviewer
):
    client = signed_in(admin)
    session = resume(Client(), reviewer)
    page = f"/people/{reviewer.pk}/"
    assert leads_to(client.post(f"{page}deactivate/")) == page
    assert session.get("/live/reach/").status_code == 401
    assert sign_in(Client(), reviewer).status_code != 302
    fields = latest_details("person.deactivated")
    assert (fields["before"], fields["after"]) == ("active", "deactivated")
    # After reactivation the old sessions stay invalid.
    assert client.post(f"{page}reactivate/").status_code == 302
    assert session.get("/queue/").status_code == 302
    assert sign_in(Client(), reviewer).status_code == 302
    # Doing it twice has no further effect.
    for act in (deactivate, deactivate, reactivate, reactivate):
        act(actor=actor_of(admin), person_id=reviewer.pk)
    for action in ("person.deactivated", "person.reactivated"):
        assert Entry.objects.filter(action=action).count() == 2


def test_links_made_by_and_for_a_deactivated_person_are_void(admin, second):
    roles = [(Role.REVIEWER, GrantTarget())]
    week = timedelta(days=7)
    invite(
        actor=actor_of(second), email="a@x.example", name="", roles=roles, lasts=week
    )
    invite(actor=actor_of(admin), email="b@x.example", name="", roles=roles, lasts=week)
    make_password_link(actor=actor_of(admin), person_id=second.pk)
    deactivate(actor=actor_of(admin), person_id=second.pk)
    assert [one.email for one in Invitation.objects.good()] == ["b@x.example"]


def test_nobody_deactivates_themselves_the_last_admin_or_anybody_after_being_deactivated(
    admin, second
):
    with pytest.raises(NotYours):
        deactivate(actor=actor_of(admin), person_id=admin.pk)
    as_it_was = actor_of(second)
    deactivate(actor=actor_of(admin), person_id=second.pk)
    with pytest.raises(NotYours):
        deactivate(actor=as_it_was, person_id=admin.pk)
    # The command line refuses it, too.
    Person.objects.exclude(pk=admin.pk).update(is_active=False)
    with pytest.raises(LastAdmin, match="last admin of everything"):
        deactivate(actor=operator("x", Role.ADMIN), person_id=admin.pk)


def names_in(answer):
    found = re.findall(
        r'class="text-link name" href="/people/\d+/">(.+?)</a>', answer.text
    )
    return {re.sub("<[^>]+>", "", one) for one in found}


def test_admin_of_a_mailbox_sees_who_reaches_it_and_neither_others_nor_their_other_roles(
    signed_in, keeper, reviewer, mailbox
):
    other = make_connection("other")
    far = make_person(
        "far@yourteam.example", "Fay Faraway", "reviewer", connection=other
    )
    near = make_person("near@yourteam.example", "Nia Near", "reviewer", mailbox=mailbox)
    Grant.objects.create(person=near, role="admin", connection=other)
    client = signed_in(keeper)
    answer = client.get("/people/")
    assert names_in(answer) == {"Kim Keeper", "Ana Ferreira", "Nia Near"}
    assert client.get(f"/people/{far.pk}/").status_code == 404
    for page in (text_of(answer), text_of(client.get(f"/people/{near.pk}/"))):
        assert "Gateway other" not in page
        assert "Reviewer of support@yourteam.example" in page


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("act", [deactivate, take_role])
def test_of_two_admins_who_put_each_other_out_at_once_one_is_left(act, admin, second):
    def put_out(by, person):
        of = {"grant_id": person.grants.get().pk} if act is take_role else {}
        return partial(act, actor=actor_of(by), person_id=person.pk, **of)

    ends = at_once(put_out(admin, second), put_out(second, admin))
    assert Person.objects.admins_of_all().count() == 1
    assert sorted(isinstance(end, PeopleError) for end in ends) == [False, True]
