"""Who a person is on Discord: by a one-time link of the Discord account, confirmed by whoever signed in."""

import re
import threading
from urllib.parse import urlsplit

import pytest
from django.db import connections
from django.db.models.functions import Now
from django.test import Client

from audit.models import EntryDetail
from people.discord_accounts import LASTS, MOST_OFFERED, link_account, offer_link
from people.errors import PeopleError
from people.models import DiscordAccount, DiscordLink, Person
from tests.factories import make_person

pytestmark = pytest.mark.django_db

DISCORD = "118000000000000042"


def offered(discord_id=DISCORD, name="ana.dev"):
    """Return the path of a link that a Discord account was given."""
    return urlsplit(offer_link(discord_id=discord_id, name=name)).path


def token_in(path):
    return path.rstrip("/").rpartition("/")[2]


def told(action):
    return EntryDetail.objects.filter(entry__action=action).latest("entry").fields


def text_of(answer):
    return re.sub(r"\s+", " ", re.sub("<[^>]+>", "", answer.content.decode()))


def test_link_asks_and_its_button_links(signed_in, reviewer):
    path, client = offered(), signed_in(reviewer)
    assert "Link Discord account ana.dev to Ana Ferreira?" in text_of(client.get(path))
    assert not DiscordAccount.objects.exists()
    answer = client.post(path)
    assert (answer.status_code, answer["Location"]) == (302, "/people/me/discord/")
    account = DiscordAccount.objects.get()
    assert (account.person, account.discord_id, account.name) == (reviewer, DISCORD, "ana.dev")
    assert told("person.discord_linked")["discord_id"] == DISCORD
    assert "ana.dev" in text_of(client.get("/people/me/discord/"))


def test_signed_out_it_leads_to_sign_in_and_back(client):
    path = offered()
    answer = client.get(path)
    assert (answer.status_code, answer["Location"]) == (302, f"/accounts/login/?next={path}")


def test_whoever_signed_in_a_while_ago_confirms_first(signed_in, reviewer):
    path = offered()
    assert signed_in(reviewer, minutes=11).post(path).status_code == 302
    assert not DiscordAccount.objects.exists()


@pytest.mark.parametrize("how", ["used", "too late", "asked for anew", "unknown"])
def test_link_that_is_over_says_what_to_do(signed_in, reviewer, how):
    path, client = offered(), signed_in(reviewer)
    if how == "used":
        client.post(path)
        DiscordAccount.objects.all().delete()
    elif how == "too late":
        DiscordLink.objects.update(expires_at=Now())
    elif how == "asked for anew":
        for _ in range(MOST_OFFERED):
            offered()
    else:
        path = f"/people/me/discord/{'x' * 43}/"
    for answer in (client.get(path), client.post(path)):
        assert answer.status_code == 404
        assert "Ask for another one on Discord" in answer.content.decode()
    assert not DiscordAccount.objects.exists()


def test_who_asked_twice_may_use_either_link_and_the_other_is_void_then(signed_in, reviewer):
    first, second = offered(), offered()
    client = signed_in(reviewer)
    client.post(first)
    assert DiscordAccount.objects.get().person == reviewer
    assert client.get(second).status_code == 404


def test_link_is_good_for_a_quarter_of_an_hour_and_only_its_hash_is_kept(db):
    path = offered()
    one = DiscordLink.objects.get()
    assert one.expires_at - one.created_at == LASTS
    assert LASTS.total_seconds() == 900
    assert token_in(path) not in str(list(DiscordLink.objects.values()))


def test_account_of_somebody_else_stays_theirs_and_that_is_said(signed_in, reviewer, second_reviewer):
    signed_in(second_reviewer).post(offered())
    client, path = signed_in(reviewer), offered()
    answer = client.post(path)
    assert answer.status_code == 409
    assert "belongs to somebody else" in answer.content.decode()
    assert DiscordAccount.objects.get().person == second_reviewer
    # Once they have taken it off, the same link is still good.
    DiscordAccount.objects.all().delete()
    assert client.post(path).status_code == 302


def test_linked_again_only_its_name_is_new(signed_in, reviewer):
    client = signed_in(reviewer)
    client.post(offered())
    client.post(offered(name="ana.ferreira"))
    assert DiscordAccount.objects.get().name == "ana.ferreira"


def test_one_takes_off_ones_own_and_nobody_elses(signed_in, reviewer, second_reviewer):
    mine = DiscordAccount.objects.create(person=reviewer, discord_id="1", name="mine")
    theirs = DiscordAccount.objects.create(person=second_reviewer, discord_id="2", name="theirs")
    client = signed_in(reviewer)
    for account in (mine, theirs):
        assert client.post("/people/me/discord/unlink/", {"account": account.pk}).status_code == 302
    assert list(DiscordAccount.objects.all()) == [theirs]
    assert told("person.discord_unlinked")["discord"] == "mine"


def test_admin_sees_them_and_takes_one_off(signed_in, admin, reviewer, connection):
    account = DiscordAccount.objects.create(person=reviewer, discord_id=DISCORD, name="ana.dev")
    kim = make_person("kim@yourteam.example", "Kim", "admin", connection=connection)
    path = f"/people/{reviewer.pk}/discord/remove/"
    assert signed_in(kim).post(path, {"account": account.pk}).status_code == 403
    client = signed_in(admin)
    assert "ana.dev" in text_of(client.get(f"/people/{reviewer.pk}/"))
    assert client.post(path, {"account": account.pk}).status_code == 302
    assert not DiscordAccount.objects.exists()


def test_name_from_discord_is_shown_as_text(signed_in, reviewer):
    path = offered(name="<script>x</script>\u202e")
    page = signed_in(reviewer).get(path).content.decode()
    assert "<script>x" not in page
    assert "\u202e" not in page


@pytest.mark.parametrize("wrong", ["", "1; drop", "x", "１２３", "1" * 33])
def test_what_is_no_discord_id_is_refused(db, wrong):
    with pytest.raises(ValueError, match="Discord id"):
        offer_link(discord_id=wrong, name="x")


@pytest.mark.django_db(transaction=True)
def test_two_people_who_use_one_link_at_once_leave_it_with_one(reviewer, second_reviewer):
    token = token_in(offered())
    barrier, ends = threading.Barrier(2), []

    def use(person):
        barrier.wait()
        try:
            ends.append(link_account(actor=Person.objects.get(pk=person.pk).actor(surface="web"), token=token))
        except PeopleError:
            ends.append(None)
        connections.close_all()

    threads = [threading.Thread(target=use, args=(one,)) for one in (reviewer, second_reviewer)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert ends.count(None) == 1
    assert DiscordAccount.objects.count() == 1


def test_signed_in_page_of_ones_own_says_how_to_begin(signed_in, reviewer):
    assert "Ask the desk" in text_of(signed_in(reviewer).get("/people/me/discord/"))
    assert Client().get("/people/me/discord/").status_code == 302
