"""One-time links: made by whoever may give what they carry, used once, by the address
they are for (line 46).

The first admin of a desk has one from the command line.
"""

import io
import logging
import re
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.db.models.functions import Now
from django.test import Client
from django.urls import reverse

from audit.models import Entry, EntryDetail
from common.actors import Actor, Role
from people.accounts.profile import change_password
from people.errors import LinkNotGood, NotYours
from people.invitations.links import (
    DAYS,
    invite,
    join,
    make_password_link,
    read_link,
    set_password,
)
from people.models import Grant, Invitation, Person
from people.roles import GrantTarget, take_role
from tests.factories import actor_of, change_row, make_person, rolled_back
from tests.integration.deciding import at_once
from tests.ledger import latest_details
from tests.markup import compact, leads_to, says
from tests.signing import give_app, resume

NEW = "new@yourteam.example"
PASSWORD = "a gannet counts slow wagons"
TYPED = {"password": PASSWORD, "password_again": PASSWORD}
# A name of which nothing can be seen.
BLANK = {"name": "\u200b\u3164 \u2800"}
ANYBODY = Actor(kind="anonymous", id="", label="somebody", surface="web")


def post_invitation(client, **fields):
    """Invite on the page, and return the response and the path of the link."""
    wanted = {
        "email": NEW,
        "name": "Nora New",
        "roles": ["reviewer"],
        "place": "all",
        **fields,
    }
    answer = client.post("/people/invite/", wanted)
    found = re.search(
        r'class="secret"[^>]*>https?://[^/]+(/join/[\w-]+/)<', answer.text
    )
    return answer, found[1] if found else ""


def token_in(made):
    return made.url.rstrip("/").rpartition("/")[2]


def link_of(person, *, email=NEW):
    """Make a link by the command, and return its token."""
    wanted = {"roles": [(Role.REVIEWER, GrantTarget())], "lasts": timedelta(days=DAYS)}
    made = invite(actor=actor_of(person), email=email, name="", **wanted)
    return token_in(made)


def use(token, name="Nora New"):
    return join(token=token, name=name, password=PASSWORD, actor=ANYBODY)


def is_good(token):
    try:
        return bool(read_link(token))
    except LinkNotGood:
        return False


def post(path, client=None, **fields):
    return (client or Client()).post(path, {"name": "Nora New", **TYPED, **fields})


def test_invited_person_joins_with_the_roles_of_the_link_and_is_signed_in(
    signed_in, admin, caplog
):
    caplog.set_level(logging.DEBUG)
    made, path = post_invitation(signed_in(admin), roles=["reviewer", "auditor"])
    entries = Entry.objects.count()
    guest = Client()
    token = path.split("/")[2]
    # Opening it changes nothing.
    says(guest.get(path), 200, NEW, "Ida Lindqvist")
    assert Entry.objects.count() == entries
    for wrong in (
        dict.fromkeys(TYPED, "short"),
        {"password_again": "x"},
        {"name": ""},
        BLANK,
    ):
        says(post(path, guest, **wrong), 422, 'aria-invalid="true"')
    assert leads_to(post(path, guest)) == "/"
    nora = Person.objects.get(email=NEW)
    assert {one.role for one in nora.grants.all()} == {"reviewer", "auditor"}
    assert nora.check_password(PASSWORD)
    assert latest_details("person.joined")["invited_by"] == "Ida Lindqvist"
    # A person who just joined is recently authenticated.
    Grant.objects.create(person=nora, role="admin")
    assert post_invitation(guest, email="third@yourteam.example")[0].status_code == 200

    # The token is only in the link.
    assert made.text.count(token) == 1
    details = list(EntryDetail.objects.values_list("fields", flat=True))
    assert token not in f"{list(Invitation.objects.values())} {details} {caplog.text}"


def test_link_that_is_over_answers_alike_whatever_the_reason(admin, client):
    ends = {
        "used": use,
        "withdrawn": lambda _: Invitation.objects.update(withdrawn_at=Now()),
        "too late": lambda _: Invitation.objects.update(expires_at=Now()),
    }
    for how, end in ends.items():
        with rolled_back():
            token = link_of(admin)
            end(token)
            assert not is_good(token), how
            with pytest.raises(LinkNotGood):
                use(token, "Thief")
            paths = (f"/join/{token}/", f"/join/{'n' * 43}/")
            pages = [*map(client.get, paths), post(paths[0], name="Thief")]
            assert {page.status_code for page in pages} == {404}, how
            assert len({compact(page.text) for page in pages}) == 1, how


def test_link_is_bound_to_its_address_and_whatever_else_is_posted_has_no_effect(
    signed_in, admin
):
    grants = '[{"role": "admin", "connection": null, "mailbox": null}]'
    _, path = post_invitation(
        signed_in(admin),
        kind="password",
        person=str(admin.pk),
        invited_by="",
        grants=grants,
        expires_at="2999-1-1",
    )
    one = Invitation.objects.get()
    assert (one.kind, one.person_id, one.invited_by_id) == ("join", None, admin.pk)
    assert one.grants == [{"role": "reviewer", "connection": None, "mailbox": None}]
    assert one.expires_at - one.created_at == timedelta(days=DAYS)
    thief = {"email": "thief@evil.example", "is_active": "", "grants": grants}
    post(path, **thief, roles="admin", role="admin")
    nora = Person.objects.exclude(pk=admin.pk).get()
    assert (nora.email, nora.is_active) == (NEW, True)
    assert [one.role for one in nora.grants.all()] == ["reviewer"]


@pytest.mark.slow
def test_account_of_the_address_accepts_by_signing_in_and_confirming(
    signed_in, admin, reviewer, connection
):
    ben = make_person("ben@yourteam.example", "Ben", "reviewer", connection=connection)
    wanted = {"email": "BEN@yourteam.example", "roles": ["auditor"]}
    _, path = post_invitation(signed_in(admin), **wanted)
    assert "/accounts/login/?next=" in Client().get(path).text
    assert post(path).status_code == 403
    # Nor can anybody else who is signed in.
    assert signed_in(reviewer).post(path).status_code == 403
    own = signed_in(ben)
    own.get(path)
    assert ben.grants.count() == 1
    assert own.post(path).status_code == 302
    assert {one.role for one in ben.grants.all()} == {"reviewer", "auditor"}
    assert ben.check_password("correct horse battery")


def test_admin_of_a_mailbox_invites_into_it_and_nowhere_else(
    signed_in, admin, keeper, mailbox
):
    client = signed_in(keeper)
    whole = f"connection-{mailbox.connection_id}"
    assert post_invitation(client, place=whole)[0].status_code == 422
    assert not Invitation.objects.exists()
    _, path = post_invitation(client, place=f"mailbox-{mailbox.pk}")
    assert use(path.split("/")[2]).grants.get().mailbox == mailbox
    with pytest.raises(NotYours):
        link_of(keeper, email="x@yourteam.example")
    # They cannot see an invitation of another scope.
    link_of(admin, email="y@yourteam.example")
    one = Invitation.objects.latest("pk")
    assert client.post(f"/people/invitations/{one.pk}/withdraw/").status_code == 404


def test_nobody_invites_themselves_or_a_deactivated_account(signed_in, admin, reviewer):
    token = link_of(admin, email=reviewer.email)
    answer, _ = post_invitation(signed_in(admin), email="Ida@yourteam.example")
    assert answer.status_code == 403
    change_row(reviewer, is_active=False)
    assert not is_good(token)
    with pytest.raises(NotYours, match="is deactivated"):
        link_of(admin, email=reviewer.email)


def test_link_grants_nothing_that_its_creator_may_no_longer_grant(admin):
    other = make_person("otto@yourteam.example", "Otto", "admin")
    of_other = link_of(other)
    first = link_of(admin)
    second = link_of(admin)
    # An earlier link by the same creator is void, one by another is not.
    assert is_good(of_other)
    assert not is_good(first)
    Grant.objects.filter(person=other).delete()
    assert not is_good(of_other)
    assert is_good(second)


def test_role_that_was_taken_does_not_come_back_with_an_open_invitation(
    admin, reviewer
):
    link_of(admin, email=reviewer.email)
    grant = reviewer.grants.get()
    take_role(actor=actor_of(admin), person_id=reviewer.pk, grant_id=grant.pk)
    assert not Invitation.objects.good().exists()


def test_password_link_sets_it_ends_all_sessions_and_signs_nobody_in(
    signed_in, admin, reviewer
):
    give_app(reviewer)
    theirs = resume(Client(), reviewer)
    guest = Client()
    answer = signed_in(admin).post(f"/people/{reviewer.pk}/password/")
    path = re.search(r"(/join/[\w-]+/)<", answer.text)[1]
    assert guest.post(path, TYPED).status_code == 200
    reviewer.refresh_from_db()
    assert reviewer.check_password(PASSWORD)
    for client in (theirs, guest):
        assert client.get("/queue/").status_code == 302
    assert guest.get(path).status_code == 404
    assert latest_details("person.password_changed")["link_by"] == "Ida Lindqvist"
    # The second factor stays and is still required.
    typed = {"login": reviewer.email, "password": PASSWORD}
    step = leads_to(guest.post("/accounts/login/", typed))
    assert step.startswith(reverse("mfa_authenticate"))


def test_open_password_link_ends_when_the_person_changes_the_password(admin, reviewer):
    made = make_password_link(actor=actor_of(admin), person_id=reviewer.pk)
    path = f"/join/{token_in(made)}/"
    assert Client().get(path).status_code == 200
    change_password(actor=actor_of(reviewer), password=PASSWORD, this_key="")
    assert Client().get(path).status_code == 404


def test_password_link_works_only_while_its_creator_administers_the_person(
    admin, connection
):
    kim = make_person("kim@yourteam.example", "Kim", "admin", connection=connection)
    ben = make_person("ben@yourteam.example", "Ben", "reviewer", connection=connection)
    with pytest.raises(NotYours):
        make_password_link(actor=actor_of(kim), person_id=admin.pk)
    made = make_password_link(actor=actor_of(kim), person_id=ben.pk)
    Grant.objects.create(person=ben, role="reviewer")
    with pytest.raises(LinkNotGood):
        set_password(token=token_in(made), password=PASSWORD, actor=ANYBODY)
    ben.refresh_from_db()
    assert ben.check_password("correct horse battery")


def first_admin(email):
    """Run the command, and return the token of the link that it prints."""
    out = io.StringIO()
    call_command("first_admin", email=email, stdout=out)
    return re.search(r"https?://[^/\s]+/join/(\S+)/", out.getvalue())[1]


def test_first_admin_joins_only_by_the_newest_link_and_only_while_there_is_none(admin):
    with pytest.raises(CommandError, match="Ida Lindqvist is already admin"):
        first_admin("eva@x.example")
    assert not Invitation.objects.exists()
    Person.objects.update(is_active=False)
    first, newest = (first_admin(one) for one in ("eva@x.example", "Adam@Example.com"))
    assert not is_good(first)
    with rolled_back():
        assert post(f"/join/{newest}/")["Location"] == "/setup/"
        assert Person.objects.filter(email="adam@example.com").exists()
        assert latest_details("person.joined")["invited_by"] == "an operator"
    make_person("otto@yourteam.example", "Otto", "admin")
    assert not is_good(newest)


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_of_two_who_use_a_link_at_once_one_joins(admin):
    token = link_of(admin)
    ends = at_once(lambda: use(token, "First"), lambda: use(token, "Second"))
    assert [isinstance(end, LinkNotGood) for end in ends].count(True) == 1
    assert Person.objects.filter(email=NEW).count() == 1
