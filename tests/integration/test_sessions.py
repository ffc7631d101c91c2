"""Sessions of people: a new id at each sign-in, two expiry times, the list, and ending
them (line 42).
"""

import json
import re
from datetime import timedelta

import pytest
from allauth.usersessions.models import UserSession
from django.conf import settings
from django.contrib.sessions.backends.base import UpdateError
from django.contrib.sessions.models import Session
from django.db import connection as database
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from audit.models import Entry
from common.redis import quick_redis
from dashboard.live import CHANNEL
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
from tests.factories import make_person
from tests.ledger import latest_details

PASSWORD = "correct horse battery"
FIREFOX = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Firefox/140.0"
)
SAFARI = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 Version/18.0 Safari/604.1"


def sign_in(person, agent=FIREFOX, address="127.0.0.1"):
    client = Client(headers={"User-Agent": agent}, REMOTE_ADDR=address)
    answer = client.post(
        "/accounts/login/", {"login": person.email, "password": PASSWORD}
    )
    assert answer.status_code == 302
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

    def written(path):
        with CaptureQueriesContext(database) as asked:
            client.get(path)
        statements = [one["sql"] for one in asked.captured_queries]
        return [one for one in statements if one.startswith(("UPDATE", "INSERT"))]

    client.get("/history/")
    assert written("/history/") == []
    move_back(client, NOTED_EVERY)
    before = row_of(client)
    for path, headers in (
        ("/queue/pulse/", {}),
        ("/live/reach/", {}),
        ("/queue/", {"HX-Request": "true"}),
    ):
        assert client.get(path, headers=headers).status_code == 200
        assert row_of(client).expire_date == before.expire_date, path

    session, _ = written("/history/")
    assert "session_data" not in session
    after = row_of(client)
    assert after.expire_date - before.expire_date >= NOTED_EVERY
    assert after.session_data == before.session_data
    with CaptureQueriesContext(database) as asked:
        client.get("/healthz")
    assert len(asked) == 0, "a public page asks for no session"


def test_ended_sessions_are_out_at_the_next_request_and_told_in_the_ledger(
    reviewer, second_reviewer
):
    first, other = (sign_in(reviewer, SAFARI, "192.0.2.7") for _ in range(2))
    client = sign_in(reviewer)
    theirs = sign_in(second_reviewer, SAFARI, "192.0.2.8")
    page = client.get("/people/me/sessions/").text
    in_order = "Firefox on Windows.*This browser.*Safari on iPhone"
    assert re.search(in_order, page, re.DOTALL)
    assert "192.0.2.7" in page
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
    assert end_sessions(reviewer) == 2
    assert end_sessions(reviewer) == 0
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


def test_signing_out_leaves_no_session_to_be_listed(reviewer):
    client = sign_in(reviewer)
    assert UserSession.objects.exists()
    client.post("/accounts/logout/")
    assert not UserSession.objects.exists()


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_streams_are_notified_once_ended_sessions_are_deleted(client):
    ana = make_person("ana@yourteam.example", "Ana Ferreira", "reviewer")
    other = sign_in(ana, SAFARI)
    client = sign_in(ana)
    listener = quick_redis().pubsub()
    listener.subscribe(CHANNEL)
    assert listener.get_message(timeout=60)
    client.post("/people/me/sessions/end-others/")
    notice = json.loads(
        listener.get_message(ignore_subscribe_messages=True, timeout=60)["data"]
    )
    listener.close()
    assert notice["kind"] == "reach"
    assert notice["person"] == str(ana.pk)
    assert other.get("/live/reach/").status_code == 401
    assert client.get("/live/reach/").json()["person"] == str(ana.pk)


DEVICES = {
    FIREFOX: "Firefox on Windows",
    SAFARI: "Safari on iPhone",
    "Mozilla/5.0 (Macintosh) AppleWebKit/537.36 Chrome/142.0 Safari/537.36 Edg/142.0": "Edge on Mac",
    "Mozilla/5.0 (Linux; Android 15) AppleWebKit/537.36 Chrome/142.0 Mobile Safari/537.36": "Chrome on Android",
    "python-requests/2.32": "A Python script",
    "Something (Linux)": "A browser on Linux",
    "": UNKNOWN_DEVICE,
    "<script>alert(1)</script>": UNKNOWN_DEVICE,
}


def test_browser_is_named_in_plain_words_without_its_user_agent():
    assert {agent: device_name(agent) for agent in DEVICES} == DEVICES
