"""Granting and revoking roles: within the own scope, never more for oneself, and never
the last admin.
"""

from functools import partial

import pytest
from django.test import Client

from approvals.collaboration import take_claim
from approvals.models import Claim
from audit.models import Entry
from common.actors import Role
from people.directory.views import RoleForm
from people.errors import LastAdmin, NotYours, PeopleError
from people.models import Grant, Person
from people.roles import GrantTarget, all_targets, give_role, take_role, targets_to_give
from tests.factories import actor_of, make_connection, make_message, make_person
from tests.integration.deciding import at_once
from tests.ledger import latest_details
from tests.markup import leads_to, says
from tests.signing import resume


def give(by, to, role=Role.REVIEWER, target=None):
    return give_role(
        actor=actor_of(by), person_id=to.pk, role=role, target=target or GrantTarget()
    )


def take_from(by, person, grant=None):
    grant = grant or person.grants.get()
    return take_role(actor=actor_of(by), person_id=person.pk, grant_id=grant.pk)


def test_role_is_given_for_each_kind_of_place_and_recorded_and_further_fields_have_no_effect(
    signed_in, admin, reviewer, second_reviewer, mailbox, connection
):
    for target in ("all", f"connection-{connection.pk}"):
        assert give(admin, reviewer, Role.AUDITOR, all_targets()[target])
    client = signed_in(admin)
    path = f"/people/{reviewer.pk}/roles/add/"
    other = second_reviewer.pk
    more = {"person": other, "person_id": other, "is_active": "", "mailbox": "1"}
    wanted = {"role": "auditor", "place": f"mailbox-{mailbox.pk}", **more}
    assert leads_to(client.post(path, wanted)) == f"/people/{reviewer.pk}/"
    audits = reviewer.grants.filter(role="auditor")
    assert set(audits.values_list("connection", "mailbox")) == {
        (None, None),
        (connection.pk, None),
        (None, mailbox.pk),
    }
    fields = latest_details("person.grants_changed")
    before = "auditor of everything, reviewer of everything, auditor of Gateway main"
    assert fields["before"] == before
    assert fields["after"].endswith("auditor of support@yourteam.example")
    assert fields["person"] == "Ana Ferreira"
    reviewer.refresh_from_db()
    assert second_reviewer.grants.count() == 1
    assert reviewer.is_active is True
    # An existing role is no change, and an invalid role or scope is a form error.
    entries = Entry.objects.count()
    assert give(admin, reviewer) is False
    assert Entry.objects.count() == entries
    targets = targets_to_give(actor_of(admin))
    for role, place in (("owner", "all"), ("admin", "mailbox-0"), ("admin", "x")):
        form = RoleForm({"role": role, "place": place}, targets=targets)
        assert not form.is_valid(), (role, place)
    says(client.post(path, {}), 422, 'id="role-problem"')
    assert reviewer.grants.count() == 4


def test_whoever_is_given_a_role_has_it_at_once_and_whoever_loses_one_is_signed_out(
    signed_in, admin, reviewer, second_reviewer
):
    theirs = resume(Client(), reviewer)
    others = resume(Client(), second_reviewer)
    assert theirs.get("/people/").status_code == 403
    give(admin, reviewer, Role.ADMIN)
    assert theirs.get("/people/").status_code == 200
    take_from(admin, reviewer, reviewer.grants.get(role="admin"))
    assert theirs.get("/people/").status_code == 302
    theirs = resume(Client(), reviewer)
    grant = {"grant": reviewer.grants.get().pk}
    leads_to(signed_in(admin).post(f"/people/{reviewer.pk}/roles/remove/", grant))
    assert theirs.get("/queue/?format=json").status_code == 302
    assert others.get("/queue/?format=json").status_code == 200
    fields = latest_details("person.grants_changed")
    assert fields["before"] == "reviewer of everything"
    assert fields["after"] == "no role"


@pytest.mark.slow
def test_claims_are_released_where_the_person_may_no_longer_decide(
    admin, reviewer, connection
):
    other = make_connection("other")
    visible = make_message(connection)
    lost = make_message(other)
    Grant.objects.create(person=reviewer, role="reviewer", connection=connection)
    for message in (visible, lost):
        take_claim(message=message.public_id, actor=actor_of(reviewer))
    take_from(admin, reviewer, reviewer.grants.get(connection=None))
    assert [claim.message for claim in Claim.objects.all()] == [visible]


def test_own_role_can_be_dropped_if_another_admin_is_left(signed_in, admin, keeper):
    with pytest.raises(NotYours):
        give(admin, admin)
    client = signed_in(admin)
    remove = f"/people/{admin.pk}/roles/remove/"
    otto = make_person("otto@yourteam.example", "Otto", "admin")
    grant = {"grant": admin.grants.get().pk}
    # A deactivated admin does not count.
    Person.objects.filter(pk=otto.pk).update(is_active=False)
    says(client.post(remove, grant), 409, "the last admin of everything")
    with pytest.raises(LastAdmin):
        take_from(admin, admin)
    Person.objects.filter(pk=otto.pk).update(is_active=True)
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
    for target in (GrantTarget(), targets[f"connection-{connection.pk}"]):
        with pytest.raises(NotYours):
            give(keeper, nia, Role.REVIEWER, target)
    # An admin of a connection grants and revokes for its mailboxes.
    noa = make_person("noa@yourteam.example", "Noa", "reviewer", connection=connection)
    assert give(cora, noa, Role.REVIEWER, here)
    assert take_from(cora, noa, noa.grants.get(mailbox=None))
    for above in (admin, cora):
        extra = Grant.objects.create(person=above, role="reviewer", mailbox=mailbox)
        with pytest.raises(NotYours):
            give(keeper, above, Role.AUDITOR, here)
        with pytest.raises(NotYours):
            take_from(keeper, above, extra)


@pytest.mark.slow
def test_mailbox_admin_revokes_the_role_there_of_somebody_who_also_works_elsewhere(
    signed_in, keeper, mailbox
):
    nia = make_person("near@yourteam.example", "Nia Near", "reviewer", mailbox=mailbox)
    other = make_connection("other")
    far = Grant.objects.create(person=nia, role="reviewer", connection=other)
    with pytest.raises(NotYours):
        take_from(keeper, nia, far)
    here = {"grant": nia.grants.get(mailbox=mailbox).pk}
    answer = signed_in(keeper).post(f"/people/{nia.pk}/roles/remove/", here)
    # The admin cannot see the person any more.
    assert leads_to(answer) == "/people/"
    assert list(nia.grants.all()) == [far]


def test_reviewers_auditors_and_former_admins_grant_nothing(
    reviewer, auditor, second_reviewer, admin
):
    for person in (reviewer, auditor):
        with pytest.raises(NotYours):
            give(person, second_reviewer, Role.AUDITOR)
        with pytest.raises(NotYours):
            take_from(person, second_reviewer)
    otto = make_person("otto@yourteam.example", "Otto", "admin")
    as_it_was = actor_of(otto)
    take_from(admin, otto)
    with pytest.raises(NotYours):
        give_role(
            actor=as_it_was,
            person_id=reviewer.pk,
            role=Role.ADMIN,
            target=GrantTarget(),
        )


@pytest.mark.django_db(transaction=True)
def test_two_admins_revoking_each_other_at_once_leave_one(admin):
    otto = make_person("otto@yourteam.example", "Otto", "admin")
    his = otto.grants.get().pk
    hers = admin.grants.get().pk
    ends = at_once(
        partial(take_role, actor=actor_of(admin), person_id=otto.pk, grant_id=his),
        partial(take_role, actor=actor_of(otto), person_id=admin.pk, grant_id=hers),
    )
    assert Person.objects.admins_of_all().count() == 1
    assert [isinstance(end, PeopleError) for end in ends].count(True) == 1
