"""Linking chat accounts: by a one-time link that the signed-in person confirms."""

import re
from functools import partial
from urllib.parse import urlsplit

import pytest
from django.db.models.functions import Now

from people.accounts.chat_accounts import MAX_LINKS, link_account, offer_link
from people.errors import PeopleError
from people.models import ChatAccount, ChatLink, Person
from tests.factories import actor_of
from tests.integration.deciding import at_once
from tests.ledger import latest_details
from tests.markup import leads_to, says

DISCORD = "118000000000000042"


def offered(name="ana.dev"):
    """Return the path of a link that a Discord account was given."""
    return urlsplit(offer_link(service="discord", account_id=DISCORD, name=name)).path


def token_in(path):
    return path.rstrip("/").rpartition("/")[2]


def link(person, path):
    return link_account(actor=actor_of(person), token=token_in(path))


def test_link_leads_through_sign_in_asks_and_its_button_links(
    client, signed_in, reviewer
):
    path = offered()
    page = "/people/me/chat/"
    assert leads_to(client.get(path)) == f"/accounts/login/?next={path}"
    signed_in(reviewer)
    says(client.get(path), 200, "Link Discord account ana.dev to")
    hostile = client.get(offered(name="<script>x</script>\u202e")).text
    assert not re.search("<script>x|\u202e", hostile)
    assert not ChatAccount.objects.exists()
    assert leads_to(client.post(path)) == page
    account = ChatAccount.objects.get()
    assert account.person == reviewer
    assert latest_details("person.chat_linked")["discord_id"] == DISCORD
    says(client.get(page), 200, "ana.dev")


def test_link_expires_by_use_time_or_too_many_requests(reviewer):
    ends = {
        "used": lambda path: link(reviewer, path),
        "another one used": lambda _: link(reviewer, offered()),
        "too late": lambda _: ChatLink.objects.update(expires_at=Now()),
        "asked for again": lambda _: [offered() for _ in range(MAX_LINKS)],
    }
    for how, end in ends.items():
        path = offered()
        end(path)
        ChatAccount.objects.all().delete()
        with pytest.raises(PeopleError):
            link(reviewer, path)
        assert not ChatAccount.objects.exists(), how


def test_discord_link_lasts_fifteen_minutes_and_only_its_hash_is_stored(db):
    path = offered()
    one = ChatLink.objects.get()
    assert (one.expires_at - one.created_at).total_seconds() == 900
    assert token_in(path) not in str(list(ChatLink.objects.values()))


def test_account_of_another_person_is_not_moved_and_the_link_stays_valid(
    signed_in, reviewer, second_reviewer
):
    link(second_reviewer, offered())
    client = signed_in(reviewer)
    unknown = f"/people/me/chat/{'x' * 43}/"
    for answer in (client.get(unknown), client.post(unknown)):
        assert answer.status_code == 404
    path = offered()
    says(client.post(path), 409, "belongs to somebody else")
    assert ChatAccount.objects.get().person == second_reviewer
    ChatAccount.objects.all().delete()
    assert link(reviewer, path).person == reviewer


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_of_two_people_using_one_link_at_once_one_gets_it(reviewer, second_reviewer):
    path = offered()
    people = [Person.objects.get(pk=one.pk) for one in (reviewer, second_reviewer)]
    ends = at_once(*(partial(link, person, path) for person in people))
    assert [isinstance(end, PeopleError) for end in ends].count(True) == 1
    assert ChatAccount.objects.count() == 1
