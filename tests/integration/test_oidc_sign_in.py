"""Signing in through a provider process: whom it lets in, whom not, and that no second factor is passed by."""

import json
import os
import subprocess
import sys
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from allauth.socialaccount.models import SocialAccount
from django.core.cache import cache

from audit.models import Entry, EntryDetail
from dashboard.launch.ports import pick_free_ports
from people.models import Person, RoleRule
from people.provider import GuardedSession
from tests.signing import code_now, give_app

pytestmark = pytest.mark.django_db

CLIENT = {"client_id": "desk", "client_secret": "a secret of the provider"}
USERS = {
    "ana-1": {"email": "ana@yourteam.example", "email_verified": True},
    "ana-unverified": {"email": "ana@yourteam.example", "email_verified": False},
    "ana-in-words": {"email": "ana@yourteam.example", "email_verified": "true"},
    "ana-shouting": {"email": "ANA@YourTeam.example", "email_verified": True},
    "stranger": {"email": "eve@elsewhere.example", "email_verified": True},
    "nameless": {},
}


@pytest.fixture(scope="module")
def provider():
    """A provider in a process of its own; its address."""
    port = pick_free_ports(1)[0]
    users = [f"--user-claims={json.dumps({'sub': sub, **claims})}" for sub, claims in USERS.items()]
    command = [sys.executable, "-m", "oidc_provider_mock", "--port", str(port), "--require-nonce", "true", *users]
    env = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    process = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"
    try:
        with requests.Session() as session:
            session.trust_env = False
            session.mount(
                "http://", requests.adapters.HTTPAdapter(max_retries=requests.adapters.Retry(12, backoff_factor=0.1))
            )
            assert session.get(f"{address}/.well-known/openid-configuration", timeout=10).ok
        yield address
    finally:
        process.terminate()
        process.wait(timeout=10)


@pytest.fixture
def configured(settings, provider):
    """A desk that believes this provider."""
    cache.clear()
    settings.OIDC_ISSUER, settings.OIDC_NAME = provider, "Acme"
    settings.OUTGOING_ALLOW = [provider]
    app = {"provider_id": "desk", "name": "Acme", "secret": CLIENT["client_secret"], "client_id": CLIENT["client_id"]}
    app["settings"] = {"server_url": provider}
    settings.SOCIALACCOUNT_PROVIDERS = {"openid_connect": {"OAUTH_PKCE_ENABLED": True, "APPS": [app]}}
    return provider


def begin(client, **query):
    """Go to the provider, and return where the desk leads: an address of the provider."""
    answer = client.get("/accounts/login/provider/", query)
    assert answer.status_code == 302, answer.content
    return answer["Location"]


def consent(address, user):
    """Sign in at the provider; return the query with which it sends the browser back."""
    with requests.Session() as session:
        session.trust_env = False
        answer = session.post(address, data={"sub": user}, timeout=10, allow_redirects=False)
    assert answer.status_code == 302, answer.text
    assert urlsplit(answer.headers["Location"]).path == "/accounts/login/provider/back/"
    return {name: value[0] for name, value in parse_qs(urlsplit(answer.headers["Location"]).query).items()}


def come_in(client, user, **query):
    return client.get("/accounts/login/provider/back/", consent(begin(client, **query), user))


def test_verified_address_of_an_active_person_signs_in(client, configured, reviewer):
    answer = come_in(client, "ana-1", next="/history/")
    assert (answer.status_code, answer["Location"]) == (302, "/history/")
    assert client.get("/queue/").status_code == 200
    assert SocialAccount.objects.get().user_id == reviewer.pk
    assert Entry.objects.filter(action="person.signed_in", actor_id=str(reviewer.pk)).exists()


def test_neither_what_the_provider_tells_nor_its_token_is_kept(client, configured, reviewer):
    give_app(reviewer)
    for _ in range(2):
        come_in(client, "ana-1")
        kept = str(dict(client.session.items()))
        assert "email_verified" not in kept
        assert "'token'" not in kept
        assert SocialAccount.objects.get().extra_data == {}


def test_provider_leads_back_to_no_other_site(client, configured, reviewer):
    assert come_in(client, "ana-1", next="https://elsewhere.example/")["Location"] == "/queue/"


def test_who_says_no_at_the_provider_is_told_so_and_can_go_on(client, configured):
    query = {"state": parse_qs(urlsplit(begin(client)).query)["state"][0], "error": "access_denied"}
    answer = client.get("/accounts/login/provider/back/", query)
    assert (answer.status_code, "Another way to sign in" in answer.content.decode()) == (401, True)


def test_address_is_the_same_in_capitals(client, configured, reviewer):
    assert come_in(client, "ana-shouting")["Location"] == "/queue/"


def test_password_stays_good_for_who_came_by_the_provider(client, configured, reviewer):
    before = reviewer.password
    come_in(client, "ana-1")
    reviewer.refresh_from_db()
    assert reviewer.password == before


@pytest.mark.parametrize("user", ["ana-unverified", "ana-in-words", "stranger", "nameless"])
def test_nobody_else_comes_in_and_is_told_whom_to_ask(client, configured, reviewer, user):
    answer = come_in(client, user)
    page = answer.content.decode()
    assert (answer.status_code, "Ask an admin of this desk" in page) == (403, True)
    assert ("not that it was verified" in page) == user.startswith("ana")
    assert client.get("/queue/").status_code == 302
    assert (Person.objects.count(), SocialAccount.objects.count()) == (1, 0)
    assert [*Entry.objects.values_list("action", flat=True)] == ["person.sign_in_failed"]
    assert EntryDetail.objects.get().fields["reason"] == "provider: nobody of the desk"


def test_deactivated_person_does_not_come_in(client, configured, reviewer):
    come_in(client, "ana-1")
    client.post("/accounts/logout/")
    Person.objects.update(is_active=False)
    answer = come_in(client, "ana-1")
    assert (answer.status_code, "Nobody with that address is active" in answer.content.decode()) == (403, True)
    assert client.get("/queue/").status_code == 302


def test_account_that_was_tied_before_stays_theirs_under_another_address(client, configured, reviewer):
    come_in(client, "ana-1")
    client.post("/accounts/logout/")
    Person.objects.update(email="ana.ferreira@yourteam.example")
    assert come_in(client, "ana-1")["Location"] == "/queue/"


@pytest.mark.proves("security 39")
def test_factor_at_the_desk_is_asked_after_the_provider(client, configured, reviewer):
    give_app(reviewer)
    answer = come_in(client, "ana-1")
    assert answer["Location"] == "/accounts/login/second/"
    assert client.get("/queue/").status_code == 302
    assert client.post("/accounts/login/second/", {"code": code_now()})["Location"] == "/queue/"
    assert client.get("/queue/").status_code == 200


@pytest.mark.proves("security 39")
def test_role_that_needs_a_factor_needs_it_after_the_provider_too(client, configured, reviewer):
    RoleRule.objects.create(role="reviewer", needs_second_factor=True)
    come_in(client, "ana-1")
    assert client.get("/queue/")["Location"].startswith("/people/me/factors/")


def test_way_to_the_provider_carries_state_nonce_and_a_challenge_and_nothing_from_the_address(client, configured):
    query = parse_qs(urlsplit(begin(client, process="connect", scope="admin", auth_params="prompt=none")).query)
    assert query["code_challenge_method"] == ["S256"]
    assert all(len(query[name][0]) >= 16 for name in ("state", "nonce", "code_challenge"))
    assert set(query["scope"][0].split()) == {"openid", "profile", "email"}
    assert "prompt" not in query
    assert query["redirect_uri"] == ["http://testserver/accounts/login/provider/back/"]


def test_who_is_signed_in_is_asked_anew_at_the_provider(client, configured, reviewer, signed_in):
    client = signed_in(reviewer, minutes=11)
    query = parse_qs(urlsplit(begin(client)).query)
    assert (query["prompt"], query["max_age"]) == (["login"], ["0"])
    client.logout()
    assert "prompt" not in parse_qs(urlsplit(begin(client)).query)


def test_answer_to_a_question_of_another_browser_signs_nobody_in(client, configured, reviewer):
    theirs = type(client)()
    query = consent(begin(theirs), "ana-1")
    assert client.get("/accounts/login/provider/back/", query).status_code == 401
    assert client.get("/queue/").status_code == 302


def test_answer_with_another_nonce_signs_nobody_in(client, configured, reviewer):
    address = begin(client)
    session = client.session
    session["provider_nonce"] = "of another sign-in of this browser"
    session.save()
    answer = client.get("/accounts/login/provider/back/", consent(address, "ana-1"))
    assert (answer.status_code, b"did not confirm" in answer.content) == (401, True)
    assert client.get("/queue/").status_code == 302


def test_answer_counts_once(client, configured, reviewer):
    query = consent(begin(client), "ana-1")
    client.get("/accounts/login/provider/back/", query)
    client.post("/accounts/logout/")
    assert client.get("/accounts/login/provider/back/", query).status_code == 401
    assert client.get("/queue/").status_code == 302


def test_provider_that_names_itself_otherwise_is_not_believed(client, configured, settings):
    settings.OIDC_ISSUER = "https://login.elsewhere.example"
    assert client.get("/accounts/login/provider/").status_code == 502


def test_provider_that_is_away_or_private_is_told_in_words(client, configured, settings):
    settings.OUTGOING_ALLOW = []
    answer = client.get("/accounts/login/provider/")
    assert (answer.status_code, "That did not work" in answer.content.decode()) == (502, True)
    with pytest.raises(requests.ConnectionError), GuardedSession() as session:
        session.get("https://127.0.0.1:1/")


def test_link_of_another_site_asks_first(client, configured):
    answer = client.get("/accounts/login/provider/", headers={"Sec-Fetch-Site": "cross-site"})
    assert (answer.status_code, "Another site led you here" in answer.content.decode()) == (200, True)


def test_button_stands_only_where_a_provider_is_set(client, settings, provider):
    assert "/accounts/login/provider/" not in client.get("/accounts/login/").content.decode()
    assert client.get("/accounts/login/provider/").status_code == 404
    assert client.get("/accounts/login/provider/back/").status_code == 404
    settings.OIDC_ISSUER, settings.OIDC_NAME = provider, "Acme"
    assert "Sign in with Acme" in client.get("/accounts/login/").content.decode()


@pytest.mark.parametrize("path", ["signup", "social/signup", "social/connections", "oidc/desk/login", "email", "2fa"])
def test_pages_of_allauth_that_the_desk_has_no_use_for_are_not_there(client, path):
    assert client.get(f"/accounts/{path}/").status_code == 404
