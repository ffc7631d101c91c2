"""One-time links: made by whoever may give what they carry, used once, by the address they are for (line 46)."""

import logging
import re
import threading
from datetime import timedelta

import pytest
from allauth.mfa.models import Authenticator
from django.db import connections
from django.db.models.functions import Now
from django.test import Client
from django.urls import reverse

from approvals.models import Mailbox
from audit.models import Entry, EntryDetail
from people.actors import Actor, Role
from people.errors import LinkNotGood, NotYours
from people.inviting import DAYS, invite
from people.joining import join, read_link
from people.models import Grant, Invitation, Person, RoleRule
from people.reach import Place
from tests.factories import make_person

pytestmark = pytest.mark.django_db

PASSWORD = "a gannet counts slow wagons"
ANYBODY = Actor(kind="anonymous", id="", label="somebody", surface="web")


def made_by(client, **fields):
    """Invite on the page, and return the answer with the path of the link that it shows."""
    wanted = {"email": "new@yourteam.example", "name": "Nora New", "roles": ["reviewer"], "place": "all", **fields}
    answer = client.post("/people/invite/", wanted)
    found = re.search(r'id="made-link"[^>]*>https?://[^/]+(/join/[\w-]+/)<', answer.content.decode())
    return answer, found[1] if found else ""


def fields(**more):
    return {"name": "Nora New", "password": PASSWORD, "password_again": PASSWORD, **more}


def link_of(person, **options):
    """Make a link by the command, and return its token."""
    wanted = {
        "email": "new@yourteam.example",
        "name": "",
        "roles": [(Role.REVIEWER, Place())],
        "lasts": timedelta(days=DAYS),
        **options,
    }
    made = invite(actor=person.actor(surface="web"), **wanted)
    return made.url.rstrip("/").rpartition("/")[2]


def told(action):
    return EntryDetail.objects.filter(entry__action=action).latest("entry").fields


def test_invited_person_joins_with_the_roles_of_the_link_and_is_signed_in(signed_in, admin, client):
    _, path = made_by(signed_in(admin), roles=["reviewer", "auditor"])
    guest = Client()
    page = guest.get(path).content.decode()
    assert "new@yourteam.example" in page
    assert "Ida Lindqvist" in page
    answer = guest.post(path, fields())
    assert (answer.status_code, answer["Location"]) == (302, "/")
    nora = Person.objects.get(email="new@yourteam.example")
    assert {(one.role, one.connection, one.mailbox) for one in nora.grants.all()} == {
        ("reviewer", None, None),
        ("auditor", None, None),
    }
    assert guest.get("/queue/").status_code == 200
    assert nora.check_password(PASSWORD)
    assert told("person.invited")["roles"] == "reviewer of everything, auditor of everything"
    assert told("person.joined") | {"invited_by": "Ida Lindqvist", "email": "new@yourteam.example"} == told(
        "person.joined"
    )


def test_whoever_just_joined_need_not_confirm_who_they_are(signed_in, admin):
    _, path = made_by(signed_in(admin), roles=["admin"])
    guest = Client()
    guest.post(path, fields())
    answer, _ = made_by(guest, email="third@yourteam.example")
    assert answer.status_code == 200


def test_opening_a_link_changes_nothing_however_often(signed_in, admin):
    _, path = made_by(signed_in(admin))
    entries = Entry.objects.count()
    for _ in range(3):
        for method in (Client().get, Client().head):
            assert method(path).status_code == 200
    assert Entry.objects.count() == entries
    assert not Person.objects.filter(email="new@yourteam.example").exists()
    assert Client().post(path, fields()).status_code == 302


def over(path, how):
    token_of = Invitation.objects.order_by("-pk")
    if how == "used":
        Client().post(path, fields())
    elif how == "withdrawn":
        token_of.update(withdrawn_at=Now())
    elif how == "too late":
        token_of.update(expires_at=Now())
    return path if how != "unknown" else f"/join/{'x' * 43}/"


@pytest.mark.proves("security 46")
@pytest.mark.parametrize("how", ["used", "withdrawn", "too late", "unknown"])
def test_link_that_is_over_answers_alike_whatever_the_reason(signed_in, admin, how):
    _, path = made_by(signed_in(admin))
    gone = over(path, how)
    never = Client().get(f"/join/{'n' * 43}/")
    people = Person.objects.count()
    for answer in (Client().get(gone), Client().post(gone, fields(name="Thief"))):
        assert answer.status_code == 404
        assert "This link is over" in answer.content.decode()
        assert answer.content == never.content
    assert Person.objects.count() == people


@pytest.mark.proves("security 46")
def test_link_is_bound_to_its_address(signed_in, admin):
    """Line 50: whatever else is posted has no effect."""
    _, path = made_by(signed_in(admin))
    more = {
        "email": "thief@evil.example",
        "is_active": "",
        "grants": '[{"role":"admin"}]',
        "roles": "admin",
        "role": "admin",
    }
    Client().post(path, fields(**more))
    nora = Person.objects.get(email="new@yourteam.example")
    assert not Person.objects.filter(email__contains="evil").exists()
    assert nora.is_active
    assert [one.role for one in nora.grants.all()] == ["reviewer"]


@pytest.mark.proves("security 50")
def test_posting_more_than_the_form_asks_changes_nothing_of_an_invitation(signed_in, admin):
    more = {
        "kind": "password",
        "person": str(admin.pk),
        "token_hash": "0" * 64,
        "invited_by": "",
        "expires_at": "2999-1-1",
    }
    made_by(signed_in(admin), **more, grants='[{"role": "admin", "connection": null, "mailbox": null}]')
    one = Invitation.objects.get()
    assert (one.kind, one.person_id, one.invited_by_id) == ("join", None, admin.pk)
    assert one.grants == [{"role": "reviewer", "connection": None, "mailbox": None}]
    assert one.token_hash != "0" * 64
    assert one.expires_at - one.created_at == timedelta(days=DAYS)


@pytest.mark.proves("security 46")
@pytest.mark.django_db(transaction=True)
def test_of_two_who_use_a_link_at_once_one_joins(admin):
    token = link_of(admin)
    barrier, ends = threading.Barrier(2), []

    def use(name):
        barrier.wait()
        try:
            ends.append(join(token=token, name=name, password=PASSWORD, actor=ANYBODY).name)
        except LinkNotGood:
            ends.append("not good")
        connections.close_all()

    threads = [threading.Thread(target=use, args=(name,)) for name in ("First", "Second")]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert sorted(ends, key=lambda end: end == "not good")[1] == "not good"
    assert Person.objects.filter(email="new@yourteam.example").count() == 1
    assert Entry.objects.filter(action="person.joined").count() == 1


def test_token_is_nowhere_but_in_the_link(signed_in, admin, caplog):
    with caplog.at_level(logging.DEBUG):
        answer, path = made_by(signed_in(admin))
        token = path.split("/")[2]
        Client().get(path)
        Client().post(path, fields())
        Client().get(path)
    assert len(token) == 43
    assert answer.content.decode().count(token) == 1
    assert answer["Referrer-Policy"] == "same-origin"
    kept = str(list(Invitation.objects.values())) + str(list(EntryDetail.objects.values_list("fields", flat=True)))
    assert token not in kept
    assert token not in caplog.text


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"password": "short", "password_again": "short"}, "too short"),
        ({"password": "passwordpassword", "password_again": "passwordpassword"}, "guess"),
        ({"password_again": "another one altogether"}, "not the same"),
        ({"name": ""}, "what you are called"),
    ],
)
def test_what_is_wrong_is_said_at_its_field_and_the_link_stays_good(signed_in, admin, wrong, said):
    _, path = made_by(signed_in(admin))
    answer = Client().post(path, fields(**wrong))
    page = answer.content.decode()
    assert answer.status_code == 422
    assert said in page
    assert 'aria-invalid="true"' in page
    assert PASSWORD not in page
    assert Client().post(path, fields()).status_code == 302


def test_account_of_the_address_accepts_by_signing_in_and_confirming(signed_in, admin, connection):
    ben = make_person("ben@yourteam.example", "Ben", "reviewer", connection=connection)
    _, path = made_by(signed_in(admin), email="BEN@yourteam.example", roles=["auditor"])
    guest = Client()
    page = guest.get(path).content.decode()
    assert 'href="/accounts/login/?next=/join/' in page.replace("%2F", "/")
    assert guest.post(path, fields()).status_code == 403
    assert ben.grants.count() == 1
    own = signed_in(ben)
    assert "Accept" in own.get(path).content.decode()
    assert ben.grants.count() == 1
    assert own.post(path).status_code == 302
    assert {one.role for one in ben.grants.all()} == {"reviewer", "auditor"}
    assert told("person.grants_changed")["after"] == "auditor of everything, reviewer of Gateway main"
    assert ben.check_password("correct horse battery")
    assert own.post(path).status_code == 404


def test_whoever_else_is_signed_in_is_told_for_whom_it_is(signed_in, admin, reviewer):
    _, path = made_by(signed_in(admin))
    client = signed_in(reviewer)
    assert "You are signed in as" in client.get(path).content.decode()
    assert client.post(path, fields()).status_code == 403
    assert not Person.objects.filter(email="new@yourteam.example").exists()
    assert Client().post(path, fields()).status_code == 302


def test_admin_of_a_mailbox_invites_into_it_and_nowhere_else(signed_in, connection):
    mailbox = Mailbox.objects.get(connection=connection)
    kim = make_person("kim@yourteam.example", "Kim", "admin", mailbox=mailbox)
    client = signed_in(kim)
    page = client.get("/people/invite/").content.decode()
    assert re.findall(r'<option value="([^"]+)"', page) == [f"mailbox-{mailbox.pk}"]
    for place in ("all", f"connection-{connection.pk}", "mailbox-999999"):
        answer, _ = made_by(client, place=place)
        assert (answer.status_code, Invitation.objects.count()) == (422, 0)
    _, path = made_by(client, place=f"mailbox-{mailbox.pk}")
    Client().post(path, fields())
    assert Grant.objects.get(person__email="new@yourteam.example").mailbox == mailbox
    with pytest.raises(NotYours):
        link_of(kim, email="x@yourteam.example")


def test_nobody_invites_themselves(signed_in, admin):
    answer, path = made_by(signed_in(admin), email="Ida@yourteam.example", roles=["reviewer"])
    assert (answer.status_code, path) == (403, "")
    assert "your own address" in answer.content.decode()


def test_link_carries_nothing_that_its_maker_may_not_give_any_more(admin):
    other = make_person("otto@yourteam.example", "Otto", "admin")
    token = link_of(other)
    assert read_link(token).roles
    Grant.objects.filter(person=other).delete()
    with pytest.raises(LinkNotGood):
        read_link(token)
    assert Client().post(f"/join/{token}/", fields()).status_code == 404


def test_earlier_link_of_the_same_maker_is_void_and_of_another_stays(signed_in, admin):
    other = make_person("otto@yourteam.example", "Otto", "admin")
    of_other = f"/join/{link_of(other)}/"
    _, first = made_by(signed_in(admin))
    _, second = made_by(signed_in(admin))
    assert [Client().get(path).status_code for path in (first, second, of_other)] == [404, 200, 200]


def test_withdrawn_on_the_list_and_made_anew(signed_in, admin):
    client = signed_in(admin)
    _, path = made_by(client)
    one = Invitation.objects.get()
    assert f'id="invitation-{one.pk}"' in client.get("/people/").content.decode()
    answer = client.post(f"/people/invitations/{one.pk}/anew/")
    anew = re.search(r"(/join/[\w-]+/)<", answer.content.decode())[1]
    assert [Client().get(of).status_code for of in (path, anew)] == [404, 200]
    newest = Invitation.objects.latest("pk")
    assert newest.grants == one.grants
    client.post(f"/people/invitations/{newest.pk}/withdraw/")
    assert Client().get(anew).status_code == 404
    assert "Open invitations" in client.get("/people/").content.decode()
    assert told("person.invitation_withdrawn")["email"] == "new@yourteam.example"


def test_invitation_of_another_reach_does_not_exist(signed_in, admin, connection):
    kim = make_person("kim@yourteam.example", "Kim", "admin", mailbox=Mailbox.objects.get(connection=connection))
    link_of(admin)
    one = Invitation.objects.get()
    client = signed_in(kim)
    assert "new@yourteam.example" not in client.get("/people/").content.decode()
    assert client.post(f"/people/invitations/{one.pk}/withdraw/").status_code == 404
    assert client.post(f"/people/invitations/{one.pk}/anew/").status_code == 404
    assert Invitation.objects.good().count() == 1


def password_link(client, person):
    answer = client.post(f"/people/{person.pk}/password/")
    found = re.search(r"(/join/[\w-]+/)<", answer.content.decode())
    return answer, found[1] if found else ""


def test_password_link_sets_it_ends_all_sessions_and_signs_nobody_in(signed_in, admin, reviewer):
    theirs = Client()
    theirs.force_login(reviewer, backend="people.backend.PersonBackend")
    _, path = password_link(signed_in(admin), reviewer)
    assert theirs.get("/queue/").status_code == 200
    guest = Client()
    answer = guest.post(path, {"password": PASSWORD, "password_again": PASSWORD})
    assert "Your password is set" in answer.content.decode()
    reviewer.refresh_from_db()
    assert reviewer.check_password(PASSWORD)
    assert (theirs.get("/queue/").status_code, guest.get("/queue/").status_code) == (302, 302)
    assert guest.get(path).status_code == 404
    made, used = told("person.password_link_made"), told("person.password_changed")
    assert (made["actor"], made["person"]) == ("Ida Lindqvist", "Ana Ferreira")
    assert (used["actor"], used["link_by"]) == ("Ana Ferreira", "Ida Lindqvist")


def test_password_link_leaves_the_second_factor_which_is_still_asked_for(signed_in, admin, reviewer):
    Authenticator.objects.create(user=reviewer, type="totp", data={"secret": "JBSWY3DPEHPK3PXP"})
    _, path = password_link(signed_in(admin), reviewer)
    guest = Client()
    guest.post(path, {"password": PASSWORD, "password_again": PASSWORD})
    assert Authenticator.objects.filter(user=reviewer, type="totp").count() == 1
    answer = guest.post("/accounts/login/", {"login": reviewer.email, "password": PASSWORD})
    assert (answer.status_code, answer["Location"].split("?")[0]) == (302, reverse("mfa_authenticate"))
    assert guest.get("/queue/").status_code == 302


def test_joining_as_what_needs_a_second_factor_leads_to_setting_one_up(signed_in, admin):
    RoleRule.objects.create(role="auditor", needs_second_factor=True)
    _, path = made_by(signed_in(admin), roles=["auditor"])
    guest = Client()
    assert guest.post(path, fields()).status_code == 302
    assert guest.get("/queue/")["Location"].startswith(reverse("factors"))


def test_deactivated_address_is_not_invited_and_no_link_lets_it_in(signed_in, admin, reviewer):
    client = signed_in(admin)
    _, path = made_by(client, email=reviewer.email, roles=["auditor"])
    Person.objects.filter(pk=reviewer.pk).update(is_active=False)
    assert Client().get(path).status_code == 404
    answer, _ = made_by(client, email=reviewer.email)
    assert answer.status_code == 403
    assert "is deactivated" in answer.content.decode()


def test_password_link_of_somebody_with_more_roles_is_refused(signed_in, admin, connection):
    kim = make_person("kim@yourteam.example", "Kim", "admin", connection=connection)
    answer, path = password_link(signed_in(kim), admin)
    assert (answer.status_code, path) == (403, "")
    assert not Invitation.objects.exists()


def test_password_link_is_void_once_its_maker_does_not_cover_the_person(signed_in, connection):
    kim = make_person("kim@yourteam.example", "Kim", "admin", connection=connection)
    ben = make_person("ben@yourteam.example", "Ben", "reviewer", connection=connection)
    _, path = password_link(signed_in(kim), ben)
    Grant.objects.create(person=ben, role="reviewer")
    assert Client().post(path, {"password": PASSWORD, "password_again": PASSWORD}).status_code == 404
    ben.refresh_from_db()
    assert ben.check_password("correct horse battery")
