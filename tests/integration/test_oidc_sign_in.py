"""Sign-in through a provider process: who is accepted, and that it bypasses no second
factor.
"""

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
from launcher.ports import pick_free_ports
from people.models import Person, RoleRule
from people.sign_in.provider import GuardedSession
from tests.markup import leads_to, says
from tests.signing import code_now, give_app

CLIENT = {"client_id": "desk", "client_secret": "a secret of the provider"}
USERS = {
    "ana-1": {"email": "ana@yourteam.example", "email_verified": True},
    "ana-unverified": {"email": "ana@yourteam.example", "email_verified": False},
    "stranger": {"email": "eve@elsewhere.example", "email_verified": True},
}


@pytest.fixture(scope="module")
def provider():
    """A provider in a process of its own; its address."""
    port = pick_free_ports(1)[0]
    users = [
        f"--user-claims={json.dumps({'sub': sub, **claims})}"
        for sub, claims in USERS.items()
    ]
    command = [
        sys.executable,
        "-m",
        "oidc_provider_mock",
        "--port",
        str(port),
        "--require-nonce",
        "true",
        *users,
    ]
    env = {
        name: value for name, value in os.environ.items() if "proxy" not in name.lower()
    }
    process = subprocess.Popen(
        command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    address = f"http://127.0.0.1:{port}"
    try:
        with requests.Session() as session:
            session.trust_env = False
            session.mount(
                "http://",
                requests.adapters.HTTPAdapter(
                    max_retries=requests.adapters.Retry(14, backoff_factor=0.1)
                ),
            )
            assert session.get(
                f"{address}/.well-known/openid-configuration", timeout=60
            ).ok
        yield address
    finally:
        process.terminate()
        process.wait(timeout=60)


@pytest.fixture
def configured(settings, provider):
    """A desk that trusts this provider."""
    cache.clear()
    settings.OIDC_ISSUER = provider
    settings.OIDC_NAME = "Acme"
    settings.OUTGOING_ALLOW = [provider]
    app = {
        "provider_id": provider,
        "name": "Acme",
        "secret": CLIENT["client_secret"],
        "client_id": CLIENT["client_id"],
    }
    app["settings"] = {"server_url": provider}
    settings.SOCIALACCOUNT_PROVIDERS = {
        "openid_connect": {"OAUTH_PKCE_ENABLED": True, "APPS": [app]}
    }
    return provider


def begin(client, **query):
    """Start a sign-in, and return the address of the provider that the desk redirects
    to.
    """
    answer = client.get("/accounts/login/provider/", query)
    assert answer.status_code == 302, answer.content
    return answer["Location"]


def asked(address):
    """The query of the provider's address."""
    return {name: value[0] for name, value in parse_qs(urlsplit(address).query).items()}


def consent(address, user):
    """Sign in at the provider; return the query with which it sends the browser back."""
    with requests.Session() as session:
        session.trust_env = False
        answer = session.post(
            address, data={"sub": user}, timeout=60, allow_redirects=False
        )
    assert answer.status_code == 302, answer.text
    assert urlsplit(answer.headers["Location"]).path == "/accounts/login/provider/back/"
    return asked(answer.headers["Location"])


def is_in(client):
    return client.get("/history/").status_code == 200


def come_in(client, user, **query):
    return client.get(
        "/accounts/login/provider/back/", consent(begin(client, **query), user)
    )


def test_verified_address_of_an_active_person_signs_in(client, configured, reviewer):
    password = reviewer.password
    assert leads_to(come_in(client, "ana-1", next="/history/")) == "/history/"
    assert is_in(client)
    assert SocialAccount.objects.get().user_id == reviewer.pk
    assert Entry.objects.filter(
        action="person.signed_in", actor_id=str(reviewer.pk)
    ).exists()
    reviewer.refresh_from_db()
    assert reviewer.password == password, "the password stays good"
    client.post("/accounts/logout/")
    # It redirects to no other site.
    assert (
        come_in(client, "ana-1", next="https://elsewhere.example/")["Location"]
        == "/queue/"
    )


def test_person_who_declines_at_the_provider_sees_why_and_can_continue(
    client, configured
):
    query = {"state": asked(begin(client))["state"], "error": "access_denied"}
    says(
        client.get("/accounts/login/provider/back/", query), 401, "Sign in another way"
    )


def test_unknown_person_is_refused_and_sees_whom_to_ask(client, configured, reviewer):
    users = ("ana-unverified", "stranger")
    for user in users:
        answer = come_in(client, user)
        page = answer.text
        assert answer.status_code == 403, user
        assert "Ask an admin of this desk" in page, user
        assert ("has not verified your address" in page) == user.startswith("ana"), user
        assert not is_in(client), user
    assert Person.objects.count() == 1
    assert SocialAccount.objects.count() == 0
    assert [*Entry.objects.values_list("action", flat=True)] == [
        "person.sign_in_failed"
    ] * len(users)
    reasons = [
        fields["reason"]
        for fields in EntryDetail.objects.values_list("fields", flat=True)
    ]
    assert set(reasons) == {"provider: nobody of the desk"}


def test_factor_at_the_desk_is_asked_after_the_provider_of_which_nothing_is_kept(
    client, configured, reviewer
):
    give_app(reviewer)
    for _ in range(2):
        assert come_in(client, "ana-1")["Location"] == "/accounts/login/second/"
        assert not is_in(client)
        # Neither the provider's claims nor its token.
        session_text = str(dict(client.session.items()))
        assert "email_verified" not in session_text
        assert "'token'" not in session_text
        assert SocialAccount.objects.get().extra_data == {}
    assert (
        client.post("/accounts/login/second/", {"code": code_now()})["Location"]
        == "/queue/"
    )
    assert is_in(client)


def test_role_that_needs_a_factor_needs_it_after_the_provider_too(
    client, configured, reviewer
):
    RoleRule.objects.create(role="reviewer", needs_second_factor=True)
    come_in(client, "ana-1")
    assert client.get("/queue/")["Location"].startswith("/people/me/factors/")


def test_way_to_the_provider_carries_state_nonce_and_a_challenge_and_nothing_from_the_address(
    client, configured, reviewer, signed_in
):
    query = asked(
        begin(client, process="connect", scope="admin", auth_params="prompt=none")
    )
    assert query["code_challenge_method"] == "S256"
    assert all(len(query[name]) >= 16 for name in ("state", "nonce", "code_challenge"))
    assert set(query["scope"].split()) == {"openid", "profile", "email"}
    assert "prompt" not in query
    assert query["redirect_uri"] == "http://testserver/accounts/login/provider/back/"
    # A link of another site asks first, and a signed-in person is sent to the provider
    # again.
    says(
        client.get(
            "/accounts/login/provider/", headers={"Sec-Fetch-Site": "cross-site"}
        ),
        200,
        "Another site sent you here",
    )
    query = asked(begin(signed_in(reviewer, minutes=11)))
    assert query["prompt"] == "login"
    assert query["max_age"] == "0"


def test_answer_that_was_not_asked_for_here_or_counts_no_more_signs_nobody_in(
    client, configured, reviewer
):
    back = "/accounts/login/provider/back/"
    theirs = type(client)()
    # In response to a request of another browser.
    assert client.get(back, consent(begin(theirs), "ana-1")).status_code == 401
    # With the nonce of another sign-in of this browser.
    address = begin(client)
    session = client.session
    session["provider_sign_in"] = {"nonce": "another", "at": 0}
    session.save()
    answer = client.get(back, consent(address, "ana-1"))
    assert answer.status_code == 401
    assert b"belongs to another sign-in" in answer.content
    assert not is_in(client)
    # A second time.
    query = consent(begin(client), "ana-1")
    client.get(back, query)
    client.post("/accounts/logout/")
    assert client.get(back, query).status_code == 401
    assert not is_in(client)


def test_unreachable_or_private_provider_is_explained(client, configured, settings):
    settings.OUTGOING_ALLOW = []
    cache.clear()
    says(client.get("/accounts/login/provider/"), 502, "Sign-in failed")
    with pytest.raises(requests.ConnectionError), GuardedSession() as session:
        session.get("https://127.0.0.1:1/")


def test_button_stands_only_where_a_provider_is_set_and_pages_without_use_are_not_there(
    client, settings, provider
):
    assert "/accounts/login/provider/" not in client.get("/accounts/login/").text
    unused = (
        "signup",
        "social/signup",
        "social/connections",
        "oidc/desk/login",
        "email",
        "2fa",
    )
    for path in ("login/provider", "login/provider/back", *unused):
        assert client.get(f"/accounts/{path}/").status_code == 404, path
    settings.OIDC_ISSUER = provider
    settings.OIDC_NAME = "Acme"
    assert "Sign in with Acme" in client.get("/accounts/login/").text
