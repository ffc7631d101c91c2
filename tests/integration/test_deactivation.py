"""Keeping somebody out: at once, with all that hangs on it, and never the last admin (line 42)."""

import re
import threading
from datetime import timedelta

import pytest
from django.db import connections
from django.test import Client

from approvals.desk.claims import take
from approvals.models import Claim, Mailbox
from audit.models import Entry, EntryDetail
from people.actors import Actor, Role, Scope
from people.deactivating import deactivate, reactivate
from people.errors import LastAdmin, NotYours, PeopleError
from people.inviting import invite, make_password_link
from people.models import DiscordAccount, Invitation, Person
from people.reach import Place
from people.sessions import reach_changed
from tests.factories import NOW, make_message, make_person

pytestmark = pytest.mark.django_db


def actor(person):
    return Person.objects.get(pk=person.pk).actor(surface="web")


def told(action):
    return EntryDetail.objects.filter(entry__action=action).latest("entry").fields


def session_of(person):
    client = Client()
    client.force_login(person, backend="people.backend.PersonBackend")
    return client


@pytest.mark.proves("security 42")
def test_deactivated_person_is_out_everywhere_from_the_next_request_on(signed_in, admin, reviewer):
    first, second = session_of(reviewer), session_of(reviewer)
    answer = signed_in(admin).post(f"/people/{reviewer.pk}/deactivate/")
    assert (answer.status_code, answer["Location"]) == (302, f"/people/{reviewer.pk}/")
    assert [one.get("/queue/").status_code for one in (first, second)] == [302, 302]
    assert first.get("/live/reach/").status_code == 401
    login = Client().post("/accounts/login/", {"login": reviewer.email, "password": "correct horse battery"})
    assert login.status_code != 302
    fields = told("person.deactivated")
    assert (fields["person"], fields["before"], fields["after"]) == ("Ana Ferreira", "active", "deactivated")


def test_sessions_from_before_do_not_come_back_when_somebody_is_let_in_again(signed_in, admin, reviewer):
    theirs = session_of(reviewer)
    deactivate(actor=actor(admin), person_id=reviewer.pk)
    answer = signed_in(admin).post(f"/people/{reviewer.pk}/reactivate/")
    assert answer.status_code == 302
    assert theirs.get("/queue/").status_code == 302
    login = Client().post("/accounts/login/", {"login": reviewer.email, "password": "correct horse battery"})
    assert login.status_code == 302
    assert [one.role for one in reviewer.grants.all()] == ["reviewer"]
    assert told("person.reactivated")["after"] == "active"


def test_open_streams_of_the_person_are_asked_anew_and_nobody_elses(admin, reviewer):
    heard = []

    def listen(person, **_):
        heard.append(person)

    reach_changed.connect(listen)
    try:
        deactivate(actor=actor(admin), person_id=reviewer.pk)
    finally:
        reach_changed.disconnect(listen)
    assert set(heard) == {reviewer.pk}


def test_what_they_took_on_is_free_at_once(admin, reviewer, second_reviewer, connection):
    mine, others = make_message(connection), make_message(connection)
    take(message=mine.public_id, actor=actor(reviewer), now=NOW)
    take(message=others.public_id, actor=actor(second_reviewer), now=NOW)
    deactivate(actor=actor(admin), person_id=reviewer.pk)
    assert [claim.person for claim in Claim.objects.all()] == [second_reviewer]
    assert told("claim.released")["explanation"] == "Its holder left the desk."


def test_links_that_they_made_and_links_for_them_are_void(admin):
    otto = make_person("otto@yourteam.example", "Otto", "admin")
    week = timedelta(days=7)
    invite(actor=actor(otto), email="a@x.example", name="", roles=[(Role.REVIEWER, Place())], lasts=week)
    invite(actor=actor(admin), email="b@x.example", name="", roles=[(Role.REVIEWER, Place())], lasts=week)
    make_password_link(actor=actor(admin), person_id=otto.pk)
    deactivate(actor=actor(admin), person_id=otto.pk)
    assert [one.email for one in Invitation.objects.good()] == ["b@x.example"]


def test_what_they_were_is_kept(admin, reviewer):
    DiscordAccount.objects.create(person=reviewer, discord_id="1180000000000000427", name="ana")
    deactivate(actor=actor(admin), person_id=reviewer.pk)
    assert (reviewer.grants.count(), reviewer.discord_accounts.count()) == (1, 1)
    assert Person.objects.get(pk=reviewer.pk).actor(surface="discord").scopes == ()


def test_twice_is_once(admin, reviewer):
    for act, action in ((deactivate, "person.deactivated"), (reactivate, "person.reactivated")):
        act(actor=actor(admin), person_id=reviewer.pk)
        act(actor=actor(admin), person_id=reviewer.pk)
        assert Entry.objects.filter(action=action).count() == 1


def test_nobody_deactivates_themselves(admin):
    make_person("otto@yourteam.example", "Otto", "admin")
    with pytest.raises(NotYours):
        deactivate(actor=actor(admin), person_id=admin.pk)


def test_last_admin_is_protected_from_the_command_line_too(admin):
    command = Actor(kind="command", id="x", label="an operator", surface="command", scopes=(Scope(Role.ADMIN),))
    with pytest.raises(LastAdmin, match="last admin of everything"):
        deactivate(actor=command, person_id=admin.pk)


def test_admin_of_a_mailbox_deactivates_only_whom_they_cover(signed_in, connection, reviewer, admin):
    mailbox = Mailbox.objects.get(connection=connection)
    kim = make_person("kim@yourteam.example", "Kim", "admin", mailbox=mailbox)
    nia = make_person("near@yourteam.example", "Nia", "reviewer", mailbox=mailbox)
    client = signed_in(kim)
    for beyond in (reviewer, admin):
        answer = client.post(f"/people/{beyond.pk}/deactivate/")
        assert answer.status_code == 403
        assert "that you do not look after" in answer.content.decode()
        assert "Deactivate" not in re.sub("<[^>]+>", "", client.get(f"/people/{beyond.pk}/").content.decode())
    assert client.post(f"/people/{nia.pk}/deactivate/").status_code == 302
    assert set(Person.objects.filter(is_active=False)) == {nia}


def test_page_says_what_will_happen(signed_in, admin, reviewer):
    page = signed_in(admin).get(f"/people/{reviewer.pk}/").content.decode()
    for words in ("signed out everywhere", "free for others", "refused when they are due", "API keys stay"):
        assert words in page
    assert f"/people/{reviewer.pk}/deactivate/" in page


@pytest.mark.django_db(transaction=True)
def test_two_admins_who_deactivate_each_other_at_once_leave_one(admin):
    otto = make_person("otto@yourteam.example", "Otto", "admin")
    pairs = [(actor(admin), otto), (actor(otto), admin)]
    barrier, ends = threading.Barrier(2), []

    def go(by, whom):
        barrier.wait()
        try:
            ends.append(deactivate(actor=by, person_id=whom.pk).is_active)
        except PeopleError as error:
            ends.append(type(error).__name__)
        connections.close_all()

    threads = [threading.Thread(target=go, args=pair) for pair in pairs]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert Person.objects.admins_of_all().count() == 1
    assert ends.count(False) == 1


def test_of_three_admins_one_who_was_just_deactivated_deactivates_nobody(admin):
    otto = make_person("otto@yourteam.example", "Otto", "admin")
    make_person("third@yourteam.example", "Thea", "admin")
    as_it_was = actor(otto)
    deactivate(actor=actor(admin), person_id=otto.pk)
    with pytest.raises(NotYours):
        deactivate(actor=as_it_was, person_id=admin.pk)
