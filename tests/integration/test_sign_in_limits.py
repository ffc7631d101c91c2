"""Rate limits of sign-in (line 40): shared by all processes, by address and account,
without revealing accounts.
"""

import pytest
from django.contrib.auth.hashers import MD5PasswordHasher, make_password
from django.db import connection as database
from django.test import Client
from django.test.utils import CaptureQueriesContext

from people.sign_in.adapters import AccountAdapter
from tests.signing import PASSWORD

# Limits per account and per IP address; the real ones are larger.
OF_AN_ACCOUNT = 2
OF_AN_ADDRESS = 3


@pytest.fixture
def few(settings):
    """Lower the limits for tests."""
    limits = settings.ACCOUNT_RATE_LIMITS
    assert limits["login_failed"] == "10/m/ip,5/5m/key"
    settings.ACCOUNT_RATE_LIMITS = {
        **limits,
        "login_failed": f"{OF_AN_ADDRESS}/m/ip,{OF_AN_ACCOUNT}/5m/key",
    }


def try_to(client, email="ana@yourteam.example", password="wrong", **extra):
    return client.post(
        "/accounts/login/", {"login": email, "password": password}, **extra
    )


def from_address(number):
    return Client(REMOTE_ADDR=f"192.0.2.{number}")


def test_account_is_closed_for_a_while_whichever_address_tries(
    signed_in, reviewer, few
):
    signed = signed_in(reviewer, minutes=11)
    tried = [
        try_to(from_address(number)).status_code for number in range(OF_AN_ACCOUNT + 1)
    ]
    assert 429 not in tried[:-1]
    assert tried[-1] == 429
    answer = try_to(from_address(99), password=PASSWORD)
    assert answer.status_code == 429
    assert answer["Retry-After"] == "300"
    # Other accounts and signed-in people are not limited.
    assert try_to(from_address(99), "somebody@else.example").status_code != 429
    assert signed.get("/live/reach/").status_code == 200


def test_address_is_closed_for_a_while_whichever_account_it_tries(
    signed_in, reviewer, few
):
    """A header that no trusted proxy wrote does not change the counted address."""
    client = from_address(1)
    # Successful sign-ins do not count as failures.
    assert try_to(client, password=PASSWORD).status_code == 302
    client = from_address(1)
    tried = [
        try_to(
            client,
            f"a{number}@yourteam.example",
            headers={"X-Forwarded-For": f"198.51.100.{number}"},
        ).status_code
        for number in range(OF_AN_ADDRESS + 1)
    ]
    assert 429 not in tried[:-1]
    assert tried[-1] == 429
    assert try_to(client, reviewer.email, PASSWORD).status_code == 429
    assert try_to(from_address(2), reviewer.email, PASSWORD).status_code == 302


PROXIES = [
    ([], "203.0.113.9", "192.0.2.1"),
    (["192.0.2.1"], "203.0.113.9", "203.0.113.9"),
    (["192.0.2.1"], "198.51.100.1, 203.0.113.9", "203.0.113.9"),
    (["192.0.2.1"], "nonsense", "0.0.0.0"),
    (["192.0.2.2"], "203.0.113.9", "192.0.2.1"),
]


def test_address_is_the_one_that_a_trusted_proxy_says(rf, settings):
    for proxies, header, expected in PROXIES:
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
    type(reviewer).objects.filter(pk=second_reviewer.pk).update(is_active=False)
    # Who signs in through the provider alone has no password.
    type(reviewer).objects.filter(pk=admin.pk).update(password=make_password(None))
    answers = {}
    for email in (
        reviewer.email,
        "nobody@yourteam.example",
        second_reviewer.email,
        admin.email,
    ):
        client = from_address(len(answers))
        client.get("/accounts/login/")
        hashed.clear()
        with CaptureQueriesContext(database) as statements:
            answer = try_to(client, email)
        body = answer.text.replace(email, "somebody")
        kinds = [one["sql"].partition(" ")[0] for one in statements.captured_queries]
        answers[email] = (
            answer.status_code,
            len(hashed),
            kinds,
            body.split("csrfmiddlewaretoken")[0],
        )
    known = answers[reviewer.email]
    assert known[:2] == (200, 1)
    # A deactivated account is only revealed with the right password.
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
        ("/people/me/password/", {"old": "wrong", "new": "x", "again": "x"}, 1),
    )
    for path, fields, most in guesses:
        assert [client.post(path, fields).status_code for _ in range(most)] == [
            422
        ] * most, path
        answer = client.post(path, fields)
        assert answer.status_code == 429, path
        assert 0 < int(answer["Retry-After"]) <= 60
        # Opening the page is not a try.
        assert client.get(path).status_code == 200
