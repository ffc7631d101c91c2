"""One-time links: made by whoever may give what they carry, used once, by the address
they are for (line 46).

The first admin of a desk has one from the command line.
"""

import io
import logging
import re
from datetime import timedelta

import pytest
from allauth.mfa.models import Authenticator
from django.core.management import CommandError, call_command
from django.db.models.functions import Now
from django.test import Client
from django.urls import reverse

from audit.models import Entry, EntryDetail
from common.actors import Actor, Role
from dashboard.management.commands import prepare
from launcher.welcome import FIRST_RUN
from mirror.models import Mailbox
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
from people.roles.targets import GrantTarget
from tests.factories import make_person, rolled_back
from tests.integration.deciding import at_once
from tests.ledger import latest_details
from tests.markup import compact

pytestmark = pytest.mark.django_db

NEW = "new@yourteam.example"
PASSWORD = "a gannet counts slow wagons"
TYPED = {"password": PASSWORD, "password_again": PASSWORD}
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
        r'id="made-link"[^>]*>https?://[^/]+(/join/[\w-]+/)<', answer.content.decode()
    )
    return answer, found[1] if found else ""


def token_in(made):
    return made.url.rstrip("/").rpartition("/")[2]


def link_of(person, *, email=NEW, roles=(Role.REVIEWER,)):
    """Make a link by the command, and return its token."""
    wanted = {
        "email": email,
        "name": "",
        "roles": [(role, GrantTarget()) for role in roles],
        "lasts": timedelta(days=DAYS),
    }
    return token_in(invite(actor=person.actor(surface="web"), **wanted))


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
    entries, guest, token = Entry.objects.count(), Client(), path.split("/")[2]
    # Opening it changes nothing, however often.
    assert [Client().head(path).status_code, guest.get(path).status_code] == [200, 200]
    page = guest.get(path).content.decode()
    assert (NEW in page, "Ida Lindqvist" in page) == (True, True)
    assert (Entry.objects.count(), Person.objects.filter(email=NEW).exists()) == (
        entries,
        False,
    )
    answer = post(path, guest)
    assert (answer.status_code, answer["Location"]) == (302, "/")
    nora = Person.objects.get(email=NEW)
    assert set(nora.grants.values_list("role", "connection", "mailbox")) == {
        ("reviewer", None, None), ("auditor", None, None),
    }  # fmt: skip
    assert nora.check_password(PASSWORD)
    assert (
        latest_details("person.invited")["roles"]
        == "reviewer of everything, auditor of everything"
    )
    assert (
        latest_details("person.joined").items()
        >= {"invited_by": "Ida Lindqvist", "email": NEW}.items()
    )
    # A person who just joined is recently authenticated.
    Grant.objects.create(person=nora, role="admin")
    assert post_invitation(guest, email="third@yourteam.example")[0].status_code == 200

    # The token is only in the link.
    assert (
        len(token),
        made.content.decode().count(token),
        made["Referrer-Policy"],
    ) == (43, 1, "same-origin")
    stored = [
        list(Invitation.objects.values()),
        list(EntryDetail.objects.values_list("fields", flat=True)),
    ]
    assert token not in f"{stored} {caplog.text}"


def test_link_that_is_over_answers_alike_whatever_the_reason(admin, client):
    ends = {
        "used": use,
        "withdrawn": lambda _: Invitation.objects.update(withdrawn_at=Now()),
        "too late": lambda _: Invitation.objects.update(expires_at=Now()),
    }
    for how, end in ends.items():
        with rolled_back():
            token = link_of(admin)
            assert is_good(token)
            end(token)
            assert not is_good(token), how
            with pytest.raises(LinkNotGood):
                use(token, "Thief")
    token = link_of(admin)
    use(token)
    pages = [client.get(f"/join/{one}/") for one in (token, "n" * 43)] + [
        post(f"/join/{token}/", name="Thief")
    ]
    assert [page.status_code for page in pages] == [404] * 3
    assert "This link no longer works" in pages[0].content.decode()
    assert len({compact(page.content.decode()) for page in pages}) == 1
    assert Person.objects.count() == 2


def test_link_is_bound_to_its_address_and_whatever_else_is_posted_has_no_effect(
    signed_in, admin
):
    grants = '[{"role": "admin", "connection": null, "mailbox": null}]'
    more = {
        "kind": "password",
        "person": str(admin.pk),
        "token_hash": "0" * 64,
        "invited_by": "",
        "grants": grants,
    }
    _, path = post_invitation(signed_in(admin), **more, expires_at="2999-1-1")
    one = Invitation.objects.get()
    assert (one.kind, one.person_id, one.invited_by_id) == ("join", None, admin.pk)
    assert one.grants == [{"role": "reviewer", "connection": None, "mailbox": None}]
    assert one.token_hash != "0" * 64
    assert one.expires_at - one.created_at == timedelta(days=DAYS)
    post(
        path,
        email="thief@evil.example",
        is_active="",
        grants=grants,
        roles="admin",
        role="admin",
    )
    nora = Person.objects.exclude(pk=admin.pk).get()
    assert (nora.email, nora.is_active, [one.role for one in nora.grants.all()]) == (
        NEW,
        True,
        ["reviewer"],
    )


@pytest.mark.django_db(transaction=True)
def test_of_two_who_use_a_link_at_once_one_joins(admin):
    token = link_of(admin)
    ends = at_once(lambda: use(token, "First"), lambda: use(token, "Second"))
    assert [isinstance(end, LinkNotGood) for end in ends].count(True) == 1
    assert Person.objects.filter(email=NEW).count() == 1
    assert Entry.objects.filter(action="person.joined").count() == 1


def test_errors_are_shown_at_their_fields_and_the_link_stays_valid(admin, client):
    token = link_of(admin)
    for wrong, words in (
        ({"password": "short", "password_again": "short"}, "too short"),
        (
            {"password": "passwordpassword", "password_again": "passwordpassword"},
            "guess",
        ),
        ({"password_again": "another one altogether"}, "not the same"),
        ({"name": ""}, "Enter your name"),
    ):
        answer = post(f"/join/{token}/", client, **wrong)
        page = answer.content.decode()
        assert (answer.status_code, words in page, 'aria-invalid="true"' in page) == (
            422,
            True,
            True,
        ), wrong
        assert PASSWORD not in page
    assert is_good(token)


def test_account_of_the_address_accepts_by_signing_in_and_confirming(
    signed_in, admin, reviewer, connection
):
    ben = make_person("ben@yourteam.example", "Ben", "reviewer", connection=connection)
    _, path = post_invitation(
        signed_in(admin), email="BEN@yourteam.example", roles=["auditor"]
    )
    page = Client().get(path).content.decode()
    assert 'href="/accounts/login/?next=/join/' in page.replace("%2F", "/")
    assert post(path).status_code == 403
    # Nor can anybody else who is signed in.
    other = signed_in(reviewer)
    assert "You are signed in as" in other.get(path).content.decode()
    assert other.post(path).status_code == 403
    own = signed_in(ben)
    assert "Accept" in own.get(path).content.decode()
    assert ben.grants.count() == 1
    assert own.post(path).status_code == 302
    assert {one.role for one in ben.grants.all()} == {"reviewer", "auditor"}
    assert (
        latest_details("person.grants_changed")["after"]
        == "auditor of everything, reviewer of Gateway main"
    )
    assert ben.check_password("correct horse battery")
    assert own.post(path).status_code == 404


def test_admin_of_a_mailbox_invites_into_it_and_nowhere_else(
    signed_in, admin, connection
):
    mailbox = Mailbox.objects.get(connection=connection)
    kim = make_person("kim@yourteam.example", "Kim", "admin", mailbox=mailbox)
    client = signed_in(kim)
    answer, _ = post_invitation(client, place=f"connection-{connection.pk}")
    assert (answer.status_code, Invitation.objects.count()) == (422, 0)
    _, path = post_invitation(client, place=f"mailbox-{mailbox.pk}")
    assert use(path.split("/")[2]).grants.get().mailbox == mailbox
    with pytest.raises(NotYours):
        link_of(kim, email="x@yourteam.example")
    # They cannot see an invitation of another scope.
    link_of(admin, email="y@yourteam.example")
    one = Invitation.objects.latest("pk")
    assert client.post(f"/people/invitations/{one.pk}/renew/").status_code == 404
    assert Invitation.objects.good().get() == one


def test_nobody_invites_themselves_or_a_deactivated_account(signed_in, admin, reviewer):
    client, token = signed_in(admin), link_of(admin, email=reviewer.email)
    answer, path = post_invitation(client, email="Ida@yourteam.example")
    assert (
        answer.status_code,
        path,
        "your own address" in answer.content.decode(),
    ) == (403, "", True)
    Person.objects.filter(pk=reviewer.pk).update(is_active=False)
    assert not is_good(token)
    with pytest.raises(NotYours, match="is deactivated"):
        link_of(admin, email=reviewer.email)


def test_link_grants_nothing_that_its_creator_may_no_longer_grant(admin):
    other = make_person("otto@yourteam.example", "Otto", "admin")
    of_other, first, second = link_of(other), link_of(admin), link_of(admin)
    # An earlier link by the same creator is void, one by another is not.
    assert [is_good(token) for token in (of_other, first, second)] == [
        True,
        False,
        True,
    ]
    Grant.objects.filter(person=other).delete()
    assert [is_good(token) for token in (of_other, second)] == [False, True]


def test_invitation_is_withdrawn_on_the_list_and_made_again(signed_in, admin):
    client, token = signed_in(admin), link_of(admin)
    one = Invitation.objects.get()
    answer = client.post(f"/people/invitations/{one.pk}/renew/")
    again = re.search(r"/join/([\w-]+)/<", answer.content.decode())[1]
    assert [is_good(of) for of in (token, again)] == [False, True]
    newest = Invitation.objects.latest("pk")
    assert newest.grants == one.grants
    client.post(f"/people/invitations/{newest.pk}/withdraw/")
    assert not is_good(again)
    assert latest_details("person.invitation_withdrawn")["email"] == NEW


def test_password_link_sets_it_ends_all_sessions_and_signs_nobody_in(
    signed_in, admin, reviewer
):
    Authenticator.objects.create(
        user=reviewer, type="totp", data={"secret": "JBSWY3DPEHPK3PXP"}
    )
    theirs, guest = Client(), Client()
    theirs.force_login(reviewer, backend="people.sign_in.backend.PersonBackend")
    answer = signed_in(admin).post(f"/people/{reviewer.pk}/password/")
    path = re.search(r"(/join/[\w-]+/)<", answer.content.decode())[1]
    assert theirs.get("/people/me/name/").status_code != 302
    assert "Your password is set" in guest.post(path, TYPED).content.decode()
    reviewer.refresh_from_db()
    assert reviewer.check_password(PASSWORD)
    assert (theirs.get("/queue/").status_code, guest.get("/queue/").status_code) == (
        302,
        302,
    )
    assert guest.get(path).status_code == 404
    made, used = (
        latest_details("person.password_link_made"),
        latest_details("person.password_changed"),
    )
    assert (made["actor"], made["person"]) == ("Ida Lindqvist", "Ana Ferreira")
    assert (used["actor"], used["link_by"]) == ("Ana Ferreira", "Ida Lindqvist")
    # The second factor stays and is still required.
    answer = guest.post(
        "/accounts/login/", {"login": reviewer.email, "password": PASSWORD}
    )
    assert (answer.status_code, answer["Location"].split("?")[0]) == (
        302,
        reverse("mfa_authenticate"),
    )


def test_password_link_works_only_while_its_creator_administers_the_person(
    admin, connection
):
    kim = make_person("kim@yourteam.example", "Kim", "admin", connection=connection)
    ben = make_person("ben@yourteam.example", "Ben", "reviewer", connection=connection)
    with pytest.raises(NotYours):
        make_password_link(actor=kim.actor(surface="web"), person_id=admin.pk)
    token = token_in(
        make_password_link(actor=kim.actor(surface="web"), person_id=ben.pk)
    )
    Grant.objects.create(person=ben, role="reviewer")
    with pytest.raises(LinkNotGood):
        set_password(token=token, password=PASSWORD, actor=ANYBODY)
    ben.refresh_from_db()
    assert ben.check_password("correct horse battery")


def first_admin(email="eva@example.com"):
    """Run the command, and return the token of the link that it prints."""
    out = io.StringIO()
    call_command("first_admin", email=email, stdout=out)
    return re.search(r"https?://[^/\s]+/join/(\S+)/", out.getvalue())[1]


def by_password(typed, monkeypatch, *, email="eva@example.com", file="-"):
    """Run the command without a terminal, with a password from a file or from standard
    input.
    """
    monkeypatch.setattr("sys.stdin", io.StringIO(typed))
    out = io.StringIO()
    call_command("first_admin", "--email", email, "--password-file", file, stdout=out)
    return out.getvalue()


def test_first_admin_is_created_from_a_piped_password_that_is_not_printed(
    tmp_path, monkeypatch
):
    make_person("max@yourteam.example", "Max", "auditor")
    secret, missing = "a gannet counts slow wagons", str(tmp_path / "none")
    for wanted, typed, more in (
        ("Standard input is empty", "", {}), ("This password is not allowed.*12 characters", "short", {}),
        ("easy to guess", "countersign2026", {}), ("cannot be read", secret, {"file": missing}),
        ("Give the admin's address", secret, {"email": ""}), ("is not an email address", secret, {"email": "eva"}),
        ("max@.* already has an account", secret, {"email": "max@yourteam.example"}),
    ):  # fmt: skip
        with pytest.raises(CommandError, match=wanted) as refused:
            by_password(typed, monkeypatch, **more)
        assert secret not in str(refused.value), wanted
        assert (Person.objects.count(), Invitation.objects.count()) == (1, 0), wanted
    (tmp_path / "password").write_text(f"{secret}\nnothing of this\n")
    with rolled_back():
        by_password("", monkeypatch, file=str(tmp_path / "password"))
        assert Person.objects.get(email="eva@example.com").check_password(secret)
    output = by_password(f"{secret}\n", monkeypatch)
    eva = Person.objects.get(email="eva@example.com")
    assert (secret in output, eva.check_password(secret), eva.name) == (
        False,
        True,
        "eva",
    )
    assert {one.role for one in eva.grants.all()} == {"admin", "reviewer"}
    assert latest_details("person.joined")["invited_by"] == "an operator"
    with pytest.raises(CommandError, match="is already admin"):
        by_password(secret, monkeypatch)


def test_start_learns_whether_there_is_an_admin(settings, tmp_path):
    settings.DATA_DIR, note = tmp_path, tmp_path / FIRST_RUN
    reviewer = make_person("ana@yourteam.example", "Ana", "reviewer")
    for _ in range(2):
        prepare.Command()._note_first_run()
        assert note.exists()
    Grant.objects.filter(person=reviewer).update(role="admin")
    for _ in range(2):
        prepare.Command()._note_first_run()
        assert not note.exists()


def test_first_admin_joins_only_by_the_newest_link_and_only_while_there_is_none(admin):
    with pytest.raises(
        CommandError,
        match=r"Ida Lindqvist is already admin.*People.*changepassword ida@",
    ):
        first_admin()
    assert not Invitation.objects.exists()
    Person.objects.update(is_active=False)
    for email, words in (
        ("", "Give the admin's address"),
        ("eva", "is not an email address"),
    ):
        with pytest.raises(CommandError, match=words):
            first_admin(email)
    links = [
        first_admin(email)
        for email in ("eva@example.com", "eva@example.com", "Adam <Adam@Example.com>")
    ]
    assert [is_good(token) for token in links] == [False, False, True]
    with rolled_back():
        assert post(f"/join/{links[2]}/")["Location"] == "/setup/"
        adam = Person.objects.get(email="adam@example.com")
        assert {one.role for one in adam.grants.all()} == {"admin", "reviewer"}
        assert latest_details("person.joined")["invited_by"] == "an operator"
    make_person("otto@yourteam.example", "Otto", "admin")
    assert not is_good(links[2])
