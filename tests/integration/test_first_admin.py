"""The first admin of a desk: a one-time link on the command line, no password, and never beside an admin."""

import io
import re

import pytest
from django.core.management import CommandError, call_command

from audit.models import EntryDetail
from people.actors import Actor
from people.errors import LinkNotGood
from people.joining import join, read_link
from people.models import Invitation, Person
from tests.factories import make_person, rolled_back

pytestmark = pytest.mark.django_db

PASSWORD = "a gannet counts slow wagons"


def first_admin(email="eva@example.com"):
    """Run the command, and return what it printed and the token of its link."""
    out = io.StringIO()
    call_command("first_admin", email=email, stdout=out)
    return out.getvalue(), re.search(r"https?://[^/\s]+/join/(\S+)/", out.getvalue())[1]


def use(token):
    anybody = Actor(kind="anonymous", id="", label="somebody", surface="web")
    return join(token=token, name="Adam", password=PASSWORD, actor=anybody)


def test_link_makes_an_admin_who_also_reviews_and_leads_to_the_set_up(client):
    printed, token = first_admin("Eva <Eva@Example.com>")
    assert "24 hours" in printed
    fields = {"name": "Eva Novak", "password": PASSWORD, "password_again": PASSWORD}
    answer = client.post(f"/join/{token}/", fields)
    assert (answer.status_code, answer["Location"]) == (302, "/setup/")
    assert client.get("/people/").status_code == 200
    eva = Person.objects.get(email="eva@example.com")
    assert {one.role for one in eva.grants.all()} == {"admin", "reviewer"}
    assert eva.check_password(PASSWORD)
    assert EntryDetail.objects.get(entry__action="person.joined").fields["invited_by"] == "an operator"


def test_newest_link_alone_is_good_and_none_once_somebody_else_is_admin():
    _, first = first_admin("eva@example.com")
    _, second = first_admin("eva@example.com")
    _, third = first_admin("adam@example.com")
    for token in (first, second):
        with pytest.raises(LinkNotGood):
            read_link(token)
    with rolled_back():
        assert use(third) == Person.objects.admins_of_all().get()
    make_person("ida@yourteam.example", "Ida", "admin")
    with pytest.raises(LinkNotGood):
        use(third)


def test_command_refuses_beside_an_admin_who_is_active_and_says_what_to_do(admin):
    with pytest.raises(CommandError, match=r"Ida Lindqvist is admin already.*People.*changepassword ida@"):
        first_admin()
    assert not Invitation.objects.exists()
    Person.objects.update(is_active=False)
    _, token = first_admin()
    assert use(token).is_active


def test_what_is_no_address_is_said():
    for email, words in (("", "Say whose link it is"), ("eva", "is not an email address")):
        with pytest.raises(CommandError, match=words):
            first_admin(email)
