"""The first admin of a desk: a one-time link on the command line, no password, and never beside an admin."""

import io
import re

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from audit.models import EntryDetail
from people.models import Invitation, Person
from tests.factories import make_person

pytestmark = pytest.mark.django_db

PASSWORD = "a gannet counts slow wagons"


def first_admin(email="eva@example.com", **options):
    """Run the command, and return what it printed and the path of its link."""
    out = io.StringIO()
    call_command("first_admin", email=email, stdout=out, **options)
    return out.getvalue(), re.search(r"https?://[^/\s]+(/join/\S+/)", out.getvalue())[1]


def join(path, client=None):
    fields = {"name": "Eva Novak", "password": PASSWORD, "password_again": PASSWORD}
    return (client or Client()).post(path, fields)


def test_link_makes_an_admin_who_also_reviews_and_leads_to_the_set_up(client):
    printed, path = first_admin("Eva <Eva@Example.com>")
    assert "24 hours" in printed
    answer = join(path, client)
    assert (answer.status_code, answer["Location"]) == (302, "/setup/")
    assert client.get("/people/").status_code == 200
    eva = Person.objects.get(email="eva@example.com")
    assert {one.role for one in eva.grants.all()} == {"admin", "reviewer"}
    assert eva.check_password(PASSWORD)
    told = EntryDetail.objects.get(entry__action="person.joined").fields
    assert told["invited_by"] == "an operator"


def test_run_again_before_it_was_used_the_earlier_link_is_void():
    _, first = first_admin()
    _, second = first_admin()
    assert [Client().get(path).status_code for path in (first, second)] == [404, 200]


def test_run_for_another_address_only_that_one_becomes_the_first_admin():
    _, first = first_admin("eva@example.com")
    _, second = first_admin("adam@example.com")
    assert join(first).status_code == 404
    assert join(second).status_code == 302
    assert Person.objects.admins_of_all().count() == 1


def test_link_is_void_once_somebody_else_is_admin():
    _, path = first_admin()
    make_person("ida@yourteam.example", "Ida", "admin")
    assert join(path).status_code == 404


def test_it_refuses_beside_an_admin_and_says_what_to_do(admin):
    with pytest.raises(CommandError, match=r"Ida Lindqvist is admin already.*People.*changepassword ida@"):
        first_admin()
    assert not Invitation.objects.exists()


def test_deactivated_admin_does_not_stand_in_the_way(admin):
    Person.objects.update(is_active=False)
    _, path = first_admin()
    assert join(path).status_code == 302


@pytest.mark.parametrize(("email", "said"), [("", "Say whose link it is"), ("eva", "is not an email address")])
def test_what_is_no_address_is_said(email, said):
    with pytest.raises(CommandError, match=said):
        first_admin(email)
