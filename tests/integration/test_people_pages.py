"""The pages of people: who sees whom, what they say, and that each change asks to confirm who one is."""

import re

import pytest
from django.urls import reverse

from approvals.models import Mailbox
from audit.models import Entry
from people.models import Grant, Invitation, Person
from tests.factories import make_connection, make_person

pytestmark = pytest.mark.django_db


@pytest.fixture
def mailbox(connection):
    return Mailbox.objects.get(connection=connection)


@pytest.fixture
def keeper(mailbox):
    """An admin of one mailbox."""
    return make_person("kim@yourteam.example", "Kim Keeper", "admin", mailbox=mailbox)


def text_of(answer):
    return re.sub(r"\s+", " ", re.sub("<[^>]+>", " ", answer.content.decode()))


def names_in(answer):
    found = re.findall(r'class="text-link name" href="/people/\d+/">(.+?)</a>', answer.content.decode())
    return {re.sub("<[^>]+>", "", one) for one in found}


def test_list_tells_everybody_their_roles_and_their_factor(signed_in, admin, reviewer, auditor, keeper):
    answer = signed_in(admin).get("/people/")
    assert names_in(answer) == {"Ida Lindqvist", "Ana Ferreira", "Max Weber", "Kim Keeper"}
    page = text_of(answer)
    assert "Reviewer of everything" in page
    assert "Admin of support@yourteam.example" in page


def test_list_asks_as_little_of_the_database_for_forty_people_as_for_one(
    signed_in, admin, connection, django_assert_max_num_queries
):
    client = signed_in(admin)
    for number in range(40):
        make_person(f"p{number}@yourteam.example", f"P {number}", "reviewer", connection=connection)
        fields = {"email": f"i{number}@yourteam.example", "roles": "reviewer", "place": f"connection-{connection.pk}"}
        client.post("/people/invite/", fields)
    assert client.get("/people/").content.count(b'id="invitation-') == 40
    with django_assert_max_num_queries(21):
        client.get("/people/")


def test_search_finds_by_a_part_of_name_or_address(signed_in, admin, reviewer, auditor):
    client = signed_in(admin)
    assert names_in(client.get("/people/?q=ferr")) == {"Ana Ferreira"}
    assert names_in(client.get("/people/?q=MAX@")) == {"Max Weber"}
    assert "Nobody here is called that" in client.get("/people/?q=zz<b>").content.decode()


@pytest.mark.parametrize("path", ["/people/", "/people/invite/"])
def test_reviewer_is_told_that_it_is_not_theirs(signed_in, reviewer, path):
    assert signed_in(reviewer).get(path).status_code == 403


def test_person_does_not_exist_for_a_reviewer(signed_in, reviewer, admin):
    assert signed_in(reviewer).get(f"/people/{admin.pk}/").status_code == 404


def test_admin_of_a_mailbox_sees_who_reaches_it_and_nobody_else(signed_in, keeper, reviewer, connection):
    other = make_connection("other")
    make_person("far@yourteam.example", "Fay Faraway", "reviewer", connection=other)
    make_person("near@yourteam.example", "Nia Near", "reviewer", connection=connection)
    client = signed_in(keeper)
    assert names_in(client.get("/people/")) == {"Kim Keeper", "Ana Ferreira", "Nia Near"}
    far = Person.objects.get(email="far@yourteam.example")
    assert client.get(f"/people/{far.pk}/").status_code == 404


def test_roles_beyond_ones_reach_are_counted_and_not_named(signed_in, keeper, mailbox):
    other = make_connection("other")
    nia = make_person("near@yourteam.example", "Nia Near", "reviewer", mailbox=mailbox)
    Grant.objects.create(person=nia, role="admin", connection=other)
    for path in ("/people/", f"/people/{nia.pk}/"):
        page = text_of(signed_in(keeper).get(path))
        assert "Gateway other" not in page
        assert "Reviewer of support@yourteam.example" in page


def test_auditor_reads_and_finds_no_button(signed_in, auditor, reviewer):
    client = signed_in(auditor)
    for path in ("/people/", f"/people/{reviewer.pk}/"):
        answer = client.get(path)
        assert answer.status_code == 200
        forms = re.findall(r'<form[^>]*action="([^"]+)"', answer.content.decode())
        assert forms == ["/accounts/logout/"]
    assert client.get("/people/invite/").status_code == 403
    answer = client.post(f"/people/{reviewer.pk}/deactivate/")
    assert answer.status_code == 403
    assert Person.objects.get(pk=reviewer.pk).is_active


@pytest.mark.parametrize("role", ["admin", "auditor"])
def test_rail_leads_to_people_whom_they_concern(signed_in, role, reviewer):
    who = make_person("w@yourteam.example", "W", role)
    assert 'href="/people/"' in signed_in(who).get("/queue/").content.decode()
    assert 'href="/people/"' not in signed_in(reviewer).get("/queue/").content.decode()


CHANGES = {
    "roles/add/": {"role": "auditor", "place": "all"},
    "roles/remove/": {"grant": "1"},
    "deactivate/": {},
    "reactivate/": {},
    "password/": {},
    "discord/remove/": {"account": "1"},
}


@pytest.mark.parametrize("what", CHANGES)
def test_change_asks_first_whoever_signed_in_a_while_ago(signed_in, admin, reviewer, what):
    before = Entry.objects.count()
    answer = signed_in(admin, minutes=11).post(f"/people/{reviewer.pk}/{what}", CHANGES[what])
    assert answer.status_code == 302
    assert answer["Location"].startswith(reverse("account_reauthenticate"))
    assert Person.objects.get(pk=reviewer.pk).is_active
    assert (Grant.objects.filter(person=reviewer).count(), Invitation.objects.count()) == (1, 0)
    assert Entry.objects.filter(action__startswith="person.").count() <= before + 1


def test_inviting_asks_first_whoever_signed_in_a_while_ago(signed_in, admin):
    fields = {"email": "new@yourteam.example", "roles": "reviewer", "place": "all"}
    answer = signed_in(admin, minutes=11).post("/people/invite/", fields)
    assert answer["Location"].startswith(reverse("account_reauthenticate"))
    assert not Invitation.objects.exists()


def test_page_of_a_person_tells_what_they_did_as_far_as_one_sees(signed_in, admin, reviewer):
    signed_in(reviewer)
    page = text_of(signed_in(admin).get(f"/people/{reviewer.pk}/"))
    assert "Ana Ferreira signed in" in page
