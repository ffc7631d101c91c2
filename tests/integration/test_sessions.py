"""Sessions of people: a new id at each sign-in, two expiry times, the list and ending them (line
42); and the limits of tries to sign in, by address and account (line 40).
"""

import json
import re
from datetime import timedelta

import pytest
from allauth.usersessions.models import UserSession
from django.conf import settings
from django.contrib.auth.hashers import MD5PasswordHasher, make_password
from django.contrib.sessions.backends.base import UpdateError
from django.contrib.sessions.models import Session
from django.db import connection as database
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from common.redis import quick_redis
from dashboard.live import CHANNEL
from people.sign_in.adapters import AccountAdapter
from people.sign_in.known_browsers import known_browser
from people.sign_in.sessions import (
    BEGAN,
    IDLE,
    LONGEST,
    SessionStore,
    device_name,
    end_sessions,
    is_signed,
    sessions_of,
)
from tests.factories import change_row
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
    # The web server counts as sessions no keys that anybody may have made up.
    assert [*map(is_signed, [*keys, "é" * 32])] == [False, True, True, False]


def test_session_ends_unused_or_long_after_signing_in_or_of_an_unknown_beginning(
    reviewer,
):
    client = sign_in(reviewer)
    move_back(client, IDLE - timedelta(minutes=1))
    assert is_in(client)
    move_back(client, IDLE + timedelta(seconds=1))
    assert not is_in(client)

    now = timezone.now().timestamp()
    for began, expected in (
        (now - LONGEST.total_seconds() + 60, True),
        (now - LONGEST.total_seconds(), False),
        (None, False),
    ):
        client = sign_in(reviewer)
        session = client.session
        session.pop(BEGAN)
        if began:
            session[BEGAN] = began
        session.save()
        assert is_in(client) is expected, began
    assert sessions_of(reviewer, this_key=None)
    UserSession.objects.update(created_at=timezone.now() - LONGEST)
    assert sessions_of(reviewer, this_key=None) == []


def test_browsers_are_named_as_their_makers_name_them():
    for agent, name in (
        ("(Linux; Android 10; K) Chrome/126.0 Mobile Safari/537.36 EdgA/126.0", "Edge"),
        ("(iPhone; CPU iPhone OS 17_5) Version/17.0 EdgiOS/126.0 Safari/605.1", "Edge"),
        ("(iPhone; CPU iPhone OS 17_5) OPT/4.7 Mobile/15E148 Safari/604.1", "Opera"),
    ):
        system = "Android" if "Android" in agent else "iPhone"
        assert device_name(f"Mozilla/5.0 {agent}") == f"{name} on {system}"


def test_ended_sessions_are_out_at_the_next_request_and_told_in_the_ledger(
    reviewer, second_reviewer
):
    first, other = (sign_in(reviewer, SAFARI, "192.0.2.7") for _ in range(2))
    client = sign_in(reviewer)
    theirs = sign_in(second_reviewer, SAFARI, "192.0.2.8")
    page = client.get("/people/me/sessions/").text
    assert re.search("Firefox on Windows.*This browser.*Safari on iPhone", page, re.S)
    assert "192.0.2.8" not in page

    noted = UserSession.objects.get(session_key=first.session.session_key)
    assert client.post(f"/people/me/sessions/{noted.pk}/end/").status_code == 302
    assert [is_in(one) for one in (first, other, client)] == [False, True, True]
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


@pytest.mark.django_db(transaction=True)
def test_streams_are_told_that_sessions_ended(reviewer):
    with quick_redis().pubsub() as listener:
        listener.subscribe(CHANNEL)
        assert listener.get_message(timeout=60)
        sign_in(reviewer).post("/people/me/sessions/end-others/")
        told = listener.get_message(ignore_subscribe_messages=True, timeout=60)
    hint = json.loads(told["data"])
    assert (hint["kind"], hint["person"]) == ("reach", str(reviewer.pk))


# Limits of one client on an account, of all strangers on it, and of an IP address; the
# real ones are larger.
OF_A_CLIENT = 2
OF_STRANGERS = 5
OF_AN_ADDRESS = 4


@pytest.fixture
def few(settings):
    """Lower the limits for tests."""
    limits = settings.ACCOUNT_RATE_LIMITS
    assert limits["login_failed"] == "10/m/ip,5/5m/key"
    settings.ACCOUNT_RATE_LIMITS = {
        **limits,
        "login_failed": f"{OF_AN_ADDRESS}/m/ip,{OF_A_CLIENT}/5m/key",
        "login_failed_of_strangers": f"{OF_STRANGERS}/h/key",
    }


def try_to(client, email="ana@yourteam.example", password="wrong", **extra):
    return client.post(
        "/accounts/login/", {"login": email, "password": password}, **extra
    )


def from_address(number):
    return Client(REMOTE_ADDR=f"192.0.2.{number}")


def test_wrong_passwords_of_a_stranger_keep_only_that_stranger_out(
    signed_in, reviewer, few
):
    signed = signed_in(reviewer, minutes=11)
    own = from_address(1)
    assert try_to(own, password=PASSWORD).status_code == 302
    own.cookies.pop(settings.SESSION_COOKIE_NAME)
    stranger = from_address(2)
    for _ in range(OF_A_CLIENT):
        assert try_to(stranger).status_code == 200
    # Counted for all processes, and more than a guesser drives out of the table.
    with database.cursor() as cursor:
        cursor.execute("SELECT 1 FROM cache WHERE cache_key LIKE '%%login_failed%%'")
        assert cursor.fetchone()
    assert settings.CACHES["default"]["OPTIONS"]["MAX_ENTRIES"] >= 10_000
    answer = try_to(stranger, password=PASSWORD)
    assert answer.status_code == 429
    assert answer["Retry-After"] == "300"
    assert try_to(from_address(3), password=PASSWORD).status_code == 302

    # From many addresses: now other strangers are kept out too, but no known browser.
    for number in range(OF_STRANGERS - OF_A_CLIENT):
        assert try_to(from_address(10 + number)).status_code == 200
    answer = try_to(from_address(3), password=PASSWORD)
    assert (answer.status_code, answer["Retry-After"]) == (429, "3600")
    assert try_to(own, password=PASSWORD).status_code == 302
    own.cookies.pop(settings.SESSION_COOKIE_NAME)
    for _ in range(OF_A_CLIENT):
        assert try_to(own).status_code == 200
    assert try_to(own).status_code == 429, "a known browser has a limit of its own"
    # Whoever knows a browser for one account is a stranger to the others.
    assert settings.KNOWN_BROWSER_COOKIE_NAME in own.cookies
    assert not known_browser(own.get("/healthz").wsgi_request, "b@else.example")
    # Other accounts and signed-in people are not limited.
    assert try_to(from_address(99), "somebody@else.example").status_code != 429
    assert signed.get("/live/reach/").status_code == 200


@pytest.mark.slow
def test_address_is_closed_for_a_while_whichever_account_it_tries(
    signed_in, reviewer, few
):
    """A header that no trusted proxy wrote does not change the counted address."""
    client = from_address(1)
    # Successful sign-ins do not count as failures.
    assert try_to(client, password=PASSWORD).status_code == 302
    client = from_address(1)
    for number in range(OF_AN_ADDRESS):
        forged = {"X-Forwarded-For": f"198.51.100.{number}"}
        answer = try_to(client, f"a{number}@yourteam.example", headers=forged)
        assert answer.status_code == 200
    assert try_to(client, reviewer.email, PASSWORD).status_code == 429
    assert try_to(from_address(2), reviewer.email, PASSWORD).status_code == 302


def test_address_is_the_one_that_a_trusted_proxy_says(rf, settings):
    for proxies, header, expected in (
        ([], "203.0.113.9", "192.0.2.1"),
        (["192.0.2.1"], "198.51.100.1, 203.0.113.9", "203.0.113.9"),
        (["192.0.2.1"], "nonsense", "0.0.0.0"),
        (["192.0.2.2"], "203.0.113.9", "192.0.2.1"),
        (["192.0.2.1"], "203.0.113.9:51234", "203.0.113.9"),
        (["192.0.2.1"], "::ffff:203.0.113.9", "203.0.113.9"),
        (
            ["192.0.2.1", "192.0.2.7"],
            "198.51.100.1, 203.0.113.9, 192.0.2.7",
            "203.0.113.9",
        ),
        (["192.0.2.1", "192.0.2.7"], "192.0.2.7", "192.0.2.7"),
        (["192.0.2.1", "2001:DB8::7"], "203.0.113.9, 2001:db8:0::7", "203.0.113.9"),
        (["2001:db8::/32", "192.0.2.0/24"], "203.0.113.9", "203.0.113.9"),
        (["192.0.3.0/24"], "203.0.113.9", "192.0.2.1"),
    ):
        settings.TRUSTED_PROXIES = proxies
        request = rf.get(
            "/", REMOTE_ADDR="192.0.2.1", headers={"X-Forwarded-For": header}
        )
        assert AccountAdapter().get_client_ip(request) == expected, (proxies, header)


def test_unknown_or_deactivated_person_is_answered_as_a_known_one_after_the_same_work(
    reviewer, second_reviewer, admin, monkeypatch
):
    """An answer that took as much work takes as long: a hash of the password, and the
    same statements.
    """
    hashed = []
    encode = MD5PasswordHasher.encode
    monkeypatch.setattr(
        MD5PasswordHasher, "encode", lambda *args: hashed.append(1) or encode(*args)
    )
    change_row(second_reviewer, is_active=False)
    # Who signs in through the provider alone has no password.
    change_row(admin, password=make_password(None))
    answers = {}
    for person in (reviewer, second_reviewer, admin, None):
        email = person.email if person else "nobody@yourteam.example"
        client = from_address(len(answers))
        client.get("/accounts/login/")
        hashed.clear()
        with CaptureQueriesContext(database) as statements:
            answer = try_to(client, email)
        page = answer.text.replace(email, "somebody").split("csrfmiddlewaretoken")[0]
        work = (len(hashed), len(statements))
        answers[email] = (answer.status_code, *work, page)
    # A deactivated account is only revealed with the right password.
    known = answers[reviewer.email]
    assert known[:2] == (200, 1)
    assert [email for email, answer in answers.items() if answer != known] == []


def test_guessing_from_within_a_session_is_limited_by_person(
    signed_in, reviewer, settings
):
    client = signed_in(reviewer)
    limits = settings.ACCOUNT_RATE_LIMITS
    assert limits["reauthenticate"] == "10/m/user,40/h/user"
    assert limits["change_password"] == "5/m/user,20/h/user"
    settings.ACCOUNT_RATE_LIMITS = {
        **limits,
        "reauthenticate": "2/m/user",
        "change_password": "1/m/user",
    }
    guesses = (
        ("/accounts/reauthenticate/", {"password": "wrong"}, 2),
        (
            "/people/me/password/",
            {"old": "wrong", "password": "x", "password_again": "x"},
            1,
        ),
    )
    for path, fields, most in guesses:
        for _ in range(most):
            assert client.post(path, fields).status_code == 422, path
        answer = client.post(path, fields)
        assert answer.status_code == 429, path
        assert 0 < int(answer["Retry-After"]) <= 60
        # Opening the page is not a try.
        assert client.get(path).status_code == 200
