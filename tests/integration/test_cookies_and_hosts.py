"""Cookies, origins and hosts over http and https (lines 43 and 54), and what a 404
reveals (line 48).
"""

import re
import runpy

import pytest
from django.conf import settings as desk
from django.db import connection as database
from django.http.request import split_domain_port, validate_host
from django.test import Client
from django.test.utils import CaptureQueriesContext

from common.env import BadVariable
from common.identifiers import uuid7
from tests.factories import make_connection, make_message, make_person
from tests.markup import leads_to
from tests.signing import PASSWORD

OVER_HTTPS = "https://countersign.example.com"
OVER_HTTP = "http://127.0.0.1:8000"
# Settings that depend on the desk's address and not on the test settings.
BY_ADDRESS = re.compile(
    r"(SESSION|CSRF|SECURE|KNOWN)_\w+|ALLOWED_HOSTS|PUBLIC_URL|HTTPS|DEBUG|SILENCED_SYSTEM_CHECKS"
)


@pytest.fixture
def settings_of(monkeypatch):
    """A function that reads the settings file for a desk at another address."""

    def read(url, **variables):
        for name, value in {"PUBLIC_URL": url, "DEMO": "0", **variables}.items():
            monkeypatch.setenv(name, value)
        return runpy.run_path(str(desk.BASE_DIR / "dashboard" / "settings.py"))

    return read


@pytest.fixture
def desk_at(settings, settings_of):
    """A function that lets this process be the desk at another address."""

    def become(url):
        found = settings_of(url, ALLOWED_HOSTS=url.partition("//")[2].partition(":")[0])
        for name in filter(BY_ADDRESS.fullmatch, found):
            setattr(settings, name, found[name])

    return become


# Cookies ignore ports, so over http the name distinguishes desks on one host.
@pytest.mark.parametrize(
    ("url", "names"),
    [
        (OVER_HTTPS, "__Host-(session|csrf|known)"),
        (OVER_HTTP, r"(session|csrf|known)-\d+"),
    ],
)
def test_cookies_are_kept_from_scripts_and_other_hosts_and_only_the_own_origin_may_post(
    desk_at, reviewer, url, names
):
    desk_at(url)
    is_https = url.startswith("https")
    host = url.partition("//")[2]
    client = Client(enforce_csrf_checks=True, headers={"Host": host})
    client.get("/accounts/login/", secure=is_https)
    token = next(
        cookie.value for name, cookie in client.cookies.items() if "csrf" in name
    )
    posted = {"login": reviewer.email, "password": PASSWORD}
    assert (
        client.post(
            "/accounts/login/", posted, secure=is_https, headers={"Origin": url}
        ).status_code
        == 403
    )
    posted["csrfmiddlewaretoken"] = token
    for origin in ("http://127.0.0.1:9", "null", "http://countersign.example.com", url):
        headers = {"Origin": origin}
        answer = client.post(
            "/accounts/login/", posted, secure=is_https, headers=headers
        )
        assert answer.status_code == (302 if origin == url else 403), origin
    assert len(client.cookies) == 3
    for name, cookie in client.cookies.items():
        assert re.fullmatch(names, name)
        assert bool(cookie["secure"]) == is_https
        assert bool(cookie["httponly"])
        assert cookie["path"] == "/"
        assert cookie["samesite"] == "Lax"
        assert cookie["domain"] == ""


def test_address_of_the_desk_may_be_written_in_other_ways_than_browsers_do(
    settings_of,
):
    for url, origin in (
        ("https://Desk.Example.com:443", "https://desk.example.com"),
        ("http://desk.example.com:80/", "http://desk.example.com"),
        ("http://[FD00::1]:8000", "http://[fd00::1]:8000"),
        ("https://b\u00fccher.example:8443", "https://xn--bcher-kva.example:8443"),
    ):
        found = settings_of(url, ALLOWED_HOSTS="127.0.0.1")
        assert found["CSRF_TRUSTED_ORIGINS"] == [origin]
        host, _ = split_domain_port(origin.partition("//")[2])
        assert validate_host(host, found["ALLOWED_HOSTS"]), url


def test_second_press_of_the_sign_in_button_leads_to_the_same_page(reviewer):
    client = Client(enforce_csrf_checks=True)
    page = client.get("/accounts/login/", {"next": "/history/"}).text
    posted = {
        "login": reviewer.email,
        "password": PASSWORD,
        "next": "/history/",
        "csrfmiddlewaretoken": re.search('token" value="([^"]+)', page)[1],
    }
    for _ in range(2):
        assert leads_to(client.post("/accounts/login/", posted)) == "/history/"
    posted["next"] = "https://evil.example/"
    assert leads_to(client.post("/accounts/login/", posted)) == "/queue/"
    client.cookies.pop(desk.SESSION_COOKIE_NAME)
    assert client.post("/accounts/login/", posted).status_code == 403


def test_desk_that_others_can_reach_never_shows_debug_pages(settings_of):
    assert settings_of("http://127.0.0.1:1", DEBUG="1")["DEBUG"] is True
    assert settings_of(OVER_HTTPS, DEBUG="0")["DEBUG"] is False
    for url in (OVER_HTTPS, "http://10.0.0.5"):
        with pytest.raises(BadVariable, match="DEBUG must be 0"):
            settings_of(url, DEBUG="1")


def test_only_named_hosts_are_answered_and_none_that_a_proxy_forwards(client):
    for host in ("evil.example", "testserver.evil.example"):
        answer = client.get("/accounts/login/", headers={"Host": host})
        assert answer.status_code == 400, host
    answer = client.get(
        "/accounts/login/", headers={"X-Forwarded-Host": "evil.example"}
    )
    assert answer.status_code == 200
    assert b"evil.example" not in answer.content


@pytest.fixture
def message(connection):
    return make_message(connection, subject="Not for everybody")


@pytest.fixture
def stranger(signed_in):
    person = make_person(
        "x@yourteam.example", "X", "reviewer", connection=make_connection("other")
    )
    return signed_in(person)


@pytest.mark.parametrize(
    "headers", [{}, pytest.param({"HX-Request": "true"}, marks=pytest.mark.slow)]
)
def test_message_of_others_is_as_one_that_does_not_exist(stranger, message, headers):
    """The same response after the same queries, because timing reveals as much as
    content.
    """

    def asked(public_id, page):
        with CaptureQueriesContext(database) as queries:
            answer = stranger.get(f"/queue/{public_id}/{page}", headers=headers)
        body = re.sub(
            r'csrfmiddlewaretoken" value="[^"]+"|"X-CSRFToken": "[^"]+"',
            "",
            answer.text,
        )
        return answer.status_code, body.replace(str(public_id), "ID"), len(queries)

    asked(uuid7(), "")
    for page in ("", "body/", "approve/", "thread/"):
        found = asked(message.public_id, page)
        assert found == asked(uuid7(), page), page
        assert found[0] == 404
    for act in ("verdict", "claim", "undo"):
        found, other = (
            stranger.post(f"/queue/{public_id}/{act}/")
            for public_id in (message.public_id, uuid7())
        )
        assert found.status_code == other.status_code == 404, act
        assert found.content == other.content, act
