"""The pages of people: who sees whom, their content, and that each change requires
reauthentication.
"""

import re
from datetime import timedelta

import pytest

from common.actors import Role
from people.invitations.links import invite
from people.models import Grant
from people.roles import GrantTarget
from tests.factories import actor_of, make_connection, make_person
from tests.markup import text_of


def names_in(answer):
    found = re.findall(
        r'class="text-link name" href="/people/\d+/">(.+?)</a>', answer.text
    )
    return {re.sub("<[^>]+>", "", one) for one in found}


def test_list_shows_everybody_with_their_roles_and_searches_names_and_addresses(
    signed_in, admin, reviewer, auditor, keeper
):
    client = signed_in(admin)
    answer = client.get("/people/")
    assert names_in(answer) == {
        "Ida Lindqvist",
        "Ana Ferreira",
        "Max Weber",
        "Kim Keeper",
    }
    page = text_of(answer)
    assert "Reviewer of everything" in page
    assert "Admin of support@yourteam.example" in page
    assert names_in(client.get("/people/?q=MAX@")) == {"Max Weber"}
    assert "No person matches" in client.get("/people/?q=zz<b>").text


@pytest.mark.slow
def test_list_asks_as_little_of_the_database_for_many_people_as_for_one(
    signed_in, admin, connection, django_assert_max_num_queries
):
    roles = [(Role.REVIEWER, GrantTarget(connection=connection.pk))]
    lasts = timedelta(days=1)
    for number in range(3):
        make_person(
            f"p{number}@yourteam.example",
            f"P {number}",
            "reviewer",
            connection=connection,
        )
        email = f"i{number}@yourteam.example"
        invite(
            actor=actor_of(admin),
            email=email,
            name="",
            roles=roles,
            lasts=lasts,
        )
    client = signed_in(admin)
    with django_assert_max_num_queries(21):
        assert client.get("/people/").content.count(b'id="invitation-') == 3


def test_admin_of_a_mailbox_sees_who_reaches_it_and_neither_others_nor_their_other_roles(
    signed_in, keeper, reviewer, connection, mailbox
):
    other = make_connection("other")
    far = make_person(
        "far@yourteam.example", "Fay Faraway", "reviewer", connection=other
    )
    make_person(
        "whole@yourteam.example", "Wim Whole", "reviewer", connection=connection
    )
    near = make_person("near@yourteam.example", "Nia Near", "reviewer", mailbox=mailbox)
    Grant.objects.create(person=near, role="admin", connection=other)
    client = signed_in(keeper)
    answer = client.get("/people/")
    assert names_in(answer) == {"Kim Keeper", "Ana Ferreira", "Wim Whole", "Nia Near"}
    assert client.get(f"/people/{far.pk}/").status_code == 404
    for page in (text_of(answer), text_of(client.get(f"/people/{near.pk}/"))):
        assert "Gateway other" not in page
        assert "Reviewer of support@yourteam.example" in page
