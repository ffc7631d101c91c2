"""Sessions of people: a new id at each sign-in, two expiry times, the list, and ending
them (line 42).
"""

import re
from datetime import timedelta

import pytest
from allauth.usersessions.models import UserSession
from django.conf import settings
from django.contrib.sessions.backends.base import UpdateError
from django.contrib.sessions.models import Session
from django.test import Client
from django.utils import timezone

from audit.models import Entry
from people.sign_in.sessions import (
    BEGAN,
    IDLE,
    LONGEST,
    NOTED_EVERY,
    UNKNOWN_DEVICE,
    SessionStore,
    device_name,
    end_sessions,
)
from tests.ledger import latest_details
from tests.signing import PASSWORD
from tests.signing import sign_in as post_sign_in

FIREFOX = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Firefox/140.0"
)
SAFARI = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 Version/18.0 Safari/604.1"


def sign_in(person, agent=FIREFOX, address="127.0.0.1"):
    client = Client(headers={"User-Agent": agent}, REMOTE_ADDR=address)
    assert post_sign_in(client, person).status_code == 302
    return client


def is_in(client):
    return client.get("/live/reach/").status_code == 200


def row_of(client):
    return Session.objects.get(session_key=client.session.session_key)


def move_back(client, ago):
    """Backdate the session's last use by this much."""
    Session.objects.update(expire_date=timezone.now() - ago + IDLE)


def test_signing_in_and_confirming_give_the_session_another_id_but_no_new_beginning(
    reviewer,
):
    client = Client()
    # An earlier session, as another page or sign-in leaves one; its id may be known to
    # somebody else.
    planted = SessionStore()
    planted["before"] = "sign-in"
    planted.save()
    client.cookies[settings.SESSION_COOKIE_NAME] = planted.session_key
    keys = [planted.session_key]
    begins = []
    typed = {"login": reviewer.email, "password": PASSWORD}
    for path in ("/accounts/login/", "/accounts/reauthenticate/"):
        assert client.post(path, typed).status_code == 302
        keys.append(client.session.session_key)
        begins.append(client.session[BEGAN])
    assert begins[0] == begins[1]
    assert len(set(keys)) == 3
    assert not Session.objects.filter(session_key__in=keys[:2]).exists()
    # It is still the one of the list, under its new id.
    assert UserSession.objects.get().session_key == keys[2]
    assert is_in(client)


def test_session_ends_unused_or_long_after_signing_in_or_of_an_unknown_beginning(
    reviewer,
):
    client = sign_in(reviewer)
    assert row_of(client).expire_date <= timezone.now() + IDLE
    move_back(client, IDLE - timedelta(minutes=1))
    assert is_in(client)
    move_back(client, IDLE + timedelta(seconds=1))
    assert not is_in(client)

    now = timezone.now().timestamp()
    longest = LONGEST.total_seconds()
    for began, expected in (
        (now - longest + 60, True),
        (now - longest, False),
        (None, False),
    ):
        client = sign_in(reviewer)
        session = client.session
        session[BEGAN] = began
        if began is None:
            del session[BEGAN]
        session.save()
        assert is_in(client) is expected, began


def test_use_is_written_down_once_in_some_minutes_unless_a_page_asks_by_itself(
    reviewer,
):
    client = sign_in(reviewer)
    move_back(client, NOTED_EVERY)
    before = row_of(client)
    for path, headers in (("/queue/pulse/", {}), ("/queue/", {"HX-Request": "true"})):
        assert client.get(path, headers=headers).status_code == 200
        assert row_of(client).expire_date == before.expire_date, path
    client.get("/history/")
    noted = row_of(client)
    assert noted.expire_date - before.expire_date >= NOTED_EVERY
    client.get("/history/")
    assert row_of(client).expire_date == noted.expire_date


def test_ended_sessions_are_out_at_the_next_request_and_told_in_the_ledger(
    reviewer, second_reviewer
):
    first, other = (sign_in(reviewer, SAFARI, "192.0.2.7") for _ in range(2))
    client = sign_in(reviewer)
    theirs = sign_in(second_reviewer, SAFARI, "192.0.2.8")
    page = client.get("/people/me/sessions/").text
    assert re.search("Firefox on Windows.*This browser.*Safari on iPhone", page, re.S)
    assert not re.search(f"192.0.2.8|{re.escape(SAFARI)}", page)

    noted = UserSession.objects.get(session_key=first.session.session_key)
    assert client.post(f"/people/me/sessions/{noted.pk}/end/").status_code == 302
    assert [is_in(one) for one in (first, other, client)] == [False, True, True]
    assert Entry.objects.get(action="person.session_ended").actor_id == str(reviewer.pk)
    for gone in (noted, UserSession.objects.get(user=second_reviewer)):
        assert client.post(f"/people/me/sessions/{gone.pk}/end/").status_code == 404
    client.post("/people/me/sessions/end-others/")
    assert [is_in(one) for one in (other, client, theirs)] == [False, True, True]
    assert latest_details("person.session_ended")["sessions"] == "1"


def test_all_sessions_end_for_whoever_may_do_less_also_those_that_are_at_work(
    reviewer, second_reviewer
):
    ours = [sign_in(reviewer), sign_in(reviewer)]
    theirs = sign_in(second_reviewer)
    under_way = SessionStore(ours[0].session.session_key)
    under_way["typed"] = "something"
    assert [end_sessions(reviewer) for _ in range(2)] == [2, 0]
    with pytest.raises(UpdateError):
        under_way.save()
    assert [is_in(one) for one in (*ours, theirs)] == [False, False, True]
    type(reviewer).objects.filter(pk=second_reviewer.pk).update(is_active=False)
    assert not is_in(theirs), "who is deactivated is out at the next request"


@pytest.mark.slow
def test_signing_in_puts_away_what_is_over(reviewer):
    gone = sign_in(reviewer, SAFARI)
    key = gone.session.session_key
    Session.objects.update(expire_date=timezone.now() - timedelta(days=1))
    sign_in(reviewer)
    assert not Session.objects.filter(session_key=key).exists()
    assert UserSession.objects.count() == 1


def test_browser_is_named_in_plain_words_without_its_user_agent():
    chrome = "Mozilla/5.0 (Linux; Android 15) Chrome/142.0 Mobile Safari/537.36"
    assert device_name(chrome) == "Chrome on Android"
    assert device_name("<script>alert(1)</script>") == UNKNOWN_DEVICE
